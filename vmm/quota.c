/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quota.c - the arithmetic; vmm/vcpu.c has the timers and waits.
 */
#include "vmm/quota.h"

void quota_take(struct quota *q, uint32_t n, uint64_t now)
{
	uint64_t from, to, old = __atomic_load_n(&q->paid, __ATOMIC_RELAXED);

	if (!q->milli)
		return;
	do {
		/* An idle machine has saved up a burst, and no more. */
		from = now > QUOTA_BURST_NS ? now - QUOTA_BURST_NS : 0;
		from = old > from ? old : from;
		to = from + n * (QUOTA_SLICE_NS * QUOTA_UNIT / q->milli);
	} while (!__atomic_compare_exchange_n(&q->paid, &old, to, false, __ATOMIC_RELAXED,
					      __ATOMIC_RELAXED));
}

uint64_t quota_wait(const struct quota *q, uint64_t now)
{
	uint64_t paid = __atomic_load_n(&q->paid, __ATOMIC_RELAXED);

	return q->milli && paid > now ? paid - now : 0;
}
