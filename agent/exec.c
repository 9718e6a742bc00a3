// SPDX-License-Identifier: Apache-2.0
/*
 * exec.c - a running command: signals, timeout, end.
 *
 * The end. When the first process is reaped, what its pipes hold at that moment is
 * still sent (FIONREAD; a background process may go on writing), then EXIT. Background
 * processes are left alone: their output is read and dropped as long as they live, so
 * that a server started with `&` does not die of a log line. With KILL_TREE, after a
 * timeout and when the client vanishes, the whole tree is killed instead; EXIT then
 * waits until the cgroup is empty, so that no process is left when the client hears of
 * the end.
 *
 * A kept execution (jobs.h) does not need a client: its output goes into rings, its end is
 * noted, and the record stays until newer ones need the room.
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
#include "agent/jobs.h"
#include "agent/session.h"

#define PTY_DRAIN	(1u << 20)
#define PATIENCE_NS	2000000000u	/* for a killed tree to go */
#define RETRY_NS	10000000u
#define ENDED_MAX	64u	/* records of kept executions that have ended */

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

/* ---- signals and terminal ---------------------------------------------- */

int exec_kill(struct exec *x, int signo, enum proto_scope scope)
{
	pid_t group = x->pid;

	if (!x->pid && !(x->lives && scope == PROTO_SCOPE_TREE))
		return -ESRCH;
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
		else if ((!x->cgroup || cgroup_signal(x->id, signo) < 0) && x->pid)
			kill(-x->pid, signo);
		break;
	}
	return 0;
}

static void exec_signal(struct conn *c, int signo, enum proto_scope scope)
{
	(void)exec_kill(c->job, signo, scope);
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
	if (x->kept) {
		evloop_queue(&x->work);
		return;
	}
	exec_in_close(x);
	for (int i = 0; i < 2; i++) {
		x->out[i].ended = true;
		exec_out_close(&x->out[i]);
	}
	kill_tree(x);
	evloop_timer(&x->timer, evloop_now() + RETRY_NS);
}

static void leave(struct conn *c)
{
	struct exec *x = c->job;

	if (!x->helper)
		exec_leave(x);
}

static const struct job_ops exec_ops = {
	.data = exec_data, .eof = exec_eof, .stop = exec_stop, .signal = exec_signal,
	.winch = exec_winch, .pump = pump, .gone = exec_gone,
	.leave = leave,
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

/* All processes of it are gone, and its end was told: what is kept is the record. */
static void rest(struct exec *x)
{
	x->lives = false;
	evloop_timer_stop(&x->timer);
	exec_in_close(x);
	evloop_del(&x->out[0].w);
	evloop_del(&x->out[1].w);
	if (!x->kept)
		exec_free(x);
}

/* The first process has ended and what it wrote was read. False: not the end yet. */
static bool note_end(struct exec *x)
{
	bool lives = tree_lives(x);

	if (lives && x->killed && !x->patience_ended)
		return false;	/* exec_sweep() and the timer come back here */
	x->over = true;
	x->lives = lives;
	x->res.result |= lives ? PROTO_R_LEFT_RUNNING : 0;
	x->res.out_bytes = x->out[0].bytes;
	x->res.err_bytes = x->out[1].bytes;
	evloop_timer_stop(&x->timer);
	for (int i = 0; lives && i < 2; i++)
		if (x->out[i].ready)
			evloop_timer(&x->timer, evloop_now());
	jobs_ended(x);
	return true;
}

/* EXIT, when all that has to come before it has. */
static void finish(struct exec *x)
{
	struct conn *c = x->c;

	if (x->pid || !x->out[0].ended || !x->out[1].ended || (c ? !conn_idle(c) : !x->kept))
		return;
	if (!x->over && !note_end(x))
		return;
	if (c && (exec_out_behind(&x->out[0]) || exec_out_behind(&x->out[1])))
		return;
	if (c) {
		if (x->helper)
			answer(x);
		else
			exec_send_exit(c, c->tag, &x->res);
		conn_job_end(c);
		x->c = NULL;
	}
	if (!x->lives)
		rest(x);
}

static void pump_exec(struct exec *x)
{
	/* Streams take turns at being first, so that neither can starve the other. */
	x->turn ^= 1;
	for (unsigned int i = 0; i < 2; i++) {
		struct exec_out *o = &x->out[x->turn ^ i];

		exec_out_replay(o);
		exec_out_pump(o);
	}
	for (int i = 0; i < 2; i++) {
		bool drop;

		if (!x->out[i].ready || !exec_out_room(&x->out[i], &drop))
			continue;
		if (x->c)
			conn_pump_later(x->c);
		else
			evloop_queue(&x->work);
	}
	finish(x);
}

static void pump(struct conn *c)
{
	pump_exec(c->job);
}

/* Without client. */
static void on_work(struct work *w)
{
	struct exec *x = container_of(w, struct exec, work);

	if (!x->c)
		pump_exec(x);
}

/* Have it go on, in the next turn. */
static void stir(struct exec *x)
{
	if (x->c)
		conn_pump_later(x->c);
	else if (x->kept)
		evloop_queue(&x->work);
}

static void on_timer(struct timer *t)
{
	struct exec *x = container_of(t, struct exec, timer);

	if (x->pid && !x->killed) {
		x->res.result |= PROTO_R_TIMED_OUT;
		kill_tree(x);
		return;
	}
	if (!x->over && (x->c || x->kept)) {
		x->patience_ended = true;
		stir(x);
		return;
	}
	/* Nobody waits for it any more: what is left is to clean up. */
	for (int i = 0; i < 2; i++)
		exec_out_pump(&x->out[i]);
	if (x->killed && x->pid)
		kill_tree(x);
	if (!tree_lives(x))
		rest(x);
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
	exec_in_close(x);
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
	if (x->c || x->kept) {
		evloop_timer(&x->timer, evloop_now() + PATIENCE_NS);
		stir(x);
	}
}

void exec_sweep(void)
{
	struct exec *x, *next;

	for (x = execs; x; x = next) {
		next = x->next;
		if (x->pid || (x->over && !x->lives))
			continue;
		if (!x->over && (x->c || x->kept))
			finish(x);
		else if (!tree_lives(x))
			rest(x);
	}
}

void exec_kill_all(void)
{
	for (struct exec *x = execs; x; x = x->next)
		kill_tree(x);
}

struct exec *exec_first(void)
{
	return execs;
}

void exec_follow(struct exec *x, struct conn *c, const struct proto_hdr *h)
{
	x->c = c;
	conn_job_start(c, h, &exec_ops, x);
}

void exec_let_go(struct exec *x)
{
	conn_job_end(x->c);
	x->kept = true;
	x->c = NULL;
	stir(x);
}

void exec_leave(struct exec *x)
{
	conn_send_empty(x->c, PROTO_DONE, x->c->tag);
	exec_let_go(x);
}

/* The records of what has ended make room for what is to run. */
static void make_room(void)
{
	struct exec *oldest;
	unsigned int ended;

	do {
		oldest = NULL;
		ended = 0;
		for (struct exec *x = execs; x; x = x->next)
			if (x->over && !x->lives && !x->c) {
				ended++;
				oldest = x;	/* new ones come first */
			}
		if (oldest && (ended > ENDED_MAX || n_execs >= EXEC_MAX))
			exec_free(oldest);
	} while (oldest && ended > ENDED_MAX + 1);
}

struct exec *exec_new(struct conn *c, const struct proto_hdr *h)
{
	struct exec *x;

	make_room();
	x = n_execs < EXEC_MAX ? calloc(1, sizeof(*x)) : NULL;
	if (!x)
		return NULL;
	x->id = ++last_id;
	x->timer.fn = on_timer;
	x->work.fn = on_work;
	x->in.w.fd = -1;
	for (int i = 0; i < 2; i++) {
		x->out[i].w.fd = -1;
		x->out[i].x = x;
	}
	x->next = execs;
	execs = x;
	n_execs++;
	exec_follow(x, c, h);
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
	if (!x->over && x->start_ns)
		jobs_ended(x);
	evloop_timer_stop(&x->timer);
	evloop_unqueue(&x->work);
	ring_drop(&x->out[0].ring);
	ring_drop(&x->out[1].ring);
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
	x->in.w.fn = exec_in_event;
	x->in.writable = true;
	if (fd[0] >= 0 && evloop_add(&x->in.w, fd[0], EPOLLOUT | EPOLLET) < 0)
		close(fd[0]);
	x->in.closed = !tty && x->in.w.fd < 0;
	for (int i = 0; i < 2; i++) {
		uint32_t events = tty ? EPOLLIN | EPOLLOUT | EPOLLET : EPOLLIN | EPOLLET;
		struct exec_out *o = &x->out[i];

		o->w.fn = exec_out_event;
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
