// SPDX-License-Identifier: Apache-2.0
/*
 * The agent's connection state machine. Requests start a job that does nothing but
 * check what the connection promises to jobs: valid credit, no data after the end.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/conn.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t held;	/* bytes of stream 0 not yet reported as consumed */
static bool ended;

static void job_data(struct conn *c, const uint8_t *p, size_t n)
{
	uint8_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum = (uint8_t)(sum + p[i]);
	held += n;
	if (ended || held > PROTO_STDIN_WINDOW || c->in_credit > PROTO_STDIN_WINDOW)
		abort();
	if (sum & 1) {
		conn_consumed(c, (uint32_t)held);
		held = 0;
	}
}

static void job_eof(struct conn *c)
{
	(void)c;
	if (ended)
		abort();
	ended = true;
}

static void job_stop(struct conn *c, unsigned int stream)
{
	if (stream != 1 && stream != 2)
		abort();
	conn_send_empty(c, PROTO_DONE, c->tag);
	conn_job_end(c);
}

static void job_signal(struct conn *c, int signo, enum proto_scope scope)
{
	(void)c;
	if (signo < 1 || signo > 64 || scope > PROTO_SCOPE_TREE)
		abort();
}

static void job_pump(struct conn *c)
{
	size_t n = c->out_credit[1] < 5000 ? c->out_credit[1] : 5000;

	if (c->out_credit[1] > PROTO_CREDIT_MAX || c->out_credit[2] > PROTO_CREDIT_MAX)
		abort();
	if (n && conn_idle(c))
		conn_send_data(c, 1, n);
}

static void job_gone(struct conn *c)
{
	conn_job_end(c);
}

static const struct job_ops ops = {
	.data = job_data, .eof = job_eof, .stop = job_stop, .signal = job_signal,
	.pump = job_pump, .gone = job_gone,
};

static bool request(struct conn *c, const struct proto_hdr *h, const uint8_t *payload)
{
	const char *why;
	struct proto_exec x;

	if (h->type != PROTO_EXEC || c->ops)
		return false;
	if (proto_exec_read(payload, h->len, &x, &why) < 0) {
		conn_error(c, h, EINVAL, why);
		return true;
	}
	held = 0;
	ended = false;
	conn_job_start(c, h, &ops, &held);
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct conn *c;
	int sv[2];

	signal(SIGPIPE, SIG_IGN);	/* the agent blocks it */
	if (evloop_init() < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv) < 0)
		abort();
	conn_env.request = request;
	conn_env.hello = (struct proto_hello){ 1, 1, 0, 0, PROTO_STDIN_WINDOW };
	c = conn_new(sv[0]);
	if (!c)
		abort();
	/* The first byte says in which pieces the rest comes. */
	for (size_t at = 1, step = size ? (size_t)data[0] * 16 + 1 : 1; at < size; at += step) {
		size_t n = size - at < step ? size - at : step;

		conn_input(c, data + at, n);
		if (c->dead)
			break;
	}
	close(sv[1]);
	for (int i = 0; i < 20 && conn_env.n; i++)
		evloop_turn(false);
	if (conn_env.n)
		abort();
	return 0;
}
