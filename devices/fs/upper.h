/* SPDX-License-Identifier: Apache-2.0 */
/*
 * upper.h - what a copy-on-write share keeps on disk.
 *
 * A cow share has a lower folder, the user's, which is never changed, and an upper folder
 * of the sandbox. The guest sees the lower tree with the upper one laid over it.
 *
 *	UPPER/tree/	what differs, at the same path as in the guest's view. Made by the server
 *	UPPER/wip/	copies that are not finished; empty whenever no request runs
 *
 * An entry of the tree is one of
 *
 *   whiteout	a character device 0:0: the lower entry of that name is deleted. (Every user
 *		may make it, and a guest can make no device.)
 *   directory	its entries are merged with those of the lower directory of that path,
 *		if there is one; unless it has the attribute UPPER_OPAQUE, then the lower
 *		one is hidden (it was removed and made anew). Mode, times and attributes are its own
 *   the rest	regular file, symbolic link, fifo, socket: new, or instead of the lower one.
 *		A file is always whole, with holes where it has them
 *
 * Extended attributes that begin with UPPER_XATTR are ours; guests neither see nor set them.
 *
 *   UPPER_OPAQUE	"y", on a directory
 *   UPPER_ORIGIN	on a file that was copied up: "INO SECONDS NANOSECONDS SIZE", the inode,
 *			the modification time and the size of the lower file when it was copied,
 *			decimal. A lower file for which this is no longer so was changed on the
 *			host meanwhile
 *   UPPER_OWNER	"UID GID", decimal: whom the entry belongs to in the guest, if that is not
 *			the share's owner. Also set on the files of rw shares
 *
 * Nothing is renamed across, so that paths stay equal: a lower directory, or one that is
 * merged with a lower one, is copied up whole before it moves, and is opaque from then on.
 */
#ifndef DEVICES_FS_UPPER_H
#define DEVICES_FS_UPPER_H
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include "vmm/base.h"

#define UPPER_TREE	"tree"
#define UPPER_WIP	"wip"
#define UPPER_XATTR	"user.sandbox."
#define UPPER_OPAQUE	UPPER_XATTR "opaque"
#define UPPER_ORIGIN	UPPER_XATTR "origin"
#define UPPER_OWNER	UPPER_XATTR "owner"

/* Is an entry of the upper tree a whiteout? */
static inline bool upper_whiteout(mode_t mode, dev_t rdev)
{
	return S_ISCHR(mode) && rdev == makedev(0, 0);
}
#endif
