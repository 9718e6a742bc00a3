// SPDX-License-Identifier: Apache-2.0
/*
 * unpack.c - unpack a tar stream below a folder.
 *
 * Names are relative and without "..", and their folders are resolved with
 * RESOLVE_IN_ROOT: a link that an earlier entry made cannot lead out of the
 * folder. The last component is never followed: what is there already is replaced,
 * except a folder by a folder. Nothing is believed of an entry before the next header
 * has been reached: sizes only say how many bytes to copy.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <linux/openat2.h>

#include "agent/helper.h"
#include "agent/proto.h"
#include "agent/tar.h"

#define BUF_LEN 65536

static struct tar_entry ent;
static struct tar_ext ext;
static uint8_t buf[BUF_LEN];
static uint8_t ext_buf[TAR_EXT_MAX];

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
	struct open_how how = {
		.flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};

	return (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
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

static int copy_data(int fd, uint64_t size)
{
	uint64_t left = tar_padded(size);

	while (left) {
		size_t n = left < BUF_LEN ? (size_t)left : BUF_LEN, use;
		int err = read_all(buf, n);

		if (err)
			return err;
		use = size < n ? (size_t)size : n;
		for (size_t at = 0; fd >= 0 && at < use;) {
			ssize_t k = write(fd, buf + at, use - at);

			if (k < 0 && errno == EINTR)
				continue;
			if (k < 0)
				return errno;
			at += (size_t)k;
		}
		size -= use;
		left -= n;
	}
	return 0;
}

static int make_file(int dir, const char *name)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	int err;

	if (fd < 0)
		return errno;
	err = copy_data(fd, ent.size);
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
		if (errno == EEXIST && fstatat(dir, name, &st, 0) == 0 && S_ISDIR(st.st_mode))
			return 0;
		return errno;
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

static int set_meta(int dir, const char *name, bool owner)
{
	struct timespec ts[2] = { { 0, UTIME_OMIT }, { 0, 0 } };

	if (ent.type == '1')
		return 0;
	/* Before the mode: a change of owner clears set-user-id. */
	if (owner && fchownat(dir, name, ent.uid, ent.gid, AT_SYMLINK_NOFOLLOW) < 0)
		return errno;
	if (ent.type != '2' && fchmodat(dir, name, ent.mode, 0) < 0)
		return errno;
	ts[1].tv_sec = (time_t)ent.mtime;
	return utimensat(dir, name, ts, AT_SYMLINK_NOFOLLOW) < 0 ? errno : 0;
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
	dir = open_parent(root, ent.name, &last);
	if (dir < 0)
		return helper_fail(ent.name, errno);
	err = make(root, dir, last);
	if (!err)
		err = set_meta(dir, last, owner);
	close(dir);
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

int helper_unpack(const char *path, unsigned long flags)
{
	int root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), err = 0, kind;
	const char *why;
	ssize_t k;

	if (root < 0)
		return helper_fail(path, errno);
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
					     unpack_entry(root, flags & PROTO_FILE_OWNER);
		if (err)
			return err;
	}
	/* Archives are padded to a record; take it all, so that no writer is cut off. */
	do
		k = read(STDIN_FILENO, buf, sizeof(buf));
	while (k > 0 || (k < 0 && errno == EINTR));
	return 0;
}
