/* SPDX-License-Identifier: Apache-2.0 */
/* server.h - listeners, READY, children, and which module serves which request. */
#ifndef AGENT_SERVER_H
#define AGENT_SERVER_H

#include <stdbool.h>
#include <stdint.h>

struct server_conf {
	const char *unix_path;	/* listen on this Unix socket; NULL: on vsock */
	const char *stream;	/* also serve one connection on this character device; or NULL */
	const char *cgroup;	/* cgroup v2 folder; NULL: none */
	const char *self;	/* the agent's program, for helpers */
	bool init;		/* PID 1 of a guest */
};

/*
 * Set everything up and serve until SIGTERM. Blocks all signals. Does not return
 * in a guest unless the set-up fails. 0 or -errno, with *what naming the step.
 */
int server_run(const struct server_conf *conf, const char **what);
#endif
