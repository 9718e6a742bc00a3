/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cow_apply.c - one change, done to the host's folder.
 *
 * A file is copied beside the one that it replaces and put in its place by a rename, after
 * a last look whether the host's is still what the guest saw. Nothing that a guest names
 * is followed: folders are opened one by one, and a link is made, never used (nor are those
 * that others who write to the host's folder put in the place of what was just made).
 *
 * A folder is removed only when it is empty by then: what the host has put there since is
 * not the guest's to delete.
 */
#include <fcntl.h>
#include <limits.h>
#include <sys/random.h>
#include <sys/xattr.h>
#include "cli/share/cow.h"
#include "devices/fs/upper.h"

#define TEMP ".sandbox-apply-"

struct apply {
	const struct cow_list *l;
	const struct cow_change *c;
	int lower;		/* the share */
	int up, low;		/* the folders that it is in */
	const char *name;
	char temp[40];		/* what is not in its place yet; "" */
	struct err *e;
};

static int fail(const struct apply *a, int rc, const char *what)
{
	return err_set(a->e, rc, "%s %.120s", what, a->c->path);
}

static int conflict(const struct apply *a, const char *how)
{
	return err_say(a->e, -EBUSY, "%.120s %s meanwhile; look at both with 'sandbox diff', and "
		       "move one of them out of the way", a->c->path, how);
}

static int copy_range(int from, int to, off_t at, off_t end)
{
	static char buf[1u << 20];

	while (at < end) {
		off_t in = at, out = at;
		ssize_t n = copy_file_range(from, &in, to, &out, (size_t)(end - at), 0);

		if (n < 0) {	/* not between these two */
			n = pread(from, buf, end - at < (off_t)sizeof(buf) ? (size_t)(end - at) :
				  sizeof(buf), at);
			if (n > 0)
				n = pwrite(to, buf, (size_t)n, at);
		}
		if (n <= 0)
			return n ? -errno : 0;
		at += n;
	}
	return 0;
}

/* Holes stay holes: a guest's file of a few terabytes may have nothing in it. */
static int copy_data(int from, int to)
{
	struct stat st;
	off_t at = 0;
	int rc = fstat(from, &st) || ftruncate(to, st.st_size) ? -errno : 0;

	while (!rc && at < st.st_size) {
		off_t data = lseek(from, at, SEEK_DATA);

		if (data < 0)
			return errno == ENXIO ? 0 : -errno;
		at = lseek(from, data, SEEK_HOLE);
		rc = at < 0 ? -errno : copy_range(from, to, data, at);
	}
	return rc;
}

/* Owner of the file that it replaces, mode and time of the guest's. */
static int dress(const struct apply *a, int fd)
{
	struct stat up, low;
	struct timespec t[2];

	if (fstatat(a->up, a->name, &up, AT_SYMLINK_NOFOLLOW))
		return -errno;
	if (!fstatat(a->low, a->name, &low, AT_SYMLINK_NOFOLLOW) &&
	    (low.st_uid != geteuid() || low.st_gid != getegid()))
		(void)!fchown(fd, low.st_uid, low.st_gid);
	t[0] = up.st_atim;
	t[1] = up.st_mtim;
	if (fchmod(fd, up.st_mode & 01777) || futimens(fd, t))
		return -errno;
	return 0;
}

static struct cow_linked *names_of(const struct apply *a)
{
	struct stat st;

	return fstatat(a->up, a->name, &st, AT_SYMLINK_NOFOLLOW) ? NULL :
								   cow_link_find(a->l, st.st_ino);
}

static int copy_file(struct apply *a)
{
	auto_fd from = cow_open(a->up, a->name, O_RDONLY);
	auto_fd to = from < 0 ? -1 : openat(a->low, a->temp, O_WRONLY | O_CREAT | O_EXCL |
					    O_NOFOLLOW | O_CLOEXEC, 0600);
	int rc;

	if (to < 0)
		return from < 0 ? from : -errno;
	rc = copy_data(from, to);
	if (!rc)
		rc = dress(a, to);
	return !rc && fsync(to) ? -errno : rc;
}

/* Another name of what is on the host already, or a copy. */
static int make_file(struct apply *a)
{
	const struct cow_linked *k = names_of(a);

	return k && cow_link_make(k, a->lower, a->up, a->name, a->low, a->temp) ? 0 : copy_file(a);
}

/* The next of its names can be a link; that it is not there yet says nothing (remember()). */
static void made_file(const struct apply *a)
{
	struct cow_linked *k = names_of(a);

	if (k && !k->there)
		k->there = strdup(a->c->path);
	if (k && !k->home)
		k->home = strdup(a->c->path);
	/* A rename does nothing between two names of one file. */
	(void)unlinkat(a->low, a->temp, 0);
}

static int make_link(struct apply *a, bool yes)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(a->up, a->name, target, sizeof(target) - 1);

	if (n < 0)
		return -errno;
	target[n] = '\0';
	if (!yes && cow_lure_link(a->c->path, target, a->e))
		return a->e->code;
	return symlinkat(target, a->low, a->temp) ? -errno : 0;
}

/* A new entry under another name, then in its place. */
static int put(struct apply *a, bool yes)
{
	mode_t type = a->c->new_mode & S_IFMT;
	const char *how;
	uint64_t id;
	int rc;

	if (type != S_IFREG && type != S_IFLNK)
		return err_say(a->e, -ENOTSUP, "%.120s is neither a file nor a folder nor a link, "
			       "and stays in the sandbox", a->c->path);
	if (getrandom(&id, sizeof(id), 0) != (ssize_t)sizeof(id))
		return err_set(a->e, -EIO, "getrandom");
	snprintf(a->temp, sizeof(a->temp), TEMP "%016llx", (unsigned long long)id);
	a->e->code = 0;
	rc = type == S_IFREG ? make_file(a) : make_link(a, yes);
	how = rc ? NULL : cow_conflict(a->up, a->low, a->name, a->l);
	if (how)
		rc = conflict(a, how);
	else if (!rc && renameat2(a->low, a->temp, a->low, a->name,
				  a->c->kind == COW_ADDED ? RENAME_NOREPLACE : 0))
		rc = errno == EEXIST ? conflict(a, "was made on the host") : -errno;
	if (!rc) {
		made_file(a);
		return 0;
	}
	(void)unlinkat(a->low, a->temp, 0);
	return a->e->code ? rc : fail(a, rc, "make");
}

static int make_folder(const struct apply *a)
{
	struct stat st;

	if (mkdirat(a->low, a->name, 0700)) {
		if (errno != EEXIST || fstatat(a->low, a->name, &st, AT_SYMLINK_NOFOLLOW) ||
		    !S_ISDIR(st.st_mode))
			return fail(a, -errno, "make the folder");
		return 0;
	}
	return fchmodat(a->low, a->name, a->c->new_mode & 01777, AT_SYMLINK_NOFOLLOW) ?
	       fail(a, -errno, "make the folder") : 0;
}

/*
 * The folder that it is in may be new, too, and not among what was asked for: made as the
 * guest's is. Its descriptor, or -errno.
 */
static int make_parents(int upper, int lower, const struct cow_change *c)
{
	char path[PATH_MAX];
	const char *name;
	struct stat st;

	snprintf(path, sizeof(path), "%s", c->path);
	for (char *p = path; (p = strchr(p, '/')); *p++ = '/') {
		auto_fd up = -1, low = -1;

		*p = '\0';
		low = cow_open_parent(lower, path, &name);
		up = cow_open(upper, path, O_RDONLY | O_DIRECTORY);
		if (low < 0 || up < 0 || fstat(up, &st))
			return low < 0 ? low : up < 0 ? up : -errno;
		if (!mkdirat(low, name, 0700)) {
			if (fchmodat(low, name, st.st_mode & 01777, AT_SYMLINK_NOFOLLOW))
				return -errno;
		} else if (errno != EEXIST) {
			return -errno;
		}
	}
	return cow_open_parent(lower, c->path, &name);
}

static int set_mode(const struct apply *a)
{
	auto_fd fd = cow_open(a->low, a->name, O_RDONLY);

	if (fd < 0 || fchmod(fd, a->c->new_mode & 01777))
		return fail(a, fd < 0 ? fd : -errno, "set the mode of");
	return 0;
}

static int drop(const struct apply *a)
{
	bool dir = S_ISDIR(a->c->old_mode);

	if (!unlinkat(a->low, a->name, dir ? AT_REMOVEDIR : 0) || errno == ENOENT)
		return 0;
	if (dir && (errno == ENOTEMPTY || errno == EEXIST))
		return conflict(a, "got new files on the host");
	return fail(a, -errno, "delete");
}

/* ---- what the sandbox keeps ---- */

/* The host's new file is what the guest's was made from, so it is no conflict next time. */
static void remember(const struct apply *a)
{
	auto_fd fd = cow_open(a->up, a->name, O_RDONLY);
	char text[96];
	struct stat st;

	if (fd < 0 || fstatat(a->low, a->name, &st, AT_SYMLINK_NOFOLLOW))
		return;
	snprintf(text, sizeof(text), "%llu %lld %ld %llu", (unsigned long long)st.st_ino,
		 (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec, (unsigned long long)st.st_size);
	(void)!fsetxattr(fd, UPPER_ORIGIN, text, strlen(text), 0);
}

/*
 * Nothing differs there any more: the sandbox sees the host's again. Other names of the file
 * are not what was copied up.
 */
static void forget(const struct apply *a)
{
	const struct cow_linked *k = names_of(a);
	struct stat st;

	if (k && k->home && !strcmp(k->home, a->c->path)) {
		auto_fd fd = cow_open(a->up, a->name, O_RDONLY);

		(void)!fremovexattr(fd, UPPER_ORIGIN);
	}
	if (!fstatat(a->up, a->name, &st, AT_SYMLINK_NOFOLLOW) && !S_ISDIR(st.st_mode))
		(void)unlinkat(a->up, a->name, 0);
}

int cow_apply(int upper, int lower, const struct cow_list *l, const struct cow_change *c,
	      bool yes, bool live, struct err *e)
{
	struct apply a = { .l = l, .c = c, .lower = lower, .e = e };
	auto_fd up = cow_open_parent(upper, c->path, &a.name);
	auto_fd low = cow_open_parent(lower, c->path, &a.name);
	int rc = 0;

	if (c->conflict)
		return conflict(&a, c->conflict);
	if (!yes && cow_lure_file(c, e))
		return e->code;
	if (low == -ENOENT && c->kind == COW_ADDED)
		low = make_parents(upper, lower, c);
	if (low < 0)
		return c->kind == COW_DELETED ? 0 : fail(&a, low, "open the folder of");
	a.up = up;
	a.low = low;
	switch (c->kind) {
	case COW_DELETED: rc = drop(&a); break;
	case COW_MODE: rc = set_mode(&a); break;
	case COW_ADDED:
	case COW_CHANGED: rc = S_ISDIR(c->new_mode) ? make_folder(&a) : put(&a, yes); break;
	}
	if (rc || up < 0)
		return rc;
	if (!live)
		forget(&a);
	else if (S_ISREG(c->new_mode))
		remember(&a);
	return 0;
}
