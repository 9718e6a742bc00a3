/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cow_flat.c - opaque folders become folders with whiteouts.
 *
 * Each whiteout gets the time of the folder as its own: it is by that time that what the
 * host changed since is told from what the guest saw and deleted (cow.c).
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/xattr.h>
#include "cli/share/cow.h"
#include "devices/fs/upper.h"

#define DEPTH_MAX	200u

/* Call @each for the names in @dir, but "." and "..", until it is not 0. */
static int each_name(int dir, int (*each)(void *arg, const char *name), void *arg)
{
	int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;
	DIR *d = copy < 0 ? NULL : fdopendir(copy);

	if (!d) {
		rc = -errno;
		if (copy >= 0)
			close(copy);
		return rc;
	}
	for (const struct dirent *de; !rc && (de = readdir(d));)
		if (strcmp(de->d_name, ".") && strcmp(de->d_name, ".."))
			rc = each(arg, de->d_name);
	closedir(d);
	return rc;
}

struct cover { int upper; struct timespec since; };

static int cover(void *arg, const char *name)
{
	const struct cover *c = arg;
	const struct timespec t[2] = { c->since, c->since };

	if (mknodat(c->upper, name, S_IFCHR, 0))
		return errno == EEXIST ? 0 : -errno;
	return utimensat(c->upper, name, t, AT_SYMLINK_NOFOLLOW) ? -errno : 0;
}

/* @lower is -1: the host has no such folder. */
static int flatten_one(int upper, int lower)
{
	struct cover c = { .upper = upper };
	struct statx st;
	char yes;
	int rc = 0;

	if (fgetxattr(upper, UPPER_OPAQUE, &yes, 1) != 1)
		return 0;
	if (statx(upper, "", AT_EMPTY_PATH, STATX_BTIME | STATX_CTIME, &st))
		return -errno;
	c.since.tv_sec = st.stx_mask & STATX_BTIME ? st.stx_btime.tv_sec : st.stx_ctime.tv_sec;
	c.since.tv_nsec = st.stx_mask & STATX_BTIME ? st.stx_btime.tv_nsec : st.stx_ctime.tv_nsec;
	if (lower >= 0)
		rc = each_name(lower, cover, &c);
	if (!rc && fremovexattr(upper, UPPER_OPAQUE))
		rc = -errno;
	return rc;
}

struct at { int upper, lower; unsigned depth; };

static int flatten_dir(const struct at *at);

static int below(void *arg, const char *name)
{
	const struct at *at = arg;
	auto_fd up = -1, low = -1;
	struct at next;
	struct stat st;
	int rc;

	if (fstatat(at->upper, name, &st, AT_SYMLINK_NOFOLLOW))
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISDIR(st.st_mode))
		return 0;
	up = cow_open_name(at->upper, name, O_RDONLY | O_DIRECTORY);
	if (up < 0)
		return up;
	rc = at->lower < 0 ? -ENOENT : cow_open_name(at->lower, name, O_RDONLY | O_DIRECTORY);
	if (rc < 0 && rc != -ENOENT && rc != -ENOTDIR && rc != -ELOOP)
		return rc;
	low = rc < 0 ? -1 : rc;
	next = (struct at){ up, low, at->depth + 1 };
	return flatten_dir(&next);
}

static int flatten_dir(const struct at *at)
{
	int rc = flatten_one(at->upper, at->lower);

	if (rc || at->depth == DEPTH_MAX)
		return rc;
	return each_name(at->upper, below, (void *)(uintptr_t)at);
}

int cow_flatten(int upper, int lower, struct err *e)
{
	const struct at top = { upper, lower, 0 };
	int rc = flatten_dir(&top);

	return rc ? err_set(e, rc, "look through the changes") : 0;
}
