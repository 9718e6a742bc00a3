/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quota.h - how much CPU time a machine may use: a rate in thousandths of a CPU, shared by
 * all of its vCPUs and its loop.
 *
 * CPU time is counted in slices of QUOTA_SLICE_NS, by timers of the kernel that tick with
 * a thread's CPU time and so cost nothing while it does nothing. A slice pays for
 * itself with time on the clock: at 500, each takes 20 ms, however long the CPU needed for
 * it. Who has used more than was paid for waits. What is not used is not saved up, beyond
 * QUOTA_BURST_NS of the clock.
 *
 * Any thread; the only state is one atomic word.
 */
#ifndef VMM_QUOTA_H
#define VMM_QUOTA_H
#include "vmm/base.h"

#define QUOTA_SLICE_NS	10000000ull	/* of CPU time; more than a tick of most kernels */
#define QUOTA_BURST_NS	100000000ull
#define QUOTA_UNIT	1000u		/* one CPU */

struct quota {
	uint32_t milli;		/* thousandths of a CPU; 0: no limit */
	uint64_t paid;		/* atomic: until when all that was used is paid for */
};

/* @n slices were used by @now (nanoseconds of any clock that does not run backwards). */
void quota_take(struct quota *q, uint32_t n, uint64_t now);
/* Nanoseconds to wait before more may be used; 0: none. */
uint64_t quota_wait(const struct quota *q, uint64_t now);
#endif
