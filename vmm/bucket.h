/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bucket.h - a token bucket: so many units per second on average, bursts up to a size.
 *
 * Units are whatever the owner counts (bytes, operations). A bucket may go into
 * debt by one request, so a request larger than the burst passes too, and what
 * follows waits for it: the average holds for any mix of sizes. Time is the
 * caller's, in nanoseconds of any clock that does not run backwards.
 *
 * No allocation, no I/O, no thread of its own: the owner's thread.
 */
#ifndef VMM_BUCKET_H
#define VMM_BUCKET_H
#include "vmm/base.h"

#define BUCKET_RATE_MAX (1ull << 40)	/* units per second, and units of a burst */

struct bucket {
	uint64_t rate;		/* units per second; 0: no limit */
	uint64_t burst;		/* most that is saved up */
	int64_t level;		/* below 1: wait */
	uint64_t at;		/* when @level was right */
};

/* Full at @now. @rate and @burst up to BUCKET_RATE_MAX; @burst 0: a tenth of a second's worth. */
void bucket_init(struct bucket *b, uint64_t rate, uint64_t burst, uint64_t now);
/* Nanoseconds until something may be taken; 0: now. Fills up to @now. */
uint64_t bucket_wait(struct bucket *b, uint64_t now);
/* Take @n, also what is not there. Up to BUCKET_RATE_MAX at once. */
void bucket_take(struct bucket *b, uint64_t n);
#endif
