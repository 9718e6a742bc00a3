/* SPDX-License-Identifier: Apache-2.0 */
/*
 * io.c - reading and writing open files.
 *
 * File data goes between the file and the request's buffers without a copy. The guest's
 * offsets and lengths are checked against what a file may have and what the buffers hold.
 *
 * #syscalls:fs pread64 pwritev2 fsync fdatasync? fallocate lseek copy_file_range syncfs
 */
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/uio.h>
#include "devices/fs/io.h"
#include "devices/fs/place.h"

/* How much one request copies at most: it must not hold a thread for long. */
#define COPY_MAX (64u << 20)

int op_read(struct req *r)
{
	struct fuse_read_in in;
	struct handle *h;
	size_t want;
	ssize_t n;
	int rc = cursor_get(&r->in, &in, sizeof(in));

	if (rc)
		return rc;
	want = in.size < r->room ? in.size : r->room;
	if (in.offset > INT64_MAX - FS_DATA_MAX)
		return -EINVAL;
	h = handle_get(r->fs, in.fh, r->node, false);
	if (!h)
		return handle_missing(r->fs, in.fh);
	n = pread(h->fd, r->out, want, (off_t)in.offset);
	rc = n < 0 ? -errno : 0;
	handle_put(r->fs, h);
	if (!rc)
		r->len = (size_t)n;
	return rc;
}

int op_write(struct req *r)
{
	struct fuse_write_in in;
	struct fuse_write_out out = { 0 };
	struct iovec v;
	struct handle *h;
	ssize_t n;
	int rc = cursor_get(&r->in, &in, sizeof(in));

	if (rc)
		return rc;
	if (in.size != r->data_len || in.offset > INT64_MAX - FS_DATA_MAX)
		return -EINVAL;
	h = handle_get(r->fs, in.fh, r->node, false);
	if (!h)
		return handle_missing(r->fs, in.fh);
	v = (struct iovec){ (void *)(uintptr_t)r->data, in.size };
	/* The end of the file is where it is on the host, whatever the guest believes. */
	n = pwritev2(h->fd, &v, 1, (off_t)in.offset, in.flags & O_APPEND &&
		     !(in.write_flags & FUSE_WRITE_CACHE) ? RWF_APPEND : 0);
	rc = n < 0 ? -errno : 0;
	handle_put(r->fs, h);
	if (rc)
		return rc;
	out.size = (uint32_t)n;
	return req_put(r, &out, sizeof(out));
}

int op_fsync(struct req *r)
{
	struct fuse_fsync_in in;
	struct handle *h;
	int rc = cursor_get(&r->in, &in, sizeof(in));

	if (rc)
		return rc;
	h = handle_get(r->fs, in.fh, r->node, false);
	if (!h)
		return handle_missing(r->fs, in.fh);
	rc = (in.fsync_flags & FUSE_FSYNC_FDATASYNC ? fdatasync(h->fd) : fsync(h->fd)) ? -errno : 0;
	handle_put(r->fs, h);
	return rc;
}

int op_syncfs(struct req *r)
{
	auto_fd fd = -1;

	if (!r->share || r->share->mode == FS_RO)
		return 0;
	fd = place_open_name(r->share->root[FS_UPPER], ".", O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return fd;
	return syncfs(fd) ? -errno : 0;
}

int op_fallocate(struct req *r)
{
	const uint32_t known = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE |
		FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE | FALLOC_FL_UNSHARE_RANGE;
	struct fuse_fallocate_in in;
	struct handle *h;
	int rc = cursor_get(&r->in, &in, sizeof(in));

	if (rc)
		return rc;
	if (in.mode & ~known)
		return -EOPNOTSUPP;
	if (in.offset > INT64_MAX || in.length > INT64_MAX - in.offset)
		return -EFBIG;
	h = handle_get(r->fs, in.fh, r->node, false);
	if (!h)
		return handle_missing(r->fs, in.fh);
	rc = fallocate(h->fd, (int)in.mode, (off_t)in.offset, (off_t)in.length) ? -errno : 0;
	handle_put(r->fs, h);
	return rc;
}

/* Only data and holes: the rest is the guest's kernel's. */
int op_lseek(struct req *r)
{
	struct fuse_lseek_in in;
	struct fuse_lseek_out out;
	struct handle *h;
	off_t at;
	int rc = cursor_get(&r->in, &in, sizeof(in));

	if (rc)
		return rc;
	if (in.whence != SEEK_DATA && in.whence != SEEK_HOLE)
		return -EINVAL;
	if (in.offset > INT64_MAX)
		return -ENXIO;
	h = handle_get(r->fs, in.fh, r->node, false);
	if (!h)
		return handle_missing(r->fs, in.fh);
	at = lseek(h->fd, (off_t)in.offset, (int)in.whence);
	rc = at < 0 ? -errno : 0;
	handle_put(r->fs, h);
	if (rc)
		return rc;
	out.offset = (uint64_t)at;
	return req_put(r, &out, sizeof(out));
}

int op_copy_file_range(struct req *r)
{
	struct fuse_copy_file_range_in in;
	struct fuse_write_out out;
	struct handle *from, *to = NULL;
	struct inode *n = NULL;
	off_t a, b;
	ssize_t done = -1;
	int rc = cursor_get(&r->in, &in, sizeof(in));

	if (rc)
		return rc;
	if (in.off_in > INT64_MAX - COPY_MAX || in.off_out > INT64_MAX - COPY_MAX || in.flags)
		return -EINVAL;
	from = handle_get(r->fs, in.fh_in, r->node, false);
	n = inode_get(r->fs, in.nodeid_out);
	if (n && n->share == r->share)
		to = handle_get(r->fs, in.fh_out, n, false);
	a = (off_t)in.off_in;
	b = (off_t)in.off_out;
	if (from && to)
		done = copy_file_range(from->fd, &a, to->fd, &b,
				       in.len < COPY_MAX ? in.len : COPY_MAX, 0);
	rc = from && to ? done < 0 ? -errno : 0 : n && n->share != r->share ? -EXDEV : -EBADF;
	if (from)
		handle_put(r->fs, from);
	if (to)
		handle_put(r->fs, to);
	inode_put(r->fs, n);
	if (rc)
		return rc;
	out = (struct fuse_write_out){ .size = (uint32_t)done };
	return req_put(r, &out, sizeof(out));
}
