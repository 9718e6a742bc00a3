/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rootfs.c - a disk without a name is an unlinked file in the cache folder: it goes
 * with the last process that has it open, however that ends. It is as long as was
 * asked for and has no more blocks than were written; of a disk that stays, the guest's
 * discards give them back.
 *
 * Unless it is the copy of an image, it is formatted here, not in the guest, without checksums of
 * metadata, which would be computed in the guest's kernel at each access; a journal is for a
 * disk that is mounted again.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include "cli/image/pipe.h"
#include "cli/base/parse.h"
#include "cli/base/clone.h"
#include "cli/machine/rootfs.h"

#define APPLY_MS	600000	/* growing gigabytes takes long where guest kernels are emulated */
#define DISK		"disk"
#define DISK_NEW	"disk.new"

int rootfs_disk_flag(struct rootfs *r, const char *value, struct err *e)
{
	char min[32], max[32];
	int rc = parse_size(value, &r->disk, e);

	if (!rc && (r->disk < ROOTFS_DISK_MIN || r->disk > ROOTFS_DISK_MAX))
		return err_say(e, -EINVAL, "%s asked for, but a disk has from %s to %s", value,
			       parse_size_text(ROOTFS_DISK_MIN, min),
			       parse_size_text(ROOTFS_DISK_MAX, max));
	r->disk = (r->disk + 4095) & ~4095ull;
	return rc;
}

int rootfs_tmpfs_flag(struct rootfs *r, const char *value, struct err *e)
{
	const char *colon = strchrnul(value, ':');
	uint64_t size = 0;
	int rc = 0;

	if (*colon && strncmp(colon, ":size=", 6))
		return err_say(e, -EINVAL, "'%s' is not PATH or PATH:size=SIZE", value);
	if (*colon)
		rc = parse_size(colon + 6, &size, e);
	if (rc)
		return rc;
	if (*value != '/' || strspn(value, "/") == (size_t)(colon - value))
		return err_say(e, -EINVAL, "'%s' is not an absolute path below /", value);
	if (r->n_tmpfs == PROTO_TMPFS_MAX)
		return err_say(e, -EINVAL, "more than %u", PROTO_TMPFS_MAX);
	if (asprintf(&r->tmpfs[r->n_tmpfs], "%llu:%.*s", (unsigned long long)size,
		     (int)(colon - value), value) < 0)
		return err_set(e, -ENOMEM, "tmpfs");
	r->n_tmpfs++;
	return 0;
}

bool rootfs_whole(const struct rootfs *r)
{
	return r->ref && r->disk && !strcmp(r->image.type, "ext4");
}

int rootfs_open(struct rootfs *r, struct err *e)
{
	char want[32], have[32];
	int rc;

	if (r->read_only && r->disk)
		return err_say(e, -EINVAL, "--disk is where writes to the root go, and --read-only "
			       "forbids them; leave one out");
	rc = r->ref && r->image.fd < 0 ? image_open(&r->image, r->ref, false, e) : 0;
	if (!rc && rootfs_whole(r) && r->disk < r->image.size)
		return err_say(e, -EINVAL, "--disk: %s asked for, but the disk begins as a copy of "
			       "the image, which has %s; ask for more",
			       parse_size_text(r->disk, want),
			       parse_size_text(r->image.size, have));
	return rc;
}

/* ---- the disk ---- */

static int format(int fd, uint64_t size, bool journal, struct err *e)
{
	char path[64];
	const char *argv[] = { "mkfs.ext4", "-q", "-F", "-m", "0", "-b", "4096", "-E",
		"discard,root_owner=0:0", "-O", journal ? "^metadata_csum,^resize_inode,^orphan_file" :
		"^metadata_csum,^resize_inode,^orphan_file,^has_journal", path,
		journal ? "-J" : NULL, size < (256u << 20) ? "size=4" : "size=16", NULL };
	const char *search = getenv("PATH");
	char env[1024];
	struct image_pipe child;
	int rc;

	if (ftruncate(fd, (off_t)size))
		return err_set(e, -errno, "a disk of that size");
	/* By this process's number: the child has the descriptor no more. */
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)getpid(), fd);
	snprintf(env, sizeof(env), "PATH=%s:/usr/sbin:/sbin", search ? search : "/usr/bin:/bin");
	rc = image_pipe_start(&child, argv, env, e);
	return rc ? rc : image_pipe_end(&child, argv[0], e);
}

static int from_image(const struct rootfs *r, int fd, struct err *e)
{
	int rc = clone_file(r->image.fd, fd);

	if (!rc && ftruncate(fd, (off_t)r->disk))
		rc = -errno;
	return rc ? err_set(e, rc, "copy the image") : 0;
}

/* As a copy of a saved machine's, or of an image, or with a new file system. */
static int fill(const struct rootfs *r, int fd, int copy, bool journal, struct err *e)
{
	int rc;

	if (copy < 0)
		return rootfs_whole(r) ? from_image(r, fd, e) : format(fd, r->disk, journal, e);
	rc = clone_file(copy, fd);
	return rc ? err_set(e, rc, "copy the saved machine's disk") : 0;
}

/* Where the file system has no files without a name. */
static int make_unlinked(const char *dir)
{
	char path[PLACES_MAX + 16];
	int fd;

	snprintf(path, sizeof(path), "%s/disk-XXXXXX", dir);
	fd = mkostemp(path, O_CLOEXEC);
	if (fd >= 0)
		(void)unlink(path);
	return fd;
}

static int make_unnamed(const struct rootfs *r, int copy, struct err *e)
{
	struct place p;
	int rc = places_cache(&p, e);
	auto_fd fd = -1;

	if (rc)
		return rc;
	(void)mkdir(p.path, 0700);
	fd = open(p.path, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR))
		fd = make_unlinked(p.path);
	if (fd < 0)
		return err_set(e, -errno, "make a disk in %s", p.path);
	rc = fill(r, fd, copy, false, e);
	return rc ? rc : take_fd(&fd);
}

/* In a folder of a sandbox, which only its owner uses. */
static int make_named(struct rootfs *r, int copy, struct err *e)
{
	int dir = r->disk_dir, rc;
	auto_fd fd = copy >= 0 ? -1 : openat(dir, DISK, O_RDWR | O_NOFOLLOW | O_CLOEXEC);

	if (copy < 0 && (fd >= 0 || errno != ENOENT))
		return fd < 0 ? err_set(e, -errno, "open the sandbox's disk") : take_fd(&fd);
	(void)unlinkat(dir, DISK_NEW, 0);
	fd = openat(dir, DISK_NEW, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_set(e, -errno, "make the sandbox's disk");
	rc = fill(r, fd, copy, true, e);
	r->disk_new = !rc;
	if (!rc && copy < 0)
		rc = rootfs_settle(r, e);
	if (rc)
		(void)unlinkat(dir, DISK_NEW, 0);
	return rc ? rc : take_fd(&fd);
}

int rootfs_settle(struct rootfs *r, struct err *e)
{
	if (r->disk_new && renameat(r->disk_dir, DISK_NEW, r->disk_dir, DISK))
		return err_set(e, -errno, "give the sandbox's disk its name");
	r->disk_new = false;
	return 0;
}

int rootfs_disk(struct rootfs *r, int copy, struct err *e)
{
	if (!r->disk || r->disk_fd >= 0)
		return 0;
	r->disk_fd = r->disk_dir ? make_named(r, copy, e) : make_unnamed(r, copy, e);
	if (r->disk_fd < 0) {
		int rc = r->disk_fd;

		r->disk_fd = -1;
		err_wrap(e, "--disk");
		return rc;
	}
	return 0;
}

void rootfs_free(struct rootfs *r)
{
	image_close(&r->image);
	fd_cleanup(&r->disk_fd);
	r->disk_fd = -1;
	rootfs_no_tmpfs(r);
}

void rootfs_no_tmpfs(struct rootfs *r)
{
	while (r->n_tmpfs)
		free(r->tmpfs[--r->n_tmpfs]);
}

/* ---- in the guest ---- */

int rootfs_apply(const struct rootfs *r, struct client *c, bool bare, bool restored,
		 struct err *e)
{
	const char *tmpfs[PROTO_TMPFS_MAX];
	struct client_err ce = { 0 };
	bool whole = rootfs_whole(r);
	struct client_root x = { .type = r->ref && !whole ? r->image.type : NULL, .tmpfs = tmpfs,
				 .workdir = r->ref ? image_string(&r->image, "workdir") : NULL };

	if (!bare) {
		x.upper = whole ? PROTO_ROOT_WHOLE : r->disk ? PROTO_ROOT_DISK :
			  r->read_only ? PROTO_ROOT_NONE : PROTO_ROOT_TMPFS;
		x.flags = r->disk && r->disk_dir ? PROTO_ROOT_DISCARD : 0;
		x.n_tmpfs = r->n_tmpfs;
		for (size_t i = 0; i < r->n_tmpfs; i++)
			tmpfs[i] = r->tmpfs[i];
	}
	/* What a template has already, or the built-in root as it is. */
	if (x.upper == PROTO_ROOT_TMPFS && !x.n_tmpfs && (restored || !x.type))
		return 0;
	if (client_root(c, &x, APPLY_MS, &ce) < 0)
		return err_say(e, ce.code > 0 ? -ce.code : -EIO, "%.230s", ce.msg);
	return 0;
}
