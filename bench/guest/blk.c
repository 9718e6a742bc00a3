/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blk.c - a guest without a kernel that keeps a disk busy, in user mode and so at the
 * processor's own speed (tests/vm/driver.h): random blocks of 4 KiB, for a number of
 * requests. The command line has write=0|1, depth=N (1 to 32), count=N. It polls the used
 * ring, asks for no interrupt, and notifies when the device asks for it (event index).
 *
 * It prints `begin`, `end` and stands still; whoever reads that measures.
 */
#include "tests/vm/driver.h"

#define DEPTH_MAX	32u
#define ENTRIES		128u
#define BLOCK		4096u

static struct { RINGS(ENTRIES); } ring;
static struct virtio_blk_outhdr head[DEPTH_MAX];
static unsigned char data[DEPTH_MAX][BLOCK] __attribute__((aligned(4096)));
static unsigned char status[DEPTH_MAX];

static void begin(unsigned slot)
{
	wr(slot, R_STATUS, 0);
	agree(slot, F_VERSION_1 | F_EVENT_IDX | 1u << VIRTIO_BLK_F_FLUSH);
	(void)give_rings(slot, 0, &ring);
	driver_ok(slot);
}

static void submit(unsigned i, uint32_t type, uint64_t blocks)
{
	head[i] = (struct virtio_blk_outhdr){ .type = type,
					      .sector = rnd() % blocks * (BLOCK / 512) };
	blk_chain(&ring.desc[3 * i], 3 * i, &head[i], data[i], BLOCK, &status[i]);
	ring.avail.ring[ring.avail.idx % ENTRIES] = (uint16_t)(3 * i);
	__atomic_store_n(&ring.avail.idx, (uint16_t)(ring.avail.idx + 1), __ATOMIC_RELEASE);
}

static void notify(unsigned slot, uint16_t before)
{
	uint16_t now = ring.avail.idx, event;

	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	event = *(volatile uint16_t *)&ring.used.event;
	if ((uint16_t)(now - event - 1) < (uint16_t)(now - before))
		wr(slot, R_NOTIFY, 0);
}

/* Keep @depth in flight until @count are done. False on an error of the disk. */
static bool run(unsigned slot, uint32_t type, unsigned depth, uint64_t count, uint64_t blocks)
{
	uint16_t seen = 0, before = 0;
	uint64_t started = 0, done = 0;

	ring.avail.event = 0x8000;		/* far from what is used: no interrupt */
	for (unsigned i = 0; i < depth; i++, started++)
		submit(i, type, blocks);
	notify(slot, before);
	while (done < count) {
		before = ring.avail.idx;
		while (seen != __atomic_load_n(&ring.used.idx, __ATOMIC_ACQUIRE)) {
			unsigned i = ring.used.ring[seen++ % ENTRIES].id / 3;

			ring.avail.event = (uint16_t)(seen + 0x8000);
			if (status[i])
				return false;
			done++;
			if (started < count) {
				submit(i, type, blocks);
				started++;
			}
		}
		if (ring.avail.idx != before)
			notify(slot, before);
		else
			__asm__ volatile("pause");
	}
	return true;
}

void guest_main(uint32_t cmdline)
{
	const char *line = (const char *)(uintptr_t)cmdline;
	uint64_t write = to_number(option(line, "write="));
	uint64_t count = to_number(option(line, "count="));
	unsigned depth = (unsigned)to_number(option(line, "depth=")), slot = find(ID_BLK);

	if (slot < SLOTS) {
		begin(slot);
		say("begin\n");
		say(run(slot, write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN, depth, count,
			config_u64(slot, 0) / (BLOCK / 512)) ? "end\n" : "failed\n");
	}
	stand_still();
}
