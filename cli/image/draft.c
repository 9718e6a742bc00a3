/* SPDX-License-Identifier: Apache-2.0 */
/* draft.c - an image while it is made, and its way into the store. */
#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include "cli/image/store.h"
#include "cli/store/store.h"

int image_draft_begin(struct image_draft *d, struct err *e)
{
	struct place p;
	uint32_t id;

	*d = (struct image_draft)IMAGE_DRAFT_NONE;
	d->store = image_store_open(&p, e);
	if (d->store < 0)
		return d->store;
	image_store_sweep(d->store);
	for (unsigned i = 0; i < 64; i++) {
		struct stat a, b;

		if (getrandom(&id, sizeof(id), 0) != sizeof(id))
			return err_set(e, -EIO, "getrandom");
		snprintf(d->name, sizeof(d->name), IMAGE_DRAFT_PREFIX "%08x", id);
		if (mkdirat(d->store, d->name, 0700)) {
			if (errno == EEXIST)
				continue;
			return err_set(e, -errno, "make a folder in %s", p.path);
		}
		fd_cleanup(&d->dir);
		d->dir = openat(d->store, d->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		/* A sweeper may have come before the lock. */
		if (d->dir < 0 || flock(d->dir, LOCK_EX) || fstat(d->dir, &a) ||
		    fstatat(d->store, d->name, &b, AT_SYMLINK_NOFOLLOW) || a.st_ino != b.st_ino)
			continue;
		d->fd = openat(d->dir, "root", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		return d->fd < 0 ? err_set(e, -errno, "make a file in %s", p.path) : 0;
	}
	return err_say(e, -EEXIST, "no name was free for a folder in %s", p.path);
}

static json_t *make_manifest(const char *type, const char *sum, uint64_t size, json_t *config,
			     json_t *more)
{
	json_t *m = json_pack("{s:s, s:s, s:I, s:o}", "type", type, "sha256", sum, "size",
			      (json_int_t)size, "config",
			      config ? json_incref(config) : json_object());
	char date[32];
	time_t now = time(NULL);
	struct tm tm;

	if (!m || !gmtime_r(&now, &tm))
		return m;
	strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%SZ", &tm);
	json_object_set_new(m, "date", json_string(date));
	if (more)
		json_object_update_missing(m, more);
	return m;
}

static int write_manifest(struct image_draft *d, const json_t *m, struct err *e)
{
	char *text = json_dumps(m, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	int rc = text ? store_replace(d->dir, "manifest", text, strlen(text), e) :
			err_set(e, -ENOMEM, "write the manifest");

	free(text);
	return rc;
}

static int put_in_place(struct image_draft *d, const char *id, const char *name, struct err *e)
{
	auto_fd lock = image_store_lock(d->store, e);

	if (lock < 0)
		return lock;
	if (faccessat(d->store, id, F_OK, 0)) {
		if (renameat(d->store, d->name, d->store, id))
			return err_set(e, -errno, "put the image in its place");
		d->name[0] = '\0';
	}
	(void)fsync(d->store);
	return name ? image_store_name(d->store, name, id, e) : 0;
}

int image_draft_commit(struct image_draft *d, const char *type, json_t *config, json_t *more,
		       const char *name, char id[static SUM_HEX], struct err *e)
{
	char sum[SUM_HEX];
	struct stat st;
	json_t *m;
	int rc = name ? image_name_check(name, e) : 0;

	if (rc)
		return rc;
	if (fchmod(d->fd, 0400) || fsync(d->fd) || fstat(d->fd, &st))
		return err_set(e, -errno, "write the image");
	if (sum_file(d->fd, sum))
		return err_say(e, -EIO, "the image cannot be read back");
	m = make_manifest(type, sum, (uint64_t)st.st_size, config, more);
	if (!m)
		return err_set(e, -ENOMEM, "make the manifest");
	rc = image_store_id(m, id, e);
	if (!rc)
		rc = write_manifest(d, m, e);
	json_decref(m);
	if (rc)
		return rc;
	image_store_checked(d->dir, d->fd);
	return put_in_place(d, id, name, e);
}

void image_draft_end(struct image_draft *d)
{
	if (d->store >= 0 && d->name[0])
		image_store_delete(d->store, d->name);
	fd_cleanup(&d->fd);
	fd_cleanup(&d->dir);
	fd_cleanup(&d->store);
	*d = (struct image_draft)IMAGE_DRAFT_NONE;
}
