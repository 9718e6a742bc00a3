/* SPDX-License-Identifier: Apache-2.0 */
/*
 * swap.c - by names alone. What comes lies in `cow.new` and `disk.new`; what was is moved to
 * `cow.old`, one share after the other. That one becoming `cow.gone` is the step that decides:
 * before it everything in there goes back, after it what came has only to get its last name.
 * Each of the acts can be repeated, so one that is cut short is.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include "cli/base/rmtree.h"
#include "cli/keeper/swap.h"
#include "cli/share/upper.h"

#define NEW	"cow.new"
#define OLD	"cow.old"
#define GONE	"cow.gone"
#define NONE	".none"		/* behind the name of a share that had no changes */
#define COW	"cow"
#define DISK	"disk"
#define DISK_NEW "disk.new"

static int open_dir(int at, const char *name)
{
	return openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static int make_folder(int at, const char *name)
{
	int rc = rmtree(at, name);

	return rc || !mkdirat(at, name, 0700) ? rc : -errno;
}

int swap_prepare(int box)
{
	int rc = swap_settle(box), fd;

	if (!rc)
		rc = make_folder(box, NEW);
	if (!rc)
		rc = make_folder(box, OLD);
	fd = rc ? -1 : open_dir(box, NEW);
	return rc ? rc : fd < 0 ? -errno : fd;
}

static int exchange_one(int cow, int new, int old, const char *name)
{
	char none[UPPER_NAME_MAX + sizeof(NONE)];

	snprintf(none, sizeof(none), "%s" NONE, name);
	if (renameat(cow, name, old, name) && (errno != ENOENT || mkdirat(old, none, 0700)))
		return -errno;
	return renameat(new, name, cow, name) && errno != ENOENT ? -errno : 0;
}

int swap_exchange(int box, const struct shares *s)
{
	auto_fd cow = open_dir(box, COW), new = open_dir(box, NEW), old = open_dir(box, OLD);
	char name[UPPER_NAME_MAX];
	int rc = cow < 0 || new < 0 || old < 0 ? -errno : 0;

	for (size_t i = 0; !rc && i < s->n; i++) {
		if (!s->v[i].known || s->v[i].mode != SHARE_COW)
			continue;
		upper_name(s->v[i].dst, name);
		rc = exchange_one(cow, new, old, name);
	}
	return rc;
}

int swap_commit(int box)
{
	return renameat(box, OLD, box, GONE) ? -errno : 0;
}

static int take_back_one(int cow, int old, const char *entry)
{
	char name[UPPER_NAME_MAX + sizeof(NONE)];
	char *none;
	int rc;

	if (snprintf(name, sizeof(name), "%s", entry) >= (int)sizeof(name))
		return -EBADMSG;
	none = strstr(name, NONE);
	if (none)
		*none = '\0';
	rc = rmtree(cow, name);
	if (rc)
		return rc;
	return (none ? unlinkat(old, entry, AT_REMOVEDIR) :
		       renameat(old, entry, cow, entry)) ? -errno : 0;
}

static int take_back(int box)
{
	auto_fd cow = open_dir(box, COW);
	int old = open_dir(box, OLD), rc = 0;
	DIR *d = old < 0 ? NULL : fdopendir(old);

	if (!d) {
		rc = errno == ENOENT ? 0 : -errno;
		fd_cleanup(&old);
		return rc;
	}
	for (const struct dirent *de; !rc && (de = readdir(d));)
		if (de->d_name[0] != '.')
			rc = cow < 0 ? -ENOENT : take_back_one(cow, old, de->d_name);
	closedir(d);
	if (!rc)
		rc = rmtree(box, DISK_NEW);
	return rc ? rc : rmtree(box, OLD);
}

int swap_settle(int box)
{
	int rc = 0;

	if (faccessat(box, GONE, F_OK, AT_SYMLINK_NOFOLLOW))
		rc = errno == ENOENT ? take_back(box) : -errno;
	else if (renameat(box, DISK_NEW, box, DISK) && errno != ENOENT)
		rc = -errno;
	else
		rc = rmtree(box, GONE);
	return rc ? rc : rmtree(box, NEW);
}
