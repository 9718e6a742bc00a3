/* SPDX-License-Identifier: Apache-2.0 */
/* snapsum.c - a section for each part. */
#include <fcntl.h>
#include <sys/stat.h>
#include "cli/base/crc.h"
#include "cli/machine/snapdir.h"
#include "cli/machine/snapsum.h"
#include "cli/share/cow.h"
#include "cli/share/saved.h"
#include "vmm/blob.h"

#define LIST_MAX 4096

struct part { uint64_t len; uint32_t crc, given; };	/* bytes, or entries of a folder */

static const struct { const char *name; uint32_t tag; bool large, folder; } parts[] = {
	{ SAVED_LIST, BLOB_TAG('L', 'I', 'S', 'T'), false, false },
	{ SAVED_STATE, BLOB_TAG('S', 'E', 'R', 'V'), false, false },
	{ SNAPDIR_IMAGE, BLOB_TAG('I', 'M', 'A', 'G'), false, false },
	{ SNAPDIR_DISK, BLOB_TAG('D', 'I', 'S', 'K'), true, false },
	{ SAVED_COW, BLOB_TAG('C', 'O', 'W', ' '), true, true },
};

static int failed(unsigned i, int rc, struct err *e)
{
	return err_set(e, rc, "read its %s %s", parts[i].name, parts[i].folder ? "folder" : "file");
}

/* 1: it is there, and *p says how; 0: it is not. */
static int look(int dir, unsigned i, bool all, struct part *p, struct err *e)
{
	bool folder = parts[i].folder;
	auto_fd fd = openat(dir, parts[i].name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;
	int rc = 0;

	*p = (struct part){ .given = all || !parts[i].large };
	if (fd < 0 || fstat(fd, &st))
		return fd < 0 && errno == ENOENT ? 0 : failed(i, -errno, e);
	if (folder ? !S_ISDIR(st.st_mode) : !S_ISREG(st.st_mode))
		return failed(i, -EBADMSG, e);
	if (!folder)
		p->len = (uint64_t)st.st_size;
	if (p->given)
		rc = folder ? cow_sum(fd, &p->len, &p->crc, e) : crc_file(fd, &p->crc);
	if (rc && !folder)
		failed(i, rc, e);
	return rc ? rc : 1;
}

/* ---- writing ---- */

static int write_list(int dir, const struct blob *b)
{
	auto_fd fd = openat(dir, SNAPSUM_FILE, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	ssize_t n = fd < 0 ? -1 : write(fd, b->p, b->len);

	if (n < 0 || fsync(fd))
		return -errno;
	return (size_t)n == b->len ? 0 : -ENOSPC;
}

int snapsum_write(int dir, bool all, struct err *e)
{
	bool any = false;
	struct part p;
	struct blob b;
	int rc = 0;

	blob_init(&b);
	for (unsigned i = 0; rc >= 0 && i < ARRAY_LEN(parts); i++) {
		rc = look(dir, i, all, &p, e);
		if (rc > 0)
			blob_put(&b, parts[i].tag, 0, &p, sizeof(p));
		any |= rc > 0;
	}
	if (rc >= 0) {
		rc = blob_seal(&b);
		if (!rc && any)
			rc = write_list(dir, &b);
		if (rc)
			err_set(e, rc, "note the snapshot's checksums");
	}
	blob_free(&b);
	return rc;
}

/* ---- comparing ---- */

static int damaged(unsigned i, struct err *e)
{
	return err_say(e, -EBADMSG, "its %s %s is damaged, or of another snapshot", parts[i].name,
		       parts[i].folder ? "folder" : "file");
}

/* 1: it has no checksum. */
static int compare(int dir, const struct blob *b, unsigned i, bool all, struct err *e)
{
	const char *name = parts[i].name, *kind = parts[i].folder ? "folder" : "file";
	struct part want = { 0 }, have;
	bool listed = b && blob_find(b, parts[i].tag, 0, &(size_t){ 0 });
	int rc = listed ? blob_get(b, parts[i].tag, 0, &want, sizeof(want), e) : 0;

	if (!rc)
		rc = look(dir, i, all && want.given, &have, e);
	if (rc < 0)
		return rc;
	if (!rc && listed)
		return err_say(e, -EBADMSG, "its %s %s is missing", name, kind);
	if (!rc)
		return 0;
	if (!b)
		return err_say(e, -EBADMSG, "its " SNAPSUM_FILE " file is missing");
	if (!listed)
		return damaged(i, e);
	if ((have.given || !parts[i].folder) && have.len != want.len)
		return err_say(e, -EBADMSG, "its %s %s has %llu %s, not %llu", name, kind,
			       (unsigned long long)have.len,
			       parts[i].folder ? "entries" : "bytes",
			       (unsigned long long)want.len);
	if (have.given && have.crc != want.crc)
		return damaged(i, e);
	return !want.given;
}

/* *b stays empty where there is no list. */
static int read_list(int dir, struct blob *b, struct err *e)
{
	auto_fd fd = openat(dir, SNAPSUM_FILE, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	auto_mem uint8_t *p = NULL;
	ssize_t n;
	int rc;

	if (fd < 0)
		return errno == ENOENT ? 0 : err_set(e, -errno, SNAPSUM_FILE);
	p = malloc(LIST_MAX);
	n = p ? read(fd, p, LIST_MAX) : -1;
	if (n < 0)
		return err_set(e, p ? -errno : -ENOMEM, SNAPSUM_FILE);
	rc = blob_open(b, take_ptr(&p), (size_t)n, e);
	return rc ? err_wrap(e, "its " SNAPSUM_FILE " file") : 0;
}

int snapsum_check(const char *path, bool all, struct err *e)
{
	auto_fd dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct blob b = { 0 };
	int rc = dir < 0 ? err_set(e, -errno, "open") : read_list(dir, &b, e), without = 0;

	for (unsigned i = 0; rc >= 0 && i < ARRAY_LEN(parts); i++) {
		rc = compare(dir, b.p ? &b : NULL, i, all, e);
		without |= rc > 0;
	}
	blob_free(&b);
	return rc < 0 ? err_wrap(e, "snapshot %.200s", path) : without;
}
