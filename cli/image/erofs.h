/* SPDX-License-Identifier: Apache-2.0 */
/*
 * erofs.h - the metadata of an EROFS file system (Linux,
 * Documentation/filesystems/erofs.rst and fs/erofs/erofs_fs.h) behind the files'
 * contents: uncompressed, blocks of 4 KiB, extended inodes, extended attributes inline.
 */
#ifndef CLI_IMAGE_EROFS_H
#define CLI_IMAGE_EROFS_H
#include "cli/image/tree.h"

/* Write everything but the contents, which are there; *size: bytes of the whole image. */
int image_erofs_write(struct image_tree *t, uint64_t *size, struct err *e) must_check;
#endif
