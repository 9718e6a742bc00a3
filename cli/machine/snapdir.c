/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snapdir.c - links before data: a difference is of use only with its base, and
 * another name for the base's memory file keeps that alive when the base itself is
 * removed. Where no link can be made (another file system) all is saved.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include "cli/machine/snapdir.h"

static const char *const files[MONITOR_FILES] = { "state", "memory", "sums" };
/* All that can be in such a folder; the last is a template's, `image` a sandbox's. */
static const char *const all[] = { "state", "memory", "sums", "base", "base-sums", "image", "key" };

/* The file that is the memory of a machine restored from @dir: of a difference, its base. */
static bool memory_of(int dir, struct stat *st, bool *diff)
{
	*diff = !fstatat(dir, "base", st, 0);
	return *diff || !fstatat(dir, "memory", st, 0);
}

static bool look(const char *path, struct stat *st)
{
	auto_fd dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool diff;

	return dir >= 0 && memory_of(dir, st, &diff);
}

void snapdir_base_note(struct snapdir_base *b, const char *path)
{
	struct stat st;

	*b = (struct snapdir_base){ 0 };
	if (strlen(path) >= sizeof(b->dir.path) || !look(path, &st))
		return;
	memcpy(b->dir.path, path, strlen(path) + 1);
	b->dev = st.st_dev;
	b->ino = st.st_ino;
}

bool snapdir_base_same(const struct snapdir_base *b)
{
	struct stat st;

	return b->dir.path[0] && look(b->dir.path, &st) && st.st_dev == b->dev &&
	       st.st_ino == b->ino;
}

/*
 * Names for the memory that the machine has mapped, and its sums. While it is mapped, no
 * other file can have its number.
 */
static bool link_base(const struct snapdir_base *b, int dir)
{
	auto_fd from = open(b->dir.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;
	bool diff;

	if (from < 0 || !memory_of(from, &st, &diff))
		return false;
	if (!linkat(from, diff ? "base" : "memory", dir, "base", 0) &&
	    !linkat(from, diff ? "base-sums" : "sums", dir, "base-sums", 0) &&
	    !fstatat(dir, "base", &st, 0) && st.st_dev == b->dev && st.st_ino == b->ino)
		return true;
	unlinkat(dir, "base", 0);
	unlinkat(dir, "base-sums", 0);
	return false;
}

static void close_all(int fd[MONITOR_FILES])
{
	for (unsigned i = 0; i < MONITOR_FILES; i++)
		fd_cleanup(&fd[i]);
}

int snapdir_write(struct monitor *m, int dir, const struct snapdir_base *base,
		  struct monitor_saved *out, struct err *e)
{
	int fd[MONITOR_FILES] = { -1, -1, -1 }, rc = 0;
	bool diff = base && base->dir.path[0] && link_base(base, dir);
	struct monitor_saved saved;

	for (unsigned i = 0; !rc && i < MONITOR_FILES; i++) {
		fd[i] = openat(dir, files[i], O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (fd[i] < 0)
			rc = err_set(e, -errno, "make the snapshot's file '%s'", files[i]);
	}
	if (!rc)
		rc = monitor_snapshot(m, fd, diff, SNAPDIR_SAVE_MS, &saved, e);
	if (!rc && diff && !saved.diff) {
		unlinkat(dir, "base", 0);
		unlinkat(dir, "base-sums", 0);
	}
	for (unsigned i = 0; !rc && i < MONITOR_FILES; i++)
		if (fsync(fd[i]))
			rc = err_set(e, -errno, "write the snapshot's file '%s'", files[i]);
	if (!rc && fsync(dir))
		rc = err_set(e, -errno, "write the snapshot's folder");
	close_all(fd);
	if (!rc && out)
		*out = saved;
	return rc;
}

int snapdir_publish(int parent, const char *tmp, const char *name)
{
	if (renameat2(parent, tmp, parent, name, RENAME_NOREPLACE))
		return -errno;
	return fsync(parent) ? -errno : 0;
}

static int write_image(int dir, const char *image, struct err *e)
{
	auto_fd fd = !image ? -1 :
		openat(dir, "image", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	size_t n = image ? strlen(image) : 0;

	if (image && (fd < 0 || write(fd, image, n) != (ssize_t)n || fsync(fd)))
		return err_set(e, -errno, "note the snapshot's image");
	return 0;
}

int snapdir_save(struct monitor *m, int parent, const char *name, const struct snapdir_base *base,
		 const char *image, struct monitor_saved *out, struct err *e)
{
	char tmp[320];
	auto_fd dir = -1;
	int rc;

	if (!faccessat(parent, name, F_OK, AT_SYMLINK_NOFOLLOW))
		return err_say(e, -EEXIST, "there is a snapshot '%s' already", name);
	snprintf(tmp, sizeof(tmp), SNAPDIR_TMP "%s-%d", name, (int)getpid());
	if (mkdirat(parent, tmp, 0700))
		return err_set(e, -errno, "make the snapshot's folder");
	dir = openat(parent, tmp, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	rc = dir < 0 ? err_set(e, -errno, "open the snapshot's folder") :
		       write_image(dir, image, e);
	if (!rc)
		rc = snapdir_write(m, dir, base, out, e);
	if (!rc) {
		rc = snapdir_publish(parent, tmp, name);
		if (rc)
			err_set(e, rc, "put the snapshot '%s' in its place", name);
	}
	if (rc)
		snapdir_remove(parent, tmp);
	return rc;
}

int snapdir_link(int from, int to, const char *name)
{
	auto_fd dir = -1;
	int rc = mkdirat(to, name, 0700) ? -errno : 0;

	if (rc)
		return rc;
	dir = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	rc = dir < 0 ? -errno : 0;
	for (size_t i = 0; !rc && i < ARRAY_LEN(all); i++)
		if (linkat(from, all[i], dir, all[i], 0) && errno != ENOENT)
			rc = -errno;
	if (rc)
		snapdir_remove(to, name);
	return rc;
}

int snapdir_remove(int parent, const char *name)
{
	char gone[320];
	auto_fd dir = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (dir < 0)
		return -errno;
	snprintf(gone, sizeof(gone), SNAPDIR_GONE "%.200s-%d", name, (int)getpid());
	if (renameat(parent, name, parent, gone))
		return -errno;
	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		unlinkat(dir, all[i], 0);
	return unlinkat(parent, gone, AT_REMOVEDIR) ? -errno : 0;
}

unsigned snapdir_sweep(int parent)
{
	int copy = openat(parent, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	unsigned n = 0;

	if (!d) {
		fd_cleanup(&copy);
		return 0;
	}
	for (const struct dirent *de; (de = readdir(d));)
		if (!strncmp(de->d_name, SNAPDIR_TMP, strlen(SNAPDIR_TMP)) ||
		    !strncmp(de->d_name, SNAPDIR_GONE, strlen(SNAPDIR_GONE)))
			n += !snapdir_remove(parent, de->d_name);
	closedir(d);
	return n;
}
