/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state.h - inodes and open files of a paused guest, to a file and back.
 */
#ifndef DEVICES_FS_STATE_H
#define DEVICES_FS_STATE_H
#include "devices/fs/server.h"

/* Write it to @fd (borrowed), from its beginning. No request may be at work. */
int state_save(struct fs *fs, int fd, struct err *e) must_check;
/*
 * Take it from @fd into a server that has shares and has served nothing. What the state
 * names and is not there any more answers ESTALE. -EBADMSG: not such a file, or damaged;
 * the server is of no use then.
 */
int state_restore(struct fs *fs, int fd, struct err *e) must_check;
#endif
