/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bus.h - which address belongs to whom. Built before the first vCPU runs and
 * constant afterwards, so dispatch on the vCPU threads needs no lock.
 */
#ifndef VMM_BUS_H
#define VMM_BUS_H
#include "vmm/base.h"

#define BUS_RANGES_MAX 48

/*
 * One access of @len bytes (1 to 8) at @off from the start of the range; the
 * whole access lies inside it. A read fills @data, which is zero on entry. Runs
 * on a vCPU thread, several at once.
 */
typedef void bus_fn(void *owner, uint64_t off, void *data, unsigned len, bool write);

struct bus_range { uint64_t base, len; bus_fn *fn; void *owner; };
struct bus { unsigned n; struct bus_range r[BUS_RANGES_MAX]; };

/* -EEXIST if it overlaps a range that is there, -ENOSPC when the table is full, -EINVAL: empty. */
int bus_add(struct bus *b, uint64_t base, uint64_t len, bus_fn *fn, void *owner) must_check;
/* True if a range took the access; reads that none took leave @data alone. */
bool bus_access(const struct bus *b, uint64_t at, void *data, unsigned len, bool write);
#endif
