/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exec_trip SOCKET PORT RUNS CMD [ARG...] - round trips to an agent.
 *
 * Each run is a connection, a ping over it, and another connection with one
 * execution of CMD, as a line of JSON with both times in nanoseconds. PORT 0: SOCKET is
 * that of an agent on this machine (`agent --listen-unix`), so both sides run the same code
 * and differ by the virtual machine only.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "agent/client/client.h"

#define LIMIT_MS 120000

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static _Noreturn void die(const char *what, const struct client_err *e)
{
	fprintf(stderr, "exec_trip: %s: %s\n", what, e->msg);
	exit(1);
}

int main(int argc, char **argv)
{
	struct client_err e = { 0 };
	uint32_t port;

	if (argc < 5)
		return 2;
	port = (uint32_t)strtoul(argv[2], NULL, 10);
	for (int i = atoi(argv[3]); i > 0; i--) {
		struct client_exec x = { .argv = (const char *const *)(argv + 4),
					 .fd = { -1, -1, -1 } };
		struct client_result res = { 0 };
		uint64_t begin = now(), ping, exec;
		struct client *c = client_open(argv[1], port, LIMIT_MS, &e);

		if (!c || client_ping(c, LIMIT_MS, &e))
			die("ping", &e);
		client_close(c);
		ping = now();
		c = client_open(argv[1], port, LIMIT_MS, &e);
		if (!c || client_exec_run(c, &x, NULL, 0, &res, &e))
			die("exec", &e);
		client_close(c);
		exec = now();
		if (client_result_status(&res)) {
			fprintf(stderr, "exec_trip: %s: status %d %s\n", argv[4],
				client_result_status(&res), res.msg);
			return 1;
		}
		printf("{\"ping\": %" PRIu64 ", \"exec\": %" PRIu64 "}\n", ping - begin,
		       exec - ping);
		fflush(stdout);
	}
	return 0;
}
