/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hostile_cases.c - the attacks. test_hostile.py says of each what has to come of it.
 */
#include "tests/vm/hostile.h"

#define HUGE_ADDRESS 0xfffffffffffff000ul

/* ---- registers ---- */

static void frozen(unsigned slot)
{
	start(slot);
	wr(slot, R_QSEL, 0);
	wr(slot, R_QNUM, 4);
	wr(slot, R_DESC, 0x1000);
	wr(slot, R_QREADY, 0);
}

static void ready_frozen(unsigned slot)
{
	reset(slot);
	negotiate(slot, 0);
	set_up(slot);
	wr(slot, R_QSEL, 0);
	wr(slot, R_AVAIL, 0x1000);
}

static void no_queue(unsigned slot)
{
	start(slot);
	wr(slot, R_QSEL, 0xffffffff);
	wr(slot, R_QNUM, 4);
	wr(slot, R_QSEL, 0x10000);
	wr(slot, R_QREADY, 1);
}

static void no_queue_to_notify(unsigned slot)
{
	start(slot);
	wr(slot, R_NOTIFY, 17);
	wr(slot, R_NOTIFY, 0xffffffff);
	wr(slot, R_NOTIFY, 0x10000);
}

static void late_features(unsigned slot)
{
	reset(slot);
	negotiate(slot, 0);
	wr(slot, R_DRIVER, 0xffffffff);
}

static void features_beyond(unsigned slot)
{
	reset(slot);
	wr(slot, R_STATUS, S_ACK);
	wr(slot, R_STATUS, S_ACK | S_DRIVER);
	wr(slot, R_DRIVER_SEL, 0x80000001);
	wr(slot, R_DRIVER, 1);
}

static void features_not_offered(unsigned slot)
{
	reset(slot);
	wr(slot, R_STATUS, S_ACK | S_DRIVER);
	wr(slot, R_DRIVER_SEL, 1);
	wr(slot, R_DRIVER, 0xffffffff);
	wr(slot, R_STATUS, S_ACK | S_DRIVER | S_FEATURES);
}

static void an_old_driver(unsigned slot)
{
	reset(slot);
	negotiate(slot, 1ul << 32);
}

static void ok_too_early(unsigned slot)
{
	reset(slot);
	wr(slot, R_STATUS, S_ACK | S_DRIVER | S_OK);
}

static void status_back(unsigned slot)
{
	start(slot);
	wr(slot, R_STATUS, S_ACK);
}

static void status_unknown(unsigned slot)
{
	reset(slot);
	wr(slot, R_STATUS, 0xffffff00 | S_ACK);
}

/* ---- rings ---- */

static void with_ring(unsigned slot, unsigned reg, uint64_t at, uint32_t size)
{
	reset(slot);
	negotiate(slot, 0);
	wr(slot, R_QSEL, 0);
	wr(slot, R_QNUM, QSIZE);
	wr(slot, R_DESC, (uint32_t)(uintptr_t)rings[slot][0].desc);
	wr(slot, R_AVAIL, (uint32_t)(uintptr_t)&rings[slot][0].avail);
	wr(slot, R_USED, (uint32_t)(uintptr_t)&rings[slot][0].used);
	if (reg) {
		wr(slot, reg, (uint32_t)at);
		wr(slot, reg + 4, (uint32_t)(at >> 32));
	}
	if (size)
		wr(slot, R_QNUM, size);
	wr(slot, R_QREADY, 1);
	wr(slot, R_STATUS, S_ACK | S_DRIVER | S_FEATURES | S_OK);
}

#define RING(name, reg, at, size) \
	static void name(unsigned slot) { with_ring(slot, reg, at, size); }

RING(size_of_three, 0, 0, 3)
RING(size_of_a_million, 0, 0, 1 << 20)
RING(descriptors_askew, R_DESC, 0x200008, 0)
RING(avail_askew, R_AVAIL, 0x200001, 0)
RING(used_askew, R_USED, 0x200002, 0)
RING(descriptors_over_the_end, R_DESC, MEM_END - 16, 0)
RING(avail_in_devices, R_AVAIL, MMIO, 0)
RING(used_that_wraps, R_USED, HUGE_ADDRESS + 0xffc, 0)

/* ---- chains ---- */

/* The same chain in every queue; @flags are added to each part's. */
static void chain(unsigned slot, const struct desc *d, unsigned n, unsigned heads)
{
	for (unsigned q = 0; q < QMAX; q++)
		for (unsigned i = 0; i < n; i++)
			rings[slot][q].desc[i] = d[i];
	offer(slot, heads);
	wait_a_little(slot);
}

#define CHAIN(name, heads, ...)						\
	static void name(unsigned slot)					\
	{								\
		const struct desc d[] = { __VA_ARGS__ };		\
									\
		start(slot);						\
		chain(slot, d, sizeof(d) / sizeof(d[0]), heads);	\
	}

#define HERE ((uintptr_t)buffer)
#define TABLE ((uintptr_t)table)

CHAIN(avail_jump, 1000, { HERE, 16, 0, 0 })
CHAIN(next_beyond, 1, { HERE, 16, DESC_NEXT, QSIZE })
CHAIN(cycle, 1, { HERE, 16, DESC_NEXT, 1 }, { HERE, 16, DESC_NEXT, 0 })
CHAIN(buffer_nowhere, 1, { 0x80000000, 16, 0, 0 })
CHAIN(buffer_in_devices, 1, { MMIO, 16, DESC_WRITE, 0 })
CHAIN(buffer_over_the_end, 1, { MEM_END - 16, 32, 0, 0 })
CHAIN(buffer_that_wraps, 1, { HUGE_ADDRESS, 0x2000, 0, 0 })
CHAIN(buffer_of_four_gib, 1, { HERE, 0xffffffff, 0, 0 })
CHAIN(written_before_read, 1, { HERE, 16, DESC_NEXT | DESC_WRITE, 1 }, { HERE, 16, 0, 0 })
CHAIN(table_in_devices, 1, { MMIO, 32, DESC_INDIRECT, 0 })
CHAIN(table_over_the_end, 1, { MEM_END - 16, 32, DESC_INDIRECT, 0 })
CHAIN(table_of_a_piece, 1, { TABLE, 17, DESC_INDIRECT, 0 })
CHAIN(table_of_nothing, 1, { TABLE, 0, DESC_INDIRECT, 0 })
CHAIN(table_and_next, 1, { TABLE, 32, DESC_INDIRECT | DESC_NEXT, 1 })

static void head_beyond(unsigned slot)
{
	start(slot);
	for (unsigned q = 0; q < QMAX; q++)
		rings[slot][q].avail.ring[0] = 0xffff;
	offer(slot, 1);
	wait_a_little(slot);
}

static void table_in_a_table(unsigned slot)
{
	const struct desc d = { TABLE, 32, DESC_INDIRECT, 0 };

	table[0] = (struct desc){ TABLE, 32, DESC_INDIRECT, 0 };
	start(slot);
	chain(slot, &d, 1, 1);
}

static void table_not_negotiated(unsigned slot)
{
	const struct desc d = { TABLE, 32, DESC_INDIRECT, 0 };

	reset(slot);
	negotiate(slot, 3ul << 28);
	set_up(slot);
	wr(slot, R_STATUS, S_ACK | S_DRIVER | S_FEATURES | S_OK);
	chain(slot, &d, 1, 1);
}

/* ---- floods ---- */

static void notify_flood(unsigned slot)
{
	start(slot);
	for (unsigned i = 0; i < 4000; i++)
		wr(slot, R_NOTIFY, i & 7);
}

static void config_flood(unsigned slot)
{
	volatile unsigned char *c = (volatile unsigned char *)(MMIO + slot * STRIDE + R_CONFIG);

	start(slot);
	for (unsigned i = 0; i < 1500; i++) {
		unsigned off = rnd() % 0x200;

		switch (rnd() % 4) {
		case 0: c[off] = (unsigned char)rnd(); break;
		case 1: *(volatile uint16_t *)(c + off) = (uint16_t)rnd(); break;
		case 2: *(volatile uint32_t *)(c + off) = (uint32_t)rnd(); break;
		case 3: *(volatile uint64_t *)(c + off) = rnd(); break;
		}
		(void)*(volatile uint32_t *)(c + rnd() % 0x200);
	}
	reset(slot);
}

/* Anything anywhere in the device's page, of any width. */
static void random_registers(unsigned slot)
{
	volatile unsigned char *page = (volatile unsigned char *)(MMIO + slot * STRIDE);

	for (unsigned i = 0; i < 3000; i++) {
		unsigned off = rnd() % 8 ? rnd() % 0x110 : rnd() % 0xff8;
		uint64_t v = rnd() % 3 ? rnd() % 16 : rnd();

		switch (rnd() % 8) {
		case 0: page[off] = (unsigned char)v; break;
		case 1: *(volatile uint16_t *)(page + off) = (uint16_t)v; break;
		case 2: *(volatile uint64_t *)(page + off) = v; break;
		case 3: (void)*(volatile uint32_t *)(page + off); break;
		default: *(volatile uint32_t *)(page + (off & ~3u)) = (uint32_t)v; break;
		}
	}
	reset(slot);
}

/*
 * What a device may write lies in `buffer`, or nowhere: this program has to live through it.
 * So nothing that a device wrote may be taken for a table: every fourth descriptor is indirect
 * and leads to `table` or nowhere. It may be read while it changes: each address is good with
 * each length.
 */
static void random_desc(struct desc *all, unsigned i)
{
	static const uint64_t places[] = { MMIO, HUGE_ADDRESS, 0x80000000, 0, MEM_END - 64 };
	const uint32_t half = sizeof(buffer) / 2;
	bool here = rnd() % 8, indirect = i % 4 == 3;
	struct desc *d = &all[i];

	if (indirect) {
		d->addr = here ? TABLE + rnd() % QSIZE * sizeof(*d) :
			  places[rnd() % 3] + rnd() % 128;
		d->len = (uint32_t)(rnd() % 8 ? (1 + rnd() % QSIZE) * sizeof(*d) : rnd() | 1);
	} else {
		d->addr = here ? HERE + rnd() % half : places[rnd() % 5] + rnd() % 128;
		d->len = (uint32_t)(rnd() % 8 ? rnd() % 5000 :
				    here && rnd() % 2 ? half : rnd() | 1u << 31);
	}
	d->flags = (uint16_t)((rnd() % 8 ? rnd() % 4 : rnd() & ~(uint64_t)DESC_INDIRECT) |
			      (indirect ? DESC_INDIRECT : 0));
	d->next = (uint16_t)(rnd() % 8 ? rnd() % QSIZE : rnd());
}

/*
 * Messages at random. A balloon takes them for numbers of pages, at any alignment, to be taken
 * away: without the bytes 0x10 to 0x1f no number is one of 16 to 32 MiB, where this program is.
 * Nor may such a number stand at the other places that random_desc() knows.
 */
static void random_messages(bool balloon)
{
	volatile uintptr_t low = 0, end = MEM_END - 64;

	for (unsigned i = 0; i < sizeof(buffer); i += 8)
		*(uint64_t *)(void *)(buffer + i) = rnd() % 4 ? rnd() % 512 : rnd();
	if (!balloon)
		return;
	for (unsigned i = 0; i < sizeof(buffer); i++)
		if (buffer[i] >> 4 == 1)
			buffer[i] ^= 0x20;
	memset((void *)low, 0, sizeof(buffer));
	memset((void *)end, 0, 64);
}

/* Rings that look like rings, mostly; and they change while they are read. */
static void random_rings(unsigned slot)
{
	random_messages(rd(slot, R_DEVICE_ID) == ID_BALLOON);
	for (unsigned round = 0; round < 60; round++) {
		start(slot);
		for (unsigned n = 0; n < 6; n++) {
			for (unsigned q = 0; q < QMAX; q++) {
				struct rings *r = &rings[slot][q];

				for (unsigned i = 0; i < QSIZE; i++) {
					random_desc(r->desc, i);
					r->avail.ring[i] = (uint16_t)(rnd() % 16 ? rnd() % QSIZE :
								      rnd());
				}
				random_desc(table, (unsigned)rnd() % QSIZE);
			}
			offer(slot, rnd() % 16 ? 1 + rnd() % QSIZE : (unsigned)rnd());
			random_desc(rings[slot][rnd() % QMAX].desc, (unsigned)rnd() % QSIZE);
		}
	}
	reset(slot);
}

/* Reset while something may be on its way. */
static void reset_storm(unsigned slot)
{
	for (unsigned round = 0; round < 150; round++) {
		start(slot);
		for (unsigned q = 0; q < QMAX; q++)
			for (unsigned i = 0; i < QSIZE; i++) {
				uint16_t flags = q & 1 ? 0 : DESC_WRITE;

				rings[slot][q].desc[i] = (struct desc){ HERE + i * 4096, 4096,
									flags, 0 };
				rings[slot][q].avail.ring[i] = (uint16_t)i;
			}
		offer(slot, QSIZE);
		wr(slot, R_STATUS, 0);
		wr(slot, R_STATUS, 0);
	}
}

/* ---- one device's own: requests for connections, and lies about room ---- */

struct vsock_header {
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port, len;
	uint16_t type, op;
	uint32_t flags, buf_alloc, fwd_cnt;
} __attribute__((packed));

static void connection_flood(unsigned slot)
{
	struct rings *r = &rings[slot][1];
	struct vsock_header *h = (struct vsock_header *)(void *)buffer;

	start(slot);
	for (unsigned i = 0; i < 3000; i++) {
		*h = (struct vsock_header){
			.src_cid = 3, .dst_cid = 2, .src_port = 1000 + i, .type = 1,
			.dst_port = (uint32_t)(rnd() % 4), .op = (uint16_t)(i % 3 ? 1 : rnd() % 10),
			.flags = (uint32_t)(rnd() % 4), .buf_alloc = (uint32_t)rnd(),
			.fwd_cnt = (uint32_t)rnd(),
		};
		r->desc[0] = (struct desc){ HERE, (uint32_t)(i % 5 ? 44 : rnd() % 5000), 0, 0 };
		r->avail.ring[r->avail.idx % QSIZE] = 0;
		__atomic_store_n(&r->avail.idx, (uint16_t)(r->avail.idx + 1), __ATOMIC_SEQ_CST);
		wr(slot, R_NOTIFY, 1);
		if (i % 16 == 0)
			rd(slot, R_STATUS);
	}
	reset(slot);
}

/* All of memory, over and over, to be shown on the console. */
static void console_flood(unsigned slot)
{
	start(slot);
	for (unsigned q = 0; q < QMAX; q++)
		for (unsigned i = 0; i < QSIZE; i++) {
			rings[slot][q].desc[i] = (struct desc){ 0x200000, 32 << 20, 0, 0 };
			rings[slot][q].avail.ring[i] = (uint16_t)i;
		}
	offer(slot, QSIZE);
	wait_a_little(slot);
	reset(slot);
}

const struct attack attacks[] = {
#define A(name) { #name, name }
	A(frozen), A(ready_frozen), A(no_queue), A(no_queue_to_notify), A(late_features),
	A(features_beyond), A(features_not_offered), A(an_old_driver), A(ok_too_early),
	A(status_back), A(status_unknown),
	A(size_of_three), A(size_of_a_million), A(descriptors_askew), A(avail_askew),
	A(used_askew), A(descriptors_over_the_end), A(avail_in_devices), A(used_that_wraps),
	A(avail_jump), A(next_beyond), A(cycle), A(buffer_nowhere), A(buffer_in_devices),
	A(buffer_over_the_end), A(buffer_that_wraps), A(buffer_of_four_gib),
	A(written_before_read), A(table_in_devices), A(table_over_the_end), A(table_of_a_piece),
	A(table_of_nothing), A(table_and_next), A(head_beyond), A(table_in_a_table),
	A(table_not_negotiated),
	A(notify_flood), A(config_flood), A(random_registers), A(random_rings), A(reset_storm),
	A(connection_flood), A(console_flood),
	{ 0 },
};
