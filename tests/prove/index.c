/* SPDX-License-Identifier: Apache-2.0 */
/*
 * index.c - the arithmetic of a virtqueue (vmm/virtq.c) at its real widths, against the words of
 * the specification (virtio 1.2, 2.7) written down again in integers that cannot wrap:
 *
 *	every size of a ring at every edge of memory, and every alignment
 *	every index of the driver against those of the device at which something can happen,
 *	and every index of the device against those of the driver
 *	every event index at which an interrupt is asked for
 *	the used ring's index through its whole circle
 *	bytes of a chain beyond 4 GiB, and every read and write of short chains
 */
#include "vmm/virtq.h"

#define BASE		0x10000u
#define BYTES		16384u
#define AVAIL		4096u
#define USED		8192u
#define FAR		(1ull << 32)	/* a region that nothing touches */

static _Alignas(4096) unsigned char memory[BYTES], far;
static struct gmem mem = { .n = 2, .fd = -1, .r = { { BASE, BYTES, memory },
						    { FAR, 1ull << 40, &far } } };
static unsigned long long seen;

static void done(const char *what)
{
	printf("ok prove index: %s: %llu\n", what, seen);
	seen = 0;
}

static void ring(struct virtq *q, uint16_t size)
{
	memset(memory, 0, sizeof(memory));
	*q = (struct virtq){ .mem = &mem, .size = size, .event_idx = true, .desc_at = GPA(BASE),
			     .avail_at = GPA(BASE + AVAIL), .used_at = GPA(BASE + USED) };
	BUG_ON(virtq_enable(q));
}

/* ---- where a ring may lie -------------------------------------------------- */

static bool fits(uint64_t at, uint64_t len)
{
	unsigned __int128 end = (unsigned __int128)at + len;

	return (at >= BASE && end <= BASE + BYTES) || (at >= FAR && end <= FAR + (1ull << 40));
}

static void place(uint16_t size, uint64_t desc, uint64_t avail, uint64_t used)
{
	struct virtq q = { .mem = &mem, .size = size, .desc_at = GPA(desc),
			   .avail_at = GPA(avail), .used_at = GPA(used) };
	bool good = size && size <= VIRTQ_MAX && __builtin_popcount(size) == 1 &&
		    desc % 16 == 0 && avail % 2 == 0 && used % 4 == 0 &&
		    fits(desc, 16ull * size) && fits(avail, 6 + 2ull * size) &&
		    fits(used, 6 + 8ull * size);

	seen++;
	BUG_ON(virtq_enable(&q) != (good ? 0 : -EBADMSG));
	BUG_ON(q.ready != good || !q.why != good);
}

static void places(void)
{
	static const uint64_t ends[] = { 0, BASE, BASE + BYTES, FAR, FAR + (1ull << 40), 1ull << 63,
					 UINT64_MAX };
	const uint64_t d = BASE, a = BASE + AVAIL, u = BASE + USED;

	for (unsigned size = 0; size <= UINT16_MAX; size++)
		place((uint16_t)size, d, a, u);
	for (unsigned bit = 0; bit < 10; bit++)
		for (unsigned e = 0; e < ARRAY_LEN(ends); e++)
			for (uint64_t off = 0; off < 2 * 16 * VIRTQ_MAX + 64; off++) {
				uint64_t at = ends[e] + off - 16 * VIRTQ_MAX - 32;

				place((uint16_t)(1u << bit), at, a, u);
				place((uint16_t)(1u << bit), d, at, u);
				place((uint16_t)(1u << bit), d, a, at);
			}
	done("places of rings");
}

/* ---- indices --------------------------------------------------------------- */

static void index_pair(struct virtq *q, unsigned next, unsigned idx)
{
	static struct vchain c;
	unsigned ahead = (idx + 65536 - next) % 65536;	/* chains on offer */
	int want = !ahead ? 0 : ahead > q->size ? -EBADMSG : 1, rc;

	q->next_avail = (uint16_t)next;
	q->avail->idx = (uint16_t)idx;
	q->inflight[0] = q->inflight[1] = q->inflight[2] = q->inflight[3] = 0;
	seen++;
	BUG_ON(virtq_offered(q) != (ahead != 0));
	rc = virtq_pop(q, &c);
	BUG_ON(rc != want);
	BUG_ON(rc == 1 && (c.head != q->size - 1u - next % q->size ||
			   q->next_avail != (next + 1) % 65536));
	BUG_ON(rc != 1 && q->next_avail != next);
	q->next_avail = (uint16_t)next;
	BUG_ON(virtq_listen(q) != (ahead != 0) || *q->avail_event != next);
}

static void avail(void)
{
	static const uint16_t edges[] = { 0, 1, 2, 255, 256, 257, 32767, 32768, 65279, 65280,
					  65534, 65535 };

	for (unsigned bit = 0; bit <= 8; bit++) {
		struct virtq q;

		ring(&q, (uint16_t)(1u << bit));
		/* Another head in each place, so that a wrong place is seen. */
		for (unsigned i = 0; i < q.size; i++)
			q.avail->ring[i] = (uint16_t)(q.size - 1 - i);
		for (unsigned next = 0; next < 65536; next++)
			for (int k = -3; k <= q.size + 3; k += k > 3 && k < q.size - 3 ? 7 : 1)
				index_pair(&q, next, (next + 65536 + (unsigned)k) % 65536);
		for (unsigned e = 0; e < ARRAY_LEN(edges); e++)
			for (unsigned idx = 0; idx < 65536; idx++)
				index_pair(&q, edges[e], idx);
	}
	done("indices of avail rings");
}

static void used(void)
{
	for (unsigned bit = 0; bit <= 8; bit++) {
		struct virtq q;

		ring(&q, (uint16_t)(1u << bit));
		for (unsigned next = 0; next < 65536; next++) {
			struct vchain c = { .head = (uint16_t)(next % q.size), .done = next };
			const struct vring_used_elem *e = &q.used->ring[next % q.size];

			q.inflight[c.head / 64] |= 1ull << c.head % 64;
			q.next_used = (uint16_t)next;
			virtq_push(&q, &c);
			seen++;
			BUG_ON(e->id != c.head || e->len != next);
			BUG_ON(q.used->idx != (next + 1) % 65536 || q.next_used != q.used->idx);
			BUG_ON(q.inflight[c.head / 64]);
		}
		for (unsigned i = USED + 6 + 8u * q.size; i < BYTES; i++)
			BUG_ON(memory[i]);
	}
	done("indices of used rings");
}

/* An event between the last signal and now, 2.7.7.1. */
static void events(void)
{
	static const uint16_t olds[] = { 0, 1, 32767, 32768, 65300, 65535 };
	static const uint16_t steps[] = { 0, 1, 2, 3, 127, 255, 256, 257, 32767, 32768, 65535 };
	struct virtq q;

	ring(&q, 256);
	for (unsigned o = 0; o < ARRAY_LEN(olds); o++)
		for (unsigned s = 0; s < ARRAY_LEN(steps); s++)
			for (unsigned event = 0; event < 65536; event++) {
				unsigned after = (event + 65536 - olds[o]) % 65536;

				q.signalled = olds[o];
				q.next_used = (uint16_t)(olds[o] + steps[s]);
				q.avail->ring[q.size] = (uint16_t)event;
				seen++;
				BUG_ON(virtq_wants_irq(&q) != (after < steps[s]));
				BUG_ON(q.signalled != q.next_used);
			}
	done("events");
}

/* ---- bytes ----------------------------------------------------------------- */

static void totals(void)
{
	static const uint32_t lens[] = { 0, 1, 1u << 31, UINT32_MAX - 1, UINT32_MAX };
	static struct vchain c;
	struct virtq q;

	ring(&q, 4);
	q.avail->idx = 1;
	for (unsigned n = 0; n < 625 * 5; n++) {
		uint64_t sum[2] = { 0, 0 };
		unsigned writable = n % 5, rest = n / 5;
		bool good;
		int rc;

		for (unsigned i = 0; i < 4; i++, rest /= 5) {
			bool w = i >= writable;

			q.desc[i] = (struct vring_desc){ .addr = FAR, .len = lens[rest % 5],
				.next = (uint16_t)(i + 1), .flags = (uint16_t)((i < 3 ?
				VRING_DESC_F_NEXT : 0) | (w ? VRING_DESC_F_WRITE : 0)) };
			sum[w] += lens[rest % 5];
		}
		good = sum[0] <= UINT32_MAX && sum[1] <= UINT32_MAX;
		q.next_avail = 0;
		q.inflight[0] = 0;
		rc = virtq_pop(&q, &c);
		seen++;
		BUG_ON(rc != (good ? 1 : -EBADMSG));
		BUG_ON(good && (c.read_len != sum[0] || c.write_len != sum[1]));
	}
	done("sums of lengths");
}

static void one_copy(const struct vchain *made, const unsigned char *flat, unsigned total,
		     size_t off, size_t len)
{
	unsigned char got[16] = { 0 };
	struct vchain c = *made;

	seen++;
	BUG_ON(vchain_read(&c, off, got, len) != (!len || (off <= total && len <= total - off) ?
						  0 : -EBADMSG));
	if (len && off <= total && len <= total - off)
		BUG_ON(memcmp(got, flat + off, len));
}

static void one_fill(const struct vchain *made, unsigned char *flat, unsigned total, uint32_t off,
		     size_t len)
{
	static const unsigned char text[] = "ABCDEFGHIJKLMNO";
	struct vchain c = *made;
	bool good = len <= total - off;

	memset(flat, 0, 16);
	c.done = off;
	seen++;
	BUG_ON(vchain_write(&c, text, len) != (good ? 0 : -EBADMSG));
	BUG_ON(c.done != off + (good ? len : 0));
	for (unsigned i = 0; i < 16; i++)
		BUG_ON(flat[i] != (good && i >= off && i < off + len ? text[i - off] : 0));
}

/* Parts of one to four bytes, side by side in @flat, so that what goes beyond is seen. */
static void copies(void)
{
	static const size_t huge[] = { SIZE_MAX, SIZE_MAX - 1, 1ull << 63, 1ull << 32 };
	unsigned char flat[16];

	for (unsigned n = 0; n < 4 * 64; n++) {
		unsigned parts = n % 4, rest = n / 4, total = 0;
		struct vchain r = { .nread = (uint16_t)parts }, w = { .nwrite = (uint16_t)parts };

		for (unsigned i = 0; i < parts; i++, rest /= 4) {
			r.iov[i] = w.iov[i] = (struct iovec){ flat + total, rest % 4 + 1 };
			total += rest % 4 + 1;
		}
		r.read_len = w.write_len = total;
		for (unsigned i = 0; i < 16; i++)
			flat[i] = (unsigned char)(i + 1);
		for (unsigned off = 0; off < 16; off++)
			for (unsigned len = 0; len < 16; len++)
				one_copy(&r, flat, total, off, len);
		for (unsigned i = 0; i < ARRAY_LEN(huge); i++)
			one_copy(&r, flat, total, huge[i], 1);
		for (unsigned off = 0; off <= total; off++) {
			for (unsigned len = 0; len < 16; len++)
				one_fill(&w, flat, total, off, len);
			for (unsigned i = 0; i < ARRAY_LEN(huge); i++)
				one_fill(&w, flat, total, off, huge[i]);
		}
	}
	done("reads and writes of chains");
}

int main(void)
{
	places();
	avail();
	used();
	events();
	totals();
	copies();
	return 0;
}
