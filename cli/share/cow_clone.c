/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cow_clone.c - all that a guest changed, a second time: for a snapshot, and for a machine
 * that goes on from one.
 *
 * Nothing of it is used, only made again: modes, times, attributes, holes, whiteouts, and
 * names of one file that belong together (but for names in folders that are closed to
 * their owner). Nobody changes the tree meanwhile.
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/xattr.h>
#include "cli/base/clone.h"
#include "cli/share/cow.h"

#define DEPTH_MAX	200u		/* folders in folders; two descriptors each */
#define XATTRS_MAX	65536u

/* A file with several names, of which one was copied. */
struct linked { ino_t ino; char *path; };

struct copying {
	int root;			/* the copy's */
	char path[PATH_MAX];		/* below it */
	unsigned depth;
	bool link;			/* no copies, but links */
	struct linked *linked;
	size_t n, room;
	struct err *e;
};

static int failed(const struct copying *c, int rc)
{
	return err_set(c->e, rc, "copy what was changed in a share: %.120s", c->path);
}

static int copy_xattrs(int from, int to)
{
	auto_mem char *names = malloc(XATTRS_MAX), *value = malloc(XATTRS_MAX);
	ssize_t n = names && value ? flistxattr(from, names, XATTRS_MAX) : -1, len;

	if (n < 0)
		return names && value ? (errno == EOPNOTSUPP ? 0 : -errno) : -ENOMEM;
	for (char *p = names; p < names + n; p += strlen(p) + 1) {
		if (strncmp(p, "user.", 5))
			continue;
		len = fgetxattr(from, p, value, XATTRS_MAX);
		if (len < 0 || fsetxattr(to, p, value, (size_t)len, 0))
			return -errno;
	}
	return 0;
}

static int copy_link(int from, int to, const char *name)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(from, name, target, sizeof(target) - 1);

	if (n < 0)
		return -errno;
	target[n] = '\0';
	return symlinkat(target, to, name) ? -errno : 0;
}

static int copy_file(int from, int to, const char *name, mode_t mode)
{
	auto_fd in = cow_open_name(from, name, O_RDONLY);
	auto_fd out = in < 0 ? -1 : openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW |
					   O_CLOEXEC, 0600);
	int rc;

	if (out < 0)
		return in < 0 ? in : -errno;
	rc = clone_file(in, out);
	if (!rc)
		rc = copy_xattrs(in, out);
	return !rc && fchmod(out, mode & 07777) ? -errno : rc;
}

/* True if it is another name of a file that was copied. */
static bool link_again(struct copying *c, int to, const char *name, ino_t ino)
{
	for (size_t i = 0; i < c->n; i++)
		if (c->linked[i].ino == ino)
			return !linkat(c->root, c->linked[i].path, to, name, 0);
	return false;
}

static int remember(struct copying *c, ino_t ino)
{
	if (c->n == c->room) {
		size_t room = c->room ? 2 * c->room : 64;
		struct linked *p = reallocarray(c->linked, room, sizeof(*p));

		if (!p)
			return -ENOMEM;
		c->linked = p;
		c->room = room;
	}
	c->linked[c->n] = (struct linked){ ino, strdup(c->path) };
	return c->linked[c->n++].path ? 0 : -ENOMEM;
}

static int copy_entry(struct copying *c, int from, int to, const char *name);

static int copy_entries(struct copying *c, int from, int to)
{
	int copy = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;
	DIR *d = copy < 0 ? NULL : fdopendir(copy);

	if (!d) {
		rc = failed(c, -errno);
		fd_cleanup(&copy);
		return rc;
	}
	for (const struct dirent *de; !rc && (de = readdir(d));) {
		size_t n = strlen(c->path);

		if (!strcmp(de->d_name, ".") || !strcmp(de->d_name, ".."))
			continue;
		if (n + strlen(de->d_name) + 2 > sizeof(c->path))
			rc = failed(c, -ENAMETOOLONG);
		snprintf(c->path + n, sizeof(c->path) - n, "%s%s", n ? "/" : "", de->d_name);
		if (!rc)
			rc = copy_entry(c, from, to, de->d_name);
		c->path[n] = '\0';
	}
	closedir(d);
	return rc;
}

static int copy_folder(struct copying *c, int from, int to, const char *name, mode_t mode)
{
	auto_fd in = c->depth >= DEPTH_MAX ? -ELOOP :
		     cow_open_name(from, name, O_RDONLY | O_DIRECTORY);
	auto_fd out = in < 0 || mkdirat(to, name, 0700) ? -1 :
		      openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int rc;

	if (out < 0)
		return failed(c, in < 0 ? in : -errno);
	c->depth++;
	rc = copy_entries(c, in, out);
	c->depth--;
	if (rc)
		return rc;
	rc = copy_xattrs(in, out);
	if (!rc && fchmod(out, mode & 07777))
		rc = -errno;
	return rc ? failed(c, rc) : 0;
}

static int copy_entry(struct copying *c, int from, int to, const char *name)
{
	struct timespec t[2];
	struct stat st;
	int rc;

	if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW))
		return failed(c, -errno);
	if (S_ISDIR(st.st_mode)) {
		rc = copy_folder(c, from, to, name, st.st_mode);
		if (rc)
			return rc;
	} else if (c->link) {
		return linkat(from, name, to, name, 0) ? failed(c, -errno) : 0;
	} else {
		if (st.st_nlink > 1 && link_again(c, to, name, st.st_ino))
			return 0;
		rc = S_ISREG(st.st_mode) ? copy_file(from, to, name, st.st_mode) :
		     S_ISLNK(st.st_mode) ? copy_link(from, to, name) :
		     mknodat(to, name, st.st_mode, st.st_rdev) ? -errno : 0;
		if (!rc && !S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode) &&
		    fchmodat(to, name, st.st_mode & 07777, 0))
			rc = -errno;		/* the umask is this process's */
		if (!rc && st.st_nlink > 1)
			rc = remember(c, st.st_ino);
		if (rc)
			return failed(c, rc);
	}
	t[0] = st.st_atim;
	t[1] = st.st_mtim;
	return utimensat(to, name, t, AT_SYMLINK_NOFOLLOW) ? failed(c, -errno) : 0;
}

int cow_clone(int from, int to, bool link, struct err *e)
{
	struct copying c = { .root = to, .link = link, .e = e };
	int rc = copy_entries(&c, from, to);

	cow_restore_modes();
	for (size_t i = 0; i < c.n; i++)
		free(c.linked[i].path);
	free(c.linked);
	return rc;
}
