/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snapinfo.h - what is in a snapshot's folder, as the monitor reads it, and which
 * folder a person means.
 */
#ifndef CLI_STORE_SNAPINFO_H
#define CLI_STORE_SNAPINFO_H
#include "cli/base/places.h"

#define SNAP_DEVICES_MAX 200u

struct snap_info {
	uint64_t memory, cpus;		/* of the guest: bytes, number */
	uint64_t stored, state;		/* bytes of memory and of state in its files */
	uint64_t ranges;		/* of a snapshot of differences */
	uint64_t disk;			/* bytes of the machine's own disk, which is here too; 0 */
	int64_t saved;			/* seconds since 1970 */
	bool diff, verified;
	bool brief;			/* not told by the monitor: parts have no checksums */
	char devices[SNAP_DEVICES_MAX];	/* names with spaces between */
};

/*
 * Have the monitor look at the snapshot in @dir, and at every page of it with @verify.
 * 0, or -EBADMSG with the sentence that it said.
 */
int snap_info(const char *vmm, const char *dir, bool verify, struct snap_info *out,
	      struct err *e) must_check;

/*
 * The folder of a snapshot: NAME/SNAP of the sandbox NAME, or a path that has a file `state`
 * in it. -ENOENT with a sentence.
 */
int snap_find(const char *what, struct place *dir, struct err *e) must_check;
/* Of the sandbox @box: the folder of its snapshot @snap, or with NULL, of all. Not looked at. */
int snap_place(const char *box, const char *snap, struct place *dir, struct err *e) must_check;
/* The id of the image that its guest has as root, or false: the built-in one. */
bool snap_image(const char *dir, char id[static 80]) must_check;
/* -EINVAL with a sentence for what is no name of a snapshot. */
int snap_name_check(const char *name, struct err *e) must_check;
#endif
