/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lock.h - the guest's file locks as locks on the host (where fs.remote_locks).
 */
#ifndef DEVICES_FS_LOCK_H
#define DEVICES_FS_LOCK_H
#include "devices/fs/server.h"

int locks_init(struct fs *fs) must_check;
void locks_exit(struct fs *fs);
/* @owner closed a descriptor of the file: its POSIX locks go. */
void locks_flush(struct fs *fs, struct inode *n, uint64_t owner);
/* The guest released handle @fh: the locks of descriptions (F_OFD_SETLK) go. */
void locks_release(struct fs *fs, struct inode *n, uint64_t fh);
void locks_drop_share(struct fs *fs, const struct share *s);
/* A lock was given back: those who wait try at once. */
void locks_wake(struct fs *fs);
/* Handlers (op.c). */
int op_getlk(struct req *r) must_check;
int op_setlk(struct req *r) must_check;
int op_interrupt(struct req *r) must_check;
#endif
