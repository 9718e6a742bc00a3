// SPDX-License-Identifier: Apache-2.0
/*
 * jobs.c - requests about executions that another connection has started.
 *
 * A connection that waits or watches has a small job of its own, in one list; whoever ends
 * is looked up there. It is never waited for: one that does not read what it asked for is
 * dropped.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/sysinfo.h>
#include <termios.h>
#include <unistd.h>

#include "agent/jobs.h"

#define BUDGET_MIN	(1u << 20)
#define BUDGET_MAX	(16u << 20)
#define BUDGET_PART	32u	/* of the guest's memory */

struct waiter {
	struct waiter *next;
	struct conn *c;
	unsigned int id;	/* 0: it watches all */
};

/* A request's attributes. */
struct ask {
	uint64_t id, flags, signal, scope;
	uint64_t rows, cols;
};

static struct waiter *waiters;

void jobs_init(void)
{
	struct sysinfo si;
	uint64_t n = sysinfo(&si) < 0 ? 0 : (uint64_t)si.totalram * si.mem_unit / BUDGET_PART;

	ring_budget(n < BUDGET_MIN ? BUDGET_MIN : n > BUDGET_MAX ? BUDGET_MAX : (size_t)n);
}

/* ---- requests ---------------------------------------------------------- */

static void refuse(struct conn *c, const struct proto_hdr *h, int code, uint64_t id,
		   const char *what)
{
	char msg[96];

	snprintf(msg, sizeof(msg), "execution %llu %s", (unsigned long long)id, what);
	conn_error(c, h, code, msg);
}

static bool read_ask(struct ask *k, const struct proto_hdr *h, const uint8_t *payload)
{
	struct proto_attr a;
	struct proto_rd r;
	bool ok = true;

	*k = (struct ask){ .scope = PROTO_SCOPE_TREE };
	proto_rd_init(&r, payload, h->len);
	while (ok && proto_rd_attr(&r, &a)) {
		uint64_t *to = a.key == PROTO_K_EXEC_ID ? &k->id :
			       a.key == PROTO_K_FLAGS ? &k->flags :
			       a.key == PROTO_K_SIGNAL ? &k->signal :
			       a.key == PROTO_K_SCOPE ? &k->scope :
			       a.key == PROTO_K_ROWS ? &k->rows :
			       a.key == PROTO_K_COLS ? &k->cols : NULL;

		ok = to ? proto_attr_u64(&a, to) == 0 : !(a.flags & PROTO_ATTR_MUST);
	}
	return ok && !r.bad && k->flags <= (PROTO_ATTACH_REPLAY | PROTO_ATTACH_TAKE) &&
	       k->scope <= PROTO_SCOPE_TREE && k->rows <= UINT16_MAX && k->cols <= UINT16_MAX;
}

static struct exec *find(uint64_t id)
{
	struct exec *x = exec_first();

	while (x && (x->id != id || x->helper))
		x = x->next;
	return x;
}

/* ---- list -------------------------------------------------------------- */

static void describe(const struct exec *x, struct proto_job *j)
{
	bool in = x->flags & (PROTO_EXEC_STDIN | PROTO_EXEC_TTY);

	*j = (struct proto_job){
		.id = x->id, .pid = (uint64_t)x->sid, .command = x->command, .res = x->res,
		.flags = (x->flags & PROTO_EXEC_TTY ? PROTO_JOB_TTY : 0) |
			 (in && !x->in.closed ? PROTO_JOB_STDIN : 0) |
			 (x->kept ? PROTO_JOB_KEPT : 0) | (x->c ? PROTO_JOB_ATTACHED : 0) |
			 (x->over ? 0 : PROTO_JOB_RUNNING) | (x->lives ? PROTO_JOB_BACKGROUND : 0),
		.dropped = { ring_begin(&x->out[0].ring), ring_begin(&x->out[1].ring) },
	};
	j->res.out_bytes = x->out[0].bytes;
	j->res.err_bytes = x->out[1].bytes;
	if (!x->over)
		j->res.wall_ns = evloop_now() - x->start_ns;
}

static void send_info(struct conn *c, uint16_t tag, const struct exec *x)
{
	struct proto_wr *w = conn_msg();
	struct proto_job j;

	describe(x, &j);
	proto_wr_job(w, PROTO_EXEC_INFO, tag, &j);
	conn_send_msg(c, w);
}

static void list(struct conn *c, const struct proto_hdr *h)
{
	for (const struct exec *x = exec_first(); x; x = x->next)
		if (!x->helper)
			send_info(c, h->tag, x);
	conn_send_empty(c, PROTO_DONE, h->tag);
}

/* ---- attach ------------------------------------------------------------ */

/* The terminal as large as the one before the person, and drawn anew. */
static void fit_terminal(const struct exec *x, const struct ask *k)
{
	struct winsize ws = { (unsigned short)k->rows, (unsigned short)k->cols, 0, 0 };
	pid_t group;

	if (!(x->flags & PROTO_EXEC_TTY) || x->out[0].w.fd < 0 || !k->rows || !k->cols)
		return;
	ioctl(x->out[0].w.fd, TIOCSWINSZ, &ws);
	group = tcgetpgrp(x->out[0].w.fd);
	if (group > 1)
		kill(-group, SIGWINCH);
}

/* From where on it gets the output; what it cannot get any more is told. */
static uint64_t rewind_to(struct exec_out *o, bool replay)
{
	uint64_t begin = ring_begin(&o->ring), from = replay ? 0 : o->seen, gone;

	gone = from < begin ? begin - from : 0;
	o->seen = from + gone;
	o->mute = false;
	return gone;
}

static void attach(struct conn *c, const struct proto_hdr *h, const struct ask *k, struct exec *x)
{
	bool replay = k->flags & PROTO_ATTACH_REPLAY;
	struct proto_wr *w;
	struct proto_job j;

	if (!x->kept) {
		refuse(c, h, EPERM, k->id, "belongs to the command that started it");
		return;
	}
	if (x->c && !(k->flags & PROTO_ATTACH_TAKE)) {
		refuse(c, h, EBUSY, k->id, "has another command attached to it");
		return;
	}
	if (x->c)
		exec_leave(x);
	exec_follow(x, c, h);
	exec_in_forget(x);
	describe(x, &j);
	j.command = NULL;
	for (int i = 0; i < 2; i++)
		j.dropped[i] = rewind_to(&x->out[i], replay);
	w = conn_msg();
	proto_wr_job(w, PROTO_STARTED, h->tag, &j);
	conn_send_msg(c, w);
	if (x->in.closed)
		conn_send_empty(c, PROTO_STOP, PROTO_STDIN);
	fit_terminal(x, k);
	conn_pump_later(c);
}

/* ---- wait and watch ---------------------------------------------------- */

static void gone(struct conn *c)
{
	struct waiter **p = &waiters, *w = c->job;

	while (*p != w)
		p = &(*p)->next;
	*p = w->next;
	free(w);
}

static const struct job_ops wait_ops = { .gone = gone };

static void wait_for(struct conn *c, const struct proto_hdr *h, const struct exec *x)
{
	struct waiter *w;

	if (x && x->over) {
		exec_send_exit(c, h->tag, &x->res);
		return;
	}
	w = calloc(1, sizeof(*w));
	if (!w) {
		conn_error(c, h, ENOMEM, "the agent is out of memory");
		return;
	}
	w->c = c;
	w->id = x ? x->id : 0;
	w->next = waiters;
	waiters = w;
	conn_job_start(c, h, &wait_ops, w);
	if (!x)
		conn_send_empty(c, PROTO_DONE, h->tag);
}

void jobs_ended(const struct exec *x)
{
	struct waiter *w, *next;

	for (w = waiters; w; w = next) {
		next = w->next;
		if (w->c->tx_len - w->c->tx_off > CONN_TX_HIGH) {
			conn_kill(w->c);
		} else if (w->id == x->id) {
			struct conn *c = w->c;

			exec_send_exit(c, c->tag, &x->res);
			gone(c);
			conn_job_end(c);
		} else if (!w->id && x->kept) {
			send_info(w->c, w->c->tag, x);
		}
	}
}

/* ---- all of them ------------------------------------------------------- */

void jobs_request(struct conn *c, const struct proto_hdr *h, const uint8_t *payload)
{
	struct exec *x;
	struct ask k;

	if (!read_ask(&k, h, payload)) {
		conn_error(c, h, EINVAL, "a bad or unknown attribute");
		return;
	}
	if (h->type == PROTO_EXEC_LIST) {
		list(c, h);
		return;
	}
	x = h->type == PROTO_EXEC_WATCH ? NULL : find(k.id);
	if (!x && h->type != PROTO_EXEC_WATCH)
		refuse(c, h, ENOENT, k.id, "is not known here");
	else if (h->type == PROTO_ATTACH)
		attach(c, h, &k, x);
	else if (h->type != PROTO_EXEC_SIGNAL)
		wait_for(c, h, x);
	else if (k.signal < 1 || k.signal > 64)
		conn_error(c, h, EINVAL, "a signal is a number from 1 to 64");
	else if (exec_kill(x, (int)k.signal, (enum proto_scope)k.scope) < 0)
		refuse(c, h, ESRCH, k.id, "has ended");
	else
		conn_send_empty(c, PROTO_DONE, h->tag);
}
