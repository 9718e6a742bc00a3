/* SPDX-License-Identifier: Apache-2.0 */
/* Rings in plain memory. Each refusal's rule is asserted by its name. */
#include <pthread.h>
#include <signal.h>
#include <time.h>
#include "tests/unit/ring.h"

TestSuite(virtq, .init = ring_open, .fini = ring_close, .timeout = 20);

/* ---- enabling ----------------------------------------------------------------------------- */

/* threat-model.md 1 and 5: sizes, alignment and ranges are checked before anything is live. */
Test(virtq, a_wrong_ring_is_refused_by_its_rule)
{
	static const struct { uint16_t size; uint64_t desc, avail, used; const char *why; } t[] = {
		{ 0, 0, 0x2000, 0x3000, "queue size" },
		{ 3, 0, 0x2000, 0x3000, "queue size" },
		{ 0x8001, 0, 0x2000, 0x3000, "queue size" },
		{ 512, 0, 0x2000, 0x3000, "queue too long" },
		{ 8, 8, 0x2000, 0x3000, "descriptor alignment" },
		{ 8, 0, 0x2001, 0x3000, "avail alignment" },
		{ 8, 0, 0x2000, 0x3002, "used alignment" },
		{ 8, RAM - 16 * 8 + 16, 0x2000, 0x3000, "descriptors outside memory" },
		{ 8, -(uint64_t)16, 0x2000, 0x3000, "descriptors outside memory" },
		{ 8, -BASE - 16, 0x2000, 0x3000, "descriptors outside memory" },
		{ 8, 0, RAM - 6 - 2 * 8 + 2, 0x3000, "avail ring outside memory" },
		{ 8, 0, -(uint64_t)2, 0x3000, "avail ring outside memory" },
		{ 8, 0, 0x2000, RAM - 4 - 8 * 8, "used ring outside memory" },
		{ 8, 0, 0x2000, -(uint64_t)4, "used ring outside memory" },
	};

	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		q.size = t[i].size;
		q.desc_at = GPA(BASE + t[i].desc);
		q.avail_at = GPA(BASE + t[i].avail);
		q.used_at = GPA(BASE + t[i].used);
		q.why = NULL;
		cr_expect_eq(virtq_enable(&q), -EBADMSG, "case %zu accepted", i);
		cr_expect(q.why && !strcmp(q.why, t[i].why), "%s: got %s", t[i].why, q.why);
		cr_expect(!q.ready);
	}
}

Test(virtq, rings_may_end_where_memory_ends)
{
	q.avail_at = GPA(BASE + RAM - 6 - 2 * N);
	enable();
	q.avail_at = GPA(BASE + 0x2000);
	q.used_at = GPA(BASE + RAM - 6 - 8 * N - 2);	/* 4-byte aligned */
	enable();
	q.used_at = GPA(BASE + 0x3000);
	q.desc_at = GPA(BASE + RAM - 16 * N);
	enable();
}

Test(virtq, nothing_comes_from_a_queue_that_is_not_ready)
{
	*desc(0) = (struct vring_desc){ BASE + 0x4000, 16, 0, 0 };
	enable();
	offer(0);
	q.ready = false;
	cr_assert_eq(virtq_pop(&q, &c), 0);
	q.ready = true;
	cr_assert_eq(virtq_pop(&q, &c), 1);
}

/* ---- chains ------------------------------------------------------------------------------- */

Test(virtq, a_chain_is_readable_parts_then_writable_without_empty_ones)
{
	*desc(2) = (struct vring_desc){ BASE + 0x4000, 100, VRING_DESC_F_NEXT, 7 };
	*desc(7) = (struct vring_desc){ BASE + 0x4100, 0, VRING_DESC_F_NEXT, 1 };
	*desc(1) = (struct vring_desc){ BASE + 0x4200, 5, VRING_DESC_F_NEXT, 3 };
	*desc(3) = (struct vring_desc){ BASE + RAM - 28, 28, VRING_DESC_F_WRITE, 0 };
	enable();
	cr_assert_eq(virtq_pop(&q, &c), 0);
	offer(2);
	cr_assert_eq(virtq_pop(&q, &c), 1);
	cr_assert(c.head == 2 && c.nread == 2 && c.nwrite == 1);
	cr_assert(c.read_len == 105 && c.write_len == 28 && c.done == 0);
	cr_assert(c.iov[0].iov_base == ram + 0x4000 && c.iov[0].iov_len == 100);
	cr_assert(c.iov[1].iov_base == ram + 0x4200 && c.iov[1].iov_len == 5);
	cr_assert(c.iov[2].iov_base == ram + RAM - 28 && c.iov[2].iov_len == 28);
	cr_assert_eq(virtq_pop(&q, &c), 0);
}

/*
 * threat-model.md 2 (raw indices), 4 (loops, lengths, jumps), 5 (ranges that wrap).
 * Behind every ring there is a descriptor that looks fine and is not ours.
 */
Test(virtq, each_broken_chain_is_refused_by_its_rule)
{
	static const struct {
		struct vring_desc d0, d1;
		uint16_t head, ahead;
		const char *why;
	} t[] = {
		{ { BASE + 0x4000, 16, W | X, 0 }, { 0 }, 0, 1, "too many parts" },
		{ { BASE + 0x4000, 0, W | X, 1 }, { BASE + 0x4000, 0, W | X, 0 }, 0, 1,
		  "descriptor loop" },
		{ { BASE + 0x4000, 16, W | X, N }, { 0 }, 0, 1, "descriptor index" },
		{ { BASE + 0x4000, 16, W | X, 0xffff }, { 0 }, 0, 1, "descriptor index" },
		{ { BASE + RAM - 8, 16, W, 0 }, { 0 }, 0, 1, "buffer outside memory" },
		{ { -4ull, 16, W, 0 }, { 0 }, 0, 1, "buffer outside memory" },
		{ { BASE + 16, UINT32_MAX, 0, 0 }, { 0 }, 0, 1, "buffer outside memory" },
		{ { BASE - 1, 1, 0, 0 }, { 0 }, 0, 1, "buffer outside memory" },
		{ { BASE + 0x4000, 16, W, 0 }, { 0 }, N, 1, "head index" },
		{ { BASE + 0x4000, 16, W, 0 }, { 0 }, 0xffff, 1, "head index" },
		{ { BASE + 0x4000, 16, W, 0 }, { 0 }, 0, N + 1, "avail index jumped" },
		{ { BASE + 0x4000, 16, W, 0 }, { 0 }, 0, 0xffff, "avail index jumped" },
		{ { BASE + 0x4000, 16, W | X, 1 }, { BASE + 0x4000, 16, 0, 0 }, 0, 1,
		  "readable after writable" },
		{ { BASE + 0x4000, 16, I, 0 }, { 0 }, 0, 1, "indirect not negotiated" },
	};

	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		memset(ram, 0, RAM);
		*desc(0) = t[i].d0;
		*desc(1) = t[i].d1;
		*desc(N) = (struct vring_desc){ BASE + 0x4000, 16, W, 0 };
		enable();
		avail()[2] = t[i].head;
		avail()[1] = t[i].ahead;
		q.why = NULL;
		cr_expect_eq(virtq_pop(&q, &c), -EBADMSG, "%s: accepted", t[i].why);
		cr_expect(q.why && !strcmp(q.why, t[i].why), "%s: got %s", t[i].why, q.why);
		cr_expect_eq(used()[1], 0);
	}
}

/* threat-model.md 5: 65 parts of 64 MiB, each inside memory, add up to more than 32 bits hold. */
Test(virtq, a_chain_over_4_gib_is_refused)
{
	const uint64_t len = 64ull << 20;
	void *p = mmap(NULL, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	cr_assert_neq(p, MAP_FAILED);
	mem.r[mem.n++] = (struct gmem_region){ 0, len, p };
	q.size = 128;
	enable();
	for (unsigned i = 0; i < 65; i++)
		*desc(i) = (struct vring_desc){ 0, (uint32_t)len, i < 64 ? X : 0,
						(uint16_t)(i + 1) };
	offer(0);
	cr_assert_eq(virtq_pop(&q, &c), -EBADMSG);
	cr_assert_str_eq(q.why, "chain over 4 GiB");
	desc(62)->flags = 0;		/* 63 of them are fine */
	cr_assert_eq(virtq_pop(&q, &c), 1);
	cr_assert_eq(c.read_len, 63 * len);
	munmap(p, len);
}

/* ---- indirect tables (2.7.5.3) ------------------------------------------------------------ */

static struct vring_desc *table(unsigned i)
{
	return (struct vring_desc *)(void *)(ram + 0x8000) + i;
}

Test(virtq, an_indirect_table_may_follow_direct_parts)
{
	q.indirect = true;
	enable();
	*desc(0) = (struct vring_desc){ BASE + 0x4000, 4, X, 5 };
	*desc(5) = (struct vring_desc){ BASE + 0x8000, 48, I, 0 };
	*table(0) = (struct vring_desc){ BASE + 0x5000, 5, X, 2 };
	*table(2) = (struct vring_desc){ BASE + 0x6000, 6, W, 0 };
	offer(0);
	cr_assert_eq(virtq_pop(&q, &c), 1, "%s", q.why);
	cr_assert(c.nread == 2 && c.nwrite == 1 && c.read_len == 9 && c.write_len == 6);
	cr_assert_eq(c.iov[1].iov_base, ram + 0x5000);
}

/* threat-model.md 4: tables are bounded like rings, and are one level deep. */
Test(virtq, each_broken_indirect_table_is_refused_by_its_rule)
{
	static const struct { struct vring_desc d, t0; const char *why; } t[] = {
		{ { BASE + 0x8000, 32, I | X, 1 }, { BASE + 0x4000, 4, 0, 0 },
		  "indirect with next" },
		{ { BASE + 0x8000, 0, I, 0 }, { BASE + 0x4000, 4, 0, 0 }, "indirect length" },
		{ { BASE + 0x8000, 20, I, 0 }, { BASE + 0x4000, 4, 0, 0 }, "indirect length" },
		{ { BASE + 0x8004, 32, I, 0 }, { BASE + 0x4000, 4, 0, 0 }, "indirect alignment" },
		{ { BASE + RAM - 16, 32, I, 0 }, { 0 }, "indirect outside memory" },
		{ { -16ull, 32, I, 0 }, { 0 }, "indirect outside memory" },
		{ { BASE + 0x8000, 32, I, 0 }, { BASE + 0x8010, 16, I, 0 },
		  "indirect in indirect" },
		{ { BASE + 0x8000, 32, I, 0 }, { BASE + 0x4000, 4, X, 2 }, "descriptor index" },
		{ { BASE + 0x8000, 32, I, 0 }, { BASE + 0x4000, 0, X, 0 }, "descriptor loop" },
		{ { BASE + 0x8000, 32, I, 0 }, { BASE + RAM, 1, 0, 0 }, "buffer outside memory" },
	};

	q.indirect = true;
	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		memset(ram, 0, RAM);
		enable();
		*desc(0) = t[i].d;
		*desc(1) = (struct vring_desc){ BASE + 0x4000, 4, 0, 0 };
		*table(0) = t[i].t0;
		*table(1) = *table(2) = (struct vring_desc){ BASE + 0x4000, 4, 0, 0 };
		offer(0);
		q.why = NULL;
		cr_expect_eq(virtq_pop(&q, &c), -EBADMSG, "%s: accepted", t[i].why);
		cr_expect(q.why && !strcmp(q.why, t[i].why), "%s: got %s", t[i].why, q.why);
	}
}

Test(virtq, a_table_longer_than_any_chain_is_refused)
{
	q.indirect = true;
	enable();
	for (unsigned i = 0; i <= VCHAIN_MAX; i++)
		*table(i) = (struct vring_desc){ BASE + 0x4000, 1, i < VCHAIN_MAX ? W | X : W,
						 (uint16_t)(i + 1) };
	*desc(0) = (struct vring_desc){ BASE + 0x8000, 16 * (VCHAIN_MAX + 1), I, 0 };
	offer(0);
	cr_assert_eq(virtq_pop(&q, &c), -EBADMSG);
	cr_assert_str_eq(q.why, "too many parts");
	table(VCHAIN_MAX - 1)->flags = W;	/* one less is the longest there is */
	cr_assert_eq(virtq_pop(&q, &c), 1);
	cr_assert_eq(c.nwrite, VCHAIN_MAX);
}

/* ---- in flight ---------------------------------------------------------------------------- */

/* threat-model.md 6: one head is in flight at most once. */
Test(virtq, a_head_in_flight_is_not_taken_again)
{
	struct vchain again;

	*desc(5) = (struct vring_desc){ BASE + 0x4000, 16, W, 0 };
	enable();
	offer(5);
	offer(5);
	cr_assert_eq(virtq_pop(&q, &c), 1);
	cr_assert_eq(virtq_pop(&q, &again), -EBADMSG);
	cr_assert_str_eq(q.why, "head in flight twice");
	virtq_push(&q, &c);
	cr_assert_eq(virtq_pop(&q, &again), 1);
}

Test(virtq, heads_beyond_the_first_word_are_told_apart)
{
	q.size = 128;
	enable();
	*desc(1) = *desc(65) = (struct vring_desc){ BASE + 0x4000, 16, W, 0 };
	offer(65);
	offer(1);
	offer(65);
	cr_assert_eq(virtq_pop(&q, &c), 1);
	cr_assert_eq(virtq_pop(&q, &c), 1);
	cr_assert_eq(virtq_pop(&q, &c), -EBADMSG);
	cr_assert_str_eq(q.why, "head in flight twice");
}

Test(virtq, giving_back_what_is_not_in_flight_is_our_bug, .signal = SIGABRT)
{
	*desc(0) = (struct vring_desc){ BASE + 0x4000, 16, W, 0 };
	enable();
	offer(0);
	cr_assert_eq(virtq_pop(&q, &c), 1);
	virtq_push(&q, &c);
	virtq_push(&q, &c);
}

/* threat-model.md 7: nothing from before a reset is written into the rings of after. */
Test(virtq, giving_back_after_a_reset_is_our_bug, .signal = SIGABRT)
{
	*desc(0) = (struct vring_desc){ BASE + 0x4000, 16, W, 0 };
	enable();
	offer(0);
	cr_assert_eq(virtq_pop(&q, &c), 1);
	q = (struct virtq){ .mem = &mem, .size = N };
	virtq_push(&q, &c);
}

Test(virtq, used_entries_carry_head_and_length_and_wrap)
{
	struct vring_used_elem *e = (void *)(ram + 0x3004);

	for (unsigned i = 0; i < N; i++)
		*desc(i) = (struct vring_desc){ BASE + 0x4000, 16, W, 0 };
	enable();
	for (unsigned i = 0; i < 3 * N; i++) {
		offer((uint16_t)(i * 3 % N));
		cr_assert_eq(virtq_pop(&q, &c), 1);
		cr_assert_eq(vchain_write(&c, "0123456789", i % 8), 0);
		virtq_push(&q, &c);
		cr_assert_eq(used()[1], i + 1);
		cr_assert(e[i % N].id == i * 3 % N && e[i % N].len == i % 8);
	}
}

/* The guest may lay its rings over each other; that is its own problem and nobody else's. */
Test(virtq, rings_on_top_of_each_other_are_harmless)
{
	q.avail_at = q.desc_at;
	q.used_at = q.desc_at;
	enable();
	for (unsigned i = 0; i < 1000; i++) {
		ram[i % 200] = (unsigned char)(i * 37);
		if (virtq_pop(&q, &c) == 1)
			virtq_push(&q, &c);
	}
	for (unsigned i = 0x200; i < RAM; i++)
		cr_assert_eq(ram[i], 0);
}

static bool flipping;
static unsigned flips;

static void *flip(void *arg)
{
	struct vring_desc *d = arg;

	while (__atomic_load_n(&flipping, __ATOMIC_RELAXED)) {
		__atomic_store_n(&d->len, 0x10000, __ATOMIC_RELAXED);
		__atomic_store_n(&d->addr, BASE + 0x4000, __ATOMIC_RELAXED);
		__atomic_store_n(&d->len, 8, __ATOMIC_RELAXED);
		__atomic_store_n(&d->addr, BASE + RAM - 8, __ATOMIC_RELAXED);
		__atomic_fetch_add(&flips, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* threat-model.md 3: what was checked is what is used, however fast the guest rewrites it. */
Test(virtq, a_descriptor_that_changes_meanwhile_is_read_once)
{
	pthread_t t;

	enable();
	desc(0)->flags = W;
	flipping = true;
	cr_assert_eq(pthread_create(&t, NULL, flip, desc(0)), 0);
	for (unsigned i = 0; i < 20000 || __atomic_load_n(&flips, __ATOMIC_RELAXED) < 20000; i++) {
		uint64_t at;

		avail()[1] = (uint16_t)(q.next_avail + 1);
		avail()[2 + q.next_avail % N] = 0;
		if (virtq_pop(&q, &c) != 1)
			continue;
		if (c.nwrite) {
			at = (uint64_t)((unsigned char *)c.iov[0].iov_base - ram);
			if (at >= RAM || c.iov[0].iov_len > RAM - at ||
			    c.iov[0].iov_len != c.write_len)
				break;
		}
		virtq_push(&q, &c);
	}
	__atomic_store_n(&flipping, false, __ATOMIC_RELAXED);
	pthread_join(t, NULL);
	cr_assert(!q.inflight[0], "a part reached past the end of memory");
}

/* ---- bytes -------------------------------------------------------------------------------- */

Test(virtq, reading_crosses_parts_and_stops_at_the_end)
{
	char p0[] = "abc", p1[] = "de", p2[] = "fghi", out[16] = "";
	struct vchain r = { .nread = 3, .read_len = 9, .iov = { { p0, 3 }, { p1, 2 }, { p2, 4 } } };

	cr_assert_eq(vchain_read(&r, 2, out, 5), 0);
	cr_assert_arr_eq(out, "cdefg", 5);
	cr_assert_eq(vchain_read(&r, 0, out, 9), 0);
	cr_assert_arr_eq(out, "abcdefghi", 9);
	cr_assert_eq(vchain_read(&r, 0, out, 10), -EBADMSG);
	cr_assert_eq(vchain_read(&r, 9, out, 1), -EBADMSG);
	cr_assert_eq(vchain_read(&r, SIZE_MAX, out, 1), -EBADMSG);
	cr_assert_eq(vchain_read(&r, 9, out, 0), 0);
}

Test(virtq, writing_appends_and_never_passes_the_room)
{
	char rd[] = "RRR", p0[4] = "", p1[2] = "", p2[4] = "";
	struct vchain w = { .nread = 1, .nwrite = 3, .read_len = 3, .write_len = 8,
			    .iov = { { rd, 3 }, { p0, 3 }, { p1, 2 }, { p2, 3 } } };

	cr_assert_eq(vchain_write(&w, "ab", 2), 0);
	cr_assert_eq(vchain_write(&w, "cdefg", 5), 0);
	cr_assert_eq(w.done, 7);
	cr_assert_eq(vchain_write(&w, "xy", 2), -EBADMSG);
	cr_assert_eq(vchain_write(&w, "xy", SIZE_MAX), -EBADMSG);
	cr_assert(w.done == 7 && !p2[2]);
	cr_assert_eq(vchain_write(&w, "h", 1), 0);
	cr_assert_eq(vchain_write(&w, "", 0), 0);
	cr_assert_arr_eq(p0, "abc", 3);
	cr_assert_arr_eq(p1, "de", 2);
	cr_assert_arr_eq(p2, "fgh", 3);
	cr_assert_str_eq(rd, "RRR");
}
