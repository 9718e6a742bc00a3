/* SPDX-License-Identifier: Apache-2.0 */
/* When the driver has to kick and when the device has to interrupt: 2.7.7, 2.7.10. */
#include <pthread.h>
#include <time.h>
#include "tests/unit/ring.h"

TestSuite(virtq_notify, .init = ring_open, .fini = ring_close, .timeout = 20);

static void one_round(void)
{
	offer(0);
	cr_assert_eq(virtq_pop(&q, &c), 1);
	virtq_push(&q, &c);
}

Test(virtq_notify, without_event_idx_the_flag_suppresses_interrupts)
{
	*desc(0) = (struct vring_desc){ BASE + 0x4000, 16, W, 0 };
	enable();
	cr_assert(!virtq_wants_irq(&q));	/* nothing was used */
	one_round();
	cr_assert(virtq_wants_irq(&q));
	cr_assert(!virtq_wants_irq(&q));	/* told already */
	avail()[0] = VRING_AVAIL_F_NO_INTERRUPT;
	one_round();
	cr_assert(!virtq_wants_irq(&q));
	avail()[0] = 0;
	avail()[2 + N] = 77;			/* used_event means nothing here */
	one_round();
	cr_assert(virtq_wants_irq(&q));
	cr_assert(!virtq_listen(&q));		/* nor is there an avail_event to write */
	for (unsigned i = 4 + 8 * N; i < 0x100; i++)
		cr_assert_eq(ram[0x3000 + i], 0);
}

Test(virtq_notify, with_event_idx_the_interrupt_comes_when_used_event_is_passed)
{
	*desc(0) = (struct vring_desc){ BASE + 0x4000, 16, W, 0 };
	q.event_idx = true;
	enable();
	avail()[0] = VRING_AVAIL_F_NO_INTERRUPT;	/* the flag means nothing here */
	avail()[2 + N] = 1;				/* wake me after the second */
	for (unsigned i = 0; i < 3; i++) {
		one_round();
		cr_assert_eq(virtq_wants_irq(&q), i == 1, "%u", i);
	}
	avail()[2 + N] = 5;			/* several at once: passed in the middle of them */
	for (unsigned i = 0; i < 5; i++)
		one_round();
	cr_assert(virtq_wants_irq(&q));
}

Test(virtq_notify, with_event_idx_an_empty_queue_asks_for_the_next_kick)
{
	uint16_t *event = (void *)(ram + 0x3000 + 4 + 8 * N);

	*desc(0) = (struct vring_desc){ BASE + 0x4000, 16, W, 0 };
	q.event_idx = true;
	enable();
	for (unsigned i = 0; i < 3 * N; i++) {
		one_round();
		cr_assert_eq(virtq_pop(&q, &c), 0);
		cr_assert(!virtq_listen(&q));
		cr_assert_eq(*event, i + 1);
		cr_assert_eq(used()[0], 0);
	}
	cr_assert_eq(event[1], 0);
	/* A chain that came between the look and the request is seen, for no kick may follow. */
	cr_assert_eq(virtq_pop(&q, &c), 0);
	offer(0);
	cr_assert(virtq_listen(&q));
}

/*
 * The barriers. Two threads meet in each round and do what device and driver do:
 * each stores its word and then loads the other's. Without a barrier both can
 * miss the other's store, and the notification is lost. A third of a second of
 * rounds finds that when two processors are free; with the barrier it never fails.
 */
static unsigned turn_device, turn_driver, missed;
static bool ended, driver_kicks, interrupts;	/* the last one: which of the two pairs */

static void meet(unsigned *mine, unsigned *other, unsigned turn)
{
	__atomic_store_n(mine, turn, __ATOMIC_RELEASE);
	while (__atomic_load_n(other, __ATOMIC_ACQUIRE) < turn)
		if (__atomic_load_n(&ended, __ATOMIC_ACQUIRE))
			return;
}

/* A little later each time, so that the two stores happen at once in some rounds. */
static void dawdle(unsigned n)
{
	for (volatile unsigned i = 0; i < n; i++)
		;
}

static void *driver(void *arg)
{
	uint16_t *event = (void *)(ram + 0x3000 + 4 + 8 * N);

	(void)arg;
	for (unsigned n = 0; !__atomic_load_n(&ended, __ATOMIC_ACQUIRE); n++) {
		uint16_t idx = (uint16_t)n, seen;

		meet(&turn_driver, &turn_device, 2 * n + 1);
		dawdle(n % 61);
		if (interrupts) {	/* ask for one at the next used entry, then look for it */
			__atomic_store_n(&avail()[2 + N], idx, __ATOMIC_SEQ_CST);
			seen = __atomic_load_n(&used()[1], __ATOMIC_SEQ_CST);
			driver_kicks = seen != idx;
		} else {
			__atomic_store_n(&avail()[1], (uint16_t)(idx + 1), __ATOMIC_SEQ_CST);
			seen = __atomic_load_n(event, __ATOMIC_SEQ_CST);
			driver_kicks = vring_need_event(seen, (uint16_t)(idx + 1), idx);
		}
		meet(&turn_driver, &turn_device, 2 * n + 2);
	}
	return NULL;
}

static void barrier_rounds(void)
{
	struct timespec start, now;
	pthread_t t;

	*desc(0) = (struct vring_desc){ BASE + 0x4000, 16, W, 0 };
	q.event_idx = true;
	enable();
	avail()[2 + N] = UINT16_MAX;
	clock_gettime(CLOCK_MONOTONIC, &start);
	cr_assert_eq(pthread_create(&t, NULL, driver, NULL), 0);
	for (unsigned n = 0; !ended; n++) {
		bool sees;

		if (interrupts) {
			avail()[1] = (uint16_t)(n + 1);
			if (virtq_pop(&q, &c) != 1)
				break;
			meet(&turn_device, &turn_driver, 2 * n + 1);
			dawdle(n % 67);
			virtq_push(&q, &c);
			sees = virtq_wants_irq(&q);
		} else {
			meet(&turn_device, &turn_driver, 2 * n + 1);
			dawdle(n % 67);
			sees = virtq_listen(&q);
		}
		meet(&turn_device, &turn_driver, 2 * n + 2);
		missed += !sees && !driver_kicks;
		if (!interrupts && virtq_pop(&q, &c) == 1)
			virtq_push(&q, &c);
		clock_gettime(CLOCK_MONOTONIC, &now);
		__atomic_store_n(&ended, (now.tv_sec - start.tv_sec) * 1000 +
				 (now.tv_nsec - start.tv_nsec) / 1000000 > 300, __ATOMIC_RELEASE);
	}
	pthread_join(t, NULL);
	cr_assert_gt(turn_device, 0);
	cr_assert_eq(missed, 0, "%u of %u", missed, turn_device / 2);
}

Test(virtq_notify, listening_never_misses_the_chain_that_comes_meanwhile)
{
	barrier_rounds();
}

Test(virtq_notify, an_interrupt_asked_for_meanwhile_is_never_missed)
{
	interrupts = true;
	barrier_rounds();
}
