/* SPDX-License-Identifier: Apache-2.0 */
/*
 * entry.h - requests about names.
 */
#ifndef DEVICES_FS_ENTRY_H
#define DEVICES_FS_ENTRY_H
#include "devices/fs/tree.h"

/* Look @name up for the guest, which has one more reference to it then. 0, -ENOENT, ... */
int entry_find(struct fs *fs, struct inode *parent, const char *name,
	       struct fuse_entry_out *e) must_check;
/* The same for a share, by its number; nothing else is in the root. */
int entry_share(struct fs *fs, const char *name, struct fuse_entry_out *e) must_check;

int op_lookup(struct req *r) must_check;
int op_forget(struct req *r) must_check;
int op_batch_forget(struct req *r) must_check;
int op_symlink(struct req *r) must_check;
int op_mknod(struct req *r) must_check;
int op_mkdir(struct req *r) must_check;
int op_link(struct req *r) must_check;
int op_unlink(struct req *r) must_check;
int op_rmdir(struct req *r) must_check;
int op_rename(struct req *r) must_check;
int op_rename2(struct req *r) must_check;
#endif
