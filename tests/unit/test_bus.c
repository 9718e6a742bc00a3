/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include "vmm/bus.h"

struct seen { unsigned n, len; uint64_t off; bool write; };

static void note(void *owner, uint64_t off, void *data, unsigned len, bool write)
{
	struct seen *s = owner;

	*s = (struct seen){ s->n + 1, len, off, write };
	if (!write)
		memset(data, 0xaa, len);
}

static void none(void *owner, uint64_t off, void *data, unsigned len, bool write)
{
	(void)owner, (void)off, (void)data, (void)len, (void)write;
}

Test(bus, an_access_reaches_the_range_that_holds_all_of_it)
{
	struct seen a = { 0 }, z = { 0 };
	struct bus b = { 0 };
	uint64_t v = 0;

	cr_assert_eq(bus_add(&b, 0x1000, 0x1000, note, &a), 0);
	cr_assert_eq(bus_add(&b, UINT64_MAX - 0xfff, 0x1000, note, &z), 0);
	cr_assert(bus_access(&b, 0x1ffc, &v, 4, true));
	cr_assert(a.n == 1 && a.off == 0xffc && a.len == 4 && a.write);
	cr_assert(bus_access(&b, UINT64_MAX, &v, 1, false));
	cr_assert(z.n == 1 && z.off == 0xfff && !z.write);
	cr_assert_eq(v, 0xaa);
	v = 5;
	/* Over an edge, just outside, and far off: nobody's, and the data stays. */
	cr_assert(!bus_access(&b, 0x1ffd, &v, 4, false));
	cr_assert(!bus_access(&b, 0xfff, &v, 1, false));
	cr_assert(!bus_access(&b, 0x2000, &v, 1, true));
	cr_assert(!bus_access(&b, UINT64_MAX, &v, 2, false));
	cr_assert(v == 5 && a.n == 1 && z.n == 1);
}

Test(bus, ranges_that_overlap_or_wrap_are_refused)
{
	static const struct { uint64_t base, len; int rc; } t[] = {
		{ 0x2000, 0x1000, -EEXIST }, { 0x2fff, 1, -EEXIST }, { 0x1fff, 2, -EEXIST },
		{ 0, UINT64_MAX, -EEXIST }, { 0x2800, 0x10, -EEXIST }, { 0x5000, 0, -EINVAL },
		{ UINT64_MAX, 2, -EINVAL }, { 0x1fff, 1, 0 }, { 0x3000, 1, 0 },
	};
	struct bus b = { 0 };

	cr_assert_eq(bus_add(&b, 0x2000, 0x1000, none, NULL), 0);
	for (size_t i = 0; i < ARRAY_LEN(t); i++)
		cr_expect_eq(bus_add(&b, t[i].base, t[i].len, none, NULL), t[i].rc,
			     "%#lx+%#lx", t[i].base, t[i].len);
}

Test(bus, a_full_table_says_so)
{
	struct bus b = { 0 };

	for (uint64_t i = 0; i < BUS_RANGES_MAX; i++)
		cr_assert_eq(bus_add(&b, i * 16, 16, none, NULL), 0);
	cr_assert_eq(bus_add(&b, 1 << 20, 16, none, NULL), -ENOSPC);
}
