/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/bus.h"

int bus_add(struct bus *b, uint64_t base, uint64_t len, bus_fn *fn, void *owner)
{
	if (!len || len - 1 > UINT64_MAX - base)
		return -EINVAL;
	for (unsigned i = 0; i < b->n; i++) {
		const struct bus_range *r = &b->r[i];

		if (base - r->base < r->len || r->base - base < len)
			return -EEXIST;
	}
	if (b->n == BUS_RANGES_MAX)
		return -ENOSPC;
	b->r[b->n++] = (struct bus_range){ .base = base, .len = len, .fn = fn, .owner = owner };
	return 0;
}

bool bus_access(const struct bus *b, uint64_t at, void *data, unsigned len, bool write)
{
	for (unsigned i = 0; i < b->n; i++) {
		const struct bus_range *r = &b->r[i];
		uint64_t off = at - r->base;

		if (off < r->len && len <= r->len - off) {
			r->fn(r->owner, off, data, len, write);
			return true;
		}
	}
	return false;
}
