/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guard.h - folders that nobody means to give to a guest: keys, credentials, the
 * system's configuration, a whole home. Sharing one takes --yes.
 */
#ifndef CLI_SHARE_GUARD_H
#define CLI_SHARE_GUARD_H
#include "vmm/base.h"

/* What the guards know of this host. Paths are absolute; NULL at the end of each list. */
struct guard_host {
	const char *const *homes;	/* of this user */
	const char *const *own;		/* this program's own folders */
	/* realpath(3), or a test's: malloc'ed, NULL when there is no such file. */
	char *(*resolve)(const char *path);
};

/*
 * May @src, a path without symbolic links, be shared without asking? 0, or -EPERM with a
 * sentence: it is a guarded folder, or lies in one, or contains one, by its name or by
 * where its name leads.
 */
int guard_check(const char *src, const struct guard_host *host, struct err *e) must_check;
/* The same for this user on this host. */
int guard_check_here(const char *src, struct err *e) must_check;
/* True if @path is @folder or lies in it. Both without a slash at the end, but for "/". */
bool guard_inside(const char *path, const char *folder);
#endif
