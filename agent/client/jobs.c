// SPDX-License-Identifier: Apache-2.0
/*
 * jobs.c - executions of others: listed, signalled, watched.
 */
#include <errno.h>

#include "agent/client/priv.h"

#define SMALL		1024u
#define READ_TURNS	16	/* of client_events(): who talks all the time has to wait */

void client_on_info(struct client *c, const uint8_t *p, size_t len)
{
	struct proto_job j;

	if ((!c->watching && (!c->busy || c->done || c->request != PROTO_EXEC_LIST)) ||
	    proto_job_read(p, len, &j) < 0 || !j.command)
		client_break(c, EPROTO, "the agent broke the protocol (message %s)",
			     proto_type_name(PROTO_EXEC_INFO));
	else if (c->each_job)
		c->each_job(&j, c->job_arg);
}

int client_jobs(struct client *c, client_job_fn each, void *arg, int timeout_ms,
		struct client_err *e)
{
	int rc = client_begin(c, PROTO_EXEC_LIST, e);

	if (rc < 0)
		return rc;
	c->each_job = each;
	c->job_arg = arg;
	client_send(c, PROTO_EXEC_LIST, c->tag);
	rc = client_run(c, NULL, 0, client_deadline(timeout_ms), e);
	c->each_job = NULL;
	return rc;
}

int client_job_signal(struct client *c, uint64_t id, int signo, enum proto_scope scope,
		      int timeout_ms, struct client_err *e)
{
	struct proto_wr w;
	int rc = client_begin(c, PROTO_EXEC_SIGNAL, e);

	if (rc < 0)
		return rc;
	client_msg(c, &w, SMALL);
	proto_wr_begin(&w, PROTO_EXEC_SIGNAL, c->tag);
	proto_wr_num(&w, PROTO_K_EXEC_ID, id);
	proto_wr_num(&w, PROTO_K_SIGNAL, (uint64_t)signo);
	proto_wr_num(&w, PROTO_K_SCOPE, (uint64_t)scope);
	rc = client_queue(c, &w);
	if (rc < 0)
		return client_err_set(e, -rc, "out of memory");
	return client_run(c, NULL, 0, client_deadline(timeout_ms), e);
}

int client_watch_jobs(struct client *c, int timeout_ms, struct client_err *e)
{
	int rc = client_begin(c, PROTO_EXEC_WATCH, e);

	if (rc < 0)
		return rc;
	c->watching = true;
	client_send(c, PROTO_EXEC_WATCH, c->tag);
	rc = client_run(c, NULL, 0, client_deadline(timeout_ms), e);
	c->ran = true;
	return rc;
}

int client_fd(const struct client *c)
{
	return c->fd;
}

int client_events(struct client *c, client_job_fn each, void *arg, struct client_err *e)
{
	c->each_job = each;
	c->job_arg = arg;
	for (int i = 0; i < READ_TURNS && client_rx(c); i++)
		;
	c->each_job = NULL;
	return c->broken ? client_err_set(e, c->broken, "%s", c->err.msg) : 0;
}
