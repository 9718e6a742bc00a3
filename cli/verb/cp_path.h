/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cp_path.h - the words of `sandbox cp`: which side they are on, and what a copy of
 * one to the other is called.
 */
#ifndef CLI_VERB_CP_PATH_H
#define CLI_VERB_CP_PATH_H
#include "cli/base/places.h"
#include "cli/store/store.h"

struct cp_path {
	bool guest, stream;		/* neither: a file of the host; stream: `-` */
	char box[STORE_NAME_MAX];
	char path[PLACES_MAX * 4];	/* without slashes at the end; of a guest: absolute */
	bool contents;			/* it ended in `/.`: what is in the folder */
	bool folder;			/* it ended in a slash: has to be a folder */
};

/*
 * NAME:PATH is the guest's, unless a slash comes before the colon; `-` is a stream.
 * -EINVAL with a sentence.
 */
int cp_path_parse(struct cp_path *p, const char *word, struct err *e) must_check;
/* The last component, "" of a root. */
const char *cp_path_last(const struct cp_path *p);
/*
 * Where a copy of @from goes: into the folder @dir under @name. @exists and @is_dir say
 * what is at @to now. With from->contents @name is "" and @dir the folder itself, which
 * may have to be made. -EINVAL, -ENOTDIR with a sentence.
 */
int cp_path_target(const struct cp_path *from, const struct cp_path *to, bool from_is_dir,
		   bool exists, bool is_dir, char *dir, size_t dir_len, char *name,
		   size_t name_len, struct err *e) must_check;
#endif
