/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chain.c - a bounded proof of the chain walk (vmm/virtq.c): every ring of two descriptors with
 * every indirect table of two, and every ring of four, out of descriptors that matter: all flags,
 * each next (also one beyond the end), buffers inside, to the last byte, one byte beyond, empty,
 * where sums wrap, and tables of a good and a bad length. What the walk makes of each is
 * compared with the words of the specification (virtio 1.2, 2.7.5), written down again here in
 * another way: the descriptors visited are remembered, instead of counted.
 * Its neighbours: index.c (indices), range.c (ranges of memory), bucket.cc.
 *
 * Debian 12 has no CBMC, and its Frama-C (25) reads neither __int128 nor follows the relation of
 * two values, on which every check of a range rests.
 */
#include "vmm/virtq.h"

#define BASE		0x1000u
#define BYTES		4096u
#define TABLE		256u		/* offsets of what lies in memory */
#define AVAIL		512u
#define USED		768u
#define DATA		2048u

struct kind { uint64_t addr; uint32_t len; };
struct part { uint64_t off; uint32_t len; bool writable; };
struct verdict { bool good; unsigned n; struct part part[8]; };

static const struct kind kinds[] = {
	{ BASE + DATA, 16 }, { BASE + BYTES - 16, 17 }, { BASE, 0 }, { BASE + TABLE, 32 },
	{ BASE + BYTES - 16, 16 }, { UINT64_MAX - 7, 16 }, { BASE + TABLE, 31 },
};
#define TABLE_KIND 3u

static _Alignas(4096) unsigned char memory[BYTES];
static struct gmem mem = { .n = 1, .r = { { BASE, BYTES, memory } }, .fd = -1 };
static struct virtq q;
static unsigned long long seen, good;

static struct vring_desc *at(unsigned off)
{
	return (struct vring_desc *)(void *)(memory + off);
}

/* The @number-th descriptor of those with @nflags flags, next up to @n, and @nkinds buffers. */
static struct vring_desc pick(unsigned number, unsigned nflags, unsigned n, unsigned nkinds)
{
	struct vring_desc d = { .flags = (uint16_t)(number % nflags) };

	number /= nflags;
	d.next = (uint16_t)(number % (n + 1));
	number /= n + 1;
	d.addr = kinds[number % nkinds].addr;
	d.len = kinds[number % nkinds].len;
	return d;
}

static bool inside(uint64_t addr, uint64_t len)
{
	unsigned __int128 end = (unsigned __int128)addr + len;

	return addr >= BASE && addr < BASE + BYTES && end <= BASE + BYTES;
}

static void walk(const struct vring_desc *table, unsigned n, unsigned i, bool nested,
		 struct verdict *v)
{
	unsigned visited = 0;
	bool wrote = false;

	v->good = false;
	for (;;) {
		const struct vring_desc *d = &table[i];

		if (i >= n || visited >> i & 1)
			return;
		visited |= 1u << i;
		if (d->flags & VRING_DESC_F_INDIRECT) {
			if (!q.indirect || nested || d->flags & VRING_DESC_F_NEXT || !d->len ||
			    d->len % 16 || d->addr % 8 || !inside(d->addr, d->len))
				return;
			/* What came before it counts for the order, too. */
			table = at((unsigned)(d->addr - BASE));
			n = d->len / 16;
			i = visited = 0;
			nested = true;
			continue;
		}
		if (wrote && !(d->flags & VRING_DESC_F_WRITE))
			return;
		wrote |= d->flags & VRING_DESC_F_WRITE;
		if (d->len) {
			if (!inside(d->addr, d->len))
				return;
			v->part[v->n++] = (struct part){ d->addr - BASE, d->len, wrote };
		} else if (d->flags & VRING_DESC_F_WRITE) {
			wrote = v->n && v->part[v->n - 1].writable;	/* an empty part is none */
		}
		if (!(d->flags & VRING_DESC_F_NEXT)) {
			v->good = true;
			return;
		}
		i = d->next;
	}
}

static void check(void)
{
	static struct vchain c;
	struct verdict v = { .n = 0 };
	int rc;

	walk(q.desc, q.size, 0, false, &v);
	q.next_avail = 0;
	q.inflight[0] = 0;
	q.why = NULL;
	rc = virtq_pop(&q, &c);
	seen++;
	BUG_ON(rc != (v.good ? 1 : -EBADMSG));
	BUG_ON(!v.good && (!q.why || q.inflight[0] || q.next_avail));
	if (!v.good)
		return;
	good++;
	BUG_ON(q.inflight[0] != 1 || q.next_avail != 1 || c.nread + c.nwrite != (int)v.n);
	for (unsigned i = 0; i < v.n; i++)
		BUG_ON(c.iov[i].iov_base != memory + v.part[i].off ||
		       c.iov[i].iov_len != v.part[i].len || v.part[i].writable != (i >= c.nread));
}

static void ring(uint16_t size, bool indirect)
{
	q = (struct virtq){ .mem = &mem, .size = size, .indirect = indirect,
			    .desc_at = GPA(BASE), .avail_at = GPA(BASE + AVAIL),
			    .used_at = GPA(BASE + USED) };
	BUG_ON(virtq_enable(&q));
	q.avail->idx = 1;
	q.avail->ring[0] = 0;
}

static bool refers(const struct vring_desc *d)
{
	return d->flags & VRING_DESC_F_INDIRECT && d->addr == kinds[TABLE_KIND].addr;
}

static void rings_of_two(bool indirect)
{
	enum { EACH = 8 * 3 * ARRAY_LEN(kinds), INNER = 8 * 3 * 4 };
	struct vring_desc *d = at(0), *t = at(TABLE);

	ring(2, indirect);
	for (unsigned n = 0; n < EACH * EACH; n++) {
		unsigned tables = 1;

		d[0] = pick(n % EACH, 8, 2, ARRAY_LEN(kinds));
		d[1] = pick(n / EACH, 8, 2, ARRAY_LEN(kinds));
		if (indirect && (refers(&d[0]) || (refers(&d[1]) &&
						   d[0].flags & VRING_DESC_F_NEXT)))
			tables = INNER * INNER;
		for (unsigned k = 0; k < tables; k++) {
			t[0] = pick(k % INNER, 8, 2, 4);
			t[1] = pick(k / INNER, 8, 2, 4);
			check();
		}
	}
}

static void rings_of_four(void)
{
	enum { EACH = 4 * 5 * 3 };
	struct vring_desc *d = at(0);

	ring(4, false);
	for (unsigned n = 0; n < EACH * EACH * EACH * EACH; n++) {
		for (unsigned i = 0, rest = n; i < 4; i++, rest /= EACH)
			d[i] = pick(rest % EACH, 4, 4, 3);
		check();
	}
}

int main(void)
{
	rings_of_two(false);
	rings_of_two(true);
	printf("ok prove chain: %llu rings of two descriptors, %llu of them good\n", seen, good);
	seen = good = 0;
	rings_of_four();
	printf("ok prove chain: %llu rings of four descriptors, %llu of them good\n", seen, good);
	return 0;
}
