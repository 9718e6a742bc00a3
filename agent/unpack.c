// SPDX-License-Identifier: Apache-2.0
/*
 * unpack.c - unpack a tar stream below a folder.
 *
 * Names are relative and without "..", and their folders are resolved with
 * RESOLVE_IN_ROOT: a link that an earlier entry made cannot lead out of the
 * folder. The strict kind follows no link at all (RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS).
 * The last component is never followed: what is there already is replaced,
 * except a folder by a folder. Nothing is believed of an entry before the next header
 * has been reached: sizes only say how many bytes to copy. Strictly, devices and pipes are
 * left out, which is said at the end: a pipe that somebody forgot in a tree does not cost the rest.
 *
 * Blocks of zeros become holes. Folders get their mode and time at the end, when
 * nothing is put into them any more.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <linux/openat2.h>

#include "agent/helper.h"
#include "agent/proto.h"
#include "agent/sparse.h"
#include "agent/tar.h"
#include "agent/unpack.h"

#define BUF_LEN 65536
#define HOLE 4096u
#define FOLDERS_MAX 65536u	/* whose mode and time wait; more get them at once */

static struct tar_entry ent;
static struct tar_ext ext;
static uint8_t buf[BUF_LEN];
static uint8_t ext_buf[TAR_EXT_MAX];
static const struct unpack *how;

static struct folder {
	char *name;
	uint32_t mode, uid, gid, mtime_ns;
	int64_t mtime;
} *folders;
static size_t n_folders, cap_folders;
static size_t n_left_out;
static char left_out[300];	/* the first of them */

/* Exactly n bytes: 0, or an errno value (EPIPE: the stream ended). */
static int read_all(uint8_t *p, size_t n)
{
	while (n) {
		ssize_t k = read(STDIN_FILENO, p, n);

		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return k < 0 ? errno : EPIPE;
		p += k;
		n -= (size_t)k;
	}
	return 0;
}

static int open_beneath(int root, const char *path)
{
	struct open_how o = {
		.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
		.resolve = how->strict ? RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS :
					 RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};

	return (int)syscall(SYS_openat2, root, path, &o, sizeof(o));
}

/* The folder of `name` below root, made if it is missing. *last: the last component. */
static int open_parent(int root, char *name, char **last)
{
	char *slash = strrchr(name, '/');
	int fd;

	*last = slash ? slash + 1 : name;
	if (!slash)
		return open_beneath(root, ".");
	*slash = 0;
	fd = open_beneath(root, name);
	if (fd < 0 && errno == ENOENT) {
		char *up;
		int dir = open_parent(root, name, &up);

		if (dir >= 0) {
			(void)mkdirat(dir, up, 0755);
			close(dir);
		}
		/* open_parent() cut the name where a slash was. */
		if (up != name)
			up[-1] = '/';
		fd = open_beneath(root, name);
	}
	*slash = '/';
	return fd;
}

/* Write, or leave a hole for a block of zeros. 0 or an errno value. */
static int put(int fd, const uint8_t *p, size_t n)
{
	static const uint8_t zeros[HOLE];

	while (n) {
		size_t part = n < HOLE ? n : HOLE;
		ssize_t k = (ssize_t)part;

		if (part == HOLE && !memcmp(p, zeros, HOLE)) {
			if (lseek(fd, HOLE, SEEK_CUR) < 0)
				return errno;
		} else {
			k = write(fd, p, part);
			if (k < 0 && errno != EINTR)
				return errno;
			k = k < 0 ? 0 : k;
		}
		p += k;
		n -= (size_t)k;
	}
	return 0;
}

/* That many bytes to the file's offset (fd < 0: nowhere). */
static int copy_bytes(int fd, uint64_t left)
{
	int err = 0;

	while (!err && left) {
		size_t n = left < BUF_LEN ? (size_t)left : BUF_LEN;

		err = read_all(buf, n);
		if (!err && fd >= 0)
			err = put(fd, buf, n);
		left -= n;
	}
	return err;
}

/* The list of a sparse file, in whole blocks, which are counted in *used. */
static int read_list(struct sparse_list *l, uint64_t *used)
{
	uint8_t block[TAR_BLOCK];
	int state = 0, err;

	for (*used = 0; !state && *used < ent.size; *used += sizeof(block)) {
		err = read_all(block, sizeof(block));
		if (err)
			return err;
		for (size_t i = 0; !state && i < sizeof(block); i++)
			state = sparse_take(l, (char)block[i]);
	}
	return state == 1 && *used <= ent.size && l->total == ent.size - *used ? 0 : EBADMSG;
}

static int copy_parts(int fd)
{
	static struct sparse_part parts[SPARSE_READ_MAX];
	struct sparse_list l = { .parts = parts, .size = ent.real };
	uint64_t used;
	int err = read_list(&l, &used);

	for (size_t i = 0; !err && i < l.n; i++)
		err = lseek(fd, (off_t)parts[i].off, SEEK_SET) < 0 ? errno :
								    copy_bytes(fd, parts[i].len);
	return err;
}

static int copy_data(int fd)
{
	uint64_t size = ent.sparse ? ent.real : ent.size;
	int err = ent.sparse ? copy_parts(fd) : copy_bytes(fd, ent.size);

	if (!err)
		err = copy_bytes(-1, tar_padded(ent.size) - ent.size);
	/* A hole at the end has no size of its own. */
	return err ? err : ftruncate(fd, (off_t)size) < 0 ? errno : 0;
}

static int make_file(int dir, const char *name)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	int err;

	if (fd < 0)
		return errno;
	err = copy_data(fd);
	close(fd);
	return err;
}

static int make_hard_link(int root, int dir, const char *name)
{
	char target[TAR_PATH_MAX], *last;
	int from, err;

	memcpy(target, ent.link, sizeof(target));
	if (tar_clean_name(target) < 0)
		return EINVAL;
	from = open_parent(root, target, &last);
	if (from < 0)
		return errno;
	err = linkat(from, last, dir, name, 0) < 0 ? errno : 0;
	close(from);
	return err;
}

static int make_node(int dir, const char *name)
{
	mode_t type = ent.type == '3' ? S_IFCHR : ent.type == '4' ? S_IFBLK : S_IFIFO;
	dev_t dev = ent.type == '6' ? 0 : makedev(ent.major, ent.minor);

	return mknodat(dir, name, type | 0600, dev) < 0 ? errno : 0;
}

static int make(int root, int dir, const char *name)
{
	struct stat st;

	if (ent.type == '5') {
		if (mkdirat(dir, name, 0700) == 0)
			return 0;
		if (errno != EEXIST)
			return errno;
		if (fstatat(dir, name, &st, how->strict ? AT_SYMLINK_NOFOLLOW : 0) < 0)
			return errno;
		return S_ISDIR(st.st_mode) ? 0 : EEXIST;
	}
	if (unlinkat(dir, name, 0) < 0 && errno != ENOENT)
		return errno;
	if (ent.type == '0')
		return make_file(dir, name);
	if (ent.type == '1')
		return make_hard_link(root, dir, name);
	if (ent.type == '2')
		return symlinkat(ent.link, dir, name) < 0 ? errno : 0;
	return make_node(dir, name);
}

/* True if the folder's mode and time are set later. */
static bool postponed(const char *name)
{
	size_t cap = cap_folders ? 2 * cap_folders : 64;
	struct folder *f;

	if (ent.type != '5' || n_folders >= FOLDERS_MAX)
		return false;
	if (n_folders == cap_folders) {
		f = realloc(folders, cap * sizeof(*f));
		if (!f)
			return false;
		folders = f;
		cap_folders = cap;
	}
	f = &folders[n_folders];
	*f = (struct folder){ strdup(name), ent.mode, ent.uid, ent.gid, ent.mtime_ns, ent.mtime };
	n_folders += f->name != NULL;
	return f->name;
}

static int set_meta(int dir, const char *name, bool owner)
{
	struct timespec ts[2] = { { 0, UTIME_OMIT }, { 0, 0 } };

	if (ent.type == '1')
		return 0;
	/* Before the mode: a change of owner clears set-user-id. */
	if (owner && fchownat(dir, name, ent.uid, ent.gid, AT_SYMLINK_NOFOLLOW) < 0)
		return errno;
	/* A guest that shares the folder can put a link in the place of what was just made. */
	if (ent.type != '2' &&
	    fchmodat(dir, name, ent.mode, how->strict ? AT_SYMLINK_NOFOLLOW : 0) < 0)
		return errno;
	ts[1].tv_sec = (time_t)ent.mtime;
	ts[1].tv_nsec = ent.mtime_ns;
	return utimensat(dir, name, ts, AT_SYMLINK_NOFOLLOW) < 0 ? errno : 0;
}

/* The postponed ones, inner folders first. */
static int set_folders(void)
{
	int err = 0;

	while (n_folders && !err) {
		struct folder *f = &folders[--n_folders];
		char *last;
		int dir = open_parent(how->root, f->name, &last);

		ent.type = '5';
		ent.mode = f->mode;
		ent.uid = f->uid;
		ent.gid = f->gid;
		ent.mtime = f->mtime;
		ent.mtime_ns = f->mtime_ns;
		if (dir >= 0) {
			err = set_meta(dir, last, how->owner);
			close(dir);
		}
		if (err == ENOENT)	/* a later entry took its place */
			err = 0;
		if (err)
			return helper_fail(f->name, err);
		free(f->name);
	}
	return err;
}

/* Exchange the first component, if that was asked for. 0 or an errno value. */
static int rename_top(void)
{
	size_t n = how->from ? strlen(how->from) : 0, rest;

	if (!how->from)
		return 0;
	if (strncmp(ent.name, how->from, n) || (ent.name[n] && ent.name[n] != '/'))
		return EINVAL;
	rest = strlen(ent.name + n) + 1;
	if (strlen(how->to) + rest > sizeof(ent.name))
		return ENAMETOOLONG;
	memmove(ent.name + strlen(how->to), ent.name + n, rest);
	memcpy(ent.name, how->to, strlen(how->to));
	return 0;
}

static int unpack_entry(int root, bool owner)
{
	char *last;
	int dir, err;

	if (tar_clean_name(ent.name) < 0) {
		/* The folder itself is no entry to make; a ".." is a reason to stop. */
		if (!ent.name[0] && ent.type == '5')
			return 0;
		return helper_fail("a name in the archive is empty or leads out of the folder",
				   EINVAL);
	}
	if (rename_top())
		return helper_fail("a name in the archive is not what was asked for", EINVAL);
	if (how->strict && ent.type == '1') {
		dprintf(STDERR_FILENO, "%.300s is a hard link, which nobody takes from a guest",
			ent.name);
		return EPERM;
	}
	if (how->strict && !strchr("025", ent.type)) {
		if (!n_left_out++)
			snprintf(left_out, sizeof(left_out), "%.290s", ent.name);
		return 0;
	}
	if (how->strict)
		ent.mode &= 0777;
	dir = open_parent(root, ent.name, &last);
	if (dir < 0 && errno == ELOOP)
		return helper_fail("a name in the archive leads over a symbolic link", ELOOP);
	if (dir < 0)
		return helper_fail(ent.name, errno);
	err = make(root, dir, last);
	if (!err && !postponed(ent.name))
		err = set_meta(dir, last, owner);
	close(dir);
	if (err == EBADMSG)
		return helper_fail("the list of a sparse file's parts is malformed", err);
	if (err == EPIPE)
		return helper_fail("the archive ends in the middle of a file", EPIPE);
	return err ? helper_fail(ent.name, err) : 0;
}

static int read_extended(void)
{
	uint64_t size = ent.size;
	const char *why;
	int err = read_all(ext_buf, (size_t)size);

	if (!err)
		err = read_all(buf, (size_t)(tar_padded(size) - size));
	if (err)
		return helper_fail("the archive ends in the middle of a header", err);
	if (tar_extend(&ext, ent.type, ext_buf, (size_t)size, &why) < 0)
		return helper_fail(why, EBADMSG);
	return 0;
}

static int say_left_out(void)
{
	char more[48] = "";

	if (!n_left_out)
		return 0;
	if (n_left_out > 1)
		snprintf(more, sizeof(more), " (and %zu more like it)", n_left_out - 1);
	dprintf(STDERR_FILENO, "%s%s is a device or a pipe, which nobody takes from a guest; "
		"everything else was copied", left_out, more);
	return EPERM;
}

int unpack(const struct unpack *u)
{
	int err = 0, kind;
	const char *why;
	ssize_t k;

	how = u;
	umask(0);
	for (;;) {
		err = read_all(buf, TAR_BLOCK);
		if (err)
			return helper_fail("the archive has no end mark", err);
		kind = tar_parse(buf, &ext, &ent, &why);
		if (kind < 0)
			return helper_fail(why, EBADMSG);
		if (kind == TAR_END)
			break;
		err = kind == TAR_EXTENDED ? read_extended() :
					     unpack_entry(how->root, how->owner);
		if (err)
			return err;
	}
	/* Archives are padded to a record; take it all, so that no writer is cut off. */
	do
		k = read(STDIN_FILENO, buf, sizeof(buf));
	while (k > 0 || (k < 0 && errno == EINTR));
	err = set_folders();
	return err ? err : say_left_out();
}

int helper_unpack(const char *path, unsigned long flags)
{
	struct unpack u = { .root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
			    .owner = flags & PROTO_FILE_OWNER };

	return u.root < 0 ? helper_fail(path, errno) : unpack(&u);
}
