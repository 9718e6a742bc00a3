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

/* The proof (tests/prove/bucket.cc) has words of a few bits, which notice when they wrap. */
#ifndef BUCKET_NS
#define BUCKET_NS 1000000000ull
#define BUCKET_RATE_MAX (1ull << 40)	/* units per second, and units of a burst */
#define BUCKET_DEBT_MAX (1ull << 62)	/* more is forgiven */
typedef uint64_t bucket_word;
typedef int64_t bucket_level;
typedef unsigned __int128 bucket_wide;
#endif

struct bucket {
	bucket_word rate;	/* units per second; 0: no limit */
	bucket_word burst;	/* most that is saved up */
	bucket_level level;	/* below 1: wait */
	bucket_word rest;	/* and parts of a unit, of which BUCKET_NS are one */
	bucket_word at;		/* when that was right */
};

/* Full at @now. @rate and @burst up to BUCKET_RATE_MAX; @burst 0: a tenth of a second's worth. */
void bucket_init(struct bucket *b, bucket_word rate, bucket_word burst, bucket_word now);
/* Nanoseconds until something may be taken; 0: now. Fills up to @now. */
bucket_word bucket_wait(struct bucket *b, bucket_word now);
/* Take @n, also what is not there. Up to BUCKET_RATE_MAX at once. */
void bucket_take(struct bucket *b, bucket_word n);
#endif
