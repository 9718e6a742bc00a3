// SPDX-License-Identifier: Apache-2.0
/*
 * proto_exec.c - the messages about executions: EXEC, EXIT, STARTED, EXEC_INFO.
 *
 * An attribute list is read twice where its size decides an allocation (EXEC):
 * once to check and count, once to store pointers. Both passes see the same bytes,
 * which belong to the caller and do not change in between.
 */
#include <errno.h>
#include <string.h>

#include "agent/proto.h"

/* ---- EXEC -------------------------------------------------------------- */

static int get_num(const struct proto_attr *a, uint64_t min, uint64_t max, uint64_t *out)
{
	uint64_t v;

	if (proto_attr_u64(a, &v) < 0 || v < min || v > max)
		return -EBADMSG;
	*out = v;
	return 0;
}

static int get_str(const struct proto_attr *a, size_t max, const char **out)
{
	const char *s = proto_attr_str(a, max);

	if (!s || !*s)
		return -EBADMSG;
	*out = s;
	return 0;
}

/* One attribute of EXEC; the reason is static. */
static const char *exec_attr(struct proto_exec *x, const struct proto_attr *a, uint64_t *rows,
			     uint64_t *cols)
{
	const char *s;

	switch (a->key) {
	case PROTO_K_ARG:
		if (!proto_attr_str(a, PROTO_EXEC_MAX))
			return "an argument is not a string";
		x->argc++;
		return NULL;
	case PROTO_K_ENV:
		s = proto_attr_str(a, PROTO_EXEC_MAX);
		if (!s || *s == '=' || !strchr(s, '='))
			return "an environment entry is not NAME=value";
		x->envc++;
		return NULL;
	case PROTO_K_CWD:
		return get_str(a, PROTO_PATH_MAX, &x->cwd) ? "bad working directory" : NULL;
	case PROTO_K_USER:
		return get_str(a, PROTO_NAME_MAX, &x->user) ? "bad user" : NULL;
	case PROTO_K_GROUP:
		return get_str(a, PROTO_NAME_MAX, &x->group) ? "bad group" : NULL;
	case PROTO_K_TIMEOUT_NS:
		return get_num(a, 0, INT64_MAX, &x->timeout_ns) ? "bad timeout" : NULL;
	case PROTO_K_MAX_OUTPUT:
		return get_num(a, 0, UINT64_MAX, &x->max_output) ? "bad output limit" : NULL;
	case PROTO_K_MEMORY_MAX:
		return get_num(a, 0, INT64_MAX, &x->memory_max) ? "bad memory limit" : NULL;
	case PROTO_K_PIDS_MAX:
		return get_num(a, 0, INT32_MAX, &x->pids_max) ? "bad process limit" : NULL;
	case PROTO_K_CPU_MILLI:
		return get_num(a, 0, 1000000, &x->cpu_milli) ? "bad CPU limit" : NULL;
	case PROTO_K_FLAGS:
		return get_num(a, 0, PROTO_EXEC_FLAGS, &x->flags) ? "bad flags" : NULL;
	case PROTO_K_ROWS:
		return get_num(a, 1, UINT16_MAX, rows) ? "bad number of rows" : NULL;
	case PROTO_K_COLS:
		return get_num(a, 1, UINT16_MAX, cols) ? "bad number of columns" : NULL;
	default:
		return a->flags & PROTO_ATTR_MUST ? "unknown attribute" : NULL;
	}
}

int proto_exec_read(const void *payload, size_t len, struct proto_exec *x, const char **why)
{
	uint64_t rows = 24, cols = 80;
	struct proto_attr a;
	struct proto_rd r;

	memset(x, 0, sizeof(*x));
	x->max_output = UINT64_MAX;
	*why = NULL;
	proto_rd_init(&r, payload, len);
	while (!*why && proto_rd_attr(&r, &a))
		*why = exec_attr(x, &a, &rows, &cols);
	if (!*why && r.bad)
		*why = "truncated attribute";
	if (!*why && !x->argc)
		*why = "no command";
	x->rows = (uint16_t)rows;
	x->cols = (uint16_t)cols;
	return *why ? -EBADMSG : 0;
}

void proto_exec_vectors(const void *payload, size_t len, const char **argv, const char **envp)
{
	struct proto_attr a;
	struct proto_rd r;

	proto_rd_init(&r, payload, len);
	while (proto_rd_attr(&r, &a)) {
		if (a.key == PROTO_K_ARG)
			*argv++ = (const char *)a.val;
		else if (a.key == PROTO_K_ENV)
			*envp++ = (const char *)a.val;
	}
	*argv = NULL;
	*envp = NULL;
}

/* ---- EXIT -------------------------------------------------------------- */

void proto_wr_exit(struct proto_wr *w, uint16_t tag, const struct proto_exit *x)
{
	proto_wr_begin(w, PROTO_EXIT, tag);
	if (x->signal)
		proto_wr_num(w, PROTO_K_SIGNAL, (uint64_t)x->signal);
	else
		proto_wr_num(w, PROTO_K_EXIT_CODE, (uint64_t)x->code);
	proto_wr_num(w, PROTO_K_RESULT, x->result);
	proto_wr_num(w, PROTO_K_WALL_NS, x->wall_ns);
	proto_wr_num(w, PROTO_K_USER_NS, x->user_ns);
	proto_wr_num(w, PROTO_K_SYS_NS, x->sys_ns);
	proto_wr_num(w, PROTO_K_MEM_PEAK, x->mem_peak);
	proto_wr_num(w, PROTO_K_OUT_BYTES, x->out_bytes);
	proto_wr_num(w, PROTO_K_ERR_BYTES, x->err_bytes);
	proto_wr_num(w, PROTO_K_OOM_KILLS, x->oom_kills);
	if (x->msg[0])
		proto_wr_str(w, PROTO_K_MESSAGE, x->msg);
}

static int exit_attr(struct proto_exit *x, const struct proto_attr *a)
{
	uint64_t v;

	if (a->key == PROTO_K_MESSAGE)
		return proto_attr_text(a, x->msg, sizeof(x->msg));
	if (a->key < PROTO_K_EXIT_CODE || a->key > PROTO_K_OOM_KILLS)
		return 0;
	if (proto_attr_u64(a, &v) < 0 || v > INT64_MAX)		/* which JSON could not say */
		return -EBADMSG;
	switch (a->key) {
	case PROTO_K_EXIT_CODE:
		x->code = v <= 255 ? (int)v : -1;
		return v <= 255 ? 0 : -EBADMSG;
	case PROTO_K_SIGNAL:
		x->signal = v >= 1 && v <= 127 ? (int)v : 0;
		return x->signal ? 0 : -EBADMSG;
	case PROTO_K_RESULT: x->result = (uint32_t)v; break;
	case PROTO_K_WALL_NS: x->wall_ns = v; break;
	case PROTO_K_USER_NS: x->user_ns = v; break;
	case PROTO_K_SYS_NS: x->sys_ns = v; break;
	case PROTO_K_MEM_PEAK: x->mem_peak = v; break;
	case PROTO_K_OUT_BYTES: x->out_bytes = v; break;
	case PROTO_K_ERR_BYTES: x->err_bytes = v; break;
	default: x->oom_kills = v; break;
	}
	return 0;
}

int proto_exit_read(const void *payload, size_t len, struct proto_exit *x)
{
	struct proto_attr a;
	struct proto_rd r;

	memset(x, 0, sizeof(*x));
	x->code = -1;
	proto_rd_init(&r, payload, len);
	while (proto_rd_attr(&r, &a))
		if (exit_attr(x, &a) < 0)
			return -EBADMSG;
	/* Exactly one way to end. */
	if (r.bad || (x->code < 0) == (x->signal == 0))
		return -EBADMSG;
	return 0;
}

/* ---- STARTED and EXEC_INFO --------------------------------------------- */

void proto_wr_job(struct proto_wr *w, uint16_t type, uint16_t tag, const struct proto_job *j)
{
	proto_wr_begin(w, type, tag);
	proto_wr_num(w, PROTO_K_PID, j->pid);
	proto_wr_num(w, PROTO_K_EXEC_ID, j->id);
	if (!j->flags && !j->command)
		return;		/* STARTED of an ordinary command: as short as can be */
	proto_wr_num(w, PROTO_K_JOB_FLAGS, j->flags);
	proto_wr_num(w, PROTO_K_DROPPED_OUT, j->dropped[0]);
	proto_wr_num(w, PROTO_K_DROPPED_ERR, j->dropped[1]);
	if (!j->command)
		return;
	if (!(j->flags & PROTO_JOB_RUNNING) && j->res.signal)
		proto_wr_num(w, PROTO_K_SIGNAL, (uint64_t)j->res.signal);
	else if (!(j->flags & PROTO_JOB_RUNNING))
		proto_wr_num(w, PROTO_K_EXIT_CODE, (uint64_t)j->res.code);
	proto_wr_num(w, PROTO_K_RESULT, j->res.result);
	proto_wr_num(w, PROTO_K_WALL_NS, j->res.wall_ns);
	proto_wr_num(w, PROTO_K_OUT_BYTES, j->res.out_bytes);
	proto_wr_num(w, PROTO_K_ERR_BYTES, j->res.err_bytes);
	proto_wr_str(w, PROTO_K_COMMAND, j->command);
}

static int job_attr(struct proto_job *j, const struct proto_attr *a)
{
	uint64_t *num = NULL;

	switch (a->key) {
	case PROTO_K_PID: num = &j->pid; break;
	case PROTO_K_EXEC_ID: num = &j->id; break;
	case PROTO_K_JOB_FLAGS: num = &j->flags; break;
	case PROTO_K_DROPPED_OUT: num = &j->dropped[0]; break;
	case PROTO_K_DROPPED_ERR: num = &j->dropped[1]; break;
	case PROTO_K_COMMAND:
		j->command = j->text;
		return proto_attr_text(a, j->text, sizeof(j->text));
	default:
		return exit_attr(&j->res, a);
	}
	return proto_attr_u64(a, num) < 0 || *num > INT64_MAX ? -EBADMSG : 0;
}

int proto_job_read(const void *payload, size_t len, struct proto_job *j)
{
	struct proto_attr a;
	struct proto_rd r;

	memset(j, 0, sizeof(*j));
	j->res.code = -1;
	proto_rd_init(&r, payload, len);
	while (proto_rd_attr(&r, &a))
		if (job_attr(j, &a) < 0)
			return -EBADMSG;
	if (r.bad || !j->id)
		return -EBADMSG;
	/* What has ended has one way to end, what runs has none. */
	if (j->command && !(j->flags & PROTO_JOB_RUNNING) == ((j->res.code < 0) == !j->res.signal))
		return -EBADMSG;
	return 0;
}
