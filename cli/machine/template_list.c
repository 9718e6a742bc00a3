/* SPDX-License-Identifier: Apache-2.0 */
/*
 * template_list.c - the templates that are there, and which of them are of no use
 * any more: the monitor, the kernel or the initrd is not the file it was.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include "cli/machine/snapdir.h"
#include "cli/machine/template.h"

static bool read_key(int dir, char text[static TEMPLATE_KEY_MAX])
{
	auto_fd fd = openat(dir, "key", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, TEMPLATE_KEY_MAX - 1);

	text[n > 0 ? n : 0] = '\0';
	return n > 0;
}

/* The rest of the line of @text that begins with @what, up to @len bytes of it. */
static void line_of(const char *text, const char *what, char *out, size_t len)
{
	size_t n = strlen(what);

	*out = '\0';
	for (const char *p = text; p; p = strchr(p, '\n')) {
		p += *p == '\n';
		if (!strncmp(p, what, n) && p[n] == ' ') {
			snprintf(out, len, "%.*s", (int)strcspn(p + n + 1, "\n"), p + n + 1);
			return;
		}
	}
}

static uint64_t number_of(const char *text, const char *what)
{
	char line[64];

	line_of(text, what, line, sizeof(line));
	return strtoull(line, NULL, 10);
}

static bool same_files(const char *a, const char *b)
{
	static const char *const parts[] = { "format", "host", "monitor", "kernel", "initrd" };

	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		char x[320], y[320];

		line_of(a, parts[i], x, sizeof(x));
		line_of(b, parts[i], y, sizeof(y));
		if (strcmp(x, y))
			return false;
	}
	return true;
}

static uint64_t disk_of(int dir)
{
	static const char *const files[] = { "state", "memory", "sums", "key" };
	uint64_t bytes = 0;
	struct stat st;

	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		if (!fstatat(dir, files[i], &st, 0))
			bytes += (uint64_t)st.st_blocks * 512;
	return bytes;
}

static bool describe(int root, const char *name, const struct template_key *now,
		     struct template_info *t)
{
	auto_fd dir = openat(root, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	char key[TEMPLATE_KEY_MAX] = "";
	struct stat st;

	if (dir < 0 || fstat(dir, &st))
		return false;
	*t = (struct template_info){ .used = st.st_mtime, .disk = disk_of(dir) };
	memcpy(t->name, name, sizeof(t->name));
	t->stale = !read_key(dir, key) || !same_files(key, now->text);
	t->memory = number_of(key, "memory");
	t->cpus = number_of(key, "cpus");
	return true;
}

static int by_use(const void *a, const void *b)
{
	int64_t x = ((const struct template_info *)a)->used;
	int64_t y = ((const struct template_info *)b)->used;

	return x < y ? 1 : x > y ? -1 : 0;
}

int template_list(const struct monitor_conf *c, struct template_info **list, struct err *e)
{
	struct template_info *all = NULL, t;
	struct template_key now;
	struct place p;
	int n = 0, rc = template_key(&now, c, e), root = rc ? -1 : template_root(&p, e);
	DIR *d;

	*list = NULL;
	if (root < 0)
		return rc ? rc : root;
	d = fdopendir(root);
	if (!d) {
		close(root);
		return err_set(e, -errno, "read %s", p.path);
	}
	for (const struct dirent *de; (de = readdir(d));) {
		struct template_info *more;

		if (!template_is(de->d_name) || !describe(root, de->d_name, &now, &t))
			continue;
		more = reallocarray(all, (size_t)n + 1, sizeof(t));
		if (!more) {
			rc = err_set(e, -ENOMEM, "list the templates");
			break;
		}
		all = more;
		all[n++] = t;
	}
	closedir(d);
	if (rc) {
		free(all);
		return rc;
	}
	if (n)
		qsort(all, (size_t)n, sizeof(t), by_use);
	*list = all;
	return n;
}

int template_remove(const char *name, struct err *e)
{
	struct place p;
	auto_fd root = template_root(&p, e);
	int rc;

	if (root < 0)
		return root;
	rc = template_is(name) ? snapdir_remove(root, name) : -ENOENT;
	if (rc == -ENOENT)
		return err_say(e, rc, "there is no template '%s'; 'sandbox template ls' lists them",
			       name);
	return rc ? err_set(e, rc, "remove template %s", name) : 0;
}

/* A maker holds the lock NAME.lock and works in tmp-NAME. */
static bool is_made_now(int root, const char *name)
{
	char lock_name[64];
	auto_fd lock = -1;

	if (strncmp(name, SNAPDIR_TMP, strlen(SNAPDIR_TMP)))
		return false;
	snprintf(lock_name, sizeof(lock_name), "%.20s.lock", name + strlen(SNAPDIR_TMP));
	lock = openat(root, lock_name, O_RDONLY | O_CLOEXEC);
	return lock >= 0 && flock(lock, LOCK_EX | LOCK_NB);
}

/* A dead maker's lock. */
static void remove_lock(int root, const char *name)
{
	auto_fd lock = openat(root, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	size_t n = strlen(name);

	if (n == 16 + strlen(".lock") && !strcmp(name + 16, ".lock") && lock >= 0 &&
	    !flock(lock, LOCK_EX | LOCK_NB))
		(void)unlinkat(root, name, 0);
}

static int sweep(int root, bool dry_run)
{
	int n = 0, copy = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);

	if (!d) {
		fd_cleanup(&copy);
		return 0;
	}
	for (const struct dirent *de; (de = readdir(d));) {
		bool debris = !strncmp(de->d_name, SNAPDIR_TMP, strlen(SNAPDIR_TMP)) ||
			      !strncmp(de->d_name, SNAPDIR_GONE, strlen(SNAPDIR_GONE));

		if (!dry_run)
			remove_lock(root, de->d_name);
		if (debris && !is_made_now(root, de->d_name))
			n += dry_run || !snapdir_remove(root, de->d_name);
	}
	closedir(d);
	return n;
}

int template_gc(const struct monitor_conf *c, bool dry_run, struct err *e)
{
	struct template_info *list = NULL;
	struct place p;
	auto_fd root = template_root(&p, e);
	int n = root < 0 ? root : template_list(c, &list, e), removed = 0;

	if (n < 0)
		return n;
	for (int i = 0; list && i < n; i++)
		if (list[i].stale)
			removed += dry_run || !snapdir_remove(root, list[i].name);
	free(list);
	return removed + sweep(root, dry_run);
}
