/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blk_open.c - what backs the device: a raw file or a block device, by path or as
 * a descriptor that was opened before the jail. Content is never looked at: there
 * is one format, raw (threat-model.md 12).
 *
 * The backing is locked (flock: shared when read-only, else exclusive), so that
 * no two machines write to one disk, and none reads what another one writes. A machine
 * that was killed has it until its requests have ended and its ring is gone, which
 * the kernel does a little later; so a lock that is taken is tried for a second.
 */
#include <endian.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include "devices/blk.h"

#define LOCK_TRIES	100u		/* 10 ms apart */
#define DIRECT_BLOCK	4096u		/* where the kernel does not say what O_DIRECT wants */
#define PHYSICAL	4096u		/* what files are made of */

static int lock_file(int fd, bool ro)
{
	const struct timespec pause = { 0, 10000000 };
	int rc = flock(fd, (ro ? LOCK_SH : LOCK_EX) | LOCK_NB);

	for (unsigned i = 0; rc && errno == EWOULDBLOCK && i < LOCK_TRIES; i++) {
		nanosleep(&pause, NULL);
		rc = flock(fd, (ro ? LOCK_SH : LOCK_EX) | LOCK_NB);
	}
	return rc;
}

static int take_file(struct blk *b, const struct conf_dev *c, struct err *e)
{
	const char *name = c->path ? c->path : "its descriptor";
	auto_fd fd = c->path ? open(c->path, (c->ro ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOCTTY |
				    O_NONBLOCK) : c->fd;
	struct stat st;
	int flags;

	if (fd < 0 || fstat(fd, &st))
		return err_set(e, -errno, "open %s", name);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return err_say(e, -EINVAL, "%s is neither a file nor a block device", name);
	flags = fcntl(fd, F_GETFL);
	if (!c->ro && (flags & O_ACCMODE) != O_RDWR)
		return err_say(e, -EBADF, "%s is not open for reading and writing", name);
	flags = (flags & ~O_NONBLOCK) | (c->direct ? O_DIRECT : 0);
	if (fcntl(fd, F_SETFL, flags) || fcntl(fd, F_SETFD, FD_CLOEXEC))
		return err_set(e, -errno, "%s%s", c->direct ? "direct I/O on " : "", name);
	if (lock_file(fd, c->ro))
		return errno == EWOULDBLOCK ?
			err_say(e, -EBUSY, "%s is in use by another machine", name) :
			err_set(e, -errno, "lock %s", name);
	b->fd = take_fd(&fd);
	return 0;
}

/* A block device clears and discards whole blocks of its own only, also through the page cache. */
static uint32_t device_block(int fd)
{
	struct stat st;
	int n = 0;

	return !fstat(fd, &st) && S_ISBLK(st.st_mode) && !ioctl(fd, BLKSSZGET, &n) &&
	       n > (int)BLK_SECTOR ? (uint32_t)n : BLK_SECTOR;
}

/* The unit in which the file can be read and written. */
static uint32_t block_size(const struct blk *b, bool direct)
{
	uint32_t n = DIRECT_BLOCK;

	if (!direct)
		return device_block(b->fd);
#ifdef STATX_DIOALIGN
	{
		struct statx st;

		if (!statx(b->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &st) &&
		    (st.stx_mask & STATX_DIOALIGN) && st.stx_dio_offset_align)
			n = st.stx_dio_offset_align;
	}
#endif
	return n > BLK_SECTOR ? n : BLK_SECTOR;
}

static void fill_config(struct blk *b, uint32_t block)
{
	uint8_t exp = 0;

	while (block << exp < PHYSICAL)
		exp++;
	b->cfg = (struct virtio_blk_config){
		.capacity = htole64(b->sectors), .seg_max = htole32(BLK_QSIZE - 2),
		.blk_size = htole32(block), .physical_block_exp = exp, .min_io_size = htole16(1),
		.num_queues = htole16(BLK_QUEUES),
	};
	if (b->ro)
		return;
	b->cfg.max_discard_sectors = b->cfg.max_write_zeroes_sectors = htole32(BLK_RANGE_MAX);
	b->cfg.max_discard_seg = b->cfg.max_write_zeroes_seg = htole32(BLK_SEGS);
	b->cfg.discard_sector_alignment = htole32(PHYSICAL / BLK_SECTOR);
	b->cfg.write_zeroes_may_unmap = 1;
}

static int take_backing(struct blk *b, const struct conf_dev *c, uint32_t *block, struct err *e)
{
	off_t size;
	int rc = take_file(b, c, e);

	if (rc)
		return rc;
	size = lseek(b->fd, 0, SEEK_END);
	if (size < 0) {
		rc = err_set(e, -errno, "size of the disk");
		close(b->fd);
		return rc;
	}
	*block = block_size(b, c->direct);
	b->sectors = (uint64_t)size / *block * (*block / BLK_SECTOR);
	return 0;
}

int blk_open(struct virtio_dev *d, const struct conf_dev *c, struct err *e)
{
	struct blk *b = container_of(d, struct blk, v);
	uint32_t block = BLK_SECTOR;
	int rc;

	b->fd = -1;
	b->ro = c->ro;
	b->slot = calloc(BLK_SLOTS, sizeof(*b->slot));	/* pages that no request uses stay away */
	if (!b->slot)
		return err_set(e, -ENOMEM, "requests");
	rc = c->path || c->fd > 2 ? take_backing(b, c, &block, e) : 0;
	if (rc) {
		free(b->slot);
		return c->id ? err_wrap(e, "'%s'", c->id) : rc;
	}
	if (b->ro) {
		d->offers &= ~(1ULL << VIRTIO_BLK_F_DISCARD | 1ULL << VIRTIO_BLK_F_WRITE_ZEROES);
		d->offers |= 1ULL << VIRTIO_BLK_F_RO;
	}
	if (c->id)
		memcpy(b->id, c->id, strnlen(c->id, sizeof(b->id)));
	bucket_init(&b->bytes, c->bps, 0, 0);
	bucket_init(&b->ops, c->iops, 0, 0);
	b->file = loop_keep(d->loop, b->fd);
	fill_config(b, block);
	blk_init(b);
	/* A file beyond RLIMIT_FSIZE is an error of one write, not the end of the process. */
	signal(SIGXFSZ, SIG_IGN);
	return 0;
}

void blk_close(struct virtio_dev *d)
{
	struct blk *b = container_of(d, struct blk, v);

	loop_forget(d->loop, b->file);	/* its lock, too, is the ring's until then */
	fd_cleanup(&b->fd);
	free(b->slot);
}
