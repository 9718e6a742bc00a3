/* SPDX-License-Identifier: Apache-2.0 */
/*
 * io.h - open files.
 */
#ifndef DEVICES_FS_IO_H
#define DEVICES_FS_IO_H
#include "devices/fs/server.h"

int op_open(struct req *r) must_check;
int op_create(struct req *r) must_check;
int op_tmpfile(struct req *r) must_check;
int op_read(struct req *r) must_check;
int op_write(struct req *r) must_check;
int op_flush(struct req *r) must_check;
int op_release(struct req *r) must_check;
int op_fsync(struct req *r) must_check;
int op_syncfs(struct req *r) must_check;
int op_fallocate(struct req *r) must_check;
int op_lseek(struct req *r) must_check;
int op_copy_file_range(struct req *r) must_check;
#endif
