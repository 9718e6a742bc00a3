/* SPDX-License-Identifier: Apache-2.0 */
/* make.h - import, build and pull: from a source to an image in the store. */
#ifndef CLI_IMAGE_MAKE_H
#define CLI_IMAGE_MAKE_H
#include "cli/image/image.h"

struct image_make {
	const char *name;	/* in the store; NULL: none */
	const char *format;	/* dir, tar, oci, erofs, ext4; NULL: not the last two */
	const char *sha256;	/* that an imported file must have; NULL: any */
	const char *profile, *suite, *mirror;	/* of a build; suite and mirror may be NULL */
};

/* @path: a folder, a file, or "-" for a tar archive on stdin. */
int image_import(const struct image_make *m, const char *path, char id[static SUM_HEX],
		 struct err *e) must_check;
int image_build(const struct image_make *m, char id[static SUM_HEX], struct err *e) must_check;
/* From a registry, with skopeo, which has to be there. */
int image_pull(const struct image_make *m, const char *ref, char id[static SUM_HEX],
	       struct err *e) must_check;

extern const char image_profiles[];	/* their names, with spaces between */
#endif
