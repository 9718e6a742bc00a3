/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vsock_host.c - the Unix side: a listener for clients, who say which guest port
 * they want, and sockets <path>_<port> that the guest's connections go to.
 *
 *   client -> "CONNECT 1024\n"      guest listens on 1024: "OK 1073741824\n"
 *                                   it does not: the connection is closed
 *
 * Nothing is accepted before the driver runs: until then clients wait in the
 * listener's backlog. What follows the CONNECT line stays in the socket until
 * the guest takes it, so a client need not wait for OK.
 *
 * io_uring only waits here (accept and poll). The bytes themselves move by
 * non-blocking system calls, straight between guest memory and the socket, so
 * that no guest memory is ever in use once a kick or a completion has been
 * handled, and a reset has nothing to wait for but polls.
 *
 * #syscalls socket connect sendmsg recvfrom recvmsg ioctl(SIOCINQ) poll shutdown close unlink lstat
 */
#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include "devices/vsock.h"

#define BACKLOG 128

static void on_in(struct op *op, int res);
static void on_out(struct op *op, int res);

int vhost_open(struct vsock *s, const char *path, struct err *e)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	auto_fd fd = -1;
	struct stat st;

	s->fd = -1;
	if (!path || !*path)
		return err_say(e, -EINVAL, "no socket path given");
	if (strlen(path) > VSOCK_PATH_MAX)
		return err_say(e, -ENAMETOOLONG, "socket path of %zu bytes; at most %zu fit: %.80s...",
			       strlen(path), VSOCK_PATH_MAX, path);
	memcpy(sa.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* The socket's mode becomes that of the file, so there is no moment with a wider one. */
	if (fd < 0 || fchmod(fd, 0600))
		return err_set(e, -errno, "socket");
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)))
		return err_set(e, -errno, "listen on %s%s", path,
			       errno == EADDRINUSE ? " (left over? then remove it)" : "");
	if (lstat(path, &st) || listen(fd, BACKLOG)) {
		int rc = err_set(e, -errno, "listen on %s", path);

		unlink(path);
		return rc;
	}
	s->dev = st.st_dev;
	s->ino = st.st_ino;
	memcpy(s->path, path, strlen(path) + 1);
	s->fd = take_fd(&fd);
	return 0;
}

void vhost_close(struct vsock *s)
{
	struct stat st;

	/* Only the file that we made: someone may have put another in its place. */
	if (!lstat(s->path, &st) && st.st_dev == s->dev && st.st_ino == s->ino)
		unlink(s->path);
	close(s->fd);
	s->fd = -1;
}

/* ---- clients ---- */

static void bad_hello(struct vconn *c, const char *why)
{
	c->s->why = why;
	c->s->stat.hello_bad++;
	vconn_kill(c);
}

/* "CONNECT <decimal>" without its newline; UINT32_MAX means "any port" and is refused. */
static bool parse_line(const char *line, unsigned n, uint32_t *port)
{
	static const char word[] = "CONNECT ";
	const unsigned skip = sizeof(word) - 1;
	uint64_t v = 0;

	if (n <= skip || n > skip + 10 || memcmp(line, word, skip))
		return false;
	for (unsigned i = skip; i < n; i++) {
		if (line[i] < '0' || line[i] > '9')
			return false;
		v = v * 10 + (unsigned)(line[i] - '0');
	}
	*port = (uint32_t)v;
	return v < UINT32_MAX;
}

/* Take what there is of the line, and nothing after it. */
static void hello(struct vconn *c)
{
	char *at = c->line + c->nline, *nl;
	ssize_t n = recv(c->fd, at, sizeof(c->line) - c->nline, MSG_PEEK | MSG_DONTWAIT);
	uint32_t port;

	if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		vhost_watch(c);
		return;
	}
	if (n <= 0) {
		bad_hello(c, "client left before its CONNECT line");
		return;
	}
	nl = memchr(at, '\n', (size_t)n);
	if (nl)
		n = nl + 1 - at;
	if (recv(c->fd, at, (size_t)n, MSG_DONTWAIT) != n) {
		bad_hello(c, "client left before its CONNECT line");
		return;
	}
	c->nline += (unsigned)n;
	if (!nl && c->nline == sizeof(c->line)) {
		bad_hello(c, "CONNECT line too long");
	} else if (!nl) {
		vhost_watch(c);
	} else if (!parse_line(c->line, c->nline - 1, &port)) {
		bad_hello(c, "not a CONNECT line");
	} else {
		c->deadline = 0;
		c->state = VCONN_ASKED;
		vconn_key(c, port, vconn_port(c->s, port));
		vconn_owe(c, VOWE_REQUEST);
		vhost_watch(c);
	}
}

static void on_accept(struct op *op, int res)
{
	struct vsock *s = container_of(op, struct vsock, accept);
	struct vconn *c;

	if (res >= 0 && !s->running) {
		close(res);
	} else if (res >= 0) {
		c = vconn_new(s, false, res, VCONN_HELLO);
		if (c) {
			c->deadline = vsock_now() + s->hello_ns;
			vsock_want_tick(s);
			hello(c);
		}
	} else if (res != -ECANCELED && res != -ECONNABORTED && res != -EINTR) {
		s->backoff = true;	/* no descriptors, no memory: not again before a tick */
		if (s->running)
			vsock_want_tick(s);
	}
	vsock_settle(s);
}

void vhost_accept(struct vsock *s)
{
	if (!s->running || s->v.failed || s->accept.busy || s->backoff ||
	    s->n[false] >= VSOCK_CONNS_MAX)
		return;
	if (loop_accept(s->v.loop, &s->accept, s->fd, on_accept)) {
		s->backoff = true;
		vsock_want_tick(s);
	}
}

void vhost_agreed(struct vconn *c)
{
	char ok[sizeof("OK 4294967295\n")];
	int n = snprintf(ok, sizeof(ok), "OK %u\n", c->hport);

	if (send(c->fd, ok, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL) != n) {
		vconn_reset(c);
		return;
	}
	c->state = VCONN_OPEN;
	c->s->stat.opened++;
	vconn_readable(c);
}

/* ---- the guest's connections ---- */

void vhost_dial(struct vconn *c)
{
	struct vsock *s = c->s;
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int n = snprintf(sa.sun_path, sizeof(sa.sun_path), "%s_%u", s->path, c->hport);

	BUG_ON(n < 0 || (size_t)n >= sizeof(sa.sun_path));	/* VSOCK_PATH_MAX */
	if (c->fd < 0)
		c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->fd < 0) {
		vconn_reset(c);
	} else if (!connect(c->fd, (struct sockaddr *)&sa, sizeof(sa))) {
		c->deadline = 0;
		c->state = VCONN_OPEN;
		s->stat.opened++;
		vconn_owe(c, VOWE_RESPONSE);
		vconn_readable(c);
	} else if (errno == EAGAIN) {	/* the listener is busy: the tick tries again */
		if (!c->deadline)
			c->deadline = vsock_now() + s->dial_ns;
		vsock_want_tick(s);
	} else {
		vconn_reset(c);
	}
}

/* ---- bytes ---- */

static bool reading(const struct vconn *c)
{
	return c->state == VCONN_OPEN && !c->eof && !(c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_RCV);
}

/* The client can receive nothing any more. */
static void lost(struct vconn *c)
{
	if (c->gone)
		return;
	c->gone = true;
	c->credit.fwd = c->credit.got;
	vbuf_free(&c->buf);
	if (c->state == VCONN_OPEN)
		vconn_shut(c, VIRTIO_VSOCK_SHUTDOWN_RCV |
			   (reading(c) ? 0u : VIRTIO_VSOCK_SHUTDOWN_SEND));
	vconn_advance(c);
}

/* The host is short of something. */
static void fault(struct vconn *c)
{
	if (c->keyed)
		vconn_reset(c);
	else
		vconn_kill(c);
}

/* The client sends nothing any more. */
static void ended(struct vconn *c)
{
	c->eof = true;
	c->readable = false;
	vhost_look(c);	/* closed, or only shut for writing? One SHUTDOWN is cheaper than two */
	if (c->state != VCONN_OPEN)
		return;
	vconn_shut(c, VIRTIO_VSOCK_SHUTDOWN_SEND);
	vhost_watch(c);
}

uint32_t vhost_pending(struct vconn *c)
{
	uint32_t room = vcredit_peer_free(&c->credit);
	int have = 0;
	ssize_t n;
	char b;

	if (!c->readable || !reading(c))
		return 0;
	if (ioctl(c->fd, SIOCINQ, &have) || have <= 0) {
		n = recv(c->fd, &b, 1, MSG_PEEK | MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
			c->readable = false;
			vhost_watch(c);
			return 0;
		}
		if (n <= 0) {	/* the end, or a client that left bytes of ours unread */
			ended(c);
			return 0;
		}
		have = 1;
	}
	c->inq = (uint32_t)have;
	room = room < VSOCK_TURN ? room : VSOCK_TURN;
	return (uint32_t)have < room ? (uint32_t)have : room;
}

uint32_t vhost_recv(struct vconn *c, unsigned n, uint32_t want)
{
	struct msghdr m = { .msg_iov = c->s->iov, .msg_iovlen = n };
	ssize_t got = recvmsg(c->fd, &m, MSG_DONTWAIT);

	if (got <= 0)
		return 0;	/* vhost_pending() finds out */
	BUG_ON((size_t)got > want);
	c->credit.sent += (uint32_t)got;
	c->s->stat.to_guest += (uint64_t)got;
	if ((uint32_t)got == c->inq) {
		c->readable = false;
		vhost_watch(c);
	}
	return (uint32_t)got;
}

/* The bytes left for the client: credit for the guest. */
static void forwarded(struct vconn *c, uint32_t len)
{
	c->credit.fwd += len;
	c->s->stat.from_guest += len;
	if (c->state == VCONN_OPEN && vcredit_due(&c->credit))
		vconn_owe(c, VOWE_CREDIT);
}

static void watch_out(struct vconn *c)
{
	if (!c->out.busy && !c->hung &&
	    loop_poll(c->s->v.loop, &c->out, c->fd, POLLOUT, on_out))
		fault(c);
}

/* 0 and more: bytes sent; -1: the client is gone. */
static ssize_t push(struct vconn *c, struct iovec *v, unsigned n)
{
	struct msghdr m = { .msg_iov = v, .msg_iovlen = n };
	ssize_t k = sendmsg(c->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (k < 0 && (errno == EAGAIN || errno == EINTR || errno == ENOBUFS || errno == ENOMEM))
		k = 0;
	return k;
}

void vhost_send(struct vconn *c, const struct vchain *ch, uint32_t len)
{
	struct iovec *v = c->s->iov;
	unsigned n = viov_slice(ch->iov, ch->nread, VSOCK_HDR, len, v, ARRAY_LEN(c->s->iov));
	ssize_t k = 0;

	if (c->gone) {		/* crossed our SHUTDOWN */
		c->credit.fwd += len;
		return;
	}
	if (!c->buf.used)
		k = push(c, v, n);
	if (k < 0) {
		lost(c);
		return;
	}
	if (k)
		forwarded(c, (uint32_t)k);
	len -= (uint32_t)k;
	if (!len)
		return;
	if (vbuf_put(&c->buf, v, n, (size_t)k, len, c->credit.alloc))
		vconn_reset(c);
	else
		watch_out(c);
}

static void flush(struct vconn *c)
{
	while (c->buf.used) {
		struct iovec v[2];
		unsigned n = vbuf_peek(&c->buf, v);
		uint32_t want = c->buf.used;
		ssize_t k = push(c, v, n);

		if (k < 0) {
			lost(c);
			return;
		}
		vbuf_drop(&c->buf, (uint32_t)k);
		forwarded(c, (uint32_t)k);
		if ((uint32_t)k < want) {
			watch_out(c);
			return;
		}
	}
	vconn_advance(c);
}

/* ---- waiting ---- */

/* A completion of a connection that is hanging up: the last one closes the descriptor. */
static bool hung(struct vconn *c)
{
	if (c->hung && !c->in.busy && !c->out.busy && c->fd >= 0) {
		close(c->fd);
		c->fd = -1;
	}
	return c->hung;
}

/*
 * io_uring cannot wait for a hang-up alone: once one side is shut, the poll is
 * always ready. Such connections are looked at every tick instead.
 */
static bool half(const struct vconn *c)
{
	return c->state == VCONN_OPEN && !reading(c) && !c->gone &&
	       !c->wr_shut;	/* both shut by ourselves: the hang-up is our own */
}

void vhost_look(struct vconn *c)
{
	struct pollfd p = { .fd = c->fd };

	if (half(c) && poll(&p, 1, 0) == 1 && (p.revents & (POLLHUP | POLLERR)))
		lost(c);
	if (c->state == VCONN_OPEN && !half(c))
		c->deadline = 0;
}

void vhost_watch(struct vconn *c)
{
	bool whole = c->state == VCONN_HELLO || reading(c);
	short events = whole ? POLLIN : 0;

	if (c->hung)
		return;
	if (half(c)) {
		c->deadline = vsock_now();
		vsock_want_tick(c->s);
	}
	if (!whole && c->state != VCONN_ASKED)
		return;
	if (c->in.busy) {
		if (c->in_events != events)
			loop_cancel(&c->in);	/* its completion comes back here */
		return;
	}
	c->in_events = events;
	if (loop_poll(c->s->v.loop, &c->in, c->fd, events, on_in))
		fault(c);
}

static void on_in(struct op *op, int res)
{
	struct vconn *c = container_of(op, struct vconn, in);
	struct vsock *s = c->s;

	if (hung(c)) {
		;
	} else if (res == -ECANCELED) {
		vhost_watch(c);		/* for something else now */
	} else if (res < 0) {
		fault(c);
	} else if (c->state == VCONN_HELLO) {
		hello(c);
	} else if (c->state == VCONN_ASKED) {
		if (res & (POLLHUP | POLLERR))
			vconn_reset(c);	/* the client did not wait for the answer */
	} else if (reading(c)) {
		vconn_readable(c);	/* bytes, the end, or an error: reading tells */
	}
	vsock_settle(s);
}

static void on_out(struct op *op, int res)
{
	struct vconn *c = container_of(op, struct vconn, out);
	struct vsock *s = c->s;

	(void)res;		/* an error shows itself when sending */
	if (!hung(c))
		flush(c);
	vsock_settle(s);
}
