// SPDX-License-Identifier: Apache-2.0
/*
 * run.c - the loop that runs one request.
 *
 * The caller's descriptors are shared with other processes (a shell, a terminal),
 * so their blocking mode is left alone. A descriptor is read only when poll(2) says so.
 * It is written without waiting: files directly, sockets with MSG_DONTWAIT, pipes
 * with RWF_NOWAIT; where a kernel or a driver does not know that, PIPE_BUF bytes at a time
 * after POLLOUT, which a pipe then has room for.
 *
 * What a descriptor does not take waits in a buffer of one credit window; more
 * the agent cannot send. Credit is granted for bytes that were written, so a
 * stalled reader stops its own stream in the guest and nothing else.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "agent/client/priv.h"

/* ---- output ------------------------------------------------------------ */

void client_send(struct client *c, uint16_t type, uint16_t tag)
{
	struct proto_wr w;

	client_msg(c, &w, PROTO_HDR_LEN);
	proto_wr_begin(&w, type, tag);
	if (client_queue(c, &w) < 0)
		client_break(c, ENOMEM, "the queue to the agent is full");
}

static void send_credit(struct client *c, uint16_t stream, uint32_t v)
{
	struct proto_wr w;

	client_msg(c, &w, PROTO_HDR_LEN + 4);
	proto_wr_begin(&w, PROTO_CREDIT, stream);
	proto_wr_u32(&w, v);
	if (client_queue(c, &w) < 0)
		client_break(c, ENOMEM, "the queue to the agent is full");
}

static void wrote(struct client *c, unsigned int s, size_t n)
{
	struct client_out *o = &c->out[s];

	o->owed += (uint32_t)n;
	if (o->owed < PROTO_OUT_WINDOW / 2 || c->done)
		return;
	send_credit(c, (uint16_t)(s + 1), o->owed);
	o->granted += o->owed;
	o->owed = 0;
}

/* As write(2), but does not wait. */
static ssize_t write_now(struct client_out *o, const uint8_t *p, size_t n)
{
	struct pollfd pf = { .fd = o->fd, .events = POLLOUT };
	struct iovec iov;
	ssize_t k;

	if (o->regular)
		return write(o->fd, p, n);
	if (o->socket)
		return send(o->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (!o->no_nowait) {
		memcpy(&iov.iov_base, &p, sizeof(p));
		iov.iov_len = n;
		k = pwritev2(o->fd, &iov, 1, -1, RWF_NOWAIT);
		if (k >= 0 || (errno != EOPNOTSUPP && errno != ENOSYS && errno != EINVAL &&
			       errno != ESPIPE))
			return k;
		o->no_nowait = true;
	}
	if (poll(&pf, 1, 0) == 0) {
		errno = EAGAIN;
		return -1;
	}
	return write(o->fd, p, n < PIPE_BUF ? n : PIPE_BUF);
}

/* Its reader is gone. Who only follows a command has no more to do then. */
static void out_stop(struct client *c, unsigned int s)
{
	c->out[s].stopped = true;
	if (!c->done)
		client_send(c, PROTO_STOP, (uint16_t)(s + 1));
	if (!c->done && c->follow && s == 0)
		client_leave(c);
}

/* Write what the descriptor takes now. Bytes written, or dropped for good. */
static size_t out_write(struct client *c, unsigned int s, const uint8_t *p, size_t n)
{
	struct client_out *o = &c->out[s];
	size_t done = 0;

	while (done < n && o->fd >= 0 && !o->stopped) {
		ssize_t k = write_now(o, p + done, n - done);

		if (k >= 0) {
			done += (size_t)k;
		} else if (errno == EAGAIN) {
			return done;
		} else if (errno != EINTR) {
			o->error = errno == EPIPE ? 0 : errno;
			out_stop(c, s);
		}
	}
	return n;
}

void client_output(struct client *c, unsigned int s, const uint8_t *p, size_t n)
{
	struct client_out *o = &c->out[s];
	size_t k;

	if (c->tap)
		c->tap(c->tap_arg, s + 1, p, n);
	k = o->len ? 0 : out_write(c, s, p, n);
	wrote(c, s, k);
	p += k;
	n -= k;
	if (!n)
		return;
	/* What was granted bounds what can be here. */
	if (!o->buf) {
		o->buf = malloc(PROTO_OUT_WINDOW);
		o->cap = PROTO_OUT_WINDOW;
	}
	if (!o->buf || n > o->cap - o->len) {
		client_break(c, ENOMEM, "out of memory");
		return;
	}
	if (n > o->cap - o->off - o->len) {
		memmove(o->buf, o->buf + o->off, o->len);
		o->off = 0;
	}
	memcpy(o->buf + o->off + o->len, p, n);
	o->len += (uint32_t)n;
}

static void out_flush(struct client *c, unsigned int s)
{
	struct client_out *o = &c->out[s];
	size_t k;

	if (!o->len)
		return;
	k = out_write(c, s, o->buf + o->off, o->len);
	o->off += (uint32_t)k;
	o->len -= (uint32_t)k;
	if (!o->len)
		o->off = 0;
	wrote(c, s, k);
}

void client_out_attach(struct client_out *o, int fd)
{
	struct stat st;

	o->fd = fd;
	if (fd >= 0 && fstat(fd, &st) == 0) {
		o->regular = S_ISREG(st.st_mode) || S_ISBLK(st.st_mode);
		o->socket = S_ISSOCK(st.st_mode);
	}
}

/* ---- input ------------------------------------------------------------- */

/* DATA from the caller's descriptor, and what was held back as keys that may mean something. */
static ssize_t in_data(struct client *c, struct proto_wr *w, size_t n, bool *leave)
{
	uint8_t *to = w->buf + w->len, *from = to + CLIENT_KEYS_MAX;
	ssize_t k;

	if (!c->keys.n)
		return read(c->in_fd, to, n);
	k = read(c->in_fd, from, n - CLIENT_KEYS_MAX);
	if (k > 0)
		*leave = client_keys_pass(&c->keys, from, (size_t)k, to, &n);
	else if (k == 0)
		n = client_keys_held(&c->keys, to);
	if (k < 0 || (k == 0 && !n))
		return k;
	c->in_eof |= *leave;
	return n ? (ssize_t)n : -EAGAIN;
}

void client_in_end(struct client *c)
{
	if (c->in_eof || c->in_fd < 0)
		return;
	c->in_eof = true;
	if (!c->in_stop)
		client_send(c, PROTO_EOF, PROTO_STDIN);
}

static bool in_wanted(const struct client *c)
{
	/* Keys that were held back come on top of what is read. */
	return c->in_fd >= 0 && !c->in_eof && !c->in_stop && !c->done &&
	       c->in_credit > (c->keys.n ? 2 * CLIENT_KEYS_MAX : 0u) &&
	       c->tx_len - c->tx_off < CLIENT_TX_LOW;
}

static void in_read(struct client *c)
{
	size_t n = c->in_credit < PROTO_PAYLOAD_MAX ? (size_t)c->in_credit : PROTO_PAYLOAD_MAX;
	struct proto_wr w;
	bool leave = false;
	ssize_t k;

	client_msg(c, &w, PROTO_HDR_LEN + n);
	proto_wr_begin(&w, PROTO_DATA, PROTO_STDIN);
	if (w.bad || n > w.cap - w.len) {
		client_break(c, ENOMEM, "out of memory");
		return;
	}
	k = in_data(c, &w, n, &leave);
	if (k > 0) {
		w.len += (size_t)k;
		c->in_credit -= (uint64_t)k;
		if (client_queue(c, &w) < 0)
			client_break(c, ENOMEM, "out of memory");
	} else if (k == 0 || (k == -1 && errno != EAGAIN && errno != EINTR)) {
		c->in_error = k < 0 ? errno : 0;
		client_in_end(c);
	}
	if (leave)
		client_leave(c);
}

/* ---- the loop ---------------------------------------------------------- */

static void tx_flush(struct client *c)
{
	while (c->tx_off < c->tx_len && !c->broken) {
		ssize_t n = send(c->fd, c->tx + c->tx_off, c->tx_len - c->tx_off,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n > 0) {
			c->tx_off += (size_t)n;
		} else if (errno == EAGAIN) {
			break;
		} else if (errno != EINTR) {
			/* There may be a last message that says why. */
			c->tx_off = c->tx_len;
			c->in_stop = true;
		}
	}
	if (c->tx_off == c->tx_len) {
		c->tx_off = 0;
		c->tx_len = 0;
	}
}

/* True when there may be more. */
bool client_rx(struct client *c)
{
	ssize_t n = recv(c->fd, c->rx + c->rx_len, sizeof(c->rx) - c->rx_len, MSG_DONTWAIT);

	if (n > 0) {
		c->rx_len += (size_t)n;
		client_input(c);
	} else if (n == 0) {
		client_break(c, ECONNRESET, "the connection to the guest ended");
	} else if (errno != EAGAIN && errno != EINTR) {
		client_break(c, errno, "the connection to the guest: %s", strerror(errno));
	}
	return n > 0 && !c->broken;
}

enum { P_SOCK, P_IN, P_OUT, P_ERR, P_WATCH };

static void fill_poll(struct client *c, struct pollfd *p, const struct client_watch *watch,
		      size_t n_watch)
{
	p[P_SOCK].fd = c->done ? -1 : c->fd;
	p[P_SOCK].events = c->tx_off < c->tx_len ? POLLIN | POLLOUT : POLLIN;
	p[P_IN].fd = in_wanted(c) ? c->in_fd : -1;
	p[P_IN].events = POLLIN;
	for (int i = 0; i < 2; i++) {
		struct client_out *o = &c->out[i];

		/* Without bytes to write, poll still tells that the reader is gone. */
		p[P_OUT + i].fd = o->stopped || o->regular ? -1 : o->fd;
		p[P_OUT + i].events = o->len ? POLLOUT : 0;
	}
	for (size_t i = 0; i < n_watch; i++) {
		p[P_WATCH + i].fd = watch[i].fd;
		p[P_WATCH + i].events = watch[i].events;
	}
	for (size_t i = 0; i < P_WATCH + n_watch; i++)
		p[i].revents = 0;
}

static void out_event(struct client *c, unsigned int s, short revents)
{
	struct client_out *o = &c->out[s];

	if (o->len) {
		out_flush(c, s);
	} else if (revents & (POLLERR | POLLHUP | POLLNVAL)) {
		out_stop(c, s);
	}
}

static bool all_written(const struct client *c)
{
	return !c->out[0].len && !c->out[1].len;
}

/* One turn: 0 or what a watch returned, -ETIMEDOUT. */
static int turn(struct client *c, struct client_watch *watch, size_t n_watch, int64_t deadline)
{
	struct pollfd p[P_WATCH + CLIENT_WATCH_MAX];
	int n, rc;

	tx_flush(c);
	fill_poll(c, p, watch, n_watch);
	n = poll(p, P_WATCH + n_watch, client_time_left(deadline));
	if (n < 0)
		return errno == EINTR ? 0 : client_break(c, errno, "poll: %s", strerror(errno));
	for (size_t i = 0; i < n_watch; i++)
		if (p[P_WATCH + i].revents && watch[i].fd >= 0) {
			rc = watch[i].ready(c, p[P_WATCH + i].revents, watch[i].arg);
			if (rc < 0)
				return client_break(c, -rc, "interrupted");
		}
	for (unsigned int s = 0; s < 2; s++)
		if (p[P_OUT + s].revents)
			out_event(c, s, p[P_OUT + s].revents);
	if (p[P_SOCK].revents & (POLLIN | POLLHUP | POLLERR))
		client_rx(c);
	if (p[P_IN].revents && in_wanted(c))
		in_read(c);
	/* Who always has something to say is late, too, but not with what ends the request. */
	if (!c->done && client_time_left(deadline) == 0)
		return client_break(c, ETIMEDOUT, "the agent did not answer in time");
	return 0;
}

int client_run(struct client *c, struct client_watch *watch, size_t n_watch, int64_t deadline,
	       struct client_err *e)
{
	if (n_watch > CLIENT_WATCH_MAX)
		return client_err_set(e, EINVAL, "too many watches");
	/* A write error of the caller's file ends a transfer, but not a command. */
	while (!c->broken && !(c->done && all_written(c))) {
		int rc = turn(c, watch, n_watch, deadline);

		if (rc < 0)
			break;
		if (!c->exec && c->in_error)
			client_break(c, c->in_error, "read: %s", strerror(c->in_error));
		if (!c->exec && c->out[0].error)
			client_break(c, c->out[0].error, "write: %s", strerror(c->out[0].error));
	}
	c->busy = false;
	if (c->broken)
		return client_err_set(e, c->broken, "%s", c->err.msg);
	if (c->err.code)
		return client_err_set(e, c->err.code, "%s", c->err.msg);
	for (int i = 0; i < 2; i++)
		if (c->out[i].error)
			return client_err_set(e, c->out[i].error, "write %s: %s",
					      i ? "stderr" : "stdout", strerror(c->out[i].error));
	return 0;
}
