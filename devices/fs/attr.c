/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attr.c - what a file is like: getattr, statx, setattr, statfs, access, readlink.
 *
 * #syscalls:fs fchmod(1&06000=0) fchmodat2(2&06000=0) ftruncate utimensat fstatfs
 * #syscalls:fs readlinkat statx
 */
#include <fcntl.h>
#include <limits.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <time.h>
#include "devices/fs/attr.h"
#include "devices/fs/tree.h"

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif

uint64_t attr_valid(const struct share *s)
{
	switch (s->cache) {
	case FS_CACHE_NONE: return 0;
	case FS_CACHE_AUTO: return 1;
	case FS_CACHE_ALWAYS: break;
	}
	return 86400;
}

static void root_attr(struct fuse_attr *a)
{
	*a = (struct fuse_attr){ .ino = FUSE_ROOT_ID, .mode = S_IFDIR | 0555, .nlink = 2,
				 .blksize = 4096 };
}

static int attr_reply(struct req *r, struct place *p)
{
	struct fuse_attr_out out = { .attr_valid = attr_valid(r->share) };

	attr_fill(r->fs, r->share, r->node, &p->st, p->fd, p->dir.fd, p->name, &out.attr);
	return req_put(r, &out, sizeof(out));
}

int op_getattr(struct req *r)
{
	struct place p;
	int rc;

	if (!r->share) {
		struct fuse_attr_out out = { .attr_valid = 0 };

		root_attr(&out.attr);
		return req_put(r, &out, sizeof(out));
	}
	rc = place_get(r->fs, r->node, &p);
	if (rc)
		return rc;
	rc = attr_reply(r, &p);
	place_put(r->fs, &p);
	return rc;
}

static struct fs_sx_time sx_time(const struct statx_timestamp *t)
{
	return (struct fs_sx_time){ .sec = t->tv_sec, .nsec = t->tv_nsec };
}

int op_statx(struct req *r)
{
	struct fs_statx_out out = { 0 };
	struct fuse_attr a;
	struct place p;
	int rc;

	if (!r->share)
		return -ENOSYS;
	rc = place_get(r->fs, r->node, &p);
	if (rc)
		return rc;
	attr_fill(r->fs, r->share, r->node, &p.st, p.fd, p.dir.fd, p.name, &a);
	out.attr_valid = attr_valid(r->share);
	out.stat = (struct fs_statx){
		.mask = p.st.stx_mask & PLACE_STATX, .blksize = a.blksize, .nlink = a.nlink,
		.uid = a.uid, .gid = a.gid, .mode = (uint16_t)a.mode, .ino = a.ino, .size = a.size,
		.blocks = a.blocks, .atime = sx_time(&p.st.stx_atime),
		.btime = sx_time(&p.st.stx_btime), .ctime = sx_time(&p.st.stx_ctime),
		.mtime = sx_time(&p.st.stx_mtime),
	};
	place_put(r->fs, &p);
	return req_put(r, &out, sizeof(out));
}

/* ---- setattr ------------------------------------------------------------------------------ */

int attr_chmod(int fd, int dirfd, const char *name, mode_t mode)
{
	auto_fd f = -1;
	int rc;

	mode &= FS_MODE_BITS;
	if (fd >= 0)
		return fchmod(fd, mode) ? -errno : 0;
	rc = syscall(SYS_fchmodat2, dirfd, name, mode, AT_SYMLINK_NOFOLLOW) ? -errno : 0;
	if (rc != -ENOSYS && rc != -EPERM)
		return rc;
	/* Kernels before 6.6. What cannot be read cannot be changed there. */
	f = place_open_name(dirfd, name, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
	if (f < 0)
		return f == -ELOOP ? -EOPNOTSUPP : f;
	return fchmod(f, mode) ? -errno : 0;
}

static int set_size(struct req *r, const struct fuse_setattr_in *in)
{
	struct handle *h = NULL;
	struct place p;
	auto_fd fd = -1;
	int rc;

	if (r->node->type != S_IFREG)
		return r->node->type == S_IFDIR ? -EISDIR : -EINVAL;
	if (in->size > INT64_MAX)
		return -EFBIG;
	if (in->valid & FATTR_FH)
		h = handle_get(r->fs, in->fh, r->node, false);
	if (h && h->flags == O_RDONLY) {
		handle_put(r->fs, h);
		h = NULL;
	}
	if (!h)
		h = handle_any(r->fs, r->node, O_WRONLY);
	if (!h) {
		rc = place_by_name(r->fs, r->node, &p);
		if (rc)
			return rc;
		fd = place_open(r->node, &p, O_WRONLY);
		place_put(r->fs, &p);
		if (fd < 0)
			return fd;
	}
	rc = ftruncate(h ? h->fd : fd, (off_t)in->size) ? -errno : 0;
	if (h)
		handle_put(r->fs, h);
	return rc;
}

static int set_times(const struct fuse_setattr_in *in, const struct place *p)
{
	struct timespec t[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_nsec = UTIME_OMIT } };

	if (in->valid & FATTR_ATIME)
		t[0] = (struct timespec){ (time_t)in->atime, in->atimensec };
	if (in->valid & FATTR_MTIME)
		t[1] = (struct timespec){ (time_t)in->mtime, in->mtimensec };
	if (t[0].tv_nsec != UTIME_OMIT && t[0].tv_nsec > 999999999)
		return -EINVAL;
	if (t[1].tv_nsec != UTIME_OMIT && t[1].tv_nsec > 999999999)
		return -EINVAL;
	if (in->valid & FATTR_ATIME_NOW)
		t[0].tv_nsec = UTIME_NOW;
	if (in->valid & FATTR_MTIME_NOW)
		t[1].tv_nsec = UTIME_NOW;
	if (p->fd >= 0)
		return futimens(p->fd, t) ? -errno : 0;
	return utimensat(p->dir.fd, p->name, t, AT_SYMLINK_NOFOLLOW) ? -errno : 0;
}

#define ANY_TIME (FATTR_ATIME | FATTR_MTIME | FATTR_ATIME_NOW | FATTR_MTIME_NOW)

static int set_all(struct req *r, const struct fuse_setattr_in *in, struct place *p)
{
	int rc = 0;

	if (in->valid & FATTR_SIZE)
		rc = set_size(r, in);
	if (!rc && in->valid & (FATTR_UID | FATTR_GID))
		rc = attr_chown(r->fs, r->share, p->fd, p->dir.fd, p->name, &p->st,
				in->valid & FATTR_UID ? in->uid : UINT32_MAX,
				in->valid & FATTR_GID ? in->gid : UINT32_MAX);
	if (!rc && in->valid & FATTR_MODE)
		rc = attr_chmod(p->fd, p->dir.fd, p->name, in->mode);
	if (!rc && in->valid & ANY_TIME)
		rc = set_times(in, p);
	if (!rc)
		rc = p->fd >= 0 ? place_stat_fd(p->fd, &p->st) :
			place_stat(p->dir.fd, p->name, &p->st);
	return rc;
}

int op_setattr(struct req *r)
{
	struct fuse_setattr_in in;
	struct place p;
	int rc = cursor_get(&r->in, &in, sizeof(in));

	if (rc)
		return rc;
	if (in.valid & FATTR_MODE && r->node->type == S_IFLNK)
		return -EOPNOTSUPP;
	rc = tree_raise(r->fs, r->node, !(in.valid & FATTR_SIZE && !in.size));
	if (rc)
		return rc;
	rc = place_get(r->fs, r->node, &p);
	if (rc)
		return rc;
	rc = set_all(r, &in, &p);
	if (!rc)
		rc = attr_reply(r, &p);
	place_put(r->fs, &p);
	return rc;
}

/* ---- the rest ----------------------------------------------------------------------------- */

int op_statfs(struct req *r)
{
	struct fuse_statfs_out out = { .st = { .namelen = FS_NAME_MAX, .bsize = 4096,
					       .frsize = 4096 } };
	struct statfs st;

	if (r->share) {
		if (fstatfs(r->share->root[FS_UPPER], &st))
			return -errno;
		out.st = (struct fuse_kstatfs){
			.blocks = st.f_blocks, .bfree = st.f_bfree, .bavail = st.f_bavail,
			.files = st.f_files, .ffree = st.f_ffree, .bsize = (uint32_t)st.f_bsize,
			.frsize = (uint32_t)st.f_frsize, .namelen = FS_NAME_MAX,
		};
	}
	return req_put(r, &out, sizeof(out));
}

/* The guest's kernel checks by mode and owner itself; this is for one that does not. */
int op_access(struct req *r)
{
	struct fuse_access_in in;
	int rc = cursor_get(&r->in, &in, sizeof(in));

	if (rc)
		return rc;
	return in.mask & W_OK && (!r->share || r->share->mode == FS_RO) ? -EROFS : 0;
}

int op_readlink(struct req *r)
{
	char target[PATH_MAX];
	struct place p;
	ssize_t n;
	int rc;

	if (r->node->type != S_IFLNK)
		return -EINVAL;
	rc = place_get(r->fs, r->node, &p);
	if (rc)
		return rc;
	/* What is known by an open file only has no name to be read by. */
	n = p.fd < 0 ? readlinkat(p.dir.fd, p.name, target, sizeof(target)) : -1;
	rc = p.fd >= 0 ? -ESTALE : n < 0 ? -errno : 0;
	place_put(r->fs, &p);
	if (rc)
		return rc;
	/* One page is what the guest has room for; its own calls end there too. */
	return req_put(r, target, (size_t)n < sizeof(target) ? (size_t)n : sizeof(target) - 1);
}
