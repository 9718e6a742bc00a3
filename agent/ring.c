// SPDX-License-Identifier: Apache-2.0
/* ring.c - keep the newest bytes, within a budget. */
#include <stdlib.h>
#include <string.h>

#include "agent/ring.h"

#define RING_MIN 4096u

static size_t budget, taken;

void ring_budget(size_t bytes)
{
	budget = bytes;
}

uint64_t ring_begin(const struct ring *r)
{
	return r->end - r->len;
}

/* Copy out in order; the ring holds at least that much from `skip` on. */
static void copy(const struct ring *r, size_t skip, uint8_t *p, size_t n)
{
	size_t at = r->at + skip, first;

	at -= at >= r->cap ? r->cap : 0;
	first = n < r->cap - at ? n : r->cap - at;
	memcpy(p, r->buf + at, first);
	memcpy(p + first, r->buf, n - first);
}

/* Room for `want` bytes, if there is any to be had. */
static void grow(struct ring *r, size_t want)
{
	size_t cap = r->cap ? r->cap : RING_MIN;
	uint8_t *buf;

	while (cap < want && cap < RING_MAX)
		cap *= 2;
	while (cap > r->cap && cap - r->cap > budget - taken)
		cap /= 2;
	if (cap <= r->cap || cap < RING_MIN)
		return;
	buf = malloc(cap);
	if (!buf)
		return;
	if (r->len)
		copy(r, 0, buf, r->len);
	free(r->buf);
	taken += cap - r->cap;
	r->buf = buf;
	r->cap = cap;
	r->at = 0;
}

void ring_put(struct ring *r, const uint8_t *p, size_t n)
{
	size_t to, first, over;

	if (n > r->cap - r->len && r->cap < RING_MAX)
		grow(r, r->len + n);
	r->end += n;
	if (n > r->cap) {
		p += n - r->cap;
		n = r->cap;
	}
	if (!n)
		return;
	over = n > r->cap - r->len ? n - (r->cap - r->len) : 0;
	r->at = (r->at + over) % r->cap;
	r->len -= over;
	to = (r->at + r->len) % r->cap;
	first = n < r->cap - to ? n : r->cap - to;
	memcpy(r->buf + to, p, first);
	memcpy(r->buf, p + first, n - first);
	r->len += n;
}

size_t ring_get(const struct ring *r, uint64_t from, uint8_t *p, size_t n)
{
	uint64_t begin = ring_begin(r);

	if (from < begin || from > r->end)
		return 0;
	if (n > r->end - from)
		n = (size_t)(r->end - from);
	if (n)
		copy(r, (size_t)(from - begin), p, n);
	return n;
}

void ring_drop(struct ring *r)
{
	taken -= r->cap;
	free(r->buf);
	r->buf = NULL;
	r->cap = r->at = r->len = 0;
}
