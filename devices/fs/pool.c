/* SPDX-License-Identifier: Apache-2.0 */
/*
 * #syscalls clone3 mmap munmap mprotect rt_sigprocmask set_robust_list rseq madvise futex exit
 */
#include "devices/fs/pool.h"
#include "devices/fs/server.h"

static void *worker(void *arg);

/* p->lock held. */
static int spawn(struct pool *p)
{
	int rc = pthread_create(&p->thread[p->started], NULL, worker, p);

	if (rc)
		return -rc;
	p->started++;
	p->alive++;
	p->waiting++;
	return 0;
}

static void *worker(void *arg)
{
	struct pool *p = arg;
	void *own = malloc(p->own_bytes);
	bool last;

	if (own && !fs_thread()) {
		while (!p->next(p, own)) {
			pthread_mutex_lock(&p->lock);
			p->waiting++;
			pthread_mutex_unlock(&p->lock);
		}
	}
	free(own);
	pthread_mutex_lock(&p->lock);
	last = !--p->alive;
	pthread_mutex_unlock(&p->lock);
	if (last)
		p->ended(p);
	return NULL;
}

void pool_busy(struct pool *p)
{
	pthread_mutex_lock(&p->lock);
	/* Without another thread this one serves alone: slower, not wrong. */
	if (!--p->waiting && p->started < POOL_MAX)
		(void)!spawn(p);
	pthread_mutex_unlock(&p->lock);
}

int pool_start(struct pool *p)
{
	int rc;

	pthread_mutex_init(&p->lock, NULL);
	p->started = p->waiting = p->alive = 0;
	pthread_mutex_lock(&p->lock);
	rc = spawn(p);
	pthread_mutex_unlock(&p->lock);
	return rc;
}

void pool_join(struct pool *p)
{
	for (unsigned i = 0;; i++) {
		unsigned n;

		pthread_mutex_lock(&p->lock);
		n = p->started;
		pthread_mutex_unlock(&p->lock);
		if (i >= n)
			break;
		pthread_join(p->thread[i], NULL);
	}
	pthread_mutex_destroy(&p->lock);
}
