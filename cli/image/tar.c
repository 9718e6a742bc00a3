/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tar.c - archives, by libarchive. Only formats and filters of its own are
 * turned on: none starts a program.
 *
 * In a layer, `.wh.NAME` takes NAME of the layers below away, and `.wh..wh..opq` all
 * that its folder has from them (OCI image specification, "Whiteouts"). As a marker may
 * come after what its own layer brings, a layer is read twice: markers first.
 */
#include <archive.h>
#include <archive_entry.h>
#include "cli/base/lazy.h"
#include "cli/image/source.h"

#define WHITEOUT	".wh."
#define OPAQUE		".wh..wh..opq"
#define PIECE		(1u << 16)

enum pass { ALL, MARKERS, FILES };

#define LIBARCHIVE(X) X(entry_gid) X(entry_hardlink) X(entry_hardlink_utf8) X(entry_mode) \
	X(entry_mtime) X(entry_mtime_nsec) X(entry_pathname) X(entry_pathname_utf8) X(entry_rdev) \
	X(entry_size) X(entry_symlink) X(entry_symlink_utf8) X(entry_uid) X(entry_xattr_next) \
	X(entry_xattr_reset) X(error_string) X(read_data_block) X(read_free) X(read_new) \
	X(read_next_header) X(read_open_fd) X(read_support_filter_bzip2) \
	X(read_support_filter_gzip) X(read_support_filter_xz) X(read_support_filter_zstd) \
	X(read_support_format_tar)

static struct {
#define POINTER(name) __typeof__(&archive_##name) (name);
	LIBARCHIVE(POINTER)
} la;

int image_preload(struct err *e)
{
#define CALL(name) { "archive_" #name, &la.name },
	static const struct lazy_call calls[] = { LIBARCHIVE(CALL) };

	return lazy_load("libarchive.so.13", calls, ARRAY_LEN(calls), e);
}

static const char *utf8_or(const char *utf8, const char *raw)
{
	return utf8 ? utf8 : raw;
}

/* ---- whiteouts ---- */

static bool is_marker(const char *path)
{
	const char *slash = strrchr(path, '/');

	return !strncmp(slash ? slash + 1 : path, WHITEOUT, strlen(WHITEOUT));
}

static int apply_marker(struct image_tree *t, const char *path, struct err *e)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	size_t dir = (size_t)(name - path);
	char at[4096];

	if (strlen(path) >= sizeof(at))
		return err_say(e, -ENAMETOOLONG, "a path of %zu bytes", strlen(path));
	memcpy(at, path, dir);
	at[dir] = '\0';
	if (!strcmp(name, OPAQUE))
		return image_tree_clear(t, at, e);
	if (!name[strlen(WHITEOUT)])
		return 0;
	memcpy(at + dir, name + strlen(WHITEOUT), strlen(name + strlen(WHITEOUT)) + 1);
	return image_tree_remove(t, at, e);
}

/* ---- entries ---- */

static int copy_data(struct image_tree *t, struct image_file *f, struct archive *a, struct err *e)
{
	const void *p;
	size_t len;
	la_int64_t off;
	int rc;

	while ((rc = la.read_data_block(a, &p, &len, &off)) == ARCHIVE_OK) {
		int bad = image_tree_write(t, f, (uint64_t)off, p, len, e);

		if (bad)
			return bad;
	}
	if (rc != ARCHIVE_EOF)
		return err_say(e, -EBADMSG, "the archive is damaged: %.150s",
			       utf8_or(la.error_string(a), "no more is known"));
	return 0;
}

static int copy_xattrs(struct image_file *f, struct archive_entry *ent, struct err *e)
{
	const char *name;
	const void *value;
	size_t len;

	la.entry_xattr_reset(ent);
	while (la.entry_xattr_next(ent, &name, &value, &len) == ARCHIVE_OK) {
		int rc = image_tree_xattr(f, name, value, len, e);

		if (rc)
			return rc;
	}
	return 0;
}

static void copy_attributes(struct image_file *f, struct archive_entry *ent)
{
	f->uid = (uint32_t)la.entry_uid(ent);
	f->gid = (uint32_t)la.entry_gid(ent);
	f->mtime = la.entry_mtime(ent);
	f->mtime_ns = (uint32_t)la.entry_mtime_nsec(ent) % 1000000000u;
	f->rdev = la.entry_rdev(ent);
}

static int add_entry(struct image_tree *t, const char *path, struct archive *a,
		     struct archive_entry *ent, struct err *e)
{
	const char *link = utf8_or(la.entry_hardlink_utf8(ent), la.entry_hardlink(ent));
	const char *target = utf8_or(la.entry_symlink_utf8(ent), la.entry_symlink(ent));
	mode_t mode = la.entry_mode(ent);
	struct image_file *f;
	int rc = 0;

	if (link)
		return image_tree_link(t, path, link, e);
	if (S_ISSOCK(mode) || !(mode & S_IFMT))
		return 0;
	f = image_tree_make(t, path, mode & (S_IFMT | 07777), e);
	if (!f)
		return e->code;
	copy_attributes(f, ent);
	if (S_ISLNK(mode))
		rc = image_tree_target(f, target ? target : "", e);
	if (!rc)
		rc = copy_xattrs(f, ent, e);
	if (!rc && S_ISREG(mode))
		rc = image_tree_size(t, f, (uint64_t)la.entry_size(ent), e);
	return rc || !S_ISREG(mode) ? rc : copy_data(t, f, a, e);
}

static int one_entry(struct image_tree *t, enum pass pass, struct archive *a,
		     struct archive_entry *ent, struct err *e)
{
	const char *path = utf8_or(la.entry_pathname_utf8(ent), la.entry_pathname(ent));
	int rc = 0;

	if (!path)
		return err_say(e, -EBADMSG, "the archive has a file without a name");
	if (pass != ALL && is_marker(path)) {
		if (pass == MARKERS)
			rc = apply_marker(t, path, e);
	} else if (pass != MARKERS) {
		rc = add_entry(t, path, a, ent, e);
	}
	return rc ? err_wrap(e, "%.80s", path) : 0;
}

static int read_all(struct image_tree *t, enum pass pass, int fd, struct err *e)
{
	struct archive *a;
	struct archive_entry *ent;
	int rc = image_preload(e), got = ARCHIVE_FATAL;

	if (rc)
		return rc;
	a = la.read_new();
	if (!a)
		return err_set(e, -ENOMEM, "read the archive");
	la.read_support_format_tar(a);
	la.read_support_filter_gzip(a);
	la.read_support_filter_bzip2(a);
	la.read_support_filter_xz(a);
	la.read_support_filter_zstd(a);
	if (la.read_open_fd(a, fd, PIECE) == ARCHIVE_OK)
		while (!rc && (got = la.read_next_header(a, &ent)) >= ARCHIVE_WARN &&
		       got != ARCHIVE_EOF)
			rc = one_entry(t, pass, a, ent, e);
	if (!rc && got != ARCHIVE_EOF)
		rc = err_say(e, -EBADMSG, "it is no whole tar archive: %.150s",
			     utf8_or(la.error_string(a), "no more is known"));
	la.read_free(a);
	return rc;
}

int image_from_tar(struct image_tree *t, int fd, struct err *e)
{
	return read_all(t, ALL, fd, e);
}

int image_from_layer(struct image_tree *t, int fd, struct err *e)
{
	int rc = read_all(t, MARKERS, fd, e);

	if (!rc && lseek(fd, 0, SEEK_SET) < 0)
		rc = err_set(e, -errno, "read a layer again");
	return rc ? rc : read_all(t, FILES, fd, e);
}

int image_finish(struct image_tree *t, struct err *e)
{
	static const struct { const char *name; mode_t mode; } needed[] = {
		{ "proc", 0555 }, { "sys", 0555 }, { "dev", 0755 }, { "run", 0755 },
		{ "tmp", 01777 },
	};

	for (size_t i = 0; i < ARRAY_LEN(needed); i++) {
		const struct image_file *f = image_tree_find(t, needed[i].name);

		if ((!f || !S_ISDIR(f->mode)) &&
		    !image_tree_make(t, needed[i].name, S_IFDIR | needed[i].mode, e))
			return e->code;
	}
	return 0;
}
