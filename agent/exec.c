// SPDX-License-Identifier: Apache-2.0
/*
 * exec.c - a running command: streams, signals, timeout, end.
 *
 * Output is read only when the client has granted credit for that stream and the
 * connection has room; so the command blocks on its own pipe, and no other command
 * and no other stream is affected. Past max_output it is read and dropped.
 *
 * The end. When the first process is reaped, what its pipes hold at that moment is
 * still sent (FIONREAD; a background process may go on writing), then EXIT. Background
 * processes are left alone: their output is read and dropped as long as they live, so
 * that a server started with `&` does not die of a log line. With KILL_TREE, after a
 * timeout and when the client vanishes, the whole tree is killed instead; EXIT then
 * waits until the cgroup is empty, so that no process is left when the client hears of
 * the end.
 *
 * Without cgroups (on a host, for tests) the tree is the command's session.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "agent/cgroup.h"
#include "agent/exec.h"
#include "agent/session.h"

#define READ_TURNS	4
#define PTY_DRAIN	(1u << 20)
#define PATIENCE_NS	2000000000u	/* for a killed tree to go */
#define RETRY_NS	10000000u

static struct exec *execs;
static unsigned int n_execs, last_id;

static void pump(struct conn *c);

/* ---- killing ----------------------------------------------------------- */

/* SIGKILL to all, once or again. */
static void kill_tree(struct exec *x)
{
	x->killed = true;
	if (x->cgroup && cgroup_kill(x->id) == 0)
		return;
	if (x->pid)
		kill(-x->pid, SIGKILL);
	(void)session_kill(x->sid);
}

/* Without cgroups: who holds the other end of a pipe lives. */
static bool has_writer(const struct exec_out *o)
{
	struct pollfd p = { .fd = o->w.fd };

	return o->w.fd >= 0 && (poll(&p, 1, 0) < 0 || !(p.revents & (POLLHUP | POLLERR)));
}

/* Whether processes of the command live; cleans its cgroup up when not. */
static bool tree_lives(struct exec *x)
{
	if (x->pid)
		return true;
	if (x->cgroup) {
		if (cgroup_remove(x->id) == -EBUSY)
			return true;
		x->cgroup = false;
		return false;
	}
	if (x->killed)
		return session_kill(x->sid) > 0;
	return has_writer(&x->out[0]) || has_writer(&x->out[1]);
}

/* ---- stdin ------------------------------------------------------------- */

static int in_fd(const struct exec *x)
{
	return x->flags & PROTO_EXEC_TTY ? x->out[0].w.fd : x->in.w.fd;
}

static void in_close(struct exec *x)
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
	in_close(x);
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
	in_close(x);
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

static void exec_data(struct conn *c, const uint8_t *p, size_t n)
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

static void exec_eof(struct conn *c)
{
	struct exec *x = c->job;

	x->in.eof = true;
	in_flush(x);
}

static void in_event(struct watch *w, uint32_t events)
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
static void out_close(struct exec_out *o)
{
	if (o == o->x->out && (o->x->flags & PROTO_EXEC_TTY))
		in_close(o->x);
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

/* How much may be read now; *drop when it is not for the client. */
static size_t out_room(const struct exec_out *o, bool *drop)
{
	const struct exec *x = o->x;
	uint64_t n = PROTO_PAYLOAD_MAX;

	*drop = !x->c || o->ended || !o->left || is_report(o);
	if (!*drop) {
		uint32_t credit = x->c->out_credit[1 + (o - x->out)];

		n = conn_idle(x->c) ? credit : 0;
		n = n < o->left ? n : o->left;
		n = n < PROTO_PAYLOAD_MAX ? n : PROTO_PAYLOAD_MAX;
	}
	if (!x->pid && !o->ended && n > o->drain)
		n = o->drain;
	return (size_t)n;
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
		conn_send_data(x->c, (unsigned int)(1 + (o - x->out)), n);
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
	return (o->x->flags & PROTO_EXEC_TTY) && o->x->pid && o->x->c;
}

static void out_pump(struct exec_out *o)
{
	for (int turn = 0; turn < READ_TURNS && o->ready; turn++) {
		bool drop;
		size_t n = out_room(o, &drop);
		ssize_t k;

		if (!n)
			break;
		k = read(o->w.fd, conn_scratch(), n);
		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0 && (errno == EAGAIN || tty_at_rest(o))) {
			o->ready = false;
		} else if (k <= 0) {
			out_close(o);
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

static void out_event(struct watch *w, uint32_t events)
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
	} else {
		out_pump(o);	/* a background process, or a tree being killed */
		if (o->ready || o->w.fd < 0)
			evloop_timer(&x->timer, evloop_now());
	}
}

static void exec_stop(struct conn *c, unsigned int stream)
{
	struct exec *x = c->job;
	struct exec_out *o = &x->out[stream - 1];

	o->ended = true;	/* no EOF for it */
	out_close(o);
	conn_pump_later(c);
}

/* ---- signals and terminal ---------------------------------------------- */

static void exec_signal(struct conn *c, int signo, enum proto_scope scope)
{
	struct exec *x = c->job;
	pid_t group = x->pid;

	if (!x->pid)
		return;
	switch (scope) {
	case PROTO_SCOPE_PROCESS:
		kill(x->pid, signo);
		break;
	case PROTO_SCOPE_GROUP:
		if ((x->flags & PROTO_EXEC_TTY) && x->out[0].w.fd >= 0)
			group = tcgetpgrp(x->out[0].w.fd);
		kill(group > 1 ? -group : -x->pid, signo);
		break;
	case PROTO_SCOPE_TREE:
		if (signo == SIGKILL)
			kill_tree(x);
		else if (!x->cgroup || cgroup_signal(x->id, signo) < 0)
			kill(-x->pid, signo);
		break;
	}
}

static void exec_winch(struct conn *c, const uint16_t size[4])
{
	struct exec *x = c->job;
	struct winsize ws = { size[0], size[1], size[2], size[3] };

	if ((x->flags & PROTO_EXEC_TTY) && x->out[0].w.fd >= 0)
		ioctl(x->out[0].w.fd, TIOCSWINSZ, &ws);
}

/* ---- life -------------------------------------------------------------- */

static void exec_gone(struct conn *c)
{
	struct exec *x = c->job;

	x->c = NULL;
	in_close(x);
	for (int i = 0; i < 2; i++) {
		x->out[i].ended = true;
		out_close(&x->out[i]);
	}
	kill_tree(x);
	evloop_timer(&x->timer, evloop_now() + RETRY_NS);
}

static const struct job_ops exec_ops = {
	.data = exec_data, .eof = exec_eof, .stop = exec_stop, .signal = exec_signal,
	.winch = exec_winch, .pump = pump, .gone = exec_gone,
};

void exec_send_exit(struct conn *c, uint16_t tag, const struct proto_exit *res)
{
	struct proto_wr *w = conn_msg();

	proto_wr_exit(w, tag, res);
	conn_send_msg(c, w);
}

/* A helper's end in terms of its request. */
static void answer(struct exec *x)
{
	const struct proto_hdr about = { .tag = x->c->tag, .type = x->c->request };

	if (x->res.signal)
		conn_error(x->c, &about, EIO, "the agent's file helper was killed");
	else if (x->res.code)
		conn_error(x->c, &about, x->res.code, x->res.msg);
	else
		conn_send_empty(x->c, PROTO_DONE, about.tag);
}

/* EXIT, when all that has to come before it has. */
static void finish(struct exec *x)
{
	struct conn *c = x->c;
	bool lives;

	if (!c || x->pid || !x->out[0].ended || !x->out[1].ended || !conn_idle(c))
		return;
	lives = tree_lives(x);
	if (lives && x->killed && !x->patience_ended)
		return;	/* exec_sweep() and the timer come back here */
	x->res.result |= lives ? PROTO_R_LEFT_RUNNING : 0;
	x->res.out_bytes = x->out[0].bytes;
	x->res.err_bytes = x->out[1].bytes;
	if (x->helper)
		answer(x);
	else
		exec_send_exit(c, c->tag, &x->res);
	conn_job_end(c);
	x->c = NULL;
	evloop_timer_stop(&x->timer);
	if (!lives)
		exec_free(x);
	else
		for (int i = 0; i < 2; i++)
			if (x->out[i].ready)
				evloop_timer(&x->timer, evloop_now());
}

static void pump(struct conn *c)
{
	struct exec *x = c->job;

	/* Streams take turns at being first, so that neither can starve the other. */
	x->turn ^= 1;
	out_pump(&x->out[x->turn]);
	out_pump(&x->out[x->turn ^ 1]);
	for (int i = 0; i < 2; i++) {
		bool drop;

		if (x->out[i].ready && out_room(&x->out[i], &drop))
			conn_pump_later(c);
	}
	finish(x);
}

static void on_timer(struct timer *t)
{
	struct exec *x = container_of(t, struct exec, timer);

	if (x->pid && !x->killed) {
		x->res.result |= PROTO_R_TIMED_OUT;
		kill_tree(x);
		return;
	}
	if (x->c) {
		x->patience_ended = true;
		conn_pump_later(x->c);
		return;
	}
	/* Nobody waits for it any more: what is left is to clean up. */
	for (int i = 0; i < 2; i++)
		out_pump(&x->out[i]);
	if (x->killed && x->pid)
		kill_tree(x);
	if (!tree_lives(x))
		exec_free(x);
	else if (x->killed)
		evloop_timer(&x->timer, evloop_now() + 10 * RETRY_NS);
	else if (x->out[0].ready || x->out[1].ready)
		evloop_timer(&x->timer, evloop_now());
}

static uint64_t tv_ns(const struct timeval *tv)
{
	return (uint64_t)tv->tv_sec * 1000000000u + (uint64_t)tv->tv_usec * 1000u;
}

/* The first process has ended: what is known of its end, and what is still to be sent. */
static void ended(struct exec *x, int status, const struct rusage *ru)
{
	bool clean = WIFEXITED(status) && WEXITSTATUS(status) == 0;

	x->pid = 0;
	x->res.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	x->res.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
	x->res.wall_ns = evloop_now() - x->start_ns;
	x->res.user_ns = tv_ns(&ru->ru_utime);
	x->res.sys_ns = tv_ns(&ru->ru_stime);
	x->res.mem_peak = (uint64_t)ru->ru_maxrss * 1024;
	if (x->cgroup) {
		uint64_t peak = cgroup_mem_peak(x->id);

		x->res.mem_peak = peak ? peak : x->res.mem_peak;
		x->res.oom_kills = clean ? 0 : cgroup_oom_kills(x->id);
	}
	if (x->res.oom_kills && (x->res.signal == SIGKILL || x->res.code == 128 + SIGKILL))
		x->res.result |= PROTO_R_OOM;
	in_close(x);
	for (int i = 0; i < 2; i++) {
		struct exec_out *o = &x->out[i];
		int n = 0;

		if (o->w.fd >= 0 && !(x->flags & PROTO_EXEC_TTY))
			(void)ioctl(o->w.fd, FIONREAD, &n);
		o->drain = x->flags & PROTO_EXEC_TTY ? PTY_DRAIN : (uint64_t)n;
		o->ready = o->w.fd >= 0;
	}
}

void exec_reaped(pid_t pid, int status, const struct rusage *ru)
{
	struct exec *x = execs;

	while (x && x->pid != pid)
		x = x->next;
	if (!x)
		return;
	ended(x, status, ru);
	if (x->flags & PROTO_EXEC_KILL_TREE)
		kill_tree(x);
	if (x->c) {
		evloop_timer(&x->timer, evloop_now() + PATIENCE_NS);
		conn_pump_later(x->c);
	}
}

void exec_sweep(void)
{
	struct exec *x, *next;

	for (x = execs; x; x = next) {
		next = x->next;
		if (x->pid)
			continue;
		if (x->c)
			finish(x);
		else if (!tree_lives(x))
			exec_free(x);
	}
}

void exec_kill_all(void)
{
	for (struct exec *x = execs; x; x = x->next)
		kill_tree(x);
}

struct exec *exec_new(struct conn *c, const struct proto_hdr *h)
{
	struct exec *x = n_execs < EXEC_MAX ? calloc(1, sizeof(*x)) : NULL;

	if (!x)
		return NULL;
	x->id = ++last_id;
	x->c = c;
	x->timer.fn = on_timer;
	x->in.w.fd = -1;
	for (int i = 0; i < 2; i++) {
		x->out[i].w.fd = -1;
		x->out[i].x = x;
	}
	x->next = execs;
	execs = x;
	n_execs++;
	conn_job_start(c, h, &exec_ops, x);
	return x;
}

void exec_free(struct exec *x)
{
	struct exec **p = &execs;

	while (*p != x)
		p = &(*p)->next;
	*p = x->next;
	n_execs--;
	if (x->c)
		conn_job_end(x->c);
	x->c = NULL;
	evloop_timer_stop(&x->timer);
	evloop_del(&x->in.w);
	free(x->in.buf);
	evloop_del(&x->out[0].w);
	evloop_del(&x->out[1].w);
	free(x);
}

void exec_launched(struct exec *x, const int fd[3], uint64_t timeout_ns, uint64_t max_output)
{
	bool tty = x->flags & PROTO_EXEC_TTY;

	x->start_ns = evloop_now();
	x->in.w.fn = in_event;
	x->in.writable = true;
	if (fd[0] >= 0 && evloop_add(&x->in.w, fd[0], EPOLLOUT | EPOLLET) < 0)
		close(fd[0]);
	x->in.closed = !tty && x->in.w.fd < 0;
	for (int i = 0; i < 2; i++) {
		uint32_t events = tty ? EPOLLIN | EPOLLOUT | EPOLLET : EPOLLIN | EPOLLET;
		struct exec_out *o = &x->out[i];

		o->w.fn = out_event;
		o->left = max_output;
		o->ended = fd[1 + i] < 0;
		if (fd[1 + i] >= 0 && evloop_add(&o->w, fd[1 + i], events) < 0) {
			close(fd[1 + i]);
			o->ended = true;
		}
	}
	if (timeout_ns)
		evloop_timer(&x->timer, x->start_ns + timeout_ns);
}
