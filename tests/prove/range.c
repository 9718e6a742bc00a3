/* SPDX-License-Identifier: Apache-2.0 */
/*
 * range.c - a bounded proof of the one check on which every access to guest memory rests
 * (gmem_ptr() of vmm/gmem.c): the same code with addresses of eight bits, for every region,
 * every address and every length. The result is a pointer into the region if and only if
 * each byte of the range is a byte of the region, by counting and not by comparing sums.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include "vmm/base.h"

#define uint64_t uint8_t
#include "vmm/gmem.c"
#undef uint64_t

static unsigned char host[512];
static unsigned long long seen, good;

/* How many bytes from @at on are the region's, before one is not. Addresses do not wrap. */
static unsigned bytes_from(const struct gmem_region *r, unsigned at)
{
	unsigned n = 0;

	while (at + n < 256 && at + n >= r->base && at + n < (unsigned)r->base + r->len)
		n++;
	return n;
}

static void every_range(const struct gmem *m)
{
	for (unsigned at = 0; at < 256; at++) {
		unsigned have[2] = { 0, 0 };

		for (unsigned i = 0; i < m->n; i++)
			have[i] = bytes_from(&m->r[i], at);
		for (unsigned len = 0; len < 256; len++) {
			const void *p = gmem_ptr(m, GPA((uint8_t)at), (uint8_t)len), *want = NULL;

			for (unsigned i = m->n; i--;)
				if (have[i] && len <= have[i])
					want = m->r[i].hva + (at - m->r[i].base);
			seen++;
			good += !!p;
			BUG_ON(p != want);
		}
	}
}

int main(void)
{
	struct gmem m = { .n = 1, .r = { { .hva = host }, { .hva = host + 256 } } };

	/* Regions end where addresses do at the latest (vmm/board.c lays them out). */
	for (unsigned base = 0; base < 256; base++)
		for (unsigned len = 0; len <= 256 - base && len < 256; len++) {
			m.r[0].base = (uint8_t)base;
			m.r[0].len = (uint8_t)len;
			every_range(&m);
		}
	printf("ok prove range: %llu ranges in all regions, %llu of them good\n", seen, good);
	seen = good = 0;
	/* Two, with a gap or side by side: no range may lie across. */
	m.n = 2;
	for (unsigned first = 1; first < 128; first += 9)
		for (unsigned base = first; base < 256; base += 13)
			for (unsigned len = 1; len <= 256 - base && len < 256; len += 11) {
				m.r[0].base = 0;
				m.r[0].len = (uint8_t)first;
				m.r[1].base = (uint8_t)base;
				m.r[1].len = (uint8_t)len;
				every_range(&m);
			}
	printf("ok prove range: %llu ranges over two regions, %llu of them good\n", seen, good);
	return 0;
}
