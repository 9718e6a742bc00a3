/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/registry.h"
#include "tests/unit/rig.h"

static unsigned nonzero(const unsigned char *p, size_t n)
{
	unsigned k = 0;

	while (n--)
		k += *p++ != 0;
	return k;
}

Test(rng, fills_every_part_and_nothing_else)
{
	struct rig r;
	uint32_t len;
	uint16_t head;
	bool raised;

	rig_open(&r, virtio_ops_find("rng"), NULL);
	rig_start(&r, 0);
	head = rig_add(&r, 0, (struct rig_part[]){ { NULL, 96, true }, { NULL, 32, true } }, 2);
	rig_buf(&r, 64, NULL);
	rig_kick(&r, 0);
	rig_run(&r);
	cr_assert_eq(rig_used(&r, 0, &len), head);
	cr_assert_eq(len, 128);
	cr_assert_gt(nonzero(rig_part_at(&r, 0, head, 0), 96), 48);
	cr_assert_gt(nonzero(rig_part_at(&r, 0, head, 1), 32), 8);
	cr_assert_eq(nonzero(rig_part_at(&r, 0, head, 1) + 32, 64), 0);
	cr_assert_eq(rig_irq(&r, &raised), VIRTIO_MMIO_INT_VRING);
	cr_assert(raised);
	rig_close(&r);
}

Test(rng, two_answers_differ)
{
	unsigned char *a, *b;
	struct rig r;

	rig_open(&r, virtio_ops_find("rng"), NULL);
	rig_start(&r, 0);
	a = rig_part_at(&r, 0, rig_add(&r, 0, &(struct rig_part){ NULL, 32, true }, 1), 0);
	b = rig_part_at(&r, 0, rig_add(&r, 0, &(struct rig_part){ NULL, 32, true }, 1), 0);
	rig_kick(&r, 0);
	rig_run(&r);
	cr_assert_neq(memcmp(a, b, 32), 0);
	rig_close(&r);
}

/* threat-model.md 14: a huge chain costs one chunk, and the driver is told how much it got. */
Test(rng, a_huge_chain_gets_one_chunk)
{
	struct rig r;
	uint32_t len;

	rig_open(&r, virtio_ops_find("rng"), NULL);
	rig_start(&r, 0);
	rig_add(&r, 0, &(struct rig_part){ NULL, 65536, true }, 1);
	rig_kick(&r, 0);
	rig_run(&r);
	cr_assert_eq(rig_used(&r, 0, &len), 0);
	cr_assert_eq(len, 4096);
	rig_close(&r);
}

Test(rng, a_chain_without_room_comes_back_empty)
{
	struct rig r;
	uint32_t len = 7;

	rig_open(&r, virtio_ops_find("rng"), NULL);
	rig_start(&r, 0);
	rig_add(&r, 0, &(struct rig_part){ "abc", 3, false }, 1);
	rig_kick(&r, 0);
	rig_run(&r);
	cr_assert_eq(rig_used(&r, 0, &len), 0);
	cr_assert_eq(len, 0);
	cr_assert(!r.d->failed);
	rig_close(&r);
}
