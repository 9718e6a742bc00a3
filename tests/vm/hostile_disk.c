/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hostile_disk.c - attacks on disks that have a file behind them: requests that are whole
 * chains and break the rules of a disk, requests in flight. The disk that can be written is
 * the one that has limits, if any has.
 */
#include "tests/vm/hostile_io.h"

#define QUEUES		4u
#define CAPACITY	0xffffffffffff0000ul	/* `sector` counts from the end of the disk */

static struct virtio_blk_outhdr heads[QUEUES][HEADS];
static struct virtio_blk_discard_write_zeroes range[16];
static volatile uint8_t answer[QUEUES][HEADS];

/* The three parts of a request. */
static unsigned request(struct desc *d, unsigned q, unsigned head, uint32_t type, uint64_t sector,
			uintptr_t data, uint32_t len)
{
	bool from_guest = type == VIRTIO_BLK_T_OUT || type == VIRTIO_BLK_T_DISCARD ||
			  type == VIRTIO_BLK_T_WRITE_ZEROES;

	heads[q][head] = (struct virtio_blk_outhdr){ .type = type, .sector = sector };
	answer[q][head] = 0xff;
	d[0] = (struct desc){ (uintptr_t)&heads[q][head], sizeof(heads[0][0]), 0, 0 };
	d[1] = (struct desc){ data, len, from_guest ? 0 : DESC_WRITE, 0 };
	d[2] = (struct desc){ (uintptr_t)&answer[q][head], 1, DESC_WRITE, 0 };
	return 3;
}

static void post(unsigned q, unsigned head, uint32_t type, uint64_t sector, uintptr_t data,
		 uint32_t len)
{
	struct desc d[PARTS];

	io_post(q, head, d, request(d, q, head, type, sector, data, len));
}

void disk_serves(unsigned slot)
{
	struct desc d[PARTS];
	volatile uint64_t *first = (volatile uint64_t *)BIG;

	io_begin(slot, 0);
	*first = 0;
	if (!io_one(slot, 1, d, request(d, 1, 0, VIRTIO_BLK_T_IN, 0, BIG, 512)))
		return;
	tell(slot, "serves", answer[1][0] ? answer[1][0] : *first);
}

/* ---- requests that are refused ---- */

static const struct broken {
	uint32_t type;
	uint64_t sector;
	uint32_t len;			/* for ranges: sectors */
	uint32_t flags;			/* of a range */
	uint8_t answer;
} broken[] = {
	{ VIRTIO_BLK_T_OUT, CAPACITY, 512, 0, VIRTIO_BLK_S_IOERR },
	{ VIRTIO_BLK_T_OUT, CAPACITY - 1, 1024, 0, VIRTIO_BLK_S_IOERR },
	{ VIRTIO_BLK_T_OUT, 1ul << 55, 512, 0, VIRTIO_BLK_S_IOERR },
	{ VIRTIO_BLK_T_OUT, (1ul << 55) - 1, 1024, 0, VIRTIO_BLK_S_IOERR },
	{ VIRTIO_BLK_T_OUT, ~0ul, 512, 0, VIRTIO_BLK_S_IOERR },
	{ VIRTIO_BLK_T_OUT, 0, 511, 0, VIRTIO_BLK_S_IOERR },
	{ VIRTIO_BLK_T_OUT, 0, 24 << 20, 0, VIRTIO_BLK_S_IOERR },
	{ VIRTIO_BLK_T_IN, CAPACITY, 512, 0, VIRTIO_BLK_S_IOERR },
	{ VIRTIO_BLK_T_IN, ~0ul, 1024, 0, VIRTIO_BLK_S_IOERR },
	{ VIRTIO_BLK_T_IN, 0, 513, 0, VIRTIO_BLK_S_IOERR },
	{ VIRTIO_BLK_T_DISCARD, CAPACITY - 1, 2, 0, VIRTIO_BLK_S_IOERR },
	{ VIRTIO_BLK_T_DISCARD, 1, 0xffffffff, 0, VIRTIO_BLK_S_IOERR },
	{ VIRTIO_BLK_T_DISCARD, ~0ul, 2, 0, VIRTIO_BLK_S_IOERR },
	{ VIRTIO_BLK_T_DISCARD, 0, 1, 1, VIRTIO_BLK_S_UNSUPP },
	{ VIRTIO_BLK_T_WRITE_ZEROES, CAPACITY, 1, 1, VIRTIO_BLK_S_IOERR },
	{ VIRTIO_BLK_T_WRITE_ZEROES, (1ul << 55) + 1, 8, 0, VIRTIO_BLK_S_IOERR },
	{ VIRTIO_BLK_T_WRITE_ZEROES, 0, 1, 0xfffffffe, VIRTIO_BLK_S_UNSUPP },
	{ VIRTIO_BLK_T_SECURE_ERASE, 0, 512, 0, VIRTIO_BLK_S_UNSUPP },
	{ 2, 0, 512, 0, VIRTIO_BLK_S_UNSUPP },		/* SCSI, of old */
	{ 0xffffffff, 0, 512, 0, VIRTIO_BLK_S_UNSUPP },
};

static bool refused(unsigned slot, unsigned q, const struct broken *b, bool ro, uint64_t capacity)
{
	bool ranged = b->type == VIRTIO_BLK_T_DISCARD || b->type == VIRTIO_BLK_T_WRITE_ZEROES;
	uint64_t sector = b->sector >= CAPACITY - 1 && b->sector <= CAPACITY ?
		b->sector - CAPACITY + capacity : b->sector;
	uint8_t want = ro && ranged ? VIRTIO_BLK_S_IOERR : b->answer;
	struct desc d[PARTS];

	range[0] = (struct virtio_blk_discard_write_zeroes){ sector, b->len, b->flags };
	if (!io_one(slot, q, d, request(d, q, 0, b->type, ranged ? 0 : sector,
					ranged ? (uintptr_t)range : BIG,
					ranged ? sizeof(range[0]) : b->len)))
		return false;
	if (answer[q][0] == want)
		return true;
	tell(slot, "row", (uint64_t)(b - broken));
	tell(slot, "answered", answer[q][0]);
	return false;
}

/* Chains that are no request at all; and a write where none may be. */
static unsigned malformed(unsigned slot, unsigned q, bool ro)
{
	struct desc d[PARTS];
	unsigned good = 0, n = request(d, q, 0, VIRTIO_BLK_T_OUT, 0, BIG, 512);

	good += ro && io_one(slot, q, d, n) && answer[q][0] == VIRTIO_BLK_S_IOERR;
	good += io_one(slot, q, d, 2);				/* nowhere to answer */
	d[0].len = 15;						/* no header */
	d[1] = d[2];
	answer[q][0] = 0xff;
	good += io_one(slot, q, d, 2) && answer[q][0] == VIRTIO_BLK_S_IOERR;
	answer[q][0] = 0xff;
	good += io_one(slot, q, d + 1, 1) && answer[q][0] == VIRTIO_BLK_S_IOERR;
	/* More ranges than are taken, and a piece of one. */
	n = request(d, q, 0, VIRTIO_BLK_T_DISCARD, 0, BIG, 17 * sizeof(range[0]));
	good += io_one(slot, q, d, n) && answer[q][0] == VIRTIO_BLK_S_IOERR;
	n = request(d, q, 0, VIRTIO_BLK_T_DISCARD, 0, BIG, sizeof(range[0]) - 1);
	good += io_one(slot, q, d, n) && answer[q][0] == VIRTIO_BLK_S_IOERR;
	return good + !ro;
}

static void disk_rules(unsigned slot)
{
	const unsigned rows = sizeof(broken) / sizeof(broken[0]);
	unsigned good = 0;
	uint64_t capacity;
	bool ro;

	if (!is_device(slot, ID_BLK))
		return;
	ro = offers(slot, VIRTIO_BLK_F_RO);
	capacity = config_u64(slot, 0);
	io_begin(slot, F_EVENT_IDX);
	for (unsigned q = 0; q < QUEUES; q++) {
		for (unsigned i = 0; i < rows; i++)
			good += refused(slot, q, &broken[i], ro, capacity);
		good += malformed(slot, q, ro);
	}
	tell(slot, "refused", good);
	tell(slot, "missing", QUEUES * (rows + 6) - good);
	disk_serves(slot);
}

/* ---- requests in flight ---- */

static void fill(unsigned slot, bool ro)
{
	uint64_t blocks = config_u64(slot, 0) / 8;

	range[1] = (struct virtio_blk_discard_write_zeroes){ .sector = 64, .num_sectors = 8 };
	for (unsigned q = 0; q < QUEUES; q++) {
		for (unsigned i = !ro; i < HEADS; i++)
			post(q, i, ro || i % 2 ? VIRTIO_BLK_T_IN :
			     i % 16 ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_FLUSH,
			     8 + rnd() % (blocks - 1) * 8, BIG + rnd() % 2048 * 4096, 4096);
		if (!ro)	/* at the head that was left out */
			post(q, 0, VIRTIO_BLK_T_DISCARD, 0, (uintptr_t)&range[1],
			     sizeof(range[1]));
		io_notify(slot, q);
	}
}

/* All heads wait for the limits; then one of them is made available again. */
static void disk_twice(unsigned slot)
{
	struct desc d[PARTS];

	if (!is_device(slot, ID_BLK) || offers(slot, VIRTIO_BLK_F_RO))
		return;
	io_begin(slot, F_EVENT_IDX);
	for (unsigned i = 0; i < HEADS / 2; i++)
		post(0, i, VIRTIO_BLK_T_IN, 0, BIG, 512);
	io_notify(slot, 0);
	say(works(neighbour) ? "alive meanwhile\n" : "the neighbour is dead\n");
	io_post(0, HEADS / 2 - 1, d, request(d, 0, HEADS / 2 - 1, VIRTIO_BLK_T_IN, 0, BIG, 512));
	io_notify(slot, 0);
	for (unsigned i = 0; i < 4000 && !(rd(slot, R_STATUS) & S_NEEDS_RESET); i++)
		;
	tell(slot, "needs", rd(slot, R_STATUS) & S_NEEDS_RESET);
	disk_serves(slot);
}

static void disk_resets(unsigned slot)
{
	bool ro;

	if (!is_device(slot, ID_BLK))
		return;
	ro = offers(slot, VIRTIO_BLK_F_RO);
	for (unsigned round = 0; round < 24; round++) {
		io_begin(slot, round & 1 ? F_EVENT_IDX : 0);
		fill(slot, ro);
		for (unsigned i = rnd() % 4; i; i--)
			rd(slot, R_STATUS);
	}
	/* No slot was lost. */
	io_begin(slot, F_EVENT_IDX);
	fill(slot, ro);
	for (unsigned q = 0; q < QUEUES; q++)
		if (io_all(slot, q))
			tell(slot, "answered", io_used(q));
	disk_serves(slot);
}

/* Rings kept full; buffers that change, and are other requests' buffers too. */
static void disk_flood(unsigned slot)
{
	bool ro;

	if (!is_device(slot, ID_BLK))
		return;
	ro = offers(slot, VIRTIO_BLK_F_RO);
	io_begin(slot, F_EVENT_IDX);
	for (unsigned round = 0; round < 6; round++) {
		fill(slot, ro);
		say(works(neighbour) ? "alive meanwhile\n" : "the neighbour is dead\n");
		for (unsigned q = 0; q < QUEUES; q++)
			io_all(slot, q);
	}
	tell(slot, "answered", io_used(0));
	disk_serves(slot);
}

const struct attack disk_attacks[] = {
	{ "disk_rules", disk_rules }, { "disk_twice", disk_twice },
	{ "disk_resets", disk_resets }, { "disk_flood", disk_flood },
	{ 0 },
};
