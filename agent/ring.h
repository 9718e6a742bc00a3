/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ring.h - the newest bytes of a stream that nobody reads at the moment.
 *
 * A ring grows with what is put into it, up to RING_MAX, as long as all rings together stay
 * within a budget; then the oldest bytes make room. So putting never fails and never waits.
 * Positions count from the stream's begin and do not wrap.
 */
#ifndef AGENT_RING_H
#define AGENT_RING_H

#include <stddef.h>
#include <stdint.h>

#define RING_MAX 262144u

struct ring {
	uint8_t *buf;
	size_t cap, at, len;	/* the oldest byte is at `at` */
	uint64_t end;		/* position after the newest byte */
};

/* Bytes that all rings may take together. */
void ring_budget(size_t bytes);
void ring_put(struct ring *r, const uint8_t *p, size_t n);
/* Position of the oldest byte that is kept. */
uint64_t ring_begin(const struct ring *r);
/* Copy up to n bytes from position `from` (begin..end) on; how many. */
size_t ring_get(const struct ring *r, uint64_t from, uint8_t *p, size_t n);
/* Forget the bytes; the position stays. */
void ring_drop(struct ring *r);
#endif
