/* SPDX-License-Identifier: Apache-2.0 */
/*
 * #syscalls:fs futex
 */
#include <sys/prctl.h>
#include "devices/fs/pool.h"
#include "devices/fs/server.h"
#include "vmm/jail.h"

/*
 * Nobody takes a request before all are here, so that one look from outside sees them all.
 * Returns the thread's own memory.
 */
static void *begin(struct pool *p, int sealed)
{
	void *own;

	pthread_mutex_lock(&p->lock);
	if (sealed)
		p->sealed = sealed;
	own = p->own[p->ready++];
	pthread_cond_broadcast(&p->begun);
	while (p->ready < p->started)
		pthread_cond_wait(&p->begun, &p->lock);
	pthread_mutex_unlock(&p->lock);
	return own;
}

static void *worker(void *arg)
{
	struct pool *p = arg;
	int rc = fs_thread(), sealed = 0;
	void *own;
	bool last;

	if (p->jail)
		sealed = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ? -errno :
			jail_seal(p->jail, JAIL_CLASS_FS);
	own = begin(p, sealed);
	while (!rc)
		rc = p->next(p, own);
	/* In a jail only the end of the process can give things back. */
	if (p->jail && p->jail->mode != JAIL_NONE)
		_exit(rc == -EPIPE || rc == -ENODEV ? 0 : 1);
	pthread_mutex_lock(&p->lock);
	last = !--p->alive;
	pthread_mutex_unlock(&p->lock);
	if (last)
		p->ended(p);
	return NULL;
}

int pool_start(struct pool *p)
{
	int rc = 0;

	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->begun, NULL);
	pthread_mutex_lock(&p->lock);
	for (p->started = p->ready = 0; !rc && p->started < POOL_THREADS;) {
		void **own = &p->own[p->started];

		*own = malloc(p->own_bytes);
		rc = *own ? -pthread_create(&p->thread[p->started], NULL, worker, p) : -ENOMEM;
		if (rc)
			free(*own);
		p->started += !rc;
	}
	p->alive = p->started;
	while (p->ready < p->started)
		pthread_cond_wait(&p->begun, &p->lock);
	pthread_mutex_unlock(&p->lock);
	return p->started ? 0 : rc;
}

void pool_join(struct pool *p)
{
	for (unsigned i = 0; i < p->started; i++) {
		pthread_join(p->thread[i], NULL);
		free(p->own[i]);
	}
	pthread_cond_destroy(&p->begun);
	pthread_mutex_destroy(&p->lock);
}
