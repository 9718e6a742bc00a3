/* SPDX-License-Identifier: Apache-2.0 */
#include <linux/virtio_balloon.h>
#include "devices/registry.h"
#include "tests/unit/rig.h"

#define PAGE	4096u
#define REPORT	(1ull << VIRTIO_BALLOON_F_REPORTING)

enum { INFLATE, DEFLATE, REPORTING };

/* The whole pages of the rig's memory, filled, from page @first of those after the rings. */
static unsigned char *filled(struct rig *r, unsigned first, unsigned n, uint32_t *pfn)
{
	unsigned char *p = r->ram + 0x80000 + first * PAGE;

	memset(p, 0xaa, n * PAGE);
	*pfn = (uint32_t)((RIG_BASE + (uint64_t)(p - r->ram)) >> 12);
	return p;
}

static unsigned kept(const unsigned char *p, unsigned pages)
{
	unsigned n = 0;

	for (unsigned i = 0; i < pages; i++)
		n += p[i * PAGE] == 0xaa && p[i * PAGE + PAGE - 1] == 0xaa;
	return n;
}

/* One descriptor of queue @q that covers [p, p+len) of the rig's memory. */
static void show(struct rig *r, unsigned q, unsigned char *p, uint32_t len)
{
	uint16_t head = r->q[q].next_desc++ % RIG_SIZE;

	r->q[q].desc[head] = (struct vring_desc){
		.addr = RIG_BASE + (uint64_t)(p - r->ram), .len = len,
		.flags = VRING_DESC_F_WRITE };
	rig_offer(r, q, head);
	rig_kick(r, q);
	rig_run(r);
}

static void open_at_page(struct rig *r, uint64_t features)
{
	rig_open(r, virtio_ops_find("balloon"), NULL);
	rig_start(r, features);
}

Test(balloon, what_is_reported_is_dropped_and_nothing_else)
{
	struct rig r;
	unsigned char *p;
	uint32_t pfn, len;

	open_at_page(&r, REPORT);
	p = filled(&r, 0, 8, &pfn);
	show(&r, REPORTING, p + PAGE, 4 * PAGE);
	cr_assert_geq(rig_used(&r, REPORTING, &len), 0);
	cr_assert_eq(kept(p, 1), 1);
	cr_assert_eq(kept(p + PAGE, 4), 0);
	cr_assert_eq(kept(p + 5 * PAGE, 3), 3);
	cr_assert_eq(p[PAGE], 0);
	rig_close(&r);
}

Test(balloon, half_pages_stay)
{
	struct rig r;
	unsigned char *p;
	uint32_t pfn;

	open_at_page(&r, REPORT);
	p = filled(&r, 0, 4, &pfn);
	show(&r, REPORTING, p + 1, 3 * PAGE - 2);
	cr_assert_eq(p[1], 0xaa);
	cr_assert_eq(p[2 * PAGE], 0xaa);
	cr_assert_eq(kept(p + PAGE, 1), 0);
	show(&r, REPORTING, p + 3 * PAGE + 16, 64);
	cr_assert_eq(kept(p + 3 * PAGE, 1), 1);
	rig_close(&r);
}

/* A driver that has not agreed to reports may have put anything into those buffers. */
Test(balloon, without_the_feature_reports_drop_nothing)
{
	struct rig r;
	unsigned char *p;
	uint32_t pfn;

	open_at_page(&r, 0);
	p = filled(&r, 0, 2, &pfn);
	show(&r, REPORTING, p, 2 * PAGE);
	cr_assert_geq(rig_used(&r, REPORTING, NULL), 0);
	cr_assert_eq(kept(p, 2), 2);
	rig_close(&r);
}

Test(balloon, pages_put_into_it_are_dropped)
{
	struct rig r;
	unsigned char *p;
	uint32_t pfn[3];

	open_at_page(&r, 0);
	p = filled(&r, 0, 4, &pfn[0]);
	pfn[0]++;
	pfn[1] = 7;			/* not there */
	pfn[2] = UINT32_MAX;
	rig_add(&r, INFLATE, &(struct rig_part){ pfn, sizeof(pfn), false }, 1);
	rig_kick(&r, INFLATE);
	rig_run(&r);
	cr_assert_geq(rig_used(&r, INFLATE, NULL), 0);
	cr_assert_eq(r.d->stat.bad, 2);
	cr_assert_eq(kept(p, 1), 1);
	cr_assert_eq(p[PAGE], 0);
	cr_assert_eq(kept(p + 2 * PAGE, 2), 2);
	cr_assert(!r.d->failed);
	rig_add(&r, DEFLATE, &(struct rig_part){ pfn, 4, false }, 1);
	rig_kick(&r, DEFLATE);
	rig_run(&r);
	cr_assert_geq(rig_used(&r, DEFLATE, NULL), 0);
	rig_close(&r);
}

Test(balloon, the_host_asks_for_no_page)
{
	const uint64_t num_pages = VIRTIO_MMIO_CONFIG;
	struct rig r;

	open_at_page(&r, 0);
	rig_set(&r, num_pages, 77);
	rig_set(&r, num_pages + 4, 5);
	cr_assert_eq(rig_get(&r, num_pages), 0);
	cr_assert_eq(rig_get(&r, num_pages + 4), 5);
	rig_close(&r);
}
