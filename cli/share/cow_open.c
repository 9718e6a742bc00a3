/* SPDX-License-Identifier: Apache-2.0 */
/* cow_open.c - reaching what lies below two trees, of which a guest made one. */
#include <fcntl.h>
#include <limits.h>
#include "cli/share/cow.h"

#define LENT_MAX 256u

/* Folders that are open to us only for now, by their O_PATH descriptors. */
static struct { int fd; mode_t mode; } lent[LENT_MAX];
static unsigned n_lent;

static int set_mode(int path, mode_t mode)
{
	char proc[40];

	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", path);
	return chmod(proc, mode & 07777);
}

void cow_restore_modes(void)
{
	while (n_lent) {
		n_lent--;
		(void)!set_mode(lent[n_lent].fd, lent[n_lent].mode);
		close(lent[n_lent].fd);
	}
}

/*
 * The guest may have taken its owner's rights from it; they are lent: a file's while it is
 * opened, a folder's until cow_restore_modes(), because what is in it takes them too.
 */
static int open_closed(int dir, const char *name, int flags)
{
	auto_fd path = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	char proc[40];
	struct stat st;
	int fd;

	if (path < 0 || fstat(path, &st) || !(S_ISDIR(st.st_mode) || S_ISREG(st.st_mode)) ||
	    (S_ISDIR(st.st_mode) && n_lent == LENT_MAX) || set_mode(path, st.st_mode | 0700))
		return -EACCES;
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", path);
	fd = open(proc, flags | O_CLOEXEC);
	if (S_ISDIR(st.st_mode)) {
		lent[n_lent].mode = st.st_mode;
		lent[n_lent++].fd = take_fd(&path);
	} else {
		(void)!set_mode(path, st.st_mode);
	}
	return fd < 0 ? -EACCES : fd;
}

int cow_open_name(int dir, const char *name, int flags)
{
	int fd = openat(dir, name, flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	/* A folder that can be listed but not entered opens, and is of no use. */
	if ((fd < 0 && errno == EACCES) ||
	    (fd >= 0 && flags & O_DIRECTORY && faccessat(fd, ".", X_OK, AT_EACCESS))) {
		if (fd >= 0)
			close(fd);
		return open_closed(dir, name, flags | O_NONBLOCK | O_NOCTTY);
	}
	return fd < 0 ? -errno : fd;
}

int cow_open_parent(int root, const char *path, const char **name)
{
	int dir = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	const char *slash;

	if (dir < 0)
		return -errno;
	while ((slash = strchr(path, '/'))) {
		char part[NAME_MAX + 1];
		int next = -ENAMETOOLONG;

		if ((size_t)(slash - path) < sizeof(part)) {
			memcpy(part, path, (size_t)(slash - path));
			part[slash - path] = '\0';
			next = cow_open_name(dir, part, O_RDONLY | O_DIRECTORY);
		}
		close(dir);
		if (next < 0)
			return next;
		dir = next;
		path = slash + 1;
	}
	*name = path;
	return dir;
}

int cow_open(int root, const char *path, int flags)
{
	const char *name = path;
	auto_fd dir = cow_open_parent(root, path, &name);

	return dir < 0 ? dir : cow_open_name(dir, name, flags);
}
