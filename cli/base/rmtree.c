/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rmtree.c - without recursion: a folder inside a folder is first moved to the top,
 * so no depth takes more than two descriptors or a long path. Folders are opened up
 * on the way, as their owner may do, because a guest may have closed them.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include "cli/base/rmtree.h"

/* chmod, but never through a link: fchmodat() cannot promise that here. */
static int open_folder(int at, const char *name)
{
	auto_fd path = openat(at, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	char proc[40];

	if (path < 0)
		return -errno;
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", path);
	if (chmod(proc, 0700))
		return -errno;
	return openat(path, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* Under a free name in @top. */
static int move_up(int top, int from, const char *name)
{
	char to[32];
	uint64_t id;
	int rc = -EEXIST;
	auto_fd folder = open_folder(from, name);	/* moving one takes the right to write it */

	if (folder < 0)
		return folder;
	for (unsigned i = 0; rc && i < 8; i++) {
		if (getrandom(&id, sizeof(id), 0) != (ssize_t)sizeof(id))
			return -EIO;
		snprintf(to, sizeof(to), "rm-%016llx", (unsigned long long)id);
		/* Over a folder that is not empty this fails, and over an empty one it is fine. */
		rc = renameat(from, name, top, to) ? -errno : 0;
	}
	return rc;
}

static DIR *list(int dir)
{
	int copy = fcntl(dir, F_DUPFD_CLOEXEC, 0);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);

	if (!d && copy >= 0)
		close(copy);
	if (d)
		rewinddir(d);
	return d;
}

static const struct dirent *next(DIR *d)
{
	const struct dirent *de;

	do
		de = readdir(d);
	while (de && (!strcmp(de->d_name, ".") || !strcmp(de->d_name, "..")));
	return de;
}

/* Files of the folder go, its folders move up; then it goes itself. */
static int remove_folder(int top, const char *name)
{
	auto_fd dir = open_folder(top, name);
	DIR *d = dir < 0 ? NULL : list(dir);
	int rc = 0;

	if (!d)
		return dir < 0 ? dir : -errno;
	for (const struct dirent *de; !rc && (de = next(d));) {
		if (!unlinkat(dir, de->d_name, 0) || errno == ENOENT)
			continue;
		if (errno != EISDIR && errno != EPERM)
			rc = -errno;
		else if (unlinkat(dir, de->d_name, AT_REMOVEDIR))
			rc = move_up(top, dir, de->d_name);
	}
	closedir(d);
	return !rc && unlinkat(top, name, AT_REMOVEDIR) && errno != ENOENT ? -errno : rc;
}

/* Once through the folder: how many folders there were, or -errno. */
static int pass(int top)
{
	DIR *d = list(top);
	int rc = 0, n = 0;

	if (!d)
		return -errno;
	for (const struct dirent *de; !rc && (de = next(d));) {
		if (!unlinkat(top, de->d_name, 0) || errno == ENOENT)
			continue;
		if (errno != EISDIR && errno != EPERM)
			rc = -errno;
		else
			rc = remove_folder(top, de->d_name);
		n++;
	}
	closedir(d);
	return rc ? rc : n;
}

int rmtree(int at, const char *name)
{
	auto_fd top = -1;
	int rc;

	if (!unlinkat(at, name, 0) || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -errno;
	top = open_folder(at, name);
	if (top < 0)
		return top == -ENOENT ? 0 : top;
	do
		rc = pass(top);
	while (rc > 0);
	return !rc && unlinkat(at, name, AT_REMOVEDIR) && errno != ENOENT ? -errno : rc;
}
