// SPDX-License-Identifier: Apache-2.0
/*
 * evloop.c - epoll, a list of work and a list of timers.
 *
 * A handler may remove any watch, also one whose event is still to be
 * delivered in this turn; evloop_del() therefore strikes it from the rest of the
 * batch. Work that queues itself again runs in the next turn, after a look at
 * the descriptors: no connection can keep the others waiting.
 *
 * There are few timers (one per command with a timeout), so a list is enough.
 */
#include <errno.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "agent/evloop.h"

#define BATCH 32

static struct {
	int ep;
	struct epoll_event ev[BATCH];
	int n;		/* events of this turn */
	struct work *head, **tail;
	struct timer *timers;
	bool stop;
} loop = { .ep = -1 };

uint64_t evloop_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

int evloop_init(void)
{
	if (loop.ep >= 0)
		close(loop.ep);
	loop.head = NULL;
	loop.tail = &loop.head;
	loop.timers = NULL;
	loop.stop = false;
	loop.ep = epoll_create1(EPOLL_CLOEXEC);
	return loop.ep < 0 ? -errno : 0;
}

int evloop_add(struct watch *w, int fd, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = w };

	if (epoll_ctl(loop.ep, EPOLL_CTL_ADD, fd, &ev) < 0) {
		w->fd = -1;
		return -errno;
	}
	w->fd = fd;
	return 0;
}

void evloop_del(struct watch *w)
{
	if (w->fd < 0)
		return;
	close(w->fd);
	w->fd = -1;
	for (int i = 0; i < loop.n; i++)
		if (loop.ev[i].data.ptr == w)
			loop.ev[i].data.ptr = NULL;
}

void evloop_queue(struct work *w)
{
	if (w->queued)
		return;
	w->queued = true;
	w->next = NULL;
	*loop.tail = w;
	loop.tail = &w->next;
}

void evloop_unqueue(struct work *w)
{
	struct work **p = &loop.head;

	if (!w->queued)
		return;
	while (*p && *p != w)
		p = &(*p)->next;
	if (*p)
		*p = w->next;
	if (loop.tail == &w->next)
		loop.tail = p;
	w->queued = false;
}

void evloop_timer_stop(struct timer *t)
{
	struct timer **p = &loop.timers;

	while (t->armed && *p && *p != t)
		p = &(*p)->next;
	if (t->armed && *p)
		*p = t->next;
	t->armed = false;
}

void evloop_timer(struct timer *t, uint64_t at_ns)
{
	evloop_timer_stop(t);
	t->at_ns = at_ns;
	t->armed = true;
	t->next = loop.timers;
	loop.timers = t;
}

/* Milliseconds to the next timer, rounded up; -1 for none. */
static int next_timeout(void)
{
	uint64_t at = UINT64_MAX, now, ms;

	if (!loop.timers)
		return -1;
	for (struct timer *t = loop.timers; t; t = t->next)
		if (t->at_ns < at)
			at = t->at_ns;
	now = evloop_now();
	if (at <= now)
		return 0;
	ms = (at - now + 999999) / 1000000;
	return ms > 1000000 ? 1000000 : (int)ms;
}

static void run_timers(void)
{
	uint64_t now;
	struct timer *t;

	if (!loop.timers)
		return;
	now = evloop_now();
	do {
		for (t = loop.timers; t && t->at_ns > now; t = t->next)
			;
		if (t) {
			evloop_timer_stop(t);
			t->fn(t);
		}
	} while (t);
}

static void run_work(void)
{
	size_t n = 0;

	/* What is queued while this runs belongs to the next turn. */
	for (struct work *w = loop.head; w; w = w->next)
		n++;
	while (n-- && loop.head) {
		struct work *w = loop.head;

		loop.head = w->next;
		if (!loop.head)
			loop.tail = &loop.head;
		w->queued = false;
		w->fn(w);
	}
}

int evloop_turn(bool wait)
{
	int n = epoll_wait(loop.ep, loop.ev, BATCH, loop.head || !wait ? 0 : next_timeout());

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	loop.n = n;
	for (int i = 0; i < n; i++) {
		struct watch *w = loop.ev[i].data.ptr;

		if (w)
			w->fn(w, loop.ev[i].events);
	}
	loop.n = 0;
	run_timers();
	run_work();
	return 0;
}

int evloop_run(void)
{
	int rc = 0;

	while (!loop.stop && rc == 0)
		rc = evloop_turn(true);
	return rc;
}

void evloop_stop(void)
{
	loop.stop = true;
}
