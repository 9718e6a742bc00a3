/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool.h - the threads that take requests from a transport.
 *
 * There are so many of them that slow disks do not hold those requests that need none,
 * all made at the start, as none can be made in the jail.
 */
#ifndef DEVICES_FS_POOL_H
#define DEVICES_FS_POOL_H
#include <pthread.h>
#include <stdatomic.h>
#include "vmm/base.h"

#define POOL_THREADS 16u

struct jail;

struct pool {
	/* Take one request, serve it, and return 0; anything else ends this thread. @own is its. */
	int (*next)(struct pool *p, void *own);
	void (*ended)(struct pool *p);	/* the last thread has gone */
	size_t own_bytes;
	const struct jail *jail;	/* each thread is sealed with it; NULL: none */
	pthread_mutex_t lock;
	pthread_cond_t begun;
	int sealed;			/* the worst of jail_seal(); right after pool_start() */
	pthread_t thread[POOL_THREADS];
	void *own[POOL_THREADS];
	unsigned started, ready, alive;
};

/* Start all threads, or at least one; each of them has its filter afterwards. -errno. */
int pool_start(struct pool *p) must_check;
/* All have ended, or will at once. */
void pool_join(struct pool *p);
#endif
