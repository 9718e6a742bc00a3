/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attr.h - attributes: of files, as the guest sees them, and extended ones.
 *
 * Owners. The server does everything as one user of the host, so what guests make belongs
 * to that user. In the guest, files of that user (and group) belong to the share's owner
 * (share.uid, share.gid). Whoever else makes or is given a file there is written down in
 * its attribute UPPER_OWNER, and seen from then on; the guest's kernel checks permissions
 * against that, the host's against the server's user. Links, fifos and sockets cannot have
 * such attributes: they stay the owner's. Files of other host users are seen as nobody's, or
 * as theirs when the server runs as root.
 */
#ifndef DEVICES_FS_ATTR_H
#define DEVICES_FS_ATTR_H
#include "devices/fs/place.h"
#include "devices/fs/server.h"

/* ---- extended attributes by place: fd, or (dirfd, name) when fd < 0. Sizes or -errno. ---- */
ssize_t xa_get(int fd, int dirfd, const char *name, const char *key, void *buf, size_t len)
	must_check;
int xa_set(int fd, int dirfd, const char *name, const char *key, const void *buf, size_t len,
	   int flags) must_check;
ssize_t xa_list(int fd, int dirfd, const char *name, char *buf, size_t len) must_check;
int xa_remove(int fd, int dirfd, const char *name, const char *key) must_check;

/* ---- */
void attr_fill(struct fs *fs, struct share *s, const struct inode *n, const struct statx *st,
	       int fd, int dirfd, const char *name, struct fuse_attr *a);
/* How long the guest may believe what it is told, in seconds. */
uint64_t attr_valid(const struct share *s) must_check;
/* Give what @r's caller just made to the caller. */
int attr_own(const struct req *r, int fd, int dirfd, const char *name) must_check;
/* Write an owner down. */
int attr_chown(struct fs *fs, struct share *s, int fd, int dirfd, const char *name,
	       const struct statx *st, uint32_t uid, uint32_t gid) must_check;
/* chmod of one name, links not followed, without set-id. */
int attr_chmod(int fd, int dirfd, const char *name, mode_t mode) must_check;

int op_getattr(struct req *r) must_check;
int op_setattr(struct req *r) must_check;
int op_statx(struct req *r) must_check;
int op_statfs(struct req *r) must_check;
int op_access(struct req *r) must_check;
int op_readlink(struct req *r) must_check;

int op_setxattr(struct req *r) must_check;
int op_getxattr(struct req *r) must_check;
int op_listxattr(struct req *r) must_check;
int op_removexattr(struct req *r) must_check;
#endif
