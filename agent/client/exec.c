// SPDX-License-Identifier: Apache-2.0
/*
 * exec.c - executions: begun, attached to, waited for.
 */
#include <errno.h>
#include <string.h>

#include "agent/client/priv.h"

#define SMALL 1024u

static size_t strings_len(const char *const *v)
{
	size_t n = 0;

	for (; v && *v; v++)
		n += PROTO_ATTR_LEN + strlen(*v) + 1;
	return n;
}

static void put_str(struct proto_wr *w, uint16_t key, const char *s)
{
	if (s)
		proto_wr_str(w, key, s);
}

static void put_num(struct proto_wr *w, uint16_t key, uint64_t v)
{
	if (v)
		proto_wr_num(w, key, v);
}

static int send_exec(struct client *c, const struct client_exec *x)
{
	uint64_t flags = (x->tty ? PROTO_EXEC_TTY : 0) |
			 (x->fd[0] >= 0 || x->keep_stdin ? PROTO_EXEC_STDIN : 0) |
			 (x->kill_tree ? PROTO_EXEC_KILL_TREE : 0) |
			 (x->clean_env ? PROTO_EXEC_CLEAN_ENV : 0) |
			 (x->keep ? PROTO_EXEC_KEEP : 0);
	struct proto_wr w;

	client_msg(c, &w, strings_len(x->argv) + strings_len(x->envp) + 3 * PROTO_PATH_MAX);
	proto_wr_begin(&w, PROTO_EXEC, c->tag);
	for (const char *const *a = x->argv; a && *a; a++)
		proto_wr_str(&w, PROTO_K_ARG, *a);
	for (const char *const *a = x->envp; a && *a; a++)
		proto_wr_str(&w, PROTO_K_ENV, *a);
	put_str(&w, PROTO_K_CWD, x->cwd);
	put_str(&w, PROTO_K_USER, x->user);
	put_str(&w, PROTO_K_GROUP, x->group);
	put_num(&w, PROTO_K_TIMEOUT_NS, x->timeout_ns);
	if (x->limit_output)
		proto_wr_num(&w, PROTO_K_MAX_OUTPUT, x->max_output);
	put_num(&w, PROTO_K_MEMORY_MAX, x->memory_max);
	put_num(&w, PROTO_K_PIDS_MAX, x->pids_max);
	put_num(&w, PROTO_K_CPU_MILLI, x->cpu_milli);
	put_num(&w, PROTO_K_ROWS, x->rows);
	put_num(&w, PROTO_K_COLS, x->cols);
	put_num(&w, PROTO_K_FLAGS, flags);
	return client_queue(c, &w);
}

static void fill_result(const struct client *c, struct client_result *r)
{
	const struct proto_exit *x = &c->res;

	memset(r, 0, sizeof(*r));
	r->left = c->left;
	r->id = c->job.id;
	r->pid = c->job.pid;
	memcpy(r->dropped, c->job.dropped, sizeof(r->dropped));
	if (c->left)
		return;
	r->code = x->signal ? -1 : x->code;
	r->signal = x->signal;
	r->timed_out = x->result & PROTO_R_TIMED_OUT;
	r->oom = x->result & PROTO_R_OOM;
	r->not_started = x->result & PROTO_R_NOT_STARTED;
	r->trunc_stdout = x->result & PROTO_R_TRUNC_STDOUT;
	r->trunc_stderr = x->result & PROTO_R_TRUNC_STDERR;
	r->left_running = x->result & PROTO_R_LEFT_RUNNING;
	r->wall_ns = x->wall_ns;
	r->user_ns = x->user_ns;
	r->sys_ns = x->sys_ns;
	r->mem_peak = x->mem_peak;
	r->out_bytes = x->out_bytes;
	r->err_bytes = x->err_bytes;
	r->oom_kills = x->oom_kills;
	memcpy(r->msg, x->msg, sizeof(r->msg));
}

/* One message begins it; then it is followed to its end, or until it is left. */
static int begin(struct client *c, uint16_t type, const struct client_exec *x,
		 struct client_err *e)
{
	int rc = client_begin(c, type, e);

	if (rc < 0)
		return rc;
	c->exec = true;
	c->ran = true;
	if (!x)
		return 0;
	c->start_only = x->keep;
	c->keys = x->leave ? *x->leave : (struct client_keys){ 0 };
	c->tap = x->tap;
	c->tap_arg = x->tap_arg;
	c->in_fd = x->fd[0];
	client_out_attach(&c->out[0], x->fd[1]);
	client_out_attach(&c->out[1], x->tty ? -1 : x->fd[2]);
	return 0;
}

static int run(struct client *c, struct client_watch *watch, size_t n_watch,
	       struct client_result *res, struct client_err *e)
{
	int rc = client_run(c, watch, n_watch, INT64_MAX, e);

	if (rc == 0)
		fill_result(c, res);
	return rc;
}

int client_exec_run(struct client *c, const struct client_exec *x, struct client_watch *watch,
		    size_t n_watch, struct client_result *res, struct client_err *e)
{
	int rc = begin(c, PROTO_EXEC, x, e);

	if (rc < 0)
		return rc;
	for (int i = 0; i < 2 && x->limit_output; i++)
		c->out[i].left = x->max_output;
	if (send_exec(c, x) < 0) {
		c->busy = false;
		return client_err_set(e, E2BIG, "arguments and environment exceed %u bytes",
				      PROTO_EXEC_MAX);
	}
	return run(c, watch, n_watch, res, e);
}

int client_attach_run(struct client *c, uint64_t id, uint32_t flags, const struct client_exec *x,
		      struct client_watch *watch, size_t n_watch, struct client_result *res,
		      struct client_err *e)
{
	struct proto_wr w;
	int rc = begin(c, PROTO_ATTACH, x, e);

	if (rc < 0)
		return rc;
	c->follow = true;
	client_msg(c, &w, SMALL);
	proto_wr_begin(&w, PROTO_ATTACH, c->tag);
	proto_wr_num(&w, PROTO_K_EXEC_ID, id);
	put_num(&w, PROTO_K_FLAGS, flags);
	put_num(&w, PROTO_K_ROWS, x->rows);
	put_num(&w, PROTO_K_COLS, x->cols);
	rc = client_queue(c, &w);
	return rc < 0 ? client_err_set(e, -rc, "out of memory") : run(c, watch, n_watch, res, e);
}

int client_wait(struct client *c, uint64_t id, struct client_watch *watch, size_t n_watch,
		struct client_result *res, struct client_err *e)
{
	struct proto_wr w;
	int rc = begin(c, PROTO_EXEC_WAIT, NULL, e);

	if (rc < 0)
		return rc;
	client_msg(c, &w, SMALL);
	proto_wr_begin(&w, PROTO_EXEC_WAIT, c->tag);
	proto_wr_num(&w, PROTO_K_EXEC_ID, id);
	rc = client_queue(c, &w);
	if (rc < 0)
		return client_err_set(e, -rc, "out of memory");
	rc = run(c, watch, n_watch, res, e);
	res->id = id;
	return rc;
}

void client_leave(struct client *c)
{
	if (!c->leaving && c->started)
		client_send(c, PROTO_DETACH, c->tag);
	c->leaving = true;
}

int client_result_status(const struct client_result *res)
{
	if (res->timed_out)
		return 124;
	return res->signal ? 128 + res->signal : res->code;
}

int client_signal(struct client *c, int signo, enum proto_scope scope)
{
	struct proto_wr w;

	if (signo < 1 || signo > 64)
		return -EINVAL;
	if (c->tx_len - c->tx_off > CLIENT_TX_MAX / 2)
		return -EAGAIN;
	client_msg(c, &w, PROTO_HDR_LEN + 8);
	proto_wr_begin(&w, PROTO_SIGNAL, c->tag);
	proto_wr_u32(&w, (uint32_t)signo);
	proto_wr_u32(&w, (uint32_t)scope);
	return client_queue(c, &w) < 0 ? -EAGAIN : 0;
}

int client_winch(struct client *c, uint16_t rows, uint16_t cols)
{
	struct proto_wr w;

	if (c->tx_len - c->tx_off > CLIENT_TX_MAX / 2)
		return -EAGAIN;
	client_msg(c, &w, PROTO_HDR_LEN + 8);
	proto_wr_begin(&w, PROTO_WINCH, c->tag);
	proto_wr_u16(&w, rows);
	proto_wr_u16(&w, cols);
	proto_wr_u16(&w, 0);
	proto_wr_u16(&w, 0);
	return client_queue(c, &w) < 0 ? -EAGAIN : 0;
}

bool client_started(const struct client *c)
{
	return c->started;
}
