/* SPDX-License-Identifier: Apache-2.0 */
/* What the block device writes to guest memory is told to whoever saves it meanwhile. */
#include <endian.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_mmio.h>
#include <sys/mman.h>
#include "devices/registry.h"
#include "tests/unit/rig.h"

/* The status of a read stands apart from its data; nothing else is written on its page here. */
Test(blk_save, the_status_of_a_read_counts_as_written, .timeout = 30)
{
	static const struct virtio_blk_outhdr h = { .type = VIRTIO_BLK_T_IN };
	static const char none = 0x7f;
	const struct rig_part p[] = { { &h, sizeof(h), false }, { &none, 1, true } };
	struct conf_dev c = { .fd = memfd_create("disk", MFD_CLOEXEC) };
	uint64_t dirty[RIG_RAM / GMEM_PAGE / 64] = { 0 }, page;
	static struct rig r;
	unsigned char *status;
	uint16_t head;

	cr_assert_eq(ftruncate(c.fd, 65536), 0);
	rig_open(&r, virtio_ops_find("blk"), &c);
	rig_start(&r, 0);
	head = rig_add(&r, 0, p, 2);
	status = rig_part_at(&r, 0, head, 1);
	page = (uint64_t)(status - r.mem.r[0].hva) / GMEM_PAGE;
	r.mem.dirty = dirty;
	rig_kick(&r, 0);
	do
		rig_run(&r);
	while (r.d->q[0].inflight[0]);
	r.mem.dirty = NULL;
	cr_assert_eq(*status, VIRTIO_BLK_S_OK);
	cr_assert(dirty[page / 64] >> page % 64 & 1, "page %llu", (unsigned long long)page);
	rig_close(&r);
}

/* A reset overtakes a read: its chain is never given back, and yet memory was written to. */
Test(blk_save, a_read_that_a_reset_overtakes_counts_as_written, .timeout = 30)
{
	static const struct virtio_blk_outhdr h = { .type = VIRTIO_BLK_T_IN };
	static const char none = 0x7f;
	static const unsigned char room[512];
	const struct rig_part p[] = { { &h, sizeof(h), false }, { room, sizeof(room), true },
				      { &none, 1, true } };
	struct conf_dev c = { .fd = memfd_create("disk", MFD_CLOEXEC) };
	uint64_t dirty[RIG_RAM / GMEM_PAGE / 64] = { 0 }, page;
	static struct rig r;
	unsigned char *data;
	uint16_t head;

	cr_assert_eq(ftruncate(c.fd, 65536), 0);
	cr_assert_eq(pwrite(c.fd, "data", 4, 0), 4);
	rig_open(&r, virtio_ops_find("blk"), &c);
	rig_start(&r, 0);
	head = rig_add(&r, 0, p, 3);
	data = rig_part_at(&r, 0, head, 1);
	page = (uint64_t)(data - r.mem.r[0].hva) / GMEM_PAGE;
	r.mem.dirty = dirty;
	virtio_kick(r.d, 0);
	rig_set(&r, VIRTIO_MMIO_STATUS, 0);
	while (r.d->stopping)
		cr_assert_geq(loop_once(r.loop), 0);
	r.mem.dirty = NULL;
	cr_assert_eq(memcmp(data, "data", 4), 0, "nothing was in flight");
	cr_assert(dirty[page / 64] >> page % 64 & 1, "page %llu", (unsigned long long)page);
	rig_close(&r);
}
