// SPDX-License-Identifier: Apache-2.0
/*
 * helper.c - remove a tree, pack a tree.
 *
 * Trees are walked by descriptors, never by growing paths, and links are not followed:
 * a tree that changes while it is walked cannot lead out of itself. Each level is an
 * open folder; past HELPER_DEPTH_MAX levels the request fails with a sentence.
 *
 * Hard links are packed as files of their own; sockets cannot be packed and are left out.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "agent/helper.h"
#include "agent/proto.h"
#include "agent/sparse.h"
#include "agent/tar.h"

#define BUF_LEN 65536

int helper_fail(const char *name, int err)
{
	dprintf(STDERR_FILENO, "%.400s: %s", name, strerror(err));
	return err;
}

/* ---- remove ------------------------------------------------------------ */

static int remove_at(int dir, const char *name, int depth);

static int remove_contents(int dir, const char *name, int depth)
{
	int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), err = 0;
	struct dirent *e;
	DIR *d;

	if (fd < 0)
		return errno;
	d = depth < HELPER_DEPTH_MAX ? fdopendir(fd) : NULL;
	if (!d) {
		err = depth < HELPER_DEPTH_MAX ? errno : ELOOP;
		close(fd);
		return helper_fail(name, err);
	}
	while (!err && (e = readdir(d)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			err = remove_at(fd, e->d_name, depth + 1);
	closedir(d);
	return err;
}

static int remove_at(int dir, const char *name, int depth)
{
	int err;

	if (unlinkat(dir, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return helper_fail(name, errno);
	err = remove_contents(dir, name, depth);
	if (err)
		return err;
	return unlinkat(dir, name, AT_REMOVEDIR) < 0 ? helper_fail(name, errno) : 0;
}

int helper_remove(const char *path, unsigned long flags)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return errno == ENOENT && (flags & PROTO_FILE_FORCE) ? 0 : helper_fail(path, errno);
	return remove_at(AT_FDCWD, path, 0);
}

/* ---- pack -------------------------------------------------------------- */

static struct tar_entry ent;	/* large, and used by one level at a time */
static uint8_t buf[BUF_LEN];
static char name_buf[TAR_PATH_MAX];
static bool leave_holes;
static struct sparse_part parts[SPARSE_PACK_MAX];
static char list[SPARSE_TEXT_MAX];

static int write_all(const uint8_t *p, size_t n)
{
	while (n) {
		ssize_t k = write(STDOUT_FILENO, p, n);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return errno;
		p += k;
		n -= (size_t)k;
	}
	return 0;
}

static int pack_header(char type, const struct stat *st)
{
	uint8_t head[TAR_HEADER_MAX];
	int n;

	ent.type = type;
	ent.mode = st->st_mode & 07777;
	ent.uid = st->st_uid;
	ent.gid = st->st_gid;
	ent.size = type == '0' ? (uint64_t)st->st_size : 0;
	ent.mtime = st->st_mtim.tv_sec;
	ent.mtime_ns = (uint32_t)st->st_mtim.tv_nsec;
	ent.major = major(st->st_rdev);
	ent.minor = minor(st->st_rdev);
	snprintf(ent.name, sizeof(ent.name), "%s", name_buf);
	n = tar_header(head, &ent);
	return n < 0 ? helper_fail(name_buf, -n) : write_all(head, (size_t)n);
}

/* Exactly that many bytes, whatever the file does meanwhile. */
static int pack_bytes(int fd, uint64_t left)
{
	int err = 0;

	while (!err && left) {
		size_t n = left < BUF_LEN ? (size_t)left : BUF_LEN;
		ssize_t k = read(fd, buf, n);

		if (k < 0)
			return helper_fail(name_buf, errno);
		if (k == 0) {	/* it shrank */
			memset(buf, 0, n);
			k = (ssize_t)n;
		}
		err = write_all(buf, (size_t)k);
		left -= (uint64_t)k;
	}
	return err;
}

static int pack_padding(uint64_t size)
{
	memset(buf, 0, TAR_BLOCK);
	return write_all(buf, (size_t)(tar_padded(size) - size));
}

static int pack_whole(int fd, const struct stat *st)
{
	int err = pack_header('0', st);

	if (!err)
		err = pack_bytes(fd, (uint64_t)st->st_size);
	return err ? err : pack_padding((uint64_t)st->st_size);
}

static int pack_parts(int fd, const struct stat *st, size_t n)
{
	size_t len = sparse_text(list, parts, n);
	struct stat as = *st;
	uint64_t data = 0;
	int err;

	for (size_t i = 0; i < n; i++)
		data += parts[i].len;
	as.st_size = (off_t)(len + data);
	ent.sparse = true;
	ent.real = (uint64_t)st->st_size;
	err = pack_header('0', &as);
	ent.sparse = false;
	if (!err)
		err = write_all((const uint8_t *)list, len);
	for (size_t i = 0; !err && i < n; i++)
		err = lseek(fd, (off_t)parts[i].off, SEEK_SET) < 0 ? helper_fail(name_buf, errno) :
								    pack_bytes(fd, parts[i].len);
	return err ? err : pack_padding(data);
}

static int pack_file(int dir, const char *name, const struct stat *st)
{
	int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	int n = -1, err;

	if (fd < 0)
		return helper_fail(name_buf, errno);
	/* Only a file that takes less room than it is long can have holes worth looking for. */
	if (leave_holes && (uint64_t)st->st_blocks * 512 < (uint64_t)st->st_size)
		n = sparse_scan(fd, (uint64_t)st->st_size, parts);
	err = n < 0 ? pack_whole(fd, st) : pack_parts(fd, st, (size_t)n);
	close(fd);
	return err;
}

static int pack_at(int dir, const char *name, int depth);

static int pack_contents(int dir, const char *name, int depth)
{
	int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), err = 0;
	size_t len = strlen(name_buf);
	struct dirent *e;
	DIR *d;

	d = fd >= 0 && depth < HELPER_DEPTH_MAX ? fdopendir(fd) : NULL;
	if (!d) {
		err = fd >= 0 && depth >= HELPER_DEPTH_MAX ? ELOOP : errno;
		if (fd >= 0)
			close(fd);
		return helper_fail(name_buf, err);
	}
	while (!err && (e = readdir(d))) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		if (len + strlen(e->d_name) + 2 > sizeof(name_buf)) {
			err = helper_fail(e->d_name, ENAMETOOLONG);
			break;
		}
		memcpy(name_buf + len, e->d_name, strlen(e->d_name) + 1);
		err = pack_at(fd, e->d_name, depth + 1);
		name_buf[len] = 0;
	}
	closedir(d);
	return err;
}

static int pack_link(int dir, const char *name, const struct stat *st)
{
	ssize_t n = readlinkat(dir, name, ent.link, sizeof(ent.link) - 1);
	int err;

	if (n < 0)
		return helper_fail(name_buf, errno);
	ent.link[n] = 0;
	err = pack_header('2', st);
	ent.link[0] = 0;
	return err;
}

/* name_buf holds the name of the entry in the archive. */
static int pack_at(int dir, const char *name, int depth)
{
	struct stat st;
	size_t len;
	int err;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT && depth ? 0 : helper_fail(name_buf, errno);
	switch (st.st_mode & S_IFMT) {
	case S_IFREG:
		return pack_file(dir, name, &st);
	case S_IFLNK:
		return pack_link(dir, name, &st);
	case S_IFCHR:
		return pack_header('3', &st);
	case S_IFBLK:
		return pack_header('4', &st);
	case S_IFIFO:
		return pack_header('6', &st);
	case S_IFDIR:
		len = strlen(name_buf);
		if (len + 2 > sizeof(name_buf))
			return helper_fail(name_buf, ENAMETOOLONG);
		memcpy(name_buf + len, "/", 2);
		err = pack_header('5', &st);
		if (!err)
			err = pack_contents(dir, name, depth);
		return err;
	default:
		return 0;
	}
}

int helper_pack(const char *path, unsigned long flags)
{
	const char *last = strrchr(path, '/');

	return helper_pack_as(path, last ? last + 1 : "", flags);
}

int helper_pack_as(const char *path, const char *name, unsigned long flags)
{
	int err;

	leave_holes = flags & PROTO_FILE_SPARSE;
	if (flags & PROTO_FILE_CONTENTS || !*name) {
		memcpy(name_buf, "./", 3);
		err = pack_contents(AT_FDCWD, path, 0);
	} else {
		snprintf(name_buf, sizeof(name_buf), "%s", name);
		err = pack_at(AT_FDCWD, path, 0);
	}
	memset(buf, 0, 2 * TAR_BLOCK);
	return err ? err : write_all(buf, (size_t)2 * TAR_BLOCK);
}
