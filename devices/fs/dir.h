/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dir.h - reading directories.
 */
#ifndef DEVICES_FS_DIR_H
#define DEVICES_FS_DIR_H
#include "devices/fs/server.h"

#define FS_LISTS_MAX	(64u << 20)	/* bytes of merged lists, over all open directories */

/* Entries of a merged directory, as they were when reading began. */
struct dir_list {
	size_t bytes, room, n;
	struct dir_item { uint64_t ino; uint32_t at; uint8_t type; uint8_t len; } *item;
	size_t items_room;
	char *names;
};
/* Free a handle's list. fs.lock held. */
void dir_list_drop(struct fs *fs, struct handle *h);
int op_opendir(struct req *r) must_check;
int op_readdir(struct req *r) must_check;
int op_readdirplus(struct req *r) must_check;
int op_releasedir(struct req *r) must_check;
int op_fsyncdir(struct req *r) must_check;
#endif
