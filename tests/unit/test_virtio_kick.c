/* SPDX-License-Identifier: Apache-2.0 */
/* Kicks: none is lost, none is served too early, and the work of each is bounded. */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include "tests/unit/probe_rig.h"

TestSuite(virtio_kick, .init = probe_rig_open, .fini = probe_rig_close, .timeout = 20);

Test(virtio_kick, a_kick_before_driver_ok_is_nothing_and_is_not_lost)
{
	uint16_t head;

	rig_negotiate(&r, 0);
	rig_queue(&r, 0);
	head = add(0);
	rig_kick(&r, 0);
	rig_run(&r);			/* the eventfd is empty now */
	cr_assert_eq(p->kicks[0], 0);
	cr_assert_eq(rig_used(&r, 0, NULL), -1);
	rig_status(&r, OK);
	cr_assert_eq(rig_used(&r, 0, NULL), head);
}

/* threat-model.md 2: the index of a kick is the guest's. */
Test(virtio_kick, a_kick_of_a_queue_that_does_not_exist_is_counted)
{
	static const uint32_t t[] = { PROBE_QUEUES, VIRTIO_QUEUES_MAX, 0x10000, UINT32_MAX };

	rig_start(&r, 0);
	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		r.d->why = NULL;
		virtio_kick(r.d, t[i]);
		cr_assert_eq(r.d->stat.bad, i + 1);
		cr_assert_str_eq(r.d->why, "no such queue");
	}
	cr_assert(virtio_live(r.d));
}

/* The rule that a driver follows with EVENT_IDX (2.7.10.1): it kicks only when it was asked to. */
static bool kick_if_asked(unsigned queue, uint16_t old)
{
	struct rig_queue *q = &r.q[queue];
	uint16_t event = __atomic_load_n(&q->used[2 + 4 * q->size], __ATOMIC_SEQ_CST);

	if (!vring_need_event(event, q->avail[1], old))
		return false;
	cr_assert_eq(eventfd_write(r.m.kick[queue].fd, 1), 0);
	return true;
}

Test(virtio_kick, with_event_idx_every_chain_is_served_though_kicks_are_suppressed)
{
	unsigned kicks = 0, n = 0;

	rig_start(&r, EVENT);
	while (n < 1000) {
		for (unsigned burst = 0; burst < 1 + n % 5; burst++, n++) {
			uint16_t old = r.q[0].avail[1];

			r.next_buf = VIRTIO_QUEUES_MAX * RIG_QUEUE;
			add(0);
			kicks += kick_if_asked(0, old);
		}
		rig_run(&r);
		cr_assert_eq(r.q[0].used[1], (uint16_t)n);
	}
	cr_assert_lt(kicks, n * 2 / 3);
	cr_assert_gt(kicks, n / 10);
}

/*
 * The last look before sleep, at its worst moment: writing avail_event faults,
 * and the handler, which is the driver, makes a chain available just then. It
 * looks at avail_event as it was, so it does not kick.
 */
static unsigned char *trap;		/* three pages: descriptors, avail ring, used ring */

static void on_trap(int sig)
{
	uint16_t *avail = (void *)(trap + 0x1000);

	(void)sig;
	mprotect(trap + 0x2000, 0x1000, PROT_READ | PROT_WRITE);
	avail[1]++;
}

Test(virtio_kick, with_event_idx_a_chain_that_comes_at_the_last_look_is_served)
{
	struct gmem mem = { .n = 1, .fd = -1 };
	struct virtio_dev *d;
	struct err e = { 0 };

	trap = mmap(NULL, 0x3000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	cr_assert_neq(trap, MAP_FAILED);
	mem.r[0] = (struct gmem_region){ 0, 0x3000, trap };
	d = virtio_new(&probe_ops, &mem, r.loop, NULL, &e);
	cr_assert(d);
	d->q[0].size = 8;
	d->q[0].avail_at = GPA(0x1000);
	d->q[0].used_at = GPA(0x2000);
	d->q[0].asked = true;
	virtio_set_status(d, RIG_OK, V1 | EVENT);
	cr_assert(virtio_live(d));
	signal(SIGSEGV, on_trap);
	cr_assert_eq(mprotect(trap + 0x2000, 0x1000, PROT_READ), 0);
	virtio_kick(d, 0);
	cr_assert_eq(container_of(d, struct probe, v)->served, 1);
	cr_assert(virtio_stop(d));
	virtio_free(d);
	munmap(trap, 0x3000);
}

#define STRESS 20000u

static void *driver(void *arg)
{
	struct rig_queue *q = &r.q[0];

	(void)arg;
	for (uint16_t n = 0; n != (uint16_t)STRESS; n++) {
		uint16_t event;

		q->avail[2 + n % q->size] = 0;
		__atomic_store_n(&q->avail[1], (uint16_t)(n + 1), __ATOMIC_SEQ_CST);
		event = __atomic_load_n(&q->used[2 + 4 * q->size], __ATOMIC_SEQ_CST);
		if (vring_need_event(event, (uint16_t)(n + 1), n) &&
		    eventfd_write(r.m.kick[0].fd, 1))
			abort();
		while (__atomic_load_n(&q->used[1], __ATOMIC_ACQUIRE) == n)
			sched_yield();	/* a lost kick ends here, by the time limit */
	}
	return NULL;
}

/* Real concurrency on the last look before sleep: a chain that comes there must not be lost. */
Test(virtio_kick, with_event_idx_no_kick_is_lost_between_threads, .timeout = 60)
{
	pthread_t t;

	rig_start(&r, EVENT);
	add(0);
	r.q[0].avail[1] = 0;		/* only for the descriptor: the thread makes it available */
	cr_assert_eq(pthread_create(&t, NULL, driver, NULL), 0);
	while (p->served < STRESS)
		cr_assert_geq(loop_once(r.loop), 0);
	pthread_join(t, NULL);
}

/* threat-model.md 14: a driver that never stops adding holds the loop for one budget at a time. */
Test(virtio_kick, work_per_wake_up_is_bounded_and_nothing_is_left)
{
	rig_start(&r, 0);
	for (unsigned i = 0; i < 128; i++)
		r.q[0].desc[i] = (struct vring_desc){ RIG_BASE + 0x20000, 4, 0, 0 };
	r.d->q[0].size = r.q[0].size = 128;	/* as if the rings had been set up so */
	for (uint16_t i = 0; i < 128; i++)
		rig_offer(&r, 0, i);
	virtio_kick(r.d, 0);
	cr_assert_eq(p->served, VIRTIO_BUDGET);
	cr_assert_eq(p->kicks[0], 2);		/* DRIVER_OK's, and this one */
	rig_run(&r);				/* the rest, by kicks that the device gave itself */
	cr_assert_eq(p->served, 128);
	cr_assert_eq(r.q[0].used[1], 128);
	cr_assert_leq(p->kicks[0], 4);
}

Test(virtio_kick, one_busy_queue_does_not_starve_another)
{
	struct probe *q;
	struct rig s;

	rig_open_beside(&s, &probe_ops, NULL, &r);
	q = container_of(s.d, struct probe, v);
	rig_start(&r, 0);
	rig_start(&s, 0);
	for (unsigned i = 0; i < 16; i++)
		r.q[0].desc[i] = (struct vring_desc){ RIG_BASE + 0x20000, 4, 0, 0 };
	rig_add(&s, 0, &(struct rig_part){ NULL, 4, true }, 1);
	/* The busy driver refills its ring whenever the loop comes round. */
	rig_kick(&r, 0);
	rig_kick(&s, 0);
	for (unsigned n = 0; !q->served; n++) {
		cr_assert_lt(n, 8, "starved");
		for (uint16_t i = 0; i < 16; i++)
			if ((uint16_t)(r.q[0].avail[1] - r.q[0].used[1]) < 16)
				rig_offer(&r, 0, i);
		virtio_again(r.d, &r.d->q[0]);
		cr_assert_geq(loop_once(r.loop), 0);
	}
	rig_close(&s);
}
