/* SPDX-License-Identifier: Apache-2.0 */
#include <endian.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include "devices/registry.h"
#include "tests/unit/blk_ask.h"

#define SECTORS	128u
#define FEATURES (1ull << VIRTIO_BLK_F_FLUSH | 1ull << VIRTIO_BLK_F_DISCARD | \
		  1ull << VIRTIO_BLK_F_WRITE_ZEROES | 1ull << VIRTIO_BLK_F_MQ)

static struct rig r;
static int disk = -1;		/* ours; the device has a copy of the descriptor */

static struct conf_dev backing(void)
{
	char path[64];

	disk = memfd_create("disk", MFD_CLOEXEC);
	cr_assert_eq(ftruncate(disk, SECTORS * 512), 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", disk);
	return (struct conf_dev){ .fd = open(path, O_RDWR | O_CLOEXEC) };
}

static void open_disk(struct conf_dev c)
{
	rig_open(&r, virtio_ops_find("blk"), &c);
}

static void set_up(void)
{
	log_level(LOG_LEVEL_ERROR);
	open_disk(backing());
}

static void tear_down(void)
{
	rig_close(&r);
	close(disk);
}

TestSuite(blk, .init = set_up, .fini = tear_down, .timeout = 30);
TestSuite(blk_made, .timeout = 30);		/* with a device of the test's own making */

static void rest(void)
{
	do {
		rig_run(&r);
	} while (r.d->q[0].inflight[0] | r.d->q[0].inflight[1]);
}

static int request_on(unsigned queue, uint32_t type, uint64_t sector, const void *data,
		      uint32_t len, bool in, void *back, uint32_t *used)
{
	return blk_ask(&r, queue, &(struct blk_ask){ type, sector, data, len, in }, back, used);
}

static int request(uint32_t type, uint64_t sector, const void *data, uint32_t len, bool in,
		   void *back)
{
	return request_on(0, type, sector, data, len, in, back, NULL);
}

static int out(uint64_t sector, const void *data, uint32_t len)
{
	return request(VIRTIO_BLK_T_OUT, sector, data, len, false, NULL);
}

static int in(uint64_t sector, void *data, uint32_t len)
{
	return request(VIRTIO_BLK_T_IN, sector, NULL, len, true, data);
}

static struct virtio_blk_config config(void)
{
	struct virtio_blk_config c;

	virtio_cfg_read(r.d, 0, &c, sizeof(c));
	return c;
}

/* ---- data ---- */

Test(blk, what_is_written_is_in_the_file_and_read_back)
{
	char data[1024], back[1024], file[1024];
	uint32_t used;

	rig_start(&r, FEATURES);
	for (unsigned i = 0; i < sizeof(data); i++)
		data[i] = (char)(i * 7);
	cr_assert_eq(out(3, data, sizeof(data)), VIRTIO_BLK_S_OK);
	cr_assert_eq(pread(disk, file, sizeof(file), 3 * 512), 1024);
	cr_assert_arr_eq(file, data, 1024);
	cr_assert_eq(request_on(0, VIRTIO_BLK_T_IN, 3, NULL, 1024, true, back, &used), 0);
	cr_assert_arr_eq(back, data, 1024);
	cr_assert_eq(used, 1025);
	cr_assert_eq(request_on(0, VIRTIO_BLK_T_OUT, 3, data, 512, false, NULL, &used), 0);
	cr_assert_eq(used, 1);
	cr_assert_eq(rig_irq(&r, NULL), VIRTIO_MMIO_INT_VRING);
	cr_assert_eq(config().capacity, htole64(SECTORS));
}

/* Header, data and status may be cut anywhere (2.7.4.3). */
Test(blk, any_layout_of_the_parts_will_do)
{
	struct { struct virtio_blk_outhdr h; char data[1024]; } w = {
		.h = { .type = htole32(VIRTIO_BLK_T_OUT), .sector = htole64(1) } };
	struct virtio_blk_outhdr h = { .type = htole32(VIRTIO_BLK_T_IN), .sector = htole64(1) };
	char *at = (char *)&w, file[1024];
	uint16_t head;
	uint32_t used;

	memset(w.data, 'x', 500);
	memset(w.data + 500, 'y', 524);
	rig_start(&r, FEATURES);
	head = rig_add(&r, 0, (struct rig_part[]){ { at, 7, false }, { at + 7, 20, false },
		       { at + 27, 500, false }, { at + 527, 513, false }, { NULL, 1, true } }, 5);
	rig_kick(&r, 0);
	rest();
	cr_assert_eq(rig_used(&r, 0, NULL), head);
	cr_assert_eq(*rig_part_at(&r, 0, head, 4), VIRTIO_BLK_S_OK);
	cr_assert_eq(pread(disk, file, 1024, 512), 1024);
	cr_assert_arr_eq(file, w.data, 1024);
	/* Data and status in one buffer, and a part that holds only the status. */
	head = rig_add(&r, 0, (struct rig_part[]){ { &h, sizeof(h), false }, { NULL, 100, true },
		       { NULL, 925, true } }, 3);
	rig_kick(&r, 0);
	rest();
	cr_assert_eq(rig_used(&r, 0, &used), head);
	cr_assert_eq(used, 1025);
	cr_assert_arr_eq(rig_part_at(&r, 0, head, 1), w.data, 100);
	cr_assert_arr_eq(rig_part_at(&r, 0, head, 2), w.data + 100, 924);
	cr_assert_eq(rig_part_at(&r, 0, head, 2)[924], VIRTIO_BLK_S_OK);
}

Test(blk, many_are_in_flight_on_all_queues)
{
	struct virtio_blk_outhdr h = { .type = htole32(VIRTIO_BLK_T_OUT) };
	char data[512], back[512];
	bool raised;

	rig_start(&r, FEATURES);
	for (unsigned round = 0; round < 20; round++) {
		for (unsigned q = 0; q < 4; q++)
			for (unsigned i = 0; i < 5; i++) {
				memset(data, (int)(round + q * 5 + i), sizeof(data));
				h.sector = htole64(q * 5 + i);
				rig_add(&r, q, (struct rig_part[]){ { &h, sizeof(h), false },
					{ data, 512, false }, { NULL, 1, true } }, 3);
				rig_kick(&r, q);
			}
		for (unsigned q = 0; q < 4; q++)
			for (unsigned i = 0; i < 5; i++)
				while (rig_used(&r, q, NULL) < 0)
					rig_run(&r);
		r.next_buf = VIRTIO_QUEUES_MAX * RIG_QUEUE;
	}
	rig_irq(&r, &raised);
	cr_assert(raised);
	for (unsigned i = 0; i < 20; i++) {
		cr_assert_eq(pread(disk, back, 512, i * 512), 512);
		cr_assert(back[0] == (char)(19 + i) && back[511] == back[0]);
	}
}

Test(blk, discard_and_write_zeroes)
{
	struct virtio_blk_discard_write_zeroes s[2] = {
		{ .sector = htole64(8), .num_sectors = htole32(8) },
		{ .sector = htole64(24), .num_sectors = htole32(8) } };
	char data[32 * 512], back[32 * 512];
	struct stat st;

	memset(data, 'a', sizeof(data));
	rig_start(&r, FEATURES);
	cr_assert_eq(out(0, data, sizeof(data)), 0);
	cr_assert_eq(request(VIRTIO_BLK_T_DISCARD, 0, s, sizeof(s), false, NULL), 0);
	cr_assert_eq(in(0, back, sizeof(back)), 0);
	cr_assert(back[4095] == 'a' && !back[4096] && !back[8191] && back[8192] == 'a');
	cr_assert(!back[12288] && !back[16383]);
	cr_assert_eq(fstat(disk, &st), 0);
	cr_assert_eq(st.st_blocks, 16);		/* given back to the host */
	s[0].flags = htole32(VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP);
	s[0].sector = 0;
	cr_assert_eq(request(VIRTIO_BLK_T_WRITE_ZEROES, 0, s, sizeof(s[0]), false, NULL), 0);
	cr_assert_eq(in(0, back, 512), 0);
	cr_assert(!back[0] && !back[511]);
	/* A range of nothing is fine; a flag that there is not, and unmap of a discard, are not. */
	s[0].num_sectors = 0;
	cr_assert_eq(request(VIRTIO_BLK_T_WRITE_ZEROES, 0, s, sizeof(s[0]), false, NULL), 0);
	cr_assert_eq(request(VIRTIO_BLK_T_DISCARD, 0, s, sizeof(s[0]), false, NULL),
		     VIRTIO_BLK_S_UNSUPP);
	s[0].flags = htole32(2);
	cr_assert_eq(request(VIRTIO_BLK_T_WRITE_ZEROES, 0, s, sizeof(s[0]), false, NULL),
		     VIRTIO_BLK_S_UNSUPP);
}

Test(blk, flush_id_and_unknown_types)
{
	char id[20];
	uint32_t used;

	rig_start(&r, FEATURES);
	cr_assert_eq(request(VIRTIO_BLK_T_FLUSH, 0, NULL, 0, false, NULL), VIRTIO_BLK_S_OK);
	cr_assert_eq(request_on(0, VIRTIO_BLK_T_GET_ID, 0, NULL, 20, true, id, &used), 0);
	cr_assert_eq(used, 21);
	cr_assert_eq(request(VIRTIO_BLK_T_GET_ID, 0, NULL, 5, true, id), 0);
	cr_assert_eq(request(77, 0, NULL, 512, true, NULL), VIRTIO_BLK_S_UNSUPP);
	cr_assert(virtio_live(r.d));
}

/* ---- what a guest must not get ---- */

/* threat-model.md 5: sums and products of sectors that wrap. */
Test(blk, nothing_beyond_the_end)
{
	static const uint64_t bad[] = { SECTORS, SECTORS - 1, SECTORS + 1, UINT64_MAX,
					UINT64_MAX - 1, 1ull << 55, (1ull << 55) - 1, 1ull << 63 };
	struct virtio_blk_discard_write_zeroes s = { 0 };
	char data[1024] = "x";

	rig_start(&r, FEATURES);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		s.sector = htole64(bad[i]);
		s.num_sectors = htole32(2);
		cr_expect_eq(out(bad[i], data, 1024), VIRTIO_BLK_S_IOERR, "%lu", bad[i]);
		cr_expect_eq(in(bad[i], data, 1024), VIRTIO_BLK_S_IOERR, "%lu", bad[i]);
		cr_expect_eq(request(VIRTIO_BLK_T_DISCARD, 0, &s, sizeof(s), false, NULL),
			     VIRTIO_BLK_S_IOERR, "%lu", bad[i]);
	}
	cr_expect_eq(out(0, data, 511), VIRTIO_BLK_S_IOERR);
	cr_expect_eq(in(0, data, 513), VIRTIO_BLK_S_IOERR);
	s = (struct virtio_blk_discard_write_zeroes){ .num_sectors = UINT32_MAX };
	cr_expect_eq(request(VIRTIO_BLK_T_WRITE_ZEROES, 0, &s, sizeof(s), false, NULL),
		     VIRTIO_BLK_S_IOERR);
	cr_expect_eq(request(VIRTIO_BLK_T_WRITE_ZEROES, 0, &s, 15, false, NULL),
		     VIRTIO_BLK_S_IOERR);
	cr_expect_eq(request(VIRTIO_BLK_T_WRITE_ZEROES, 0, NULL, 17 * 16, false, NULL),
		     VIRTIO_BLK_S_IOERR);
	cr_expect_eq(lseek(disk, 0, SEEK_END), SECTORS * 512);
	cr_assert(virtio_live(r.d));
}

Test(blk, a_range_is_bounded_though_the_disk_is_not)
{
	struct virtio_blk_discard_write_zeroes s = { .num_sectors = htole32((1u << 21) + 1) };
	struct conf_dev c;

	tear_down();
	c = backing();
	cr_assert_eq(ftruncate(disk, 1ll << 40), 0);
	open_disk(c);
	rig_start(&r, FEATURES);
	cr_assert_eq(request(VIRTIO_BLK_T_DISCARD, 0, &s, sizeof(s), false, NULL),
		     VIRTIO_BLK_S_IOERR);
	s.num_sectors = htole32(1u << 21);
	cr_assert_eq(request(VIRTIO_BLK_T_DISCARD, 0, &s, sizeof(s), false, NULL), 0);
}

Test(blk, requests_without_a_header_or_a_status)
{
	const struct virtio_blk_outhdr h = { .type = htole32(VIRTIO_BLK_T_OUT) };
	uint32_t used;

	rig_start(&r, FEATURES);
	rig_add(&r, 0, &(struct rig_part){ &h, sizeof(h), false }, 1);
	rig_add(&r, 0, (struct rig_part[]){ { &h, 15, false }, { "x", 1, true } }, 2);
	rig_add(&r, 0, &(struct rig_part){ "x", 1, true }, 1);
	rig_kick(&r, 0);
	rest();
	cr_assert_eq(rig_used(&r, 0, &used), 0);
	cr_assert_eq(used, 0);
	cr_assert_eq(r.d->stat.bad, 1);
	cr_assert_eq(rig_used(&r, 0, &used), 1);
	cr_assert_eq(used, 1);
	cr_assert_eq(*rig_part_at(&r, 0, 1, 1), VIRTIO_BLK_S_IOERR);
	cr_assert_eq(rig_used(&r, 0, &used), 3);
	cr_assert_eq(*rig_part_at(&r, 0, 3, 0), VIRTIO_BLK_S_IOERR);
	cr_assert(virtio_live(r.d));
}

Test(blk_made, read_only_is_enforced_here)
{
	struct virtio_blk_discard_write_zeroes s = { .num_sectors = htole32(1) };
	struct conf_dev c = backing();
	char data[512] = "x";

	c.ro = true;		/* and the descriptor is open for writing */
	open_disk(c);
	cr_assert(virtio_features(r.d) >> VIRTIO_BLK_F_RO & 1);
	cr_assert(!(virtio_features(r.d) & (1ull << VIRTIO_BLK_F_DISCARD |
					    1ull << VIRTIO_BLK_F_WRITE_ZEROES)));
	rig_start(&r, 0);
	cr_assert_eq(out(0, data, 512), VIRTIO_BLK_S_IOERR);
	cr_assert_eq(request(VIRTIO_BLK_T_DISCARD, 0, &s, sizeof(s), false, NULL),
		     VIRTIO_BLK_S_IOERR);
	cr_assert_eq(request(VIRTIO_BLK_T_WRITE_ZEROES, 0, &s, sizeof(s), false, NULL),
		     VIRTIO_BLK_S_IOERR);
	cr_assert_eq(request(VIRTIO_BLK_T_FLUSH, 0, NULL, 0, false, NULL), VIRTIO_BLK_S_OK);
	cr_assert_eq(in(0, data, 512), VIRTIO_BLK_S_OK);
	cr_assert_eq(data[0], 0);
	tear_down();
}

Test(blk_made, an_empty_slot_has_no_sectors)
{
	char data[512];

	open_disk((struct conf_dev){ .id = "disk" });
	rig_start(&r, FEATURES);
	cr_assert_eq(config().capacity, 0);
	cr_assert_eq(out(0, data, 512), VIRTIO_BLK_S_IOERR);
	cr_assert_eq(in(0, data, 512), VIRTIO_BLK_S_IOERR);
	cr_assert_eq(request(VIRTIO_BLK_T_FLUSH, 0, NULL, 0, false, NULL), VIRTIO_BLK_S_OK);
	cr_assert_eq(request(VIRTIO_BLK_T_GET_ID, 0, NULL, 20, true, data), 0);
	cr_assert_str_eq(data, "disk");
	rig_close(&r);
}

/* ---- errors of the host ---- */

Test(blk, a_file_that_shrank_gives_errors_not_a_spin)
{
	char data[4096];

	rig_start(&r, FEATURES);
	cr_assert_eq(ftruncate(disk, 1024), 0);
	cr_assert_eq(in(0, data, 4096), VIRTIO_BLK_S_IOERR);
	cr_assert_eq(in(0, data, 1024), VIRTIO_BLK_S_OK);
	cr_assert(virtio_live(r.d));
}

/* RLIMIT_FSIZE stands for a full disk; the process has to live through its signal, too. */
Test(blk, a_write_that_the_host_refuses_is_an_error_of_the_guest)
{
	const struct rlimit limit = { 8192, RLIM_INFINITY };
	char data[4096] = "x";
	uint32_t used;

	rig_start(&r, FEATURES);
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	cr_assert_eq(out(0, data, 4096), VIRTIO_BLK_S_OK);
	cr_assert_eq(request_on(0, VIRTIO_BLK_T_OUT, 16, data, 4096, false, NULL, &used),
		     VIRTIO_BLK_S_IOERR);
	cr_assert_eq(used, 1);
	cr_assert_eq(out(8, data, 4096), VIRTIO_BLK_S_OK);
	/* Half of it fits: the rest is tried, and fails. */
	cr_assert_eq(out(12, data, 4096), VIRTIO_BLK_S_IOERR);
	cr_assert(virtio_live(r.d));
}

Test(blk_made, what_cannot_back_it_is_refused_with_a_reason)
{
	const struct virtio_ops *ops = virtio_ops_find("blk");
	struct conf_dev dev = { .path = "/dev/null", .id = "root" }, c = backing(), again = c;
	struct gmem mem = { .fd = -1 };
	struct loop loop;
	char path[64];
	struct err e;

	cr_assert_eq(virtio_new(ops, &mem, &loop, &dev, &e), NULL);
	cr_assert(strstr(e.msg, "'root': /dev/null is neither a file nor a block device"), "%s",
		  e.msg);
	dev.path = "/no/such/file";
	cr_assert_eq(virtio_new(ops, &mem, &loop, &dev, &e), NULL);
	cr_assert(strstr(e.msg, "No such file"), "%s", e.msg);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", disk);
	dev = (struct conf_dev){ .fd = open(path, O_RDONLY | O_CLOEXEC) };
	cr_assert_eq(virtio_new(ops, &mem, &loop, &dev, &e), NULL);
	cr_assert(strstr(e.msg, "not open for reading and writing"), "%s", e.msg);
	/* One disk, one machine. */
	open_disk(c);
	again.fd = open(path, O_RDWR | O_CLOEXEC);
	cr_assert_eq(virtio_new(ops, &mem, &loop, &again, &e), NULL);
	cr_assert(strstr(e.msg, "in use by another machine"), "%s", e.msg);
	again.ro = true;
	cr_assert_eq(virtio_new(ops, &mem, &loop, &again, &e), NULL);
	tear_down();
}

/* ---- reset, limits ---- */

/* threat-model.md 7: a reset returns when nothing is in flight, and what waited is forgotten. */
Test(blk_made, a_reset_with_requests_in_flight_and_waiting)
{
	struct virtio_blk_outhdr h = { .type = htole32(VIRTIO_BLK_T_OUT) };
	struct conf_dev c = backing();
	char data[512] = "x";

	c.iops = 20;		/* two at once, then one each 50 ms */
	open_disk(c);
	for (unsigned round = 0; round < 3; round++) {
		rig_start(&r, FEATURES);
		for (unsigned i = 0; i < 5; i++)
			rig_add(&r, 0, (struct rig_part[]){ { &h, sizeof(h), false },
				{ data, 512, false }, { NULL, 1, true } }, 3);
		virtio_kick(r.d, 0);
		rig_set(&r, VIRTIO_MMIO_STATUS, 0);
		while (r.d->stopping)
			cr_assert_geq(loop_once(r.loop), 0);
		cr_assert_eq(rig_get(&r, VIRTIO_MMIO_STATUS), 0);
		cr_assert_eq(rig_used(&r, 0, NULL), -1);
	}
	tear_down();
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

Test(blk_made, limits_of_requests_and_of_bytes_hold)
{
	for (unsigned k = 0; k < 2; k++) {
		struct conf_dev c = backing();
		char data[4096] = "x";
		uint64_t begin;

		if (k)
			c.bps = 20 * 4096;
		else
			c.iops = 20;
		open_disk(c);
		rig_start(&r, FEATURES);
		begin = now_ms();
		/* Two are saved up (a tenth of a second's worth); eight take 50 ms each. */
		for (unsigned i = 0; i < 10; i++)
			cr_assert_eq(out(0, data, 4096), VIRTIO_BLK_S_OK);
		cr_assert_geq(now_ms() - begin, 350);
		tear_down();
	}
}

/* Without FLUSH each write is safe when it is answered. */
Test(blk, writes_without_flush_are_synchronous)
{
	char data[512] = "x", back[512];

	rig_start(&r, 0);
	cr_assert_eq(out(0, data, 512), VIRTIO_BLK_S_OK);
	cr_assert_eq(in(0, back, 512), VIRTIO_BLK_S_OK);
	cr_assert_eq(back[0], 'x');
}

/* A pause: nothing new is taken, what was taken is done at once, limits or not. */
Test(blk_made, a_hold_finishes_what_was_taken)
{
	struct virtio_blk_outhdr h = { .type = htole32(VIRTIO_BLK_T_OUT) };
	struct rig_part p[] = { { &h, sizeof(h), false }, { NULL, 512, false }, { NULL, 1, true } };
	struct conf_dev c = backing();
	uint64_t begin;

	c.iops = 1;
	open_disk(c);
	rig_start(&r, FEATURES);
	for (unsigned i = 0; i < 4; i++)
		rig_add(&r, 0, p, 3);
	rig_kick(&r, 0);
	rig_run(&r);
	cr_assert(!virtio_idle(r.d));
	begin = now_ms();
	virtio_hold(r.d);
	rig_add(&r, 0, p, 3);
	rig_kick(&r, 0);
	while (!virtio_idle(r.d))
		cr_assert_geq(loop_once(r.loop), 0);
	cr_assert_lt(now_ms() - begin, 2000);	/* not three seconds */
	for (unsigned i = 0; i < 4; i++)
		cr_assert_geq(rig_used(&r, 0, NULL), 0);
	rig_run(&r);
	cr_assert_eq(rig_used(&r, 0, NULL), -1);
	virtio_release(r.d);
	rig_run(&r);
	cr_assert(!virtio_idle(r.d));		/* taken, and waiting: the debt stays */
	tear_down();
}
