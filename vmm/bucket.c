/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bucket.c - whole units only; the clock of a bucket moves by what those took, so
 * that no fraction is lost however often it is asked.
 */
#include "vmm/bucket.h"

#define NS 1000000000ull
#define LEVEL_MIN (-(int64_t)(1ull << 62))

void bucket_init(struct bucket *b, uint64_t rate, uint64_t burst, uint64_t now)
{
	BUG_ON(rate > BUCKET_RATE_MAX || burst > BUCKET_RATE_MAX);
	if (!burst)
		burst = rate / 10 ? rate / 10 : 1;
	*b = (struct bucket){ .rate = rate, .burst = burst, .level = (int64_t)burst, .at = now };
}

/* Rounded up: with that many nanoseconds there are @n units. Neither is beyond 2^62. */
static uint64_t time_of(const struct bucket *b, uint64_t n)
{
	unsigned __int128 ns = ((unsigned __int128)n * NS + b->rate - 1) / b->rate;

	return ns > UINT64_MAX ? UINT64_MAX : (uint64_t)ns;
}

static void fill(struct bucket *b, uint64_t now)
{
	uint64_t room = (uint64_t)((int64_t)b->burst - b->level), passed = now - b->at;
	unsigned __int128 units;

	if (now <= b->at)
		return;
	units = (unsigned __int128)passed * b->rate / NS;
	if (units >= room) {
		b->level = (int64_t)b->burst;
		b->at = now;
		return;
	}
	b->level += (int64_t)units;
	b->at += (uint64_t)(units * NS / b->rate);	/* at most @passed */
}

uint64_t bucket_wait(struct bucket *b, uint64_t now)
{
	uint64_t ns, gone;

	if (!b->rate)
		return 0;
	fill(b, now);
	if (b->level > 0)
		return 0;
	ns = time_of(b, (uint64_t)(1 - b->level));
	gone = now > b->at ? now - b->at : 0;
	return ns > gone ? ns - gone : 1;
}

void bucket_take(struct bucket *b, uint64_t n)
{
	if (!b->rate)
		return;
	n = n < BUCKET_RATE_MAX ? n : BUCKET_RATE_MAX;
	b->level = b->level < LEVEL_MIN + (int64_t)n ? LEVEL_MIN : b->level - (int64_t)n;
}
