/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include "vmm/quota.h"

#define MS 1000000ull
#define T0 (1000 * MS)

Test(quota, without_a_limit_nothing_waits)
{
	struct quota q = { 0 };

	quota_take(&q, 1000, T0);
	cr_assert_eq(quota_wait(&q, T0), 0);
}

Test(quota, a_burst_is_free_and_what_follows_is_paid_in_time)
{
	struct quota q = { .milli = 500 };

	/* 100 ms of the clock are five slices at half a CPU. */
	quota_take(&q, 5, T0);
	cr_assert_eq(quota_wait(&q, T0), 0);
	quota_take(&q, 1, T0);
	cr_assert_eq(quota_wait(&q, T0), 20 * MS);
	cr_assert_eq(quota_wait(&q, T0 + 15 * MS), 5 * MS);
	cr_assert_eq(quota_wait(&q, T0 + 20 * MS), 0);
}

Test(quota, idle_time_is_saved_up_to_the_burst_only)
{
	struct quota q = { .milli = 100 };

	quota_take(&q, 1, T0);
	quota_take(&q, 1, T0 + 60000 * MS);
	cr_assert_eq(quota_wait(&q, T0 + 60000 * MS), 0);
	quota_take(&q, 1, T0 + 60000 * MS);
	cr_assert_eq(quota_wait(&q, T0 + 60000 * MS), 100 * MS);
}

Test(quota, the_average_holds_and_more_than_one_cpu_is_possible)
{
	static const uint32_t rates[] = { 10, 100, 333, 1000, 1500, 32000 };

	for (size_t i = 0; i < ARRAY_LEN(rates); i++) {
		struct quota q = { .milli = rates[i] };
		/* CPUs that are never idle. */
		uint64_t now = T0, used = 0, step = QUOTA_SLICE_NS * 500 / rates[i];

		step = step < QUOTA_SLICE_NS ? step : QUOTA_SLICE_NS;

		while (now < T0 + 1000000 * MS) {
			uint64_t ns = quota_wait(&q, now);

			now += ns ? ns : step;
			quota_take(&q, ns == 0, now);
			used += (ns == 0) * QUOTA_SLICE_NS;
		}
		cr_expect_float_eq((double)used / (double)(now - T0), rates[i] / 1000.0,
				   rates[i] / 1000.0 * 0.02, "rate %u", rates[i]);
	}
}
