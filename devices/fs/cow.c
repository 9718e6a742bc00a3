/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cow.c - the upper layer of a copy-on-write share: copying up, and whiteouts.
 *
 * What is copied is made in UPPER_WIP, complete with its attributes, and then renamed to
 * its place, so that the upper tree never holds half a file. The lower layer is only read.
 *
 * #syscalls:fs openat2 mkdirat(2&06000=0) mknodat(2&S_IFMT=S_IFCHR,3=0) symlinkat readlinkat
 * #syscalls:fs copy_file_range pread64? pwrite64? lseek fcntl(F_GETFL) fcntl(F_SETFD) newfstatat
 * #syscalls:fs ftruncate utimensat unlinkat renameat2 getdents64
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include "devices/fs/attr.h"
#include "devices/fs/tree.h"

#define COPY_CHUNK	(128u << 10)
#define XATTRS_MAX	(64u << 10)

bool cow_opaque(int dirfd, const char *name)
{
	char c = 0;

	return xa_get(-1, dirfd, name, UPPER_OPAQUE, &c, 1) == 1 && c == 'y';
}

int cow_set_opaque(int fd, int dirfd, const char *name)
{
	return xa_set(fd, dirfd, name, UPPER_OPAQUE, "y", 1, 0);
}

/* ---- copies ------------------------------------------------------------------------------- */

static int copy_bytes(int from, int to, off_t at, off_t end)
{
	char *buf = NULL;
	int rc = 0;

	while (at < end) {
		off_t in = at, out = at;
		ssize_t n = buf ? -1 : copy_file_range(from, &in, to, &out, (size_t)(end - at), 0);

		if (n < 0) {
			if (!buf)
				buf = malloc(COPY_CHUNK);
			if (!buf)
				return -ENOMEM;
			n = pread(from, buf, end - at < (off_t)COPY_CHUNK ? (size_t)(end - at) :
				  COPY_CHUNK, at);
			if (n > 0)
				n = pwrite(to, buf, (size_t)n, at);
		}
		if (n <= 0) {
			rc = n ? -errno : 0;	/* 0: it became shorter meanwhile */
			break;
		}
		at += n;
	}
	free(buf);
	return rc;
}

/* All data of a file, its holes left out. */
static int copy_data(int from, int to, off_t size)
{
	off_t at = 0;

	if (ftruncate(to, size))
		return -errno;
	while (at < size) {
		off_t data = lseek(from, at, SEEK_DATA), hole;
		int rc;

		if (data < 0 && errno == ENXIO)
			break;
		if (data < 0)
			return -errno;
		hole = lseek(from, data, SEEK_HOLE);
		if (hole < 0)
			return -errno;
		rc = copy_bytes(from, to, data, hole < size ? hole : size);
		if (rc)
			return rc;
		at = hole;
	}
	return 0;
}

/* The user's attributes; ours are not copied. What does not fit is an error. */
static int copy_xattrs(int from, const char *from_name, int to, const char *to_name)
{
	auto_mem char *list = malloc(XATTRS_MAX);
	auto_mem char *value = malloc(XATTRS_MAX);
	ssize_t len, n;

	if (!list || !value)
		return -ENOMEM;
	len = xa_list(-1, from, from_name, list, XATTRS_MAX);
	if (len == -EOPNOTSUPP)
		return 0;
	if (len < 0)
		return (int)len;
	for (char *key = list; key < list + len; key += strlen(key) + 1) {
		int rc;

		/* The owner in the guest stays; an old upper layer's marks are not for this one. */
		if (strncmp(key, "user.", 5) ||
		    (!strncmp(key, UPPER_XATTR, strlen(UPPER_XATTR)) && strcmp(key, UPPER_OWNER)))
			continue;
		n = xa_get(-1, from, from_name, key, value, XATTRS_MAX);
		if (n < 0)
			return (int)n;
		rc = xa_set(-1, to, to_name, key, value, (size_t)n, 0);
		if (rc)
			return rc;
	}
	return 0;
}

static int note_origin(int to, const char *name, const struct statx *st)
{
	char text[96];

	snprintf(text, sizeof(text), "%llu %lld %u %llu", (unsigned long long)st->stx_ino,
		 (long long)st->stx_mtime.tv_sec, st->stx_mtime.tv_nsec,
		 (unsigned long long)st->stx_size);
	return xa_set(-1, to, name, UPPER_ORIGIN, text, strlen(text), 0);
}

static int copy_times(int to, const char *name, const struct statx *st)
{
	struct timespec t[2] = { { st->stx_atime.tv_sec, st->stx_atime.tv_nsec },
				 { st->stx_mtime.tv_sec, st->stx_mtime.tv_nsec } };

	return utimensat(to, name, t, AT_SYMLINK_NOFOLLOW) ? -errno : 0;
}

static int copy_regular(int from, const char *name, const struct statx *st, int to,
			const char *to_name, bool data)
{
	auto_fd in = -1;
	auto_fd out = -1;
	int rc;

	in = place_open_name(from, name, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_NOATIME, 0);
	if (in == -EPERM)
		in = place_open_name(from, name, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
	if (in < 0)
		return in;
	out = place_open_name(to, to_name, O_WRONLY | O_CREAT | O_EXCL, 0600);
	if (out < 0)
		return out;
	rc = data ? copy_data(in, out, (off_t)st->stx_size) : 0;
	if (!rc)
		rc = copy_xattrs(from, name, to, to_name);
	if (!rc)
		rc = note_origin(to, to_name, st);
	if (!rc)
		rc = fchmod(out, st->stx_mode & FS_MODE_BITS) ? -errno : 0;
	return rc ? rc : copy_times(to, to_name, st);
}

static int copy_link(int from, const char *name, const struct statx *st, int to,
		     const char *to_name)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(from, name, target, sizeof(target) - 1);

	if (n < 0)
		return -errno;
	target[n] = 0;
	if (symlinkat(target, to, to_name))
		return -errno;
	return copy_times(to, to_name, st);
}

int cow_like(int like, int dirfd, const char *name)
{
	struct statx st;
	int rc = place_stat_fd(like, &st);

	if (!rc)
		rc = copy_xattrs(like, ".", dirfd, name);
	if (!rc)
		rc = attr_chmod(-1, dirfd, name, st.stx_mode);
	return rc ? rc : copy_times(dirfd, name, &st);
}

static int copy_one(int from, const char *name, const struct statx *st, int to,
		    const char *to_name, bool data)
{
	mode_t mode = st->stx_mode;
	int rc;

	if (S_ISREG(mode))
		return copy_regular(from, name, st, to, to_name, data);
	if (S_ISLNK(mode))
		return copy_link(from, name, st, to, to_name);
	if (S_ISDIR(mode)) {
		if (mkdirat(to, to_name, mode & 0777))
			return -errno;
		rc = copy_xattrs(from, name, to, to_name);
		if (!rc)
			rc = attr_chmod(-1, to, to_name, mode);
		return rc ? rc : copy_times(to, to_name, st);
	}
	if (S_ISFIFO(mode) || S_ISSOCK(mode)) {
		if (mknodat(to, to_name, mode & (S_IFMT | 0777), 0))
			return -errno;
		return copy_times(to, to_name, st);
	}
	return -EPERM;		/* the host's device nodes stay where they are */
}

/* Copy @n, whose parent is in the upper layer, into its place there. */
static int raise_one(struct fs *fs, struct inode *parent, struct inode *n, bool data)
{
	struct share *s = n->share;
	struct dir_ref up = { 0 };
	struct place p;
	struct statx st, above;
	struct ident id;
	char temp[16];
	int rc = place_by_name(fs, n, &p);

	if (rc)
		return rc;
	cow_temp(s, temp);
	rc = dir_get(fs, parent, FS_UPPER, &up);
	if (!rc)
		rc = place_stat_fd(up.fd, &above);
	if (rc)
		goto out;
	rc = copy_one(p.dir.fd, p.name, &p.st, s->wip, temp, data);
	if (!rc && renameat2(s->wip, temp, up.fd, p.name, RENAME_NOREPLACE))
		rc = -errno;
	if (rc) {
		(void)!unlinkat(s->wip, temp, n->type == S_IFDIR ? AT_REMOVEDIR : 0);
		goto out;
	}
	/* To the guest nothing happened in that directory. */
	(void)!copy_times(up.fd, ".", &above);
	rc = place_stat(up.fd, p.name, &st);
	if (!rc) {
		id = ident_of(&st);
		inode_raised(fs, n, FS_UPPER, &id);
		if (n->type == S_IFREG)
			handle_raise(fs, n, up.fd, p.name);
	}
out:
	dir_put(fs, &up);
	place_put(fs, &p);
	return rc;
}

/* Topmost of @n and its ancestors that is not in the upper layer, held, and its parent, held. */
static struct inode *next_to_raise(struct fs *fs, struct inode *n, struct inode **parent)
{
	struct inode *found = NULL;
	unsigned depth = 0;

	pthread_mutex_lock(&fs->lock);
	for (; n && ++depth <= FS_DEPTH_MAX; n = n->parent)
		if (!(n->layers & 1u << FS_UPPER))
			found = n;
		else if (found)
			break;
	*parent = found ? found->parent : NULL;
	if (*parent) {
		found->refs++;
		(*parent)->refs++;
	}
	pthread_mutex_unlock(&fs->lock);
	return *parent ? found : NULL;
}

static int raise_path(struct fs *fs, struct inode *n, bool data)
{
	for (;;) {
		struct inode *parent, *next;
		bool done;
		int rc;

		pthread_mutex_lock(&fs->lock);
		done = n->layers & 1u << FS_UPPER;
		pthread_mutex_unlock(&fs->lock);
		if (done)
			return 0;
		next = next_to_raise(fs, n, &parent);
		if (!next)
			return -ESTALE;
		rc = raise_one(fs, parent, next, data);
		inode_put(fs, next);
		inode_put(fs, parent);
		if (rc)
			return rc;
	}
}

int cow_raise_dir(struct fs *fs, struct inode *dir)
{
	return raise_path(fs, dir, true);
}

int cow_copy(struct fs *fs, struct inode *n, bool data)
{
	return raise_path(fs, n, data);
}

/* ---- removing ----------------------------------------------------------------------------- */

int cow_entries(int dirfd, const char *name, int (*each)(int fd, const char *n, void *arg),
		void *arg)
{
	int fd = place_open_name(dirfd, name, O_RDONLY | O_DIRECTORY, 0), rc = 0;
	struct dirent *d;
	DIR *dir;

	if (fd < 0)
		return fd;
	dir = fdopendir(fd);
	if (!dir) {
		close(fd);
		return -ENOMEM;
	}
	while (!rc && (d = readdir(dir)))
		if (strcmp(d->d_name, ".") && strcmp(d->d_name, ".."))
			rc = each(fd, d->d_name, arg);
	closedir(dir);
	return rc;
}

static int is_whiteout(int fd, const char *name, void *arg)
{
	struct statx st;
	int rc = place_stat(fd, name, &st);

	(void)arg;
	if (rc)
		return rc == -ENOENT ? 0 : rc;
	return upper_whiteout(st.stx_mode, makedev(st.stx_rdev_major, st.stx_rdev_minor)) ?
		0 : -ENOTEMPTY;
}

/* @arg: the upper directory (an int *), or NULL when there is none. */
static int is_hidden(int fd, const char *name, void *arg)
{
	const int *upper = arg;
	struct statx st;

	(void)fd;
	if (!upper || place_stat(*upper, name, &st))
		return -ENOTEMPTY;
	return 0;	/* is_whiteout() has seen it */
}

int cow_empty(const struct lookup *l, const char *name)
{
	int rc = 0;

	if (l->f.layers & 1u << FS_UPPER)
		rc = cow_entries(l->dir[FS_UPPER].fd, name, is_whiteout, NULL);
	if (!rc && l->f.layers & 1u << FS_LOWER) {
		auto_fd up = -1;

		if (l->f.layers & 1u << FS_UPPER)
			up = place_open_name(l->dir[FS_UPPER].fd, name, O_PATH | O_DIRECTORY, 0);
		rc = cow_entries(l->dir[FS_LOWER].fd, name, is_hidden, up >= 0 ? &up : NULL);
	}
	return rc;
}

static int drop_whiteout(int fd, const char *name, void *arg)
{
	(void)arg;
	return unlinkat(fd, name, 0) ? -errno : 0;
}

/* A directory of the upper layer with nothing but whiteouts in it. */
int cow_drop_dir(int dirfd, const char *name)
{
	int rc = cow_entries(dirfd, name, drop_whiteout, NULL);

	if (rc)
		return rc;
	return unlinkat(dirfd, name, AT_REMOVEDIR) ? -errno : 0;
}

int cow_remove(struct fs *fs, struct share *s, const struct lookup *l, const char *name,
	       bool directory)
{
	const struct found *f = &l->f;
	int up = l->dir[FS_UPPER].fd;
	bool in_upper = f->layers & 1u << FS_UPPER;
	char temp[16];
	int rc = 0;

	(void)fs;
	if (S_ISDIR(f->st.stx_mode) != directory)
		return directory ? -ENOTDIR : -EISDIR;
	if (directory)
		rc = cow_empty(l, name);
	if (rc)
		return rc;
	if (!in_upper)
		return mknodat(up, name, S_IFCHR, 0) ? -errno : 0;
	cow_temp(s, temp);
	if (f->below) {
		if (mknodat(s->wip, temp, S_IFCHR, 0))
			return -errno;
		/* What was there goes to wip, a whiteout comes from there, in one step. */
		if (renameat2(s->wip, temp, up, name, RENAME_EXCHANGE)) {
			rc = -errno;
			(void)!unlinkat(s->wip, temp, 0);
			return rc;
		}
	} else if (renameat2(up, name, s->wip, temp, 0)) {
		return -errno;
	}
	if (directory)
		(void)!cow_drop_dir(s->wip, temp);
	else
		(void)!unlinkat(s->wip, temp, 0);
	return 0;
}
