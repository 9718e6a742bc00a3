/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include "vmm/bucket.h"

#define S 1000000000ull

TestSuite(bucket, .timeout = 20);

/* Take @n units every time that is allowed until @end; returns what was taken. */
static uint64_t spend(struct bucket *b, uint64_t n, uint64_t now, uint64_t end)
{
	uint64_t sum = 0;

	while (now < end) {
		uint64_t ns = bucket_wait(b, now);

		if (ns) {
			now += ns;
			continue;
		}
		bucket_take(b, n);
		sum += n;
	}
	return sum;
}

Test(bucket, without_a_rate_there_is_no_limit)
{
	struct bucket b;

	bucket_init(&b, 0, 0, 5);
	for (unsigned i = 0; i < 1000; i++) {
		cr_assert_eq(bucket_wait(&b, 5), 0);
		bucket_take(&b, UINT64_MAX);
	}
}

Test(bucket, the_average_holds_for_small_and_large_requests)
{
	static const uint64_t sizes[] = { 1, 3, 512, 4096, 1 << 20 };

	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		const uint64_t rate = 100000, burst = 10000, n = sizes[i];
		struct bucket b;
		uint64_t sum;

		bucket_init(&b, rate, burst, 7);
		sum = spend(&b, n, 7, 7 + 100 * S);
		/* The burst at the start, and one request of debt at the end. */
		cr_expect_leq(sum, 100 * rate + burst + n, "%lu: %lu", n, sum);
		cr_expect_geq(sum + n, 100 * rate, "%lu: %lu", n, sum);
	}
}

Test(bucket, what_was_not_used_is_kept_up_to_the_burst)
{
	struct bucket b;

	bucket_init(&b, 1000, 50, 0);
	bucket_take(&b, 50);
	cr_assert_gt(bucket_wait(&b, 0), 0);
	cr_assert_eq(bucket_wait(&b, 3600 * S), 0);
	bucket_take(&b, 49);
	cr_assert_eq(bucket_wait(&b, 3600 * S), 0);
	bucket_take(&b, 1);
	cr_assert_eq(bucket_wait(&b, 3600 * S), S / 1000);
}

Test(bucket, asking_often_loses_no_fraction)
{
	struct bucket b;
	uint64_t now = 0, sum = 0;

	bucket_init(&b, 3, 1, 0);
	for (; now < 1000 * S; now += 7777777)		/* a step is 0.02 of a unit */
		if (!bucket_wait(&b, now)) {
			bucket_take(&b, 1);
			sum++;
		}
	cr_assert_geq(sum, 2900);
	cr_assert_leq(sum, 3001);
}

Test(bucket, asking_often_wins_nothing)
{
	static const uint64_t rates[] = { 700000000, 1500000000, 10 * S };

	for (size_t i = 0; i < ARRAY_LEN(rates); i++) {
		const uint64_t ns = 1000;
		uint64_t sum = 0;
		struct bucket b;

		bucket_init(&b, rates[i], 1000, 0);
		bucket_take(&b, 1000);
		for (uint64_t now = 0; now < ns; now++)
			while (sum < 20 * ns && !bucket_wait(&b, now)) {
				bucket_take(&b, 1);
				sum++;
			}
		cr_expect_leq(sum, ns * rates[i] / S, "%lu: %lu", rates[i], sum);
		cr_expect_geq(sum, (ns - 1) * rates[i] / S, "%lu: %lu", rates[i], sum);
	}
}

Test(bucket, after_the_time_it_says_there_is_something)
{
	static const uint64_t rates[] = { 1, 2, 3, 7, 1000, 999999937, BUCKET_RATE_MAX };

	for (size_t i = 0; i < ARRAY_LEN(rates); i++)
		for (uint64_t debt = 1; debt < 1ull << 39; debt = debt * 5 + 1) {
			struct bucket b;
			uint64_t ns;

			bucket_init(&b, rates[i], 1, 1);
			bucket_take(&b, debt);
			ns = bucket_wait(&b, 1);
			cr_assert_gt(ns, 0);
			if (ns > UINT64_MAX / 2)
				continue;	/* centuries */
			cr_assert_eq(bucket_wait(&b, 1 + ns), 0, "%lu %lu %lu", rates[i], debt, ns);
		}
}

/* threat-model.md 5: nothing wraps, whatever comes. */
Test(bucket, extremes_do_not_wrap)
{
	struct bucket b;

	bucket_init(&b, BUCKET_RATE_MAX, BUCKET_RATE_MAX, UINT64_MAX - 1);
	bucket_take(&b, UINT64_MAX);
	cr_assert_gt(bucket_wait(&b, UINT64_MAX - 1), 0);
	cr_assert_gt(bucket_wait(&b, 0), 0);		/* a clock that ran backwards */
	bucket_init(&b, 1, 1, 0);
	for (unsigned i = 0; i < 1u << 23; i++)
		bucket_take(&b, UINT64_MAX);
	cr_assert_gt(bucket_wait(&b, S), 1000 * S);
	cr_assert_eq(bucket_wait(&b, UINT64_MAX), bucket_wait(&b, UINT64_MAX));
}
