/* SPDX-License-Identifier: Apache-2.0 */
/* ring.h - one queue in plain memory, for the tests of virtq.c. */
#ifndef TESTS_UNIT_RING_H
#define TESTS_UNIT_RING_H
#include <criterion/criterion.h>
#include <sys/mman.h>
#include "vmm/virtq.h"

#define BASE	0x40000000ull
#define RAM	0x10000u
#define N	8u			/* entries of the queue, if nothing else is said */

/* Flags of a descriptor. */
#define W	VRING_DESC_F_WRITE
#define X	VRING_DESC_F_NEXT
#define I	VRING_DESC_F_INDIRECT

static unsigned char *ram;
static struct gmem mem;
static struct virtq q;
static struct vchain c;

static inline void ring_open(void)
{
	ram = calloc(1, RAM);
	mem = (struct gmem){ .n = 1, .fd = -1, .r = { { BASE, RAM, ram } } };
	q = (struct virtq){ .mem = &mem, .size = N, .desc_at = GPA(BASE),
			    .avail_at = GPA(BASE + 0x2000), .used_at = GPA(BASE + 0x3000) };
}

static inline void ring_close(void)
{
	free(ram);
}

static inline struct vring_desc *desc(unsigned i)
{
	return (struct vring_desc *)(void *)ram + i;
}

static inline uint16_t *avail(void)
{
	return (void *)(ram + 0x2000);
}

static inline uint16_t *used(void)
{
	return (void *)(ram + 0x3000);
}

static inline void offer(uint16_t head)
{
	uint16_t *a = avail();

	a[2 + a[1] % q.size] = head;
	__atomic_store_n(&a[1], (uint16_t)(a[1] + 1), __ATOMIC_RELEASE);
}

static inline void enable(void)
{
	cr_assert_eq(virtq_enable(&q), 0, "%s", q.why);
}
#endif
