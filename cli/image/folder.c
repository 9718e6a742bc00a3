/* SPDX-License-Identifier: Apache-2.0 */
/*
 * folder.c - a folder of the host, by descriptors: no link is followed, and
 * names come in the order of their bytes, so that the same folder gives the same image.
 */
#include <dirent.h>
#include <fcntl.h>
#include <search.h>
#include <sys/xattr.h>
#include "cli/image/source.h"

#define PIECE		(1u << 20)
#define PATH_MAX_	4096u
#define XATTR_LIST	4096u

struct seen { dev_t dev; ino_t ino; char *path; };

struct walk {
	struct image_tree *t;
	void *seen;			/* files with more than one name */
	char *buf;
	char path[PATH_MAX_];
	struct err *e;
};

static int by_inode(const void *a, const void *b)
{
	const struct seen *x = a, *y = b;

	if (x->dev != y->dev)
		return x->dev < y->dev ? -1 : 1;
	return x->ino == y->ino ? 0 : x->ino < y->ino ? -1 : 1;
}

static void free_seen(void *p)
{
	free(((struct seen *)p)->path);
	free(p);
}

/* The name under which that file came before; else NULL, and it is remembered. */
static const char *known(struct walk *w, const struct stat *st)
{
	struct seen *s = calloc(1, sizeof(*s)), **found;

	if (!s)
		return NULL;
	*s = (struct seen){ st->st_dev, st->st_ino, strdup(w->path) };
	found = tsearch(s, &w->seen, by_inode);
	if (found && *found == s)
		return NULL;
	free_seen(s);
	return found ? (*found)->path : NULL;
}

static int copy_data(struct walk *w, struct image_file *f, int fd)
{
	uint64_t at = 0;
	int rc = image_tree_size(w->t, f, f->size, w->e);

	while (!rc && at < f->size) {
		size_t want = f->size - at < PIECE ? (size_t)(f->size - at) : PIECE;
		ssize_t n = pread(fd, w->buf, want, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set(w->e, -errno, "read %s", w->path);
		if (!n)
			break;		/* it became shorter: the rest is zeroes */
		rc = image_tree_write(w->t, f, at, w->buf, (size_t)n, w->e);
		at += (size_t)n;
	}
	return rc;
}

static int copy_xattrs(struct walk *w, struct image_file *f, int fd)
{
	char names[XATTR_LIST], value[IMAGE_XATTRS_MAX];
	ssize_t n = flistxattr(fd, names, sizeof(names));

	for (ssize_t i = 0; i < n; i += (ssize_t)strlen(names + i) + 1) {
		ssize_t len = fgetxattr(fd, names + i, value, sizeof(value));
		int rc = len < 0 ? 0 : image_tree_xattr(f, names + i, value, (size_t)len, w->e);

		if (rc)
			return rc;
	}
	return 0;
}

static int add_folder(struct walk *w, int fd);

static int add_contents(struct walk *w, struct image_file *f, int dir, const char *name,
			const struct stat *st)
{
	auto_fd fd = -1;
	char target[PATH_MAX_];
	ssize_t n;
	int rc;

	if (S_ISLNK(st->st_mode)) {
		n = readlinkat(dir, name, target, sizeof(target) - 1);
		if (n < 0)
			return err_set(w->e, -errno, "read the link %s", w->path);
		target[n] = '\0';
		return image_tree_target(f, target, w->e);
	}
	if (!S_ISREG(st->st_mode) && !S_ISDIR(st->st_mode))
		return 0;
	fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return err_set(w->e, -errno, "open %s", w->path);
	rc = copy_xattrs(w, f, fd);
	if (rc)
		return rc;
	f->size = S_ISREG(st->st_mode) ? (uint64_t)st->st_size : 0;
	return S_ISDIR(st->st_mode) ? add_folder(w, fd) : copy_data(w, f, fd);
}

static int add_one(struct walk *w, int dir, const char *name)
{
	const char *before;
	struct image_file *f;
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW))
		return errno == ENOENT ? 0 : err_set(w->e, -errno, "look at %s", w->path);
	if (S_ISSOCK(st.st_mode))
		return 0;
	before = !S_ISDIR(st.st_mode) && st.st_nlink > 1 ? known(w, &st) : NULL;
	if (before)
		return image_tree_link(w->t, w->path, before, w->e);
	f = image_tree_make(w->t, w->path, st.st_mode, w->e);
	if (!f)
		return w->e->code;
	f->uid = st.st_uid == geteuid() ? 0 : st.st_uid;
	f->gid = st.st_gid == getegid() ? 0 : st.st_gid;
	f->mtime = st.st_mtim.tv_sec;
	f->mtime_ns = (uint32_t)st.st_mtim.tv_nsec;
	f->rdev = st.st_rdev;
	return add_contents(w, f, dir, name, &st);
}

static int in_order(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int add_folder(struct walk *w, int fd)
{
	struct dirent **names;
	size_t len = strlen(w->path);
	int n = scandirat(fd, ".", &names, NULL, in_order), rc = 0;

	if (n < 0)
		return err_set(w->e, -errno, "read folder %s", w->path);
	for (int i = 0; i < n; i++) {
		const char *name = names[i]->d_name;

		if (!rc && strcmp(name, ".") && strcmp(name, "..")) {
			if (len + strlen(name) + 2 > sizeof(w->path)) {
				rc = err_set(w->e, -ENAMETOOLONG, "%.100s", w->path);
			} else {
				snprintf(w->path + len, sizeof(w->path) - len, "/%s", name);
				rc = add_one(w, fd, name);
				w->path[len] = '\0';
			}
		}
		free(names[i]);
	}
	free(names);
	return rc;
}

int image_from_folder(struct image_tree *t, const char *path, struct err *e)
{
	struct walk w = { .t = t, .buf = malloc(PIECE), .e = e };
	auto_fd fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;
	int rc = 0;

	if (!w.buf)
		rc = err_set(e, -ENOMEM, "read %s", path);
	else if (fd < 0 || fstat(fd, &st))
		rc = err_set(e, -errno, "open folder %s", path);
	if (!rc) {
		t->root->mode = S_IFDIR | (st.st_mode & 07777);
		t->root->mtime = st.st_mtim.tv_sec;
		t->root->mtime_ns = (uint32_t)st.st_mtim.tv_nsec;
		rc = add_folder(&w, fd);
	}
	tdestroy(w.seen, free_seen);
	free(w.buf);
	return rc;
}
