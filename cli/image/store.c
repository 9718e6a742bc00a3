/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include "cli/image/store.h"
#include "cli/store/store.h"

int image_store_open(struct place *p, struct err *e)
{
	int rc = places_images(p, e);
	int fd = rc ? rc : open(p->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (!rc && fd < 0)
		return err_set(e, -errno, "open %s", p->path);
	if (fd >= 0 && mkdirat(fd, "names", 0700) && errno != EEXIST) {
		rc = err_set(e, -errno, "make a folder in %s", p->path);
		close(fd);
		return rc;
	}
	return fd;
}

int image_store_lock(int store, struct err *e)
{
	auto_fd fd = openat(store, ".lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	while (fd >= 0 && flock(fd, LOCK_EX))
		if (errno != EINTR)
			return err_set(e, -errno, "lock the image store");
	return fd < 0 ? err_set(e, -errno, "lock the image store") : take_fd(&fd);
}

void image_store_delete(int store, const char *name)
{
	(void)!store_delete_tree(store, name);
}

void image_store_sweep(int store)
{
	int copy = openat(store, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);

	if (!d) {
		fd_cleanup(&copy);
		return;
	}
	for (const struct dirent *de; (de = readdir(d));) {
		auto_fd dir = -1;

		if (strncmp(de->d_name, IMAGE_DRAFT_PREFIX, strlen(IMAGE_DRAFT_PREFIX)))
			continue;
		dir = openat(store, de->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (dir >= 0 && !flock(dir, LOCK_EX | LOCK_NB))
			image_store_delete(store, de->d_name);
	}
	closedir(d);
}

int image_store_name(int store, const char *name, const char *id, struct err *e)
{
	auto_fd names = openat(store, "names", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char line[SUM_HEX + 1];

	if (names < 0)
		return err_set(e, -errno, "open the names of images");
	snprintf(line, sizeof(line), "%s\n", id);
	return store_replace(names, name, line, strlen(line), e);
}

int image_store_id(const json_t *manifest, char id[static SUM_HEX], struct err *e)
{
	static const char *const keys[] = { "type", "sha256", "config" };
	json_t *o = json_object();
	char *text;
	int rc;

	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		json_object_set(o, keys[i], json_object_get(manifest, keys[i]));
	text = json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS);
	json_decref(o);
	rc = text ? sum_bytes(text, strlen(text), id) : -ENOMEM;
	free(text);
	return rc ? err_set(e, rc, "name the image") : 0;
}

#define DESCRIBED 160u

/* Whoever writes to the file changes its ctime, which no call can set back. */
static void describe(int root, char text[static DESCRIBED])
{
	struct stat st;

	text[0] = '\0';
	if (!fstat(root, &st))
		snprintf(text, DESCRIBED, "%llu:%llu %lld %lld.%09ld %lld.%09ld\n",
			 (unsigned long long)st.st_dev, (unsigned long long)st.st_ino,
			 (long long)st.st_size, (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec,
			 (long long)st.st_ctim.tv_sec, st.st_ctim.tv_nsec);
}

void image_store_checked(int dir, int root)
{
	char text[DESCRIBED];
	struct err e;

	describe(root, text);
	(void)!store_replace(dir, "checked", text, strlen(text), &e);
}

bool image_store_was_checked(int dir, int root)
{
	auto_fd fd = openat(dir, "checked", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	char now[DESCRIBED], then[DESCRIBED];
	ssize_t n = fd < 0 ? -1 : read(fd, then, sizeof(then) - 1);

	if (n <= 0)
		return false;
	then[n] = '\0';
	describe(root, now);
	return !strcmp(now, then);
}
