/* SPDX-License-Identifier: Apache-2.0 */
/* store.h - what image.c and draft.c share. */
#ifndef CLI_IMAGE_STORE_H
#define CLI_IMAGE_STORE_H
#include "cli/image/image.h"

#define IMAGE_DRAFT_PREFIX "tmp-"

/* The store's folder, made if need be; its path in *p. */
int image_store_open(struct place *p, struct err *e) must_check;
/* Wait for the store's lock: a descriptor to close. */
int image_store_lock(int store, struct err *e) must_check;
/* Remove what makers that are gone left behind. */
void image_store_sweep(int store);
/* The image folder @name with all in it. */
void image_store_delete(int store, const char *name);
/* Point @name to @id. The lock is held. */
int image_store_name(int store, const char *name, const char *id, struct err *e) must_check;
/* sha256 of the part of a manifest that makes the ID. */
int image_store_id(const json_t *manifest, char id[static SUM_HEX], struct err *e) must_check;
/* Remember that the digest of `root` was right; or whether it was, and nothing changed since. */
void image_store_checked(int dir, int root);
bool image_store_was_checked(int dir, int root) must_check;
#endif
