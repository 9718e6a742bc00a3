// SPDX-License-Identifier: Apache-2.0
/*
 * exec_io.c - a command's stdin, stdout, stderr and terminal.
 *
 * Output is read only when the client has granted credit for that stream and the
 * connection has room; so the command blocks on its own pipe, and no other command
 * and no other stream is affected. Past max_output it is read and dropped.
 *
 * Output of a kept execution goes into a ring as well, with or without a client; a client
 * that comes back is given what the ring has before anything new is read.
 *
 * Input is written as far as the pipe takes it. The rest waits in a buffer of one
 * credit window, which is all that the client may have under way.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <termios.h>
#include <unistd.h>

#include "agent/exec.h"

#define READ_TURNS	4

/* ---- stdin ------------------------------------------------------------- */

static int in_fd(const struct exec *x)
{
	return x->flags & PROTO_EXEC_TTY ? x->out[0].w.fd : x->in.w.fd;
}

void exec_in_close(struct exec *x)
{
	x->in.closed = true;
	if (x->in.len && x->c)
		conn_consumed(x->c, x->in.len);
	x->in.len = 0;
	free(x->in.buf);
	x->in.buf = NULL;
	evloop_del(&x->in.w);
}

/* The command takes no more input: so should the client. */
static void in_broken(struct exec *x)
{
	exec_in_close(x);
	if (x->c)
		conn_send_empty(x->c, PROTO_STOP, PROTO_STDIN);
}

/* Bytes taken, or -1 when stdin is gone. */
static ssize_t in_write(struct exec *x, const uint8_t *p, size_t n)
{
	size_t done = 0;

	while (done < n && x->in.writable) {
		ssize_t k = write(in_fd(x), p + done, n - done);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0 && errno != EAGAIN)
			return -1;
		if (k <= 0 || (size_t)k < n - done)
			x->in.writable = false;
		done += k > 0 ? (size_t)k : 0;
	}
	return (ssize_t)done;
}

/* All input was passed on and more will not come. */
static void in_end(struct exec *x)
{
	struct termios t;

	if ((x->flags & PROTO_EXEC_TTY) && tcgetattr(in_fd(x), &t) == 0 && (t.c_lflag & ICANON))
		(void)in_write(x, &t.c_cc[VEOF], 1);
	exec_in_close(x);
}

static void in_flush(struct exec *x)
{
	ssize_t k;

	if (x->in.closed)
		return;
	if (x->in.len) {
		k = in_write(x, x->in.buf + x->in.off, x->in.len);
		if (k < 0) {
			in_broken(x);
			return;
		}
		x->in.off += (uint32_t)k;
		x->in.len -= (uint32_t)k;
		if (x->c)
			conn_consumed(x->c, (uint32_t)k);
	}
	if (!x->in.len && x->in.eof)
		in_end(x);
}

void exec_data(struct conn *c, const uint8_t *p, size_t n)
{
	struct exec *x = c->job;
	ssize_t k = 0;

	if (!x->in.closed && !x->in.len)
		k = in_write(x, p, n);
	if (k < 0)
		in_broken(x);
	if (x->in.closed) {
		conn_consumed(c, (uint32_t)n);
		return;
	}
	conn_consumed(c, (uint32_t)k);
	p += k;
	n -= (size_t)k;
	if (!n)
		return;
	/* Credit bounds what is here: it all fits into one window. */
	if (!x->in.buf)
		x->in.buf = malloc(PROTO_STDIN_WINDOW);
	if (!x->in.buf || n > PROTO_STDIN_WINDOW - x->in.len) {
		conn_kill(c);
		return;
	}
	if (x->in.off)
		memmove(x->in.buf, x->in.buf + x->in.off, x->in.len);
	x->in.off = 0;
	memcpy(x->in.buf + x->in.len, p, n);
	x->in.len += (uint32_t)n;
}

void exec_in_forget(struct exec *x)
{
	x->in.len = 0;
	if (x->in.eof && !x->in.closed)
		in_end(x);
}

void exec_eof(struct conn *c)
{
	struct exec *x = c->job;

	x->in.eof = true;
	in_flush(x);
}

void exec_in_event(struct watch *w, uint32_t events)
{
	struct exec *x = container_of(w, struct exec, in.w);

	if (events & EPOLLERR) {
		in_broken(x);
	} else {
		x->in.writable = true;
		in_flush(x);
	}
}

/* ---- stdout and stderr ------------------------------------------------- */

/*
 * The command's side is closed: nothing more can come. No EOF is sent: EXIT follows as a
 * rule at once and says the same, and a message costs the guest milliseconds on some hosts.
 */
void exec_out_close(struct exec_out *o)
{
	if (o == o->x->out && (o->x->flags & PROTO_EXEC_TTY))
		exec_in_close(o->x);
	evloop_del(&o->w);
	o->ready = false;
	o->ended = true;
}

/* The sentence that a helper writes when it fails. */
static bool is_report(const struct exec_out *o)
{
	return o->x->helper && o == &o->x->out[1];
}

static void keep_report(struct exec *x, const uint8_t *p, size_t n)
{
	size_t at = strnlen(x->res.msg, sizeof(x->res.msg) - 1);

	if (n > sizeof(x->res.msg) - 1 - at)
		n = sizeof(x->res.msg) - 1 - at;
	memcpy(x->res.msg + at, p, n);
	x->res.msg[at + n] = 0;
}

/* A client is to get what the command writes. */
static bool followed(const struct exec_out *o)
{
	return o->x->c && !o->mute;
}

/* How much may be read now; *drop when it is not for the client. */
size_t exec_out_room(const struct exec_out *o, bool *drop)
{
	const struct exec *x = o->x;
	uint64_t n = PROTO_PAYLOAD_MAX;

	*drop = o->ended || !o->left || is_report(o) || (!followed(o) && !x->kept);
	if (!*drop && followed(o)) {
		uint32_t credit = x->c->out_credit[1 + (o - x->out)];

		n = conn_idle(x->c) && !exec_out_behind(o) ? credit : 0;
		n = n < PROTO_PAYLOAD_MAX ? n : PROTO_PAYLOAD_MAX;
	}
	if (!*drop)
		n = n < o->left ? n : o->left;
	if (!x->pid && !o->ended && n > o->drain)
		n = o->drain;
	return (size_t)n;
}

bool exec_out_behind(const struct exec_out *o)
{
	return followed(o) && o->seen < o->ring.end;
}

void exec_out_replay(struct exec_out *o)
{
	struct conn *c = o->x->c;
	unsigned int stream = (unsigned int)(1 + (o - o->x->out));

	while (exec_out_behind(o) && conn_idle(c) && c->out_credit[stream]) {
		size_t n = c->out_credit[stream];

		n = n < PROTO_PAYLOAD_MAX ? n : PROTO_PAYLOAD_MAX;
		n = ring_get(&o->ring, o->seen, conn_scratch(), n);
		o->seen += n;
		if (n)
			conn_send_data(c, stream, n);
		else
			o->seen = o->ring.end;	/* it was dropped for want of memory */
	}
}

static void out_took(struct exec_out *o, size_t n, bool drop)
{
	struct exec *x = o->x;

	if (!o->ended)
		o->bytes += n;
	if (!x->pid && !o->ended)
		o->drain -= n;
	if (is_report(o)) {
		keep_report(x, conn_scratch(), n);
	} else if (!drop) {
		o->left -= n;
		if (x->kept)
			ring_put(&o->ring, conn_scratch(), n);
		if (followed(o)) {
			o->seen = o->ring.end;
			conn_send_data(x->c, (unsigned int)(1 + (o - x->out)), n);
		}
	} else if (!o->ended) {
		x->res.result |= o == x->out ? PROTO_R_TRUNC_STDOUT : PROTO_R_TRUNC_STDERR;
	}
}

/*
 * Nobody has the terminal open. That is not its end: the command may open it again, and
 * closing our side would hang up on a command that is just about to exit.
 */
static bool tty_at_rest(const struct exec_out *o)
{
	return (o->x->flags & PROTO_EXEC_TTY) && o->x->pid && (o->x->c || o->x->kept);
}

void exec_out_pump(struct exec_out *o)
{
	for (int turn = 0; turn < READ_TURNS && o->ready; turn++) {
		bool drop;
		size_t n = exec_out_room(o, &drop);
		ssize_t k;

		if (!n)
			break;
		k = read(o->w.fd, conn_scratch(), n);
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0 && (errno == EAGAIN || tty_at_rest(o))) {
			o->ready = false;
		} else if (k <= 0) {
			exec_out_close(o);
		} else {
			out_took(o, (size_t)k, drop);
			/* A pipe that gave less than it was asked for is empty. */
			if ((size_t)k < n && !o->hup && !(o->x->flags & PROTO_EXEC_TTY))
				o->ready = false;
		}
	}
	/* After the end, a stream is through when what was in the pipe is through. */
	if (!o->x->pid && !o->ended && (!o->drain || !o->ready))
		o->ended = true;
}

void exec_out_event(struct watch *w, uint32_t events)
{
	struct exec_out *o = container_of(w, struct exec_out, w);
	struct exec *x = o->x;

	if (events & (EPOLLHUP | EPOLLERR))
		o->hup = true;
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		o->ready = true;
	if ((events & EPOLLOUT) && (x->flags & PROTO_EXEC_TTY) && !x->in.closed) {
		x->in.writable = true;
		in_flush(x);
	}
	if (x->c) {
		conn_pump_later(x->c);
	} else if (x->kept && !x->over) {
		evloop_queue(&x->work);
	} else {
		exec_out_pump(o);	/* a background process, or a tree being killed */
		if (o->ready || o->w.fd < 0)
			evloop_timer(&x->timer, evloop_now());
	}
}

void exec_stop(struct conn *c, unsigned int stream)
{
	struct exec *x = c->job;
	struct exec_out *o = &x->out[stream - 1];

	if (x->kept) {
		o->mute = true;	/* others may want it yet */
	} else {
		o->ended = true;	/* no EOF for it */
		exec_out_close(o);
	}
	conn_pump_later(c);
}
