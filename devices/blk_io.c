/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blk_io.c - a checked request on the file: one operation at a time for each
 * request, straight between the file and the guest's buffers.
 *
 * A short read or write goes on with its rest; nothing at all means that the file
 * is shorter than the disk, which the host did behind our back. Any error of the
 * host, a full disk included, is the guest's IOERR, and the disk lives on.
 *
 * The file is registered with the ring. Guest memory is not: that would pin it, and so
 * copy all of a clone's memory from its template (128 MiB: 0.3 s, and no page shared any
 * more), for requests that are no faster by it.
 *
 * #uring:loop READV WRITEV FSYNC FALLOCATE
 */
#include <endian.h>
#include <fcntl.h>
#include "devices/blk.h"

static int start_range(struct blk_req *r, op_fn *done)
{
	const struct virtio_blk_discard_write_zeroes *s = &r->range[r->seg];
	bool unmap = r->type == VIRTIO_BLK_T_DISCARD || s->flags;
	int mode = FALLOC_FL_KEEP_SIZE | (unmap ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE);

	return loop_fallocate(r->b->v.loop, &r->op, r->b->file, mode,
			      le64toh(s->sector) * BLK_SECTOR,
			      (uint64_t)le32toh(s->num_sectors) * BLK_SECTOR, done);
}

/* Without FLUSH the driver cannot ask for its data to be safe: each write is, then (5.2.6.2). */
static int write_flags(const struct blk *b)
{
	return virtio_has(&b->v, VIRTIO_BLK_F_FLUSH) ? 0 : RWF_DSYNC;
}

/* @res bytes are done: true when some are left. */
static bool advance(struct blk_req *r, size_t n)
{
	r->off += n;
	r->left -= n;
	while (r->niov && n >= r->iov->iov_len) {
		n -= r->iov->iov_len;
		r->iov++;
		r->niov--;
	}
	if (n) {
		if (r->type == VIRTIO_BLK_T_IN)		/* the chain will no longer tell of it */
			gmem_touched(r->b->v.mem, r->iov->iov_base, n);
		r->iov->iov_base = (char *)r->iov->iov_base + n;
		r->iov->iov_len -= n;
	}
	return r->left;
}

static bool is_data(const struct blk_req *r)
{
	return r->type == VIRTIO_BLK_T_IN || r->type == VIRTIO_BLK_T_OUT;
}

/* What the end of an operation means: a status, or -1 when there is more to do. */
static int outcome(struct blk_req *r, int res)
{
	if (res == -EOPNOTSUPP && r->nseg)
		return VIRTIO_BLK_S_UNSUPP;
	if (res < 0 || (is_data(r) && (!res || (uint64_t)res > r->left)))
		return VIRTIO_BLK_S_IOERR;
	if (is_data(r))
		return advance(r, (size_t)res) ? -1 : VIRTIO_BLK_S_OK;
	r->seg++;
	return r->seg < r->nseg ? -1 : VIRTIO_BLK_S_OK;
}

static void on_done(struct op *op, int res)
{
	struct blk_req *r = container_of(op, struct blk_req, op);
	int status = outcome(r, res);

	r->b->busy--;
	if (status < 0 && !r->b->v.stopping)
		blk_submit(r);
	else
		blk_finish(r, status < 0 ? VIRTIO_BLK_S_IOERR : (uint8_t)status);
}

int blk_start(struct blk_req *r)
{
	struct blk *b = r->b;
	int rc;

	/* A range of nothing is done. */
	while (r->seg < r->nseg && !r->range[r->seg].num_sectors)
		r->seg++;
	if (r->nseg && r->seg == r->nseg) {
		blk_finish(r, VIRTIO_BLK_S_OK);
		return 0;
	}
	if (r->type == VIRTIO_BLK_T_IN)
		rc = loop_readv(b->v.loop, &r->op, b->file, r->iov, r->niov, r->off, on_done);
	else if (r->type == VIRTIO_BLK_T_OUT)
		rc = loop_writev(b->v.loop, &r->op, b->file, r->iov, r->niov, r->off,
				 write_flags(b), on_done);
	else if (r->type == VIRTIO_BLK_T_FLUSH)
		rc = loop_fdatasync(b->v.loop, &r->op, b->file, on_done);
	else
		rc = start_range(r, on_done);
	b->busy += !rc;
	return rc;
}
