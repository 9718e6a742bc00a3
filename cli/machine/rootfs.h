/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rootfs.h - the root file system of a sandbox: an image or the built-in root, and over
 * it a tmpfs (the default), a disk of the sandbox's own, or nothing; and tmpfs at
 * other places. Main thread only.
 *
 * An ext4 image needs nothing over it to be written to: with a disk, that is a copy of the image
 * (with shared blocks, where the host's file system can do that), and the root; the image itself
 * is no disk of the machine then. An EROFS image always stays below. Which it is depends on these
 * two alone, never on the host's file system: a disk means the same wherever its sandbox or
 * snapshot is taken.
 *
 * Flags fill in the first part; rootfs_open() and rootfs_disk() the rest.
 */
#ifndef CLI_MACHINE_ROOTFS_H
#define CLI_MACHINE_ROOTFS_H
#include "agent/client/client.h"
#include "cli/image/image.h"

#define ROOTFS_DISK_MIN (16ull << 20)
#define ROOTFS_DISK_MAX (1ull << 44)
#define ROOTFS_RATE_MAX (1ull << 40)	/* as sandbox-vmm has it */

struct rootfs {
	const char *ref;		/* of the image; NULL: the built-in root */
	uint64_t disk;			/* bytes; 0: none */
	uint64_t bps, iops;		/* of each of its disks, per second; 0: no limit */
	bool direct;			/* the disk by O_DIRECT; the image's pages are shared */
	bool read_only;
	char *tmpfs[PROTO_TMPFS_MAX];	/* "SIZE:PATH", owned */
	size_t n_tmpfs;
	int disk_dir;			/* folder that keeps the disk as `disk`; 0: it vanishes */

	struct image image;		/* with @ref, once it is open */
	int disk_fd;			/* -1: not there (yet) */
	bool disk_new;			/* rootfs_settle() gives it its name */
};

#define ROOTFS_NONE { .image = IMAGE_NONE, .disk_fd = -1 }

int rootfs_disk_flag(struct rootfs *r, const char *value, struct err *e) must_check;
/* PATH[:size=SIZE] */
int rootfs_tmpfs_flag(struct rootfs *r, const char *value, struct err *e) must_check;

/* Find the image, and check that the flags go together. 0 or -errno with a sentence. */
int rootfs_open(struct rootfs *r, struct err *e) must_check;
/*
 * Open the disk, which is made and formatted the first time. One that is there keeps
 * its size. Nothing without --disk, or when it is open. @copy (else -1): it is a copy of that
 * file, and takes the place of the one there, if any, only at rootfs_settle().
 */
int rootfs_disk(struct rootfs *r, int copy, struct err *e) must_check;
/* The machine runs on it. 0 or -errno with a sentence. */
int rootfs_settle(struct rootfs *r, struct err *e) must_check;
/* Forget those that were asked for. */
void rootfs_no_tmpfs(struct rootfs *r);
void rootfs_free(struct rootfs *r);

/* The root is the disk, a copy of the image? Once the image is open. */
bool rootfs_whole(const struct rootfs *r);

/*
 * Have the agent set it up. @bare: for a template, only the image; @restored: the
 * guest comes from such a template. 0 or -errno with a sentence.
 */
int rootfs_apply(const struct rootfs *r, struct client *c, bool bare, bool restored,
		 struct err *e) must_check;
#endif
