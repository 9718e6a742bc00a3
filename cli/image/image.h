/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image.h - the image store: read-only root file systems, images/ID/ in the user's
 * data folder.
 *
 *	root		the file system, EROFS or ext4, the bytes of the guest's first disk
 *	manifest	JSON: type, sha256 of `root`, config (entrypoint, cmd, env, user,
 *			workdir); size, source, date, packages
 *	checked		what stat(2) said of `root` when its digest was found right
 *
 * ID is the SHA-256 of type, sha256 and config, so it names everything that a guest can
 * notice of the image. images/names/NAME holds an ID and a newline. An image comes by
 * rename(2) of a finished folder, and goes by rename to a name that nobody looks up;
 * names change under the store's lock. A folder that is being made is locked by its
 * maker: one whose lock is free is swept. Any number of processes. Main thread only.
 */
#ifndef CLI_IMAGE_IMAGE_H
#define CLI_IMAGE_IMAGE_H
#include <jansson.h>
#include "cli/base/places.h"
#include "cli/base/sum.h"

#define IMAGE_REF_MAX	129u	/* a name, with NUL */
#define IMAGE_SHORT	12	/* digits of an ID that are shown */

struct image {
	char id[SUM_HEX];
	char type[8];		/* "erofs" or "ext4" */
	int fd;			/* of `root`, for reading */
	uint64_t size;
	json_t *manifest;
	struct place path;	/* of `root` */
};

#define IMAGE_NONE { .fd = -1 }

/* 1 to 128 of a-z A-Z 0-9 _ . : -, first a-z A-Z 0-9; not one that looks like an ID alone. */
int image_name_check(const char *name, struct err *e) must_check;
/*
 * By name, ID, or the first six or more digits of an ID (also with "sha256:"); in
 * NAME@sha256:ID the name is but a remark. If
 * @verify, or if `root` was changed or never checked, its digest is checked: -EBADMSG with a
 * sentence if it is wrong.
 */
int image_open(struct image *im, const char *ref, bool verify, struct err *e) must_check;
void image_close(struct image *im);
/* The ID alone. */
int image_find(const char *ref, char id[static SUM_HEX], struct err *e) must_check;
/* A string of the config, or NULL; and a list of them (n in *n), valid while @im is open. */
const char *image_string(const struct image *im, const char *key);
size_t image_list(const struct image *im, const char *key, const char **out, size_t max);

/* ---- making one ---- */

struct image_draft {
	int store, dir;		/* dir: locked */
	int fd;			/* of `root`, empty, for reading and writing */
	char name[32];		/* of the folder */
};

#define IMAGE_DRAFT_NONE { .store = -1, .dir = -1, .fd = -1 }

int image_draft_begin(struct image_draft *d, struct err *e) must_check;
/*
 * The file is complete: put it into the store, under @name too if that is not NULL. @config
 * and @more (the rest of the manifest) may be NULL; they stay the caller's. If the
 * store has the image, that one stays.
 */
int image_draft_commit(struct image_draft *d, const char *type, json_t *config, json_t *more,
		       const char *name, char id[static SUM_HEX], struct err *e) must_check;
/* Take away what was not committed. Also after a commit, and for IMAGE_DRAFT_NONE. */
void image_draft_end(struct image_draft *d);

/* ---- all of them ---- */

/* Calls @each for every name (ID alone where there is none: @name NULL). Stops at non-zero. */
int image_each(int (*each)(const char *name, const char *id, void *arg), void *arg,
	       struct err *e) must_check;
/*
 * Take the name away; and the image, when no name is left, or when @ref is an ID. @may
 * (NULL: it may) is asked before the image goes: 0, or -errno with a sentence.
 */
int image_remove(const char *ref, int (*may)(const char *id, struct err *e),
		 struct err *e) must_check;
/* Give an image another name. */
int image_tag(const char *ref, const char *name, struct err *e) must_check;
#endif
