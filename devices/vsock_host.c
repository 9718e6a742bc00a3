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
 * How long the guest may take to answer is up to the client, who can hang up.
 *
 * The bytes move by non-blocking system calls, straight between guest memory and
 * the socket, so no guest memory is in use once a kick or an event has been
 * handled. Readiness comes from an epoll set in which each connection is once,
 * edge-triggered, and the loop waits for the set: a poll by io_uring always
 * includes POLLRDHUP, so with it a client that has shut its half could not be
 * waited for, neither to take more bytes nor to hang up, without spinning.
 *
 * In a jail names mean something else after the device was opened: those of the guest's
 * connections are looked up then, and the listener's file is left to who asked for it.
 *
 * #syscalls:loop socket(AF_UNIX) connect sendmsg sendto recvfrom recvmsg ioctl(SIOCINQ) poll
 * #syscalls:loop close epoll_ctl epoll_wait
 * #uring:loop ACCEPT POLL_ADD
 */
#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include "devices/vsock.h"

#define BACKLOG	128
#define EVENTS	64		/* handled per wake-up */

int vhost_open(struct vsock *s, const char *path, struct err *e)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	auto_fd fd = -1, epfd = -1;
	struct stat st;

	if (!path || !*path)
		return err_say(e, -EINVAL, "no socket path given");
	if (strlen(path) > VSOCK_PATH_MAX)
		return err_say(e, -ENAMETOOLONG, "socket path of %zu bytes; at most %zu fit: %.80s...",
			       strlen(path), VSOCK_PATH_MAX, path);
	memcpy(sa.sun_path, path, strlen(path));
	epfd = epoll_create1(EPOLL_CLOEXEC);
	if (epfd < 0)
		return err_set(e, -errno, "epoll_create1");
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
	s->epfd = take_fd(&epfd);
	return 0;
}

void vhost_close(struct vsock *s)
{
	struct stat st;

	/* Only the file that we made: someone may have put another in its place. */
	if (!lstat(s->path, &st) && st.st_dev == s->dev && st.st_ino == s->ino)
		unlink(s->path);
	close(s->epfd);
	close(s->fd);
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

	if (n < 0 && errno == EAGAIN)
		return;
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
		return;			/* that was all there is yet */
	} else if (!parse_line(c->line, c->nline - 1, &port)) {
		bad_hello(c, "not a CONNECT line");
	} else {
		c->deadline = 0;
		c->state = VCONN_ASKED;
		vconn_key(c, port, vconn_port(c->s, port));
		vconn_owe(c, VOWE_REQUEST);
	}
}

/* Wait for @c from now on, or for room in its socket too, or no more for that. */
static int watch(struct vconn *c, bool out)
{
	struct epoll_event ev = {
		.events = EPOLLIN | EPOLLRDHUP | EPOLLET | (out ? EPOLLOUT : 0u),
		.data.ptr = c,
	};
	int rc;

	if (c->watched && c->watch_out == out)
		return 0;
	rc = epoll_ctl(c->s->epfd, c->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->fd, &ev);
	c->watched = true;
	c->watch_out = out;
	return rc;
}

static void on_accept(struct op *op, int res)
{
	struct vsock *s = container_of(op, struct vsock, accept);
	struct vconn *c;

	if (res >= 0 && !s->running) {
		close(res);
	} else if (res >= 0) {
		c = vconn_new(s, false, res, VCONN_HELLO);
		if (c && watch(c, false)) {
			vconn_kill(c);
		} else if (c) {
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
	if (!s->running || s->v.failed || s->accept.busy || s->backoff || s->tell || s->told ||
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
	} else if (!connect(c->fd, (struct sockaddr *)&sa, sizeof(sa)) && !watch(c, false)) {
		c->deadline = 0;
		c->state = VCONN_OPEN;
		s->stat.opened++;
		vconn_owe(c, VOWE_RESPONSE);
		vconn_readable(c);
	} else if (errno == EAGAIN && !c->watched) {	/* listener busy: a tick tries again */
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

void vhost_look(struct vconn *c)
{
	struct pollfd p = { .fd = c->fd };

	/* Both halves shut by ourselves: then the hang-up is our own. */
	if (c->state == VCONN_OPEN && !reading(c) && !c->wr_shut && poll(&p, 1, 0) == 1 &&
	    (p.revents & (POLLHUP | POLLERR)))
		lost(c);
}

/* The client sends nothing any more. */
static void ended(struct vconn *c)
{
	c->eof = true;
	c->readable = false;
	vhost_look(c);	/* closed, or only shut for writing? One SHUTDOWN is cheaper than two */
	if (c->state == VCONN_OPEN)
		vconn_shut(c, VIRTIO_VSOCK_SHUTDOWN_SEND);
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
		if (n < 0 && errno == EAGAIN) {
			c->readable = false;
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
	/* What came since then is an event of its own; an end that was announced is not. */
	if ((uint32_t)got == c->inq && !c->ending)
		c->readable = false;
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
	if (vbuf_put(&c->buf, v, n, (size_t)k, len, c->credit.alloc) || watch(c, true))
		fault(c);
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
		if ((uint32_t)k < want)
			return;
	}
	if (c->watch_out && watch(c, false))
		fault(c);
	else
		vconn_advance(c);
}

/* ---- events ---- */

static void event(struct vconn *c, uint32_t ev)
{
	c->ending |= (ev & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
	if ((ev & (EPOLLOUT | EPOLLHUP | EPOLLERR)) && c->buf.used)
		flush(c);
	if (c->state == VCONN_HELLO)
		hello(c);
	else if (c->state == VCONN_ASKED && (ev & (EPOLLHUP | EPOLLERR)))
		vconn_reset(c);		/* the client did not wait for the answer */
	else if (reading(c))
		vconn_readable(c);	/* bytes, the end, or an error: reading tells */
	else if (ev & (EPOLLHUP | EPOLLERR))
		vhost_look(c);
}

static void on_ready(struct op *op, int res)
{
	struct vsock *s = container_of(op, struct vsock, ready_op);
	struct epoll_event ev[EVENTS];
	int n = s->running && res > 0 ? epoll_wait(s->epfd, ev, EVENTS, 0) : 0;

	s->stat.wakeups++;
	/* The dead among them are freed only in vsock_settle(). */
	for (int i = 0; i < n; i++)
		event(ev[i].data.ptr, ev[i].events);
	vsock_settle(s);
}

void vhost_wait(struct vsock *s)
{
	if (!s->running || s->ready_op.busy)
		return;
	if (loop_poll(s->v.loop, &s->ready_op, s->epfd, POLLIN, on_ready))
		vsock_want_tick(s);	/* which comes by here */
}
