/* SPDX-License-Identifier: Apache-2.0 */
/*
 * source.h - what images are made from. Each function adds files to a tree;
 * on failure the tree is of no use.
 */
#ifndef CLI_IMAGE_SOURCE_H
#define CLI_IMAGE_SOURCE_H
#include <jansson.h>
#include "cli/image/tree.h"

/* The library that reads archives, before it may not be opened any more. */
int image_preload(struct err *e) must_check;
/* A tar archive, plain or compressed (gzip, bzip2, xz, zstd), read from @fd to its end. */
int image_from_tar(struct image_tree *t, int fd, struct err *e) must_check;
/* One layer of an OCI image over what is there: whiteouts are heeded. @fd can be read twice. */
int image_from_layer(struct image_tree *t, int fd, struct err *e) must_check;
/*
 * A folder of this host, with all in it. What belongs to the user of this process
 * belongs to root in the image.
 */
int image_from_folder(struct image_tree *t, const char *path, struct err *e) must_check;
/*
 * An OCI image layout: the image for this machine in its index. *config: a new
 * object with those of entrypoint, cmd, env, user and workdir that the image has.
 * Every blob is checked against its digest before it is used.
 */
int image_from_oci(struct image_tree *t, const char *path, json_t **config,
		   struct err *e) must_check;
/* What the guest needs as mount points, where it is missing. */
int image_finish(struct image_tree *t, struct err *e) must_check;
#endif
