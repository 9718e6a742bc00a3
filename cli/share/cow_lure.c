/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cow_lure.c - changes by which a guest would get at the host once they are applied, without
 * anybody there meaning to run or to open what it brought: links that lead out of the shared
 * folder, and files of a repository that make git(1) start programs.
 */
#include <strings.h>
#include "cli/share/cow.h"

/*
 * May the guest's link, used on the host, lead out of the folder? A ".." after a name goes up
 * from wherever that name leads, which may be a link to somewhere higher: only those at the
 * beginning are sure to go up by one each, as the folders above the link are no links.
 */
static bool leads_out(const char *path, const char *target)
{
	int depth = 0;
	bool named = false;

	for (const char *p = path; (p = strchr(p, '/')); p++)
		depth++;
	if (*target == '/')
		return true;
	for (const char *p = target; *p;) {
		size_t n = strcspn(p, "/");

		if (n == 2 && !memcmp(p, "..", 2)) {
			if (named || --depth < 0)
				return true;
		} else if (n && !(n == 1 && *p == '.')) {
			named = true;
		}
		p += n + (p[n] == '/');
	}
	return false;
}

static bool is(const char *part, size_t n, const char *const *names)
{
	for (; *names; names++)
		if (strlen(*names) == n && !strncasecmp(part, *names, n))
			return true;
	return false;
}

/* @path lies in a folder .git: hooks, and what names programs or another such folder. */
static bool git_runs(const char *path)
{
	static const char *const data[] = { "refs", "logs", "objects", NULL };
	static const char *const hooks[] = { "hooks", NULL };
	static const char *const files[] = { "config", "config.worktree", "commondir", NULL };

	/* (Those of submodules and worktrees lie deeper.) */
	for (;;) {
		size_t n = strcspn(path, "/");

		if (is(path, n, data))
			return false;
		if (!path[n])
			return is(path, n, files);
		if (is(path, n, hooks))
			return true;
		path += n + 1;
	}
}

static bool is_gits(const struct cow_change *c)
{
	static const char *const git[] = { ".git", NULL };

	if (c->kind == COW_DELETED || S_ISDIR(c->new_mode))
		return false;
	for (const char *p = c->path;;) {
		size_t n = strcspn(p, "/");

		/* One that is a file or a link names another folder. */
		if (is(p, n, git) && (!p[n] || git_runs(p + n + 1)))
			return true;
		if (!p[n])
			return false;
		p += n + 1;
	}
}

int cow_lure_file(const struct cow_change *c, struct err *e)
{
	if (!is_gits(c))
		return 0;
	return err_say(e, -EPERM, "%.120s can make git start programs on this host; look at it with "
		       "'sandbox diff', and add --yes to take it over all the same", c->path);
}

int cow_lure_link(const char *path, const char *target, struct err *e)
{
	if (!leads_out(path, target))
		return 0;
	return err_say(e, -EPERM, "%.100s is a symbolic link that leads out of the shared folder, or "
		       "may, to %.80s; add --yes to take it over all the same", path, target);
}
