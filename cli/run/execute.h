/* SPDX-License-Identifier: Apache-2.0 */
/*
 * execute.h - one command on a connection to an agent, as a rule attached to this process:
 * streams, terminal, signals, limits, result. `run` and `exec` have it in common; whose
 * machine it is, and how its end is noticed, their callers say.
 *
 * Main thread only. Call in the order of the functions.
 */
#ifndef CLI_RUN_EXECUTE_H
#define CLI_RUN_EXECUTE_H
#include "agent/client/client.h"
#include "cli/base/result.h"
#include "cli/run/conf.h"
#include "cli/run/record.h"

struct execution {
	const struct run_conf *conf;	/* the command and what it is given */
	const char *verb;		/* for sentences */
	const char *late;		/* what is done when --timeout is not kept; NULL: no more */
	/* The connection broke: true with a sentence in *e if it is known why. May be NULL. */
	bool (*explain)(void *arg, struct err *e);
	void *arg;
	bool leavable;			/* conf->keys leave it running; so does conf->detach */
	uint64_t follow;		/* attach to this one instead of starting one; 0: no */
	uint32_t follow_flags;		/* enum proto_attach_flag */
	bool feed;			/* with follow: pass stdin on */
	bool wait;			/* with follow: only wait for its end */
	struct record *record;		/* NULL: none */

	uint64_t id, pid;		/* out: in the guest; 0: it was not started */
	bool left;			/* out: it goes on without us */
	uint64_t dropped;		/* out: with follow: bytes that were not kept */
	struct result res;		/* out */
	struct err e;			/* what the person is told; msg "" for nothing */
	int sigfd;
	int ended_by;			/* signal that ended the wait for it; 0: none */
	/* Private. */
	struct client_watch watch[CLIENT_WATCH_MAX];
	size_t n_watch;
	int timer;
	int capture[2];			/* --json: memfds for stdout and stderr; or -1 */
	bool too_late;			/* the agent did not keep --timeout */
	uint64_t insist[3];		/* when SIGINT and SIGTERM came, newest first */
	struct client *client;
	struct env env;			/* conf's, and the secrets */
};

/* Take the signals and make room for kept output. 0 or -errno with a sentence in x->e. */
int execution_begin(struct execution *x, const char *verb, const struct run_conf *c) must_check;
/*
 * What else is watched while it runs; how the machine ends must be among it. The
 * callback may set the fd of what is returned to -1.
 */
struct client_watch *execution_watch(struct execution *x, int fd,
				     int (*ready)(struct client *c, short revents, void *arg),
				     void *arg);
/* Run the command to its end; the exit status. */
int execution_run(struct execution *x, struct client *client);
/* Tell the person what a number would not. */
void execution_remark(const struct execution *x);
/* Write the machine-readable results; returns @status, or another one if that failed. */
int execution_report(struct execution *x, int status);
void execution_end(struct execution *x);

#define EXECUTION_NONE { .sigfd = -1, .timer = -1, .capture = { -1, -1 } }
#endif
