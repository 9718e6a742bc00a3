/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rundir.c - making, locking, sweeping and removing runtime folders.
 *
 * Two races are closed here. A sweeper may lock and remove a folder between its
 * mkdir and its owner's flock: the owner looks, once it holds the lock, whether
 * the name still leads to what it locked, and starts over if not. And two
 * sweepers may meet: the one without the lock leaves the folder alone.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include "agent/proto.h"
#include "cli/machine/rundir.h"

#define PREFIX		"r-"
#define SOCKETS		"s"
#define NAME_LEN	10u	/* PREFIX and eight hexadecimal digits */
#define TRIES		64u

static bool is_ours(const char *name)
{
	return strlen(name) == NAME_LEN && !strncmp(name, PREFIX, 2) &&
	       strspn(name + 2, "0123456789abcdef") == NAME_LEN - 2;
}

static int open_dir(int at, const char *name)
{
	return openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* Plain entries; a folder makes the removal of this one fail, which is fine. */
static void empty(int dir)
{
	DIR *d;
	int copy = fcntl(dir, F_DUPFD_CLOEXEC, 0);

	d = copy < 0 ? NULL : fdopendir(copy);
	if (!d) {
		if (copy >= 0)
			close(copy);
		return;
	}
	rewinddir(d);
	for (const struct dirent *de; (de = readdir(d));)
		if (strcmp(de->d_name, ".") && strcmp(de->d_name, ".."))
			unlinkat(dir, de->d_name, 0);
	closedir(d);
}

static void empty_and_remove(int parent, const char *name, int dir)
{
	auto_fd sockets = open_dir(dir, SOCKETS);

	if (sockets >= 0)
		empty(sockets);
	unlinkat(dir, SOCKETS, AT_REMOVEDIR);
	empty(dir);
	unlinkat(parent, name, AT_REMOVEDIR);
}

static void sweep(int parent)
{
	int copy = open_dir(parent, ".");
	DIR *d = copy < 0 ? NULL : fdopendir(copy);

	if (!d) {
		if (copy >= 0)
			close(copy);
		return;
	}
	for (const struct dirent *de; (de = readdir(d));) {
		auto_fd dir = is_ours(de->d_name) ? open_dir(parent, de->d_name) : -1;

		if (dir >= 0 && !flock(dir, LOCK_EX | LOCK_NB))
			empty_and_remove(parent, de->d_name, dir);
	}
	closedir(d);
}

static bool still_there(int parent, const char *name, int dir)
{
	struct stat a, b;

	return !fstat(dir, &a) && !fstatat(parent, name, &b, AT_SYMLINK_NOFOLLOW) &&
	       a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

static int make_one(struct rundir *r, const char *where, struct err *e)
{
	for (unsigned i = 0; i < TRIES; i++) {
		auto_fd dir = -1;
		uint32_t id;

		if (getrandom(&id, sizeof(id), 0) != sizeof(id))
			return err_set(e, -EIO, "getrandom");
		snprintf(r->name, sizeof(r->name), PREFIX "%08x", id);
		if (mkdirat(r->parent, r->name, 0700)) {
			if (errno == EEXIST)
				continue;
			return err_set(e, -errno, "make a folder in %s", where);
		}
		dir = open_dir(r->parent, r->name);
		if (dir < 0 && errno != ENOENT)
			return err_set(e, -errno, "open %s/%s", where, r->name);
		if (dir < 0)
			continue;
		if (flock(dir, LOCK_EX))
			return err_set(e, -errno, "lock %s/%s", where, r->name);
		if (still_there(r->parent, r->name, dir)) {
			r->lock = take_fd(&dir);
			return 0;
		}
	}
	return err_say(e, -EEXIST, "no name was free for a folder in %s", where);
}

int rundir_make(struct rundir *r, struct err *e)
{
	struct place p;
	int rc, n;

	*r = (struct rundir){ .parent = -1, .lock = -1 };
	rc = places_runtime(&p, e);
	if (rc)
		return rc;
	if (strlen(p.path) + strlen("/" PREFIX "00000000/" SOCKETS "/v") >= sizeof(r->vsock))
		return err_say(e, -ENAMETOOLONG, "the path of the folder %s is too long for a socket "
			       "in it; set XDG_RUNTIME_DIR to a shorter one", p.path);
	r->parent = open_dir(AT_FDCWD, p.path);
	if (r->parent < 0)
		return err_set(e, -errno, "open %s", p.path);
	sweep(r->parent);
	rc = make_one(r, p.path, e);
	if (rc) {
		r->name[0] = '\0';
		rundir_remove(r);
		return rc;
	}
	if (mkdirat(r->lock, SOCKETS, 0700)) {
		rc = err_set(e, -errno, "make a folder for sockets in %s", p.path);
		rundir_remove(r);
		return rc;
	}
	n = snprintf(r->path, sizeof(r->path), "%s/%s", p.path, r->name);
	BUG_ON(n < 0 || (size_t)n >= sizeof(r->path));
	n = snprintf(r->vsock, sizeof(r->vsock), "%s/" SOCKETS "/v", r->path);
	BUG_ON(n < 0 || (size_t)n >= sizeof(r->vsock));
	snprintf(r->ready, sizeof(r->ready), "%s_%u", r->vsock, PROTO_READY_PORT);
	return 0;
}

void rundir_remove(struct rundir *r)
{
	if (r->name[0])
		empty_and_remove(r->parent, r->name, r->lock);
	r->name[0] = '\0';
	if (r->lock >= 0)
		close(r->lock);
	if (r->parent >= 0)
		close(r->parent);
	r->lock = r->parent = -1;
}
