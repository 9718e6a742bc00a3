// SPDX-License-Identifier: Apache-2.0
/* Rings of a kept execution: the newest bytes, in order, within a budget. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "agent/ring.h"

TestSuite(ring, .timeout = 60);

static uint8_t byte_at(uint64_t pos)
{
	return (uint8_t)(pos * 2654435761u >> 13);
}

static void put(struct ring *r, size_t n)
{
	uint8_t *p = malloc(n ? n : 1);

	for (size_t i = 0; i < n; i++)
		p[i] = byte_at(r->end + i);
	ring_put(r, p, n);
	free(p);
}

static void expect_all(const struct ring *r)
{
	uint8_t buf[997];
	uint64_t at = ring_begin(r);

	while (at < r->end) {
		size_t n = ring_get(r, at, buf, sizeof(buf));

		cr_assert_gt(n, 0);
		for (size_t i = 0; i < n; i++)
			cr_assert_eq(buf[i], byte_at(at + i), "byte %llu",
				     (unsigned long long)(at + i));
		at += n;
	}
	cr_expect_eq(ring_get(r, r->end, buf, 1), 0);
	cr_expect_eq(ring_get(r, r->end + 1, buf, 1), 0);
	if (ring_begin(r))
		cr_expect_eq(ring_get(r, ring_begin(r) - 1, buf, 1), 0);
}

Test(ring, keeps_all_while_it_is_little)
{
	struct ring r = { 0 };

	ring_budget(16u << 20);
	expect_all(&r);
	put(&r, 0);
	for (int i = 0; i < 100; i++) {
		put(&r, 1000 + (size_t)i);
		cr_expect_eq(ring_begin(&r), 0);
		expect_all(&r);
	}
	ring_drop(&r);
	cr_expect_eq(ring_begin(&r), r.end);
	expect_all(&r);
}

Test(ring, keeps_the_newest_of_much)
{
	struct ring r = { 0 };
	uint32_t seed = 7;

	ring_budget(16u << 20);
	for (int i = 0; i < 300; i++) {
		seed = seed * 1664525 + 1013904223;
		put(&r, seed >> 12 & 0x7fff);
		cr_expect_leq(r.cap, RING_MAX);
		expect_all(&r);
	}
	cr_expect_eq(r.len, RING_MAX);
	put(&r, 3 * RING_MAX + 5);	/* more than fits, at once */
	cr_expect_eq(r.len, RING_MAX);
	expect_all(&r);
	ring_drop(&r);
}

Test(ring, all_together_stay_within_the_budget)
{
	struct ring r[8] = { 0 };
	size_t all = 0;

	ring_budget(100000);
	for (int i = 0; i < 400; i++)
		put(&r[i % 8], 3000);
	for (int i = 0; i < 8; i++) {
		all += r[i].cap;
		expect_all(&r[i]);
		cr_expect_eq(r[i].end, 150000);
	}
	cr_expect_leq(all, 100000);
	cr_expect_geq(all, 50000);
	for (int i = 0; i < 8; i++)
		ring_drop(&r[i]);
	put(&r[0], 60000);	/* what was dropped can be had again */
	cr_expect_eq(r[0].len, 60000);
	expect_all(&r[0]);
	ring_drop(&r[0]);
}

Test(ring, without_memory_it_only_counts)
{
	struct ring r = { 0 };

	ring_budget(0);
	put(&r, 5000);
	cr_expect_eq(r.end, 5000);
	cr_expect_eq(r.len, 0);
	expect_all(&r);
}
