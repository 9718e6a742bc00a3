/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool.h - the threads that take requests from a transport.
 *
 * There is always one that waits for the next request, up to POOL_MAX: a slow disk holds
 * only those that wait for it.
 */
#ifndef DEVICES_FS_POOL_H
#define DEVICES_FS_POOL_H
#include <pthread.h>
#include "vmm/base.h"

#define POOL_MAX 16u

struct pool {
	/*
	 * Take one request, call pool_busy(), serve it, and return 0; anything else ends this
	 * thread. @own is the thread's memory, of own_bytes.
	 */
	int (*next)(struct pool *p, void *own);
	void (*ended)(struct pool *p);	/* the last thread has gone */
	size_t own_bytes;
	pthread_mutex_t lock;
	pthread_t thread[POOL_MAX];
	unsigned started, waiting, alive;
};

/* Start the first thread. The others come when they are needed. -errno. */
int pool_start(struct pool *p) must_check;
/* From next(): a request was taken. */
void pool_busy(struct pool *p);
/* All have ended, or will at once. */
void pool_join(struct pool *p);
#endif
