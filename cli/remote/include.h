/* SPDX-License-Identifier: Apache-2.0 */
/*
 * include.h - the one line in the person's ~/.ssh/config by which ssh(1) reads the stanzas
 * of all sandboxes, those that are yet to come included.
 */
#ifndef CLI_REMOTE_INCLUDE_H
#define CLI_REMOTE_INCLUDE_H
#include "cli/base/places.h"

struct include {
	struct place file;		/* ~/.ssh/config, of which symbolic links are followed */
	char line[PLACES_MAX + 64];	/* with its newline */
	bool there;
};

/*
 * Fill it in. The file is $SANDBOX_SSH_CONFIG, or the one that ssh(1) reads: that of the home
 * in the table of users, whatever HOME says. -EINVAL if the state folder's path cannot be
 * written there.
 */
int include_look(struct include *in, struct err *e) must_check;
/* Put the line at the top, where no stanza is before it; the file is replaced as a whole. */
int include_add(const struct include *in, struct err *e) must_check;
#endif
