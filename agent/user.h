/* SPDX-License-Identifier: Apache-2.0 */
/* user.h - /etc/passwd and /etc/group, read without the name service switch. */
#ifndef AGENT_USER_H
#define AGENT_USER_H

#include <stddef.h>
#include <stdint.h>

#define USER_GROUPS_MAX 64

struct user {
	uint32_t uid, gid;
	uint32_t groups[USER_GROUPS_MAX];	/* supplementary, without gid */
	size_t n_groups;
	char name[64];	/* "" when the number is in no passwd file */
	char home[256];	/* "/" when not known */
};

/*
 * Look `user` and `group` up (name or decimal number; either may be NULL: root,
 * the user's own group) in the files passwd and group, which are guest data:
 * lines that make no sense are skipped. A number need not be listed.
 * 0, -ENOENT with *why set to a static reason, -EINVAL.
 */
int user_lookup(const char *passwd, const char *group, const char *user, const char *grp,
		struct user *out, const char **why);
#endif
