/* SPDX-License-Identifier: Apache-2.0 */
/*
 * abi.h - linux/fuse.h, and what newer kernels send that Debian 12's copy does not name.
 */
#ifndef DEVICES_FS_ABI_H
#define DEVICES_FS_ABI_H
#include <linux/fuse.h>

#define FS_STATX		52u	/* FUSE_STATX, protocol 7.39 */
#define FS_OP_MAX		53u

struct fs_statx_in {
	uint32_t getattr_flags, reserved;
	uint64_t fh;
	uint32_t sx_flags, sx_mask;
};

struct fs_sx_time {
	int64_t sec;
	uint32_t nsec;
	int32_t reserved;
};

struct fs_statx {
	uint32_t mask, blksize;
	uint64_t attributes;
	uint32_t nlink, uid, gid;
	uint16_t mode, spare0;
	uint64_t ino, size, blocks, attributes_mask;
	struct fs_sx_time atime, btime, ctime, mtime;
	uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
	uint64_t spare2[14];
};

struct fs_statx_out {
	uint64_t attr_valid;
	uint32_t attr_valid_nsec, flags;
	uint64_t spare[2];
	struct fs_statx stat;
};
_Static_assert(sizeof(struct fs_statx_out) == 288, "FUSE_STATX's reply, as the kernel has it");
#endif
