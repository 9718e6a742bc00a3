/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bucket.c - exact: what time brings is counted in parts of a unit, so nothing is lost, and
 * nothing won, however often it is asked. `make prove` tries every bucket of six bits.
 */
#include "vmm/bucket.h"

#define LEVEL_MIN (-(bucket_level)BUCKET_DEBT_MAX)

void bucket_init(struct bucket *b, bucket_word rate, bucket_word burst, bucket_word now)
{
	BUG_ON(rate > BUCKET_RATE_MAX || burst > BUCKET_RATE_MAX);
	if (burst == 0)
		burst = rate >= 10 ? rate / 10 : 1;
	b->rate = rate;
	b->burst = burst;
	b->level = (bucket_level)burst;
	b->rest = 0;
	b->at = now;
}

static void fill(struct bucket *b, bucket_word now)
{
	bucket_word room = (bucket_word)((bucket_level)b->burst - b->level);
	bucket_wide parts;

	if (now <= b->at)
		return;
	parts = (bucket_wide)(now - b->at) * b->rate + b->rest;
	b->at = now;
	if (parts / BUCKET_NS >= room) {
		b->level = (bucket_level)b->burst;
		b->rest = 0;
		return;
	}
	b->level += (bucket_level)(parts / BUCKET_NS);
	b->rest = (bucket_word)(parts % BUCKET_NS);
}

bucket_word bucket_wait(struct bucket *b, bucket_word now)
{
	const bucket_word most = ~(bucket_word)0;
	bucket_wide ns;

	if (b->rate == 0)
		return 0;
	fill(b, now);
	if (b->level > 0)
		return 0;
	ns = (bucket_wide)(bucket_word)(1 - b->level) * BUCKET_NS - b->rest;
	ns = (ns + b->rate - 1) / b->rate;		/* rounded up */
	return ns > most ? most : (bucket_word)ns;
}

void bucket_take(struct bucket *b, bucket_word n)
{
	if (b->rate == 0)
		return;
	n = n < BUCKET_RATE_MAX ? n : BUCKET_RATE_MAX;
	b->level = b->level < LEVEL_MIN + (bucket_level)n ? LEVEL_MIN :
							    b->level - (bucket_level)n;
}
