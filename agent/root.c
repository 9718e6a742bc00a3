// SPDX-License-Identifier: Apache-2.0
/*
 * root.c - from the built-in root to the one that was asked for.
 *
 *	/.sandbox/lower		the image, read-only
 *	/.sandbox/rw		tmpfs, or the second disk: `upper` and `work`
 *	/.sandbox/root		overlay of both, which becomes the root
 *
 * A disk that is a root by itself, a copy of an image, is mounted there without the others, and
 * its file system grows to the disk: here, as the kernel that has it mounted does it, and not on
 * the host, where it would be a stranger's bytes to parse.
 *
 * The root becomes the agent's own, too: so users, files to copy and links are
 * those of the image. Its program stays in the built-in root, which an open
 * folder keeps within reach. The new root is moved onto `/`, not only
 * changed into, because the kernel denies user namespaces to what was changed into;
 * /proc, /sys, /dev and /run move along with all that is mounted in them.
 *
 * A second request replaces the root of the first: a template is saved with
 * a tmpfs over its image, and an instance may want its disk there instead.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <linux/fs.h>

#include "agent/files.h"
#include "agent/root.h"

#define OURS	"/.sandbox"
#define LOWER	OURS "/lower"
#define RW	OURS "/rw"
#define NEW	OURS "/root"
#define FIRST	"dev/vda"	/* from the present root: that is where /dev is */
#define SECOND	"dev/vdb"
#define WAIT_NS	1000000
#define WAITS	20000u
#define EXT4_RESIZE	_IOW('f', 16, uint64_t)	/* EXT4_IOC_RESIZE_FS, which no header exports */

static bool is_init, image_there;
static bool over_image;		/* the root is a tmpfs over the image */
static int built_in = -1, now = -1;	/* roots */

void root_init(bool init)
{
	is_init = init;
}

/* ---- decoding ---------------------------------------------------------- */

/* "SIZE:PATH" */
static const char *tmpfs_attr(const struct proto_attr *a, struct root_req *r)
{
	const char *s = proto_attr_str(a, PROTO_PATH_MAX);
	struct root_tmpfs *t = &r->tmpfs[r->n_tmpfs];

	if (r->n_tmpfs == PROTO_TMPFS_MAX)
		return "too many tmpfs";
	t->size = 0;
	for (; s && *s >= '0' && *s <= '9'; s++)
		if (__builtin_mul_overflow(t->size, 10u, &t->size) ||
		    __builtin_add_overflow(t->size, (unsigned int)(*s - '0'), &t->size))
			return "bad size of a tmpfs";
	if (!s || s[0] != ':' || s[1] != '/' || !s[1 + strspn(s + 1, "/")])
		return "the path of a tmpfs is not absolute, or it is /";
	t->path = s + 1;
	r->n_tmpfs++;
	return NULL;
}

static const char *one_attr(const struct proto_attr *a, struct root_req *r)
{
	switch (a->key) {
	case PROTO_K_ROOT_TYPE:
		r->type = proto_attr_str(a, 16);
		if (!r->type || (strcmp(r->type, "erofs") && strcmp(r->type, "ext4")))
			return "the image's file system is neither erofs nor ext4";
		return NULL;
	case PROTO_K_ROOT_UPPER:
		return proto_attr_u64(a, &r->upper) < 0 || r->upper > PROTO_ROOT_WHOLE ?
			"bad kind of root" : NULL;
	case PROTO_K_ROOT_FLAGS:
		return proto_attr_u64(a, &r->flags) < 0 || r->flags >> 1 ?
			"bad flags of a root" : NULL;
	case PROTO_K_ROOT_SIZE:
		return proto_attr_u64(a, &r->size) < 0 ? "bad size" : NULL;
	case PROTO_K_TMPFS:
		return tmpfs_attr(a, r);
	case PROTO_K_ROOT_WORKDIR:
		r->workdir = proto_attr_str(a, PROTO_PATH_MAX);
		return r->workdir && r->workdir[0] == '/' ? NULL :
			"the folder to make is not absolute";
	default:
		return a->flags & PROTO_ATTR_MUST ? "unknown attribute" : NULL;
	}
}

int root_decode(const void *payload, size_t len, struct root_req *r, const char **why)
{
	struct proto_attr a;
	struct proto_rd rd;

	memset(r, 0, sizeof(*r));
	*why = NULL;
	proto_rd_init(&rd, payload, len);
	while (!*why && proto_rd_attr(&rd, &a))
		*why = one_attr(&a, r);
	if (!*why && rd.bad)
		*why = "truncated attribute";
	if (!*why && r->flags && r->upper != PROTO_ROOT_DISK && r->upper != PROTO_ROOT_WHOLE)
		*why = "flags of a disk without one";
	if (!*why && r->type && r->upper == PROTO_ROOT_WHOLE)
		*why = "an image below a disk that is the root";
	return *why ? -EBADMSG : 0;
}

/* ---- mounting; the agent's root is the built-in one, its folder the present one --------- */

static int make_dir(const char *path)
{
	return mkdir(path, 0755) < 0 && errno != EEXIST ? -errno : 0;
}

static int mount_at(const char *what, const char *at, const char *type, unsigned long flags,
		    const char *data)
{
	int rc = make_dir(at);

	if (rc < 0)
		return rc;
	return mount(what, at, type, flags, data) < 0 ? -errno : 0;
}

static int mount_tmpfs(const char *at, uint64_t size, const char *mode)
{
	char data[64];
	int n = snprintf(data, sizeof(data), "mode=%s", mode);

	if (size)
		snprintf(data + n, sizeof(data) - (size_t)n, ",size=%llu",
			 (unsigned long long)size);
	return mount("tmpfs", at, "tmpfs", MS_NOSUID | MS_NODEV, data) < 0 ? -errno : 0;
}

/*
 * A disk that comes with a restore has its size once the kernel has heard of it: a
 * driver's work that an interrupt starts, not something that can be waited for otherwise.
 */
static int wait_for_disk(uint64_t *bytes)
{
	const struct timespec ts = { 0, WAIT_NS };
	uint64_t size = 0;
	int fd = open(SECOND, O_RDONLY | O_CLOEXEC);

	for (unsigned int i = 0; fd >= 0 && i < WAITS; i++) {
		if (ioctl(fd, BLKGETSIZE64, &size) < 0 || size)
			break;
		nanosleep(&ts, NULL);
	}
	if (fd >= 0)
		close(fd);
	*bytes = size;
	return size ? 0 : -ENXIO;
}

/* ext4 on the second disk. */
static int mount_disk(const struct root_req *r, const char *at, uint64_t *bytes)
{
	int rc = wait_for_disk(bytes);

	return rc < 0 ? rc : mount_at(SECOND, at, "ext4", MS_NOATIME,
				      r->flags & PROTO_ROOT_DISCARD ? "discard" : NULL);
}

/* Nothing is done where it fills the disk already. */
static int grow(const char *at, uint64_t bytes)
{
	int fd = open(at, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;
	struct statfs s;
	uint64_t blocks;

	if (fd < 0 || fstatfs(fd, &s) < 0) {
		rc = -errno;
	} else {
		blocks = bytes / (uint64_t)s.f_bsize;
		if (ioctl(fd, EXT4_RESIZE, &blocks) < 0)
			rc = -errno;
	}
	if (fd >= 0)
		close(fd);
	return rc;
}

static int mount_whole(const struct root_req *r, const char **what)
{
	uint64_t bytes;
	int rc;

	*what = "the disk";
	rc = mount_disk(r, NEW, &bytes);
	if (rc < 0)
		return rc;
	*what = "the disk's file system grows";
	return grow(NEW, bytes);
}

static int overlay(const struct root_req *r)
{
	const char *data = r->type ?
		"lowerdir=" LOWER ",upperdir=" RW "/upper,workdir=" RW "/work" :
		"lowerdir=/,upperdir=" RW "/upper,workdir=" RW "/work";
	int rc = make_dir(RW "/upper");

	if (rc == 0)
		rc = make_dir(RW "/work");
	return rc < 0 ? rc : mount_at("overlay", NEW, "overlay", 0, data);
}

/*
 * Overlayfs makes itself read-only when it cannot empty its work folder: so does a disk of which
 * the host could not write all. Nothing in that folder is of use, so another one takes its place;
 * the old one stays, as it may be what cannot be removed.
 */
static int other_work(const struct root_req *r)
{
	char aside[sizeof(RW) + 32];
	struct statfs s;
	int rc = -1;

	if (statfs(NEW, &s) < 0)
		return -errno;
	if (!(s.f_flags & ST_RDONLY))
		return 0;
	if (umount2(NEW, 0) < 0)
		return -errno;
	for (unsigned int i = 0; i < 100 && rc < 0; i++) {
		snprintf(aside, sizeof(aside), RW "/work.%u", i);
		rc = rename(RW "/work", aside);
	}
	return overlay(r);	/* which can only be read if it has to be the old one */
}

/* What is written goes to RW. */
static int mount_overlay(const struct root_req *r, const char **what)
{
	int rc = make_dir(RW);
	uint64_t bytes;

	*what = r->upper == PROTO_ROOT_DISK ? "the disk" : "a tmpfs over the image";
	if (rc == 0 && r->upper == PROTO_ROOT_DISK)
		rc = mount_disk(r, RW, &bytes);
	else if (rc == 0)
		rc = mount_tmpfs(RW, r->size, "0755");
	if (rc < 0)
		return rc;
	*what = "the overlay";
	rc = overlay(r);
	return rc < 0 ? rc : other_work(r);
}

/* ---- changing over ----------------------------------------------------- */

static int move_one(int to, const char *name)
{
	/* Where it cannot be made it may be there. */
	(void)!mkdirat(to, name, 0755);
	return syscall(SYS_move_mount, now, name, to, name, 0) < 0 ? -errno : 0;
}

static int move_mounts(int to, const char **what)
{
	static const char *const needed[] = { "proc", "dev", "sys", "run" };
	int rc;

	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		*what = needed[i];
		rc = move_one(to, needed[i]);
		if (rc < 0)
			return rc;
	}
	/* Its own /tmp, as containers have it: a tmpfs is in the way of big files. */
	*what = "tmp";
	if (mkdirat(to, "tmp", 01777) == 0 && fchmodat(to, "tmp", 01777, 0) < 0)
		return -errno;
	return 0;
}

/* `to` becomes the root; what is the root now goes, unless it is the built-in one. */
static int enter(int to)
{
	if (now != built_in && (fchdir(now) < 0 || umount2(".", MNT_DETACH) < 0))
		return -errno;
	if (fchdir(to) < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 ||
	    chdir("/") < 0)
		return -errno;
	if (now != built_in)
		close(now);
	now = to;
	return 0;
}

static int change_root(const struct root_req *r, const char **what)
{
	int rc = 0, to;

	*what = "the built-in root";
	if (built_in < 0)
		now = built_in = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (built_in < 0 || fchdir(built_in) < 0 || chroot(".") < 0 || fchdir(now) < 0)
		return -errno;
	(void)make_dir(OURS);
	if (r->type && !image_there) {
		*what = "the image";
		rc = mount_at(FIRST, LOWER, r->type, MS_RDONLY, NULL);
		image_there = rc == 0;
	}
	if (rc == 0)
		rc = r->upper == PROTO_ROOT_WHOLE ? mount_whole(r, what) : mount_overlay(r, what);
	if (rc < 0)
		return rc;
	to = open(NEW, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (to < 0)
		return -errno;
	rc = move_mounts(to, what);
	if (rc < 0)
		return rc;
	*what = "the new root";
	return enter(to);
}

/*
 * A clone's identity is written to it while its command waits; in a template the copy that
 * an overlay makes of a file before it changes is made already.
 */
static void copy_up(void)
{
	int fd = open("/etc/machine-id", O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0444);

	if (fd >= 0)
		close(fd);
}

/*
 * What a container runtime gives to an image that lacks it: a name for the loopback
 * address, and the folder in which its commands start. A folder that cannot be made is
 * the error of the first command that starts there.
 */
static void complete(const struct root_req *r)
{
	static const char hosts[] = "127.0.0.1\tlocalhost\n::1\tlocalhost\n";
	int fd;

	(void)make_dir("/etc");
	fd = open("/etc/hosts", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd >= 0) {
		(void)!write(fd, hosts, sizeof(hosts) - 1);
		close(fd);
	}
	if (r->workdir)
		(void)files_make_parents(r->workdir, 0755, true);
}

/* Read-only, but for what programs cannot do without. */
static int close_root(const char **what)
{
	int rc = mount_tmpfs("/tmp", 0, "1777");

	*what = "a read-only root";
	if (rc < 0)
		return rc;
	return mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) < 0 ? -errno : 0;
}

static int apply(const struct root_req *r, const char **what)
{
	/* A tmpfs over the built-in root would be a tmpfs over a tmpfs. */
	bool whole = r->upper == PROTO_ROOT_WHOLE, tmpfs = !whole && r->upper != PROTO_ROOT_DISK;
	bool change = tmpfs ? r->type && !over_image : true;
	int rc = change ? change_root(r, what) : 0;

	if (rc == 0 && change) {
		over_image = tmpfs;
		if (r->type || whole)
			complete(r);
		if (tmpfs)
			copy_up();
	}
	for (unsigned int i = 0; i < r->n_tmpfs && rc == 0; i++) {
		*what = r->tmpfs[i].path;
		rc = files_make_parents(r->tmpfs[i].path, 0755, true);
		if (rc == 0)
			rc = mount_tmpfs(r->tmpfs[i].path, r->tmpfs[i].size, "1777");
	}
	if (rc == 0 && r->upper == PROTO_ROOT_NONE)
		rc = close_root(what);
	return rc;
}

void root_request(struct conn *c, const struct proto_hdr *h, const uint8_t *payload)
{
	static struct root_req r;
	const char *what = "root";
	char msg[PROTO_MSG_MAX];
	int rc;

	if (!is_init) {
		conn_error(c, h, EPERM, "the agent is not the init of a guest");
		return;
	}
	if (root_decode(payload, h->len, &r, &what) < 0) {
		conn_error(c, h, EINVAL, what);
		return;
	}
	rc = apply(&r, &what);
	if (rc == 0) {
		conn_send_empty(c, PROTO_DONE, h->tag);
		return;
	}
	snprintf(msg, sizeof(msg), "root file system: %.200s: %s", what, strerror(-rc));
	conn_error(c, h, -rc, msg);
}
