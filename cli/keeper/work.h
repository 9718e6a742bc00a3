/* SPDX-License-Identifier: Apache-2.0 */
/*
 * work.h - one piece of the keeper's work that takes long, on a thread of its own: the keeper
 * goes on serving meanwhile. Requests that must not come between (keeper_call.alone) wait
 * until it is done.
 */
#ifndef CLI_KEEPER_WORK_H
#define CLI_KEEPER_WORK_H
#include <pthread.h>
#include "cli/keeper/keeper.h"

#define KEEPER_LATER 1		/* result of a serve function: the thread will answer */

struct keeper_work {
	bool at_work;
	int done;		/* eventfd, readable once work() has returned; -1: none yet */
	int conn;		/* who gets the answer; -1: who asked has gone */
	int rc;			/* of work() */
	struct err e;
	void *arg;
	pthread_t thread;
	/* On the thread: nothing of the keeper's but what @arg lends it. 0 or -errno. */
	int (*work)(void *arg, struct err *e);
	/* On the loop: work() returned @rc. Frees @arg. 0, or -errno with a sentence. */
	int (*end)(struct keeper *k, void *arg, int rc, json_t *answer, struct err *e);
};

/* Begin; the caller has set work, end and arg, which are free again on failure. */
int keeper_work_start(struct keeper *k, const struct keeper_req *r, struct err *e) must_check;
/* Wait for its end if one is at work, and finish it. */
void keeper_work_end(struct keeper *k);
#endif
