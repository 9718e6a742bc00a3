/* SPDX-License-Identifier: Apache-2.0 */
/*
 * evloop.h - the agent's only loop: descriptors, deferred work, timers.
 *
 * One thread, one epoll instance. Watches of streams are edge-triggered, so
 * that no epoll_ctl() is needed when interest changes: a handler notes that a
 * descriptor is ready, and forgets it on EAGAIN.
 */
#ifndef AGENT_EVLOOP_H
#define AGENT_EVLOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct watch {
	int fd;		/* -1: not in the loop */
	void (*fn)(struct watch *w, uint32_t events);
};

struct work {
	struct work *next;
	bool queued;
	void (*fn)(struct work *w);
};

struct timer {
	struct timer *next;
	bool armed;
	uint64_t at_ns;	/* CLOCK_MONOTONIC */
	void (*fn)(struct timer *t);
};

#ifndef container_of
#define container_of(p, T, m) ((T *)(void *)((char *)(p) - offsetof(T, m)))
#endif

int evloop_init(void);
/* Own fd from success on. `events` as for epoll. 0 or -errno. */
int evloop_add(struct watch *w, int fd, uint32_t events);
/* Close the descriptor; no event of it is delivered any more. */
void evloop_del(struct watch *w);
/* Run w->fn once, after the handlers of this turn; queued twice is queued once. */
void evloop_queue(struct work *w);
void evloop_unqueue(struct work *w);
void evloop_timer(struct timer *t, uint64_t at_ns);
void evloop_timer_stop(struct timer *t);
uint64_t evloop_now(void);
/* One turn; with `wait` it sleeps until something happens. 0 or -errno. */
int evloop_turn(bool wait);
/* Turns until evloop_stop(). */
int evloop_run(void);
void evloop_stop(void);
#endif
