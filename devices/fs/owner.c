/* SPDX-License-Identifier: Apache-2.0 */
/*
 * owner.c - whom a file belongs to in the guest (attr.h), and how attributes are reached.
 *
 * There is no call that sets an attribute of a name in a directory, so the thread goes to
 * the directory first: its working folder is its own (fs_thread()).
 *
 * #syscalls:fs fchdir lgetxattr fgetxattr lsetxattr fsetxattr llistxattr flistxattr
 * #syscalls:fs lremovexattr fremovexattr
 */
#include <sched.h>
#include <sys/xattr.h>
#include "devices/fs/attr.h"

#define NOBODY 65534u

int fs_thread(void)
{
	return unshare(CLONE_FS) ? -errno : 0;
}

ssize_t xa_get(int fd, int dirfd, const char *name, const char *key, void *buf, size_t len)
{
	ssize_t n;

	if (fd >= 0)
		n = fgetxattr(fd, key, buf, len);
	else
		n = fchdir(dirfd) ? -1 : lgetxattr(name, key, buf, len);
	return n < 0 ? -errno : n;
}

int xa_set(int fd, int dirfd, const char *name, const char *key, const void *buf, size_t len,
	   int flags)
{
	int rc;

	if (fd >= 0)
		rc = fsetxattr(fd, key, buf, len, flags);
	else
		rc = fchdir(dirfd) ? -1 : lsetxattr(name, key, buf, len, flags);
	return rc ? -errno : 0;
}

ssize_t xa_list(int fd, int dirfd, const char *name, char *buf, size_t len)
{
	ssize_t n;

	if (fd >= 0)
		n = flistxattr(fd, buf, len);
	else
		n = fchdir(dirfd) ? -1 : llistxattr(name, buf, len);
	return n < 0 ? -errno : n;
}

int xa_remove(int fd, int dirfd, const char *name, const char *key)
{
	int rc;

	if (fd >= 0)
		rc = fremovexattr(fd, key);
	else
		rc = fchdir(dirfd) ? -1 : lremovexattr(name, key);
	return rc ? -errno : 0;
}

static uint32_t shown(const struct fs *fs, uint32_t own, uint32_t share, uint32_t host)
{
	if (host == own)
		return share;
	return fs->uid == 0 ? host : NOBODY;
}

static bool can_note(mode_t mode)
{
	return S_ISREG(mode) || S_ISDIR(mode);
}

/* The owner that was written down; false: none. */
static bool noted(int fd, int dirfd, const char *name, uint32_t *uid, uint32_t *gid)
{
	char text[32];
	ssize_t n = xa_get(fd, dirfd, name, UPPER_OWNER, text, sizeof(text) - 1);
	char *end;
	unsigned long long u, g;

	if (n <= 0)
		return false;
	text[n] = 0;
	u = strtoull(text, &end, 10);
	if (*end != ' ')
		return false;
	g = strtoull(end + 1, &end, 10);
	if (*end || u >= UINT32_MAX || g >= UINT32_MAX)
		return false;
	*uid = (uint32_t)u;
	*gid = (uint32_t)g;
	return true;
}

static void owner_of(const struct fs *fs, const struct share *s, const struct statx *st,
		     int fd, int dirfd, const char *name, uint32_t *uid, uint32_t *gid)
{
	if (can_note(st->stx_mode) && st->stx_uid == fs->uid && noted(fd, dirfd, name, uid, gid))
		return;
	*uid = shown(fs, fs->uid, s->uid, st->stx_uid);
	*gid = shown(fs, fs->gid, s->gid, st->stx_gid);
}

void attr_fill(struct fs *fs, struct share *s, const struct inode *n, const struct statx *st,
	       int fd, int dirfd, const char *name, struct fuse_attr *a)
{
	*a = (struct fuse_attr){
		.ino = n->ino, .size = st->stx_size, .blocks = st->stx_blocks,
		.atime = (uint64_t)st->stx_atime.tv_sec, .atimensec = st->stx_atime.tv_nsec,
		.mtime = (uint64_t)st->stx_mtime.tv_sec, .mtimensec = st->stx_mtime.tv_nsec,
		.ctime = (uint64_t)st->stx_ctime.tv_sec, .ctimensec = st->stx_ctime.tv_nsec,
		.mode = st->stx_mode & (S_IFMT | FS_MODE_BITS), .nlink = st->stx_nlink,
		.blksize = st->stx_blksize,
	};
	owner_of(fs, s, st, fd, dirfd, name, &a->uid, &a->gid);
}

int attr_chown(struct fs *fs, struct share *s, int fd, int dirfd, const char *name,
	       const struct statx *st, uint32_t uid, uint32_t gid)
{
	uint32_t now_uid, now_gid;
	char text[32];
	int rc;

	owner_of(fs, s, st, fd, dirfd, name, &now_uid, &now_gid);
	if (uid == UINT32_MAX)
		uid = now_uid;
	if (gid == UINT32_MAX)
		gid = now_gid;
	if ((uid == now_uid && gid == now_gid) || !can_note(st->stx_mode))
		return 0;
	if (st->stx_uid != fs->uid)
		return -EPERM;
	if (uid == s->uid && gid == s->gid && st->stx_gid == fs->gid) {
		rc = xa_remove(fd, dirfd, name, UPPER_OWNER);
		return rc == -ENODATA ? 0 : rc;
	}
	snprintf(text, sizeof(text), "%u %u", uid, gid);
	rc = xa_set(fd, dirfd, name, UPPER_OWNER, text, strlen(text), 0);
	return rc == -EOPNOTSUPP ? -EPERM : rc;
}

int attr_own(const struct req *r, int fd, int dirfd, const char *name)
{
	char text[32];
	int rc;

	if (r->h.uid == r->share->uid && r->h.gid == r->share->gid)
		return 0;
	snprintf(text, sizeof(text), "%u %u", r->h.uid, r->h.gid);
	rc = xa_set(fd, dirfd, name, UPPER_OWNER, text, strlen(text), 0);
	/* Where the host cannot keep it, it is the share's owner's. */
	return rc == -EOPNOTSUPP || rc == -EPERM ? 0 : rc;
}
