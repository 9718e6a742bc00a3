/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vsock_flow.c - credit (virtio 1.2, 5.10.6.3) and the buffer behind it.
 *
 * All counters are free-running 32-bit numbers: only differences mean anything,
 * so each test subtracts first and compares afterwards. What is promised to the
 * guest as credit fits into the buffer, so guest data can always be taken out of
 * its queue at once and one slow client never holds up another.
 */
#include "devices/vsock.h"

#define VBUF_FIRST	(4u << 10)
#define VBUF_KEEP	(64u << 10)	/* an empty buffer above this is given back */

bool vcredit_take(struct vcredit *c, uint32_t len)
{
	uint32_t held = c->got - c->fwd;	/* <= alloc, always */

	if (len > c->alloc - held)
		return false;
	c->got += len;
	return true;
}

bool vcredit_due(const struct vcredit *c)
{
	/* Not alloc - (got - told): a guest may have sent more than it knew of. */
	return c->fwd != c->told && c->got - c->told > c->alloc / 2;
}

uint32_t vcredit_peer_free(const struct vcredit *c)
{
	uint32_t unread = c->sent - c->peer_fwd;

	return unread < c->peer_alloc ? c->peer_alloc - unread : 0;
}

enum vcredit_word vcredit_peer(struct vcredit *c, uint32_t alloc, uint32_t fwd)
{
	uint32_t step = fwd - c->peer_fwd;

	if (step > c->sent - c->peer_fwd)
		return step >> 31 ? VCREDIT_STALE : VCREDIT_LIE;
	c->peer_alloc = alloc;
	c->peer_fwd = fwd;
	return VCREDIT_OK;
}

static int vbuf_grow(struct vbuf *b, uint32_t need, uint32_t max)
{
	uint32_t cap = b->cap ? b->cap : VBUF_FIRST;
	struct iovec v[2];
	unsigned char *p;
	unsigned n;

	while (cap < need)
		cap *= 2;
	BUG_ON(cap > max);	/* credit was checked, and max is a power of two */
	p = malloc(cap);
	if (!p)
		return -ENOMEM;
	n = vbuf_peek(b, v);
	for (uint32_t i = 0, at = 0; i < n; at += (uint32_t)v[i].iov_len, i++)
		memcpy(p + at, v[i].iov_base, v[i].iov_len);
	free(b->p);
	b->p = p;
	b->cap = cap;
	b->head = 0;
	return 0;
}

int vbuf_put(struct vbuf *b, const struct iovec *v, unsigned n, size_t skip, uint32_t len,
	     uint32_t max)
{
	BUG_ON(b->used > max || len > max - b->used);
	if (len > b->cap - b->used && vbuf_grow(b, b->used + len, max))
		return -ENOMEM;
	for (unsigned i = 0; i < n && len; i++) {
		const unsigned char *from = v[i].iov_base;
		size_t have = v[i].iov_len;

		if (skip >= have) {
			skip -= have;
			continue;
		}
		from += skip;
		have -= skip;
		skip = 0;
		while (have && len) {	/* at most twice: the buffer wraps once */
			uint32_t tail = (b->head + b->used) & (b->cap - 1);
			uint32_t k = b->cap - tail;

			k = k < len ? k : len;
			k = k < have ? k : (uint32_t)have;
			memcpy(b->p + tail, from, k);
			b->used += k;
			from += k;
			have -= k;
			len -= k;
		}
	}
	BUG_ON(len);
	return 0;
}

unsigned vbuf_peek(const struct vbuf *b, struct iovec out[2])
{
	uint32_t first = b->cap - b->head;

	if (!b->used)
		return 0;
	first = first < b->used ? first : b->used;
	out[0] = (struct iovec){ .iov_base = b->p + b->head, .iov_len = first };
	out[1] = (struct iovec){ .iov_base = b->p, .iov_len = b->used - first };
	return b->used > first ? 2 : 1;
}

void vbuf_drop(struct vbuf *b, uint32_t len)
{
	BUG_ON(len > b->used);
	b->used -= len;
	b->head = b->cap ? (b->head + len) & (b->cap - 1) : 0;
	if (!b->used && b->cap > VBUF_KEEP)
		vbuf_free(b);
}

void vbuf_free(struct vbuf *b)
{
	free(b->p);
	*b = (struct vbuf){ 0 };
}

unsigned viov_slice(const struct iovec *in, unsigned n, size_t skip, size_t max,
		    struct iovec *out, unsigned nout)
{
	unsigned k = 0;

	for (unsigned i = 0; i < n && max && k < nout; i++) {
		size_t len = in[i].iov_len;

		if (skip >= len) {
			skip -= len;
			continue;
		}
		len -= skip;
		len = len < max ? len : max;
		out[k++] = (struct iovec){ .iov_base = (char *)in[i].iov_base + skip,
					   .iov_len = len };
		max -= len;
		skip = 0;
	}
	return k;
}
