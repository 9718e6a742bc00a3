/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snapdir.c - links before data: a difference is of use only with its base, and
 * another name for the base's memory file keeps that alive when the base itself is
 * removed. Where no link can be made (another file system) all is saved.
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include "cli/base/clone.h"
#include "cli/base/rmtree.h"
#include "cli/machine/snapdir.h"
#include "cli/machine/snapsum.h"
#include "cli/share/saved.h"

static const char *const files[MONITOR_FILES] = { "state", "memory", "sums" };
/* All files that can be in such a folder; the last is a template's, others a sandbox's. */
static const char *const all[] = { "state", "memory", "sums", "base", "base-sums",
				   SNAPSUM_FILE, SNAPDIR_IMAGE, SAVED_LIST, SAVED_STATE,
				   SNAPDIR_DISK, "key" };

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

/* ---- what is not in the monitor, but of the same moment ---- */

struct beside { const struct snapdir_what *what; int dir, disk; };

static int copy_disk(struct beside *b, struct err *e)
{
	int rc;

	b->disk = openat(b->dir, SNAPDIR_DISK, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	rc = b->disk < 0 ? -errno : clone_file(b->what->disk, b->disk);
	return rc ? err_set(e, rc, "copy the disk") : 0;
}

static int while_still(void *arg, struct err *e)
{
	struct beside *b = arg;
	const struct snapdir_what *w = b->what;
	int rc = w->shared ? shared_save(w->shared, w->shares, b->dir, e) : 0;

	return rc || w->disk < 0 ? rc : copy_disk(b, e);
}

static int sync_all(const int fd[MONITOR_FILES], const struct beside *b, struct err *e)
{
	bool trees = !faccessat(b->dir, SAVED_COW, F_OK, 0);

	for (unsigned i = 0; i < MONITOR_FILES; i++)
		if (fsync(fd[i]))
			return err_set(e, -errno, "write the snapshot's file '%s'", files[i]);
	if (b->disk >= 0 && fsync(b->disk))
		return err_set(e, -errno, "write the copy of the disk");
	/* Thousands of files, perhaps: all at once. */
	if (trees ? syncfs(b->dir) : fsync(b->dir))
		return err_set(e, -errno, "write the snapshot's folder");
	return 0;
}

static int write_image(int dir, const char *image, struct err *e)
{
	auto_fd fd = !image ? -1 :
		openat(dir, SNAPDIR_IMAGE, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	size_t n = image ? strlen(image) : 0;

	if (image && (fd < 0 || write(fd, image, n) != (ssize_t)n || fsync(fd)))
		return err_set(e, -errno, "note the snapshot's image");
	return 0;
}

static int write_files(const struct snapdir_what *w, int dir, bool diff, struct beside *b,
		       struct monitor_saved *saved, struct err *e)
{
	const struct monitor_save s = {
		.control_fd = w->control_fd, .pump = w->pump, .diff = diff,
		.timeout_ms = SNAPDIR_SAVE_MS, .arg = b,
		.still = w->shared || w->disk >= 0 ? while_still : NULL,
	};
	int fd[MONITOR_FILES] = { -1, -1, -1 }, rc = 0;

	for (unsigned i = 0; !rc && i < MONITOR_FILES; i++) {
		fd[i] = openat(dir, files[i], O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (fd[i] < 0)
			rc = err_set(e, -errno, "make the snapshot's file '%s'", files[i]);
	}
	if (!rc)
		rc = monitor_snapshot(&s, fd, saved, e);
	if (!rc)		/* the machine goes on meanwhile */
		rc = snapsum_write(dir, !w->brief, e);
	if (!rc)
		rc = sync_all(fd, b, e);
	close_all(fd);
	return rc;
}

int snapdir_write(const struct snapdir_what *w, int dir, struct monitor_saved *out, struct err *e)
{
	struct beside b = { .what = w, .dir = dir, .disk = -1 };
	bool diff = w->base && w->base->dir.path[0] && link_base(w->base, dir);
	struct monitor_saved saved = { 0 };
	int rc = write_image(dir, w->image, e);

	if (!rc && w->shared)
		rc = saved_write(dir, w->shares, e);
	if (!rc)
		rc = write_files(w, dir, diff, &b, &saved, e);
	fd_cleanup(&b.disk);
	if (!rc && diff && !saved.diff) {
		unlinkat(dir, "base", 0);
		unlinkat(dir, "base-sums", 0);
	}
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

int snapdir_save(const struct snapdir_what *w, int parent, const char *name,
		 struct monitor_saved *out, struct err *e)
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
		       snapdir_write(w, dir, out, e);
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
	struct err ignored;
	auto_fd dir = -1;
	int rc = mkdirat(to, name, 0700) ? -errno : 0;

	if (rc)
		return rc;
	dir = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	rc = dir < 0 ? -errno : 0;
	for (size_t i = 0; !rc && i < ARRAY_LEN(all); i++)
		if (linkat(from, all[i], dir, all[i], 0) && errno != ENOENT)
			rc = -errno;
	if (!rc)
		rc = saved_link_cow(from, dir, &ignored);
	if (rc)
		snapdir_remove(to, name);
	return rc;
}

int snapdir_hold(const char *path)
{
	auto_fd dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	while (dir >= 0 && flock(dir, LOCK_SH) && errno == EINTR)
		;
	return take_fd(&dir);
}

int snapdir_remove(int parent, const char *name)
{
	char gone[320];
	auto_fd dir = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (dir < 0)
		return -errno;
	if (flock(dir, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK)
		return -EBUSY;
	snprintf(gone, sizeof(gone), SNAPDIR_GONE "%.200s-%d", name, (int)getpid());
	if (renameat(parent, name, parent, gone))
		return -errno;
	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		unlinkat(dir, all[i], 0);
	if (!faccessat(dir, SAVED_COW, F_OK, AT_SYMLINK_NOFOLLOW))
		(void)!rmtree(dir, SAVED_COW);
	return unlinkat(parent, gone, AT_REMOVEDIR) ? -errno : 0;
}

bool snapdir_reserved(const char *name)
{
	return !strncmp(name, SNAPDIR_TMP, strlen(SNAPDIR_TMP)) ||
	       !strncmp(name, SNAPDIR_GONE, strlen(SNAPDIR_GONE));
}

/* A fork's, whose children have links to it already or are nobody's business any more. */
static bool orphaned(const char *name)
{
	size_t n = strlen(SNAPDIR_FORK);
	long pid = strncmp(name, SNAPDIR_FORK, n) ? 0 : strtol(name + n, NULL, 10);

	return pid > 0 && kill((pid_t)pid, 0) && errno == ESRCH;
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
		if (snapdir_reserved(de->d_name) || orphaned(de->d_name))
			n += !snapdir_remove(parent, de->d_name);
	closedir(d);
	return n;
}
