/* SPDX-License-Identifier: Apache-2.0 */
/*
 * place.h - where on the host an inode is, as something that system calls take.
 *
 * A directory's descriptor (O_PATH) is cached with its inode. When it is not there, the
 * nearest ancestor that has one is the start and the rest is opened one name at a time:
 * openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS), and what is
 * found must be what it was. At most fs.dirfds_max descriptors stay, the last used.
 */
#ifndef DEVICES_FS_PLACE_H
#define DEVICES_FS_PLACE_H
#include "devices/fs/server.h"

/* A directory's descriptor, which stays open until dir_put(). */
struct dir_ref { struct inode *n; enum fs_layer layer; int fd; };
/* -ESTALE, -ENOENT, -EMFILE, ... fs.lock must not be held. */
int dir_get(struct fs *fs, struct inode *n, enum fs_layer layer, struct dir_ref *d) must_check;
void dir_put(struct fs *fs, struct dir_ref *d);		/* also of one that dir_get() refused */
/* Close what is cached of @n. fs.lock held. */
void dir_uncache(struct fs *fs, struct inode *n);

/*
 * An inode's topmost layer as (dirfd, name), or, for a file that is open, as fd >= 0.
 * Either names exactly this inode at the time of the call. The root of a share is (own fd, ".").
 */
struct place {
	struct dir_ref dir;
	struct handle *h;
	int fd;
	char name[FS_NAME_MAX + 1];
	struct statx st;
};
int place_get(struct fs *fs, struct inode *n, struct place *p) must_check;
/* As place_get(), but by name even if it is open. */
int place_by_name(struct fs *fs, struct inode *n, struct place *p) must_check;
void place_put(struct fs *fs, struct place *p);
/* Open it with @flags (O_NOFOLLOW, O_CLOEXEC, ... are added): a regular file, else -ENXIO. */
int place_open(const struct inode *n, const struct place *p, int flags) must_check;

#define PLACE_STATX (STATX_BASIC_STATS | STATX_BTIME)
/* statx() of one name, links not followed. 0 or -errno. */
int place_stat(int dirfd, const char *name, struct statx *st) must_check;
int place_stat_fd(int fd, struct statx *st) must_check;
/* openat2() of one name, never through a link. Descriptor or -errno. */
int place_open_name(int dirfd, const char *name, int flags, mode_t mode) must_check;
#endif
