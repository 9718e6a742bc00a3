/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk that is a block device of the host: a loop device over a file, where these tests
 * run as root and can have one. It goes with the last descriptor of it.
 */
#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include "devices/registry.h"
#include "tests/unit/blk_ask.h"
#include "tests/unit/host.h"

#define SIZE	(4u << 20)
#define CHUNK	65536u
#define FEATURES (1ull << VIRTIO_BLK_F_FLUSH | 1ull << VIRTIO_BLK_F_DISCARD | \
		  1ull << VIRTIO_BLK_F_WRITE_ZEROES | 1ull << VIRTIO_BLK_F_BLK_SIZE)

TestSuite(blk_device, .timeout = 60);

static struct rig r;
static int file = -1, loop = -1;
static char path[32];

/* Others may take the free one first. */
static bool attach(uint32_t block)
{
	struct loop_config c = { .block_size = block, .info.lo_flags = LO_FLAGS_AUTOCLEAR };
	auto_fd control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);

	file = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (control < 0 || file < 0 || ftruncate(file, SIZE))
		return false;
	c.fd = (uint32_t)file;
	for (unsigned i = 0; i < 20; i++) {
		int n = ioctl(control, LOOP_CTL_GET_FREE);

		snprintf(path, sizeof(path), "/dev/loop%d", n);
		loop = n < 0 ? -1 : open(path, O_RDWR | O_CLOEXEC);
		if (loop >= 0 && !ioctl(loop, LOOP_CONFIGURE, &c))
			return true;
		if (loop < 0 || errno != EBUSY)
			break;
		close(loop);
	}
	return false;
}

static void detach(void)
{
	rig_close(&r);
	close(loop);
	close(file);
}

static void open_disk(bool ro, bool direct)
{
	struct conf_dev c = { .fd = -1, .path = path, .ro = ro, .direct = direct };

	rig_open(&r, virtio_ops_find("blk"), &c);
	rig_start(&r, ro ? 0 : FEATURES);
}

static int ask(uint32_t type, uint64_t sector, const void *data, uint32_t len, void *back)
{
	return blk_ask(&r, 0, &(struct blk_ask){ type, sector, data, len, back }, back, NULL);
}

static struct virtio_blk_config config(void)
{
	struct virtio_blk_config c;

	virtio_cfg_read(r.d, 0, &c, sizeof(c));
	return c;
}

static long blocks(void)
{
	struct stat st;

	cr_assert_eq(fstat(file, &st), 0);
	return st.st_blocks;
}

static void use(void)
{
	static char data[CHUNK], back[CHUNK];
	struct virtio_blk_discard_write_zeroes s = { .sector = htole64(8),
						     .num_sectors = htole32(CHUNK / 512 - 8) };
	long before;

	for (unsigned i = 0; i < CHUNK; i++)
		data[i] = (char)(i / 7);
	cr_assert_eq(config().capacity, htole64(SIZE / 512));
	cr_assert_eq(ask(VIRTIO_BLK_T_OUT, 0, data, CHUNK, NULL), VIRTIO_BLK_S_OK);
	cr_assert_eq(ask(VIRTIO_BLK_T_OUT, 128, data, CHUNK, NULL), VIRTIO_BLK_S_OK);
	cr_assert_eq(ask(VIRTIO_BLK_T_OUT, SIZE / 512, data, 4096, NULL), VIRTIO_BLK_S_IOERR);
	cr_assert_eq(ask(VIRTIO_BLK_T_FLUSH, 0, NULL, 0, NULL), VIRTIO_BLK_S_OK);
	cr_assert_eq(pread(file, back, CHUNK, 0), CHUNK);
	cr_assert_arr_eq(back, data, CHUNK);
	before = blocks();
	cr_assert_eq(ask(VIRTIO_BLK_T_DISCARD, 0, &s, sizeof(s), NULL), VIRTIO_BLK_S_OK);
	cr_assert_eq(blocks(), before - (CHUNK - 4096) / 512, "given back to the host");
	s = (struct virtio_blk_discard_write_zeroes){ .sector = htole64(128),
						      .num_sectors = htole32(8) };
	cr_assert_eq(ask(VIRTIO_BLK_T_WRITE_ZEROES, 0, &s, sizeof(s), NULL), VIRTIO_BLK_S_OK);
	for (unsigned i = 0; i < 2; i++) {
		cr_assert_eq(ask(VIRTIO_BLK_T_IN, 128 * i, NULL, CHUNK, back), VIRTIO_BLK_S_OK);
		for (unsigned k = 0; k < CHUNK; k++)
			cr_assert_eq(back[k], (k < 4096) == i ? 0 : data[k], "%u %u", i, k);
	}
	cr_assert(virtio_live(r.d));
}

Test(blk_device, is_read_written_flushed_and_gives_back)
{
	if (!attach(512))
		not_here("no loop device can be had");
	open_disk(false, false);
	use();
	detach();
}

/* Its sectors are not 512 bytes: a guest that knew nothing of it could not clear one. */
Test(blk_device, tells_the_size_of_its_blocks)
{
	if (!attach(4096))
		not_here("no loop device can be had");
	open_disk(false, true);
	cr_assert_eq(config().blk_size, htole32(4096));
	rig_close(&r);
	open_disk(false, false);
	cr_assert_eq(config().blk_size, htole32(4096));
	use();
	detach();
}

Test(blk_device, read_only_holds)
{
	struct virtio_blk_discard_write_zeroes s = { .num_sectors = htole32(8) };
	char data[512] = "x";

	if (!attach(512))
		not_here("no loop device can be had");
	open_disk(true, false);
	cr_assert_eq(ask(VIRTIO_BLK_T_OUT, 0, data, 512, NULL), VIRTIO_BLK_S_IOERR);
	cr_assert_eq(ask(VIRTIO_BLK_T_DISCARD, 0, &s, sizeof(s), NULL), VIRTIO_BLK_S_IOERR);
	cr_assert_eq(ask(VIRTIO_BLK_T_IN, 0, NULL, 512, data), VIRTIO_BLK_S_OK);
	cr_assert_eq(data[0], 0);
	detach();
}
