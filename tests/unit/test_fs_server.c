/* SPDX-License-Identifier: Apache-2.0 */
/* The file server's parts: cursor, names, inodes, requests, Landlock. No mount, no window. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/wait.h>
#include "devices/fs/confine.h"
#include "devices/fs/place.h"
#include "devices/fs/state.h"
#include "devices/fs/tree.h"
#include "tests/unit/host.h"
#include "vmm/base.h"

static char top[64];
static struct fs fs;

static int drop(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static int folder(const char *name)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", top, name);
	cr_assert(!mkdir(path, 0755) || errno == EEXIST);
	fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	cr_assert(fd >= 0);
	return fd;
}

static void put(const char *name, const char *text)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", top, name);
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
	cr_assert(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

static void share(unsigned id, enum fs_mode mode, const char *name, const char *upper)
{
	struct err e = { 0 };
	int rc = share_add(&fs, id, mode, FS_CACHE_AUTO, 1000, 1000, folder(name),
			   upper ? folder(upper) : -1, &e);

	cr_assert(!rc, "%s", e.msg);
}

static void setup(void)
{
	strcpy(top, "/tmp/test-fs-XXXXXX");
	cr_assert(mkdtemp(top));
	cr_assert(!fs_open(&fs, 512, false));
	share(0, FS_RW, "a", NULL);
	put("a/f", "text");
}

static void teardown(void)
{
	fs_close(&fs);
	nftw(top, drop, 16, FTW_DEPTH | FTW_PHYS);
}

TestSuite(fs_server, .init = setup, .fini = teardown);

static uint8_t reply[8192];

/* A request; the error. The reply's payload is behind 16 bytes. */
static int ask(uint32_t op, uint64_t node, const void *body, size_t len)
{
	_Alignas(8) uint8_t buf[1024];
	struct fuse_in_header h = { .len = (uint32_t)(sizeof(h) + len), .opcode = op, .unique = 1,
				    .nodeid = node };
	struct fs_call c = { .head = buf, .head_len = sizeof(h) + len, .out = reply,
			     .room = sizeof(reply) };
	struct fuse_out_header out;
	size_t n;

	memcpy(buf, &h, sizeof(h));
	memcpy(buf + sizeof(h), body, len);
	n = fs_serve(&fs, &c);
	cr_assert(n >= sizeof(out));
	memcpy(&out, reply, sizeof(out));
	cr_assert_eq(out.len, n);
	return out.error;
}

static uint64_t look(uint64_t parent, const char *name)
{
	uint64_t node;

	cr_assert_eq(ask(FUSE_LOOKUP, parent, name, strlen(name) + 1), 0, "%s", name);
	memcpy(&node, reply + 16, sizeof(node));
	return node;
}

static void forget(uint64_t node, uint64_t n)
{
	inode_forget(&fs, node, n);
}

/* ---- cursor ------------------------------------------------------------------------------- */

Test(fs_server, a_cursor_never_overruns)
{
	const uint8_t bytes[] = { 1, 2, 3, 4, 5 };
	struct cursor c = { bytes, sizeof(bytes) };
	uint32_t four;
	uint64_t eight;

	cr_assert_eq(cursor_get(&c, &eight, 8), -EINVAL);
	cr_assert_eq(c.left, 5);
	cr_assert_eq(cursor_get(&c, &four, 4), 0);
	cr_assert_null(cursor_take(&c, 2));
	cr_assert_null(cursor_take(&c, SIZE_MAX));
	cr_assert_not_null(cursor_take(&c, 1));
	cr_assert_null(cursor_string(&c, 10));
	c = (struct cursor){ bytes, 5 };
	cr_assert_eq(cursor_get_grown(&c, &eight, 4, 8), 0);
	cr_assert_eq(c.left, 1);
	cr_assert_eq(eight >> 32, 0);
}

Test(fs_server, names_are_one_component)
{
	static const struct { const char *text; size_t len; int rc; } t[] = {
		{ "a", 2, 0 }, { "...", 4, 0 }, { ".a", 3, 0 }, { "", 1, -EINVAL },
		{ ".", 2, -EINVAL }, { "..", 3, -EINVAL }, { "a/b", 4, -EINVAL },
		{ "/", 2, -EINVAL }, { "no end", 6, -EINVAL }, { "a", 0, -EINVAL },
	};
	char longest[FS_NAME_MAX + 2];

	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		struct cursor c = { (const uint8_t *)t[i].text, t[i].len };
		const char *name;

		cr_expect_eq(cursor_name(&c, &name), t[i].rc, "'%s'", t[i].text);
	}
	memset(longest, 'x', sizeof(longest));
	longest[FS_NAME_MAX + 1] = 0;
	struct cursor c = { (const uint8_t *)longest, sizeof(longest) };
	const char *name;

	cr_assert_eq(cursor_name(&c, &name), -ENAMETOOLONG);
	c = (struct cursor){ (const uint8_t *)longest + 1, sizeof(longest) - 1 };
	cr_assert_eq(cursor_name(&c, &name), 0);
}

Test(fs_server, opening_follows_no_link_and_climbs_nowhere)
{
	int dir = folder("a"), fd;

	put("secret", "no");
	cr_assert(!symlinkat("../secret", dir, "up"));
	cr_assert(!symlinkat("f", dir, "beside"));
	cr_assert(!symlinkat(".", dir, "here"));
	cr_assert_eq(place_open_name(dir, "up", O_RDONLY, 0), -ELOOP);
	cr_assert_eq(place_open_name(dir, "beside", O_RDONLY, 0), -ELOOP);
	cr_assert_eq(place_open_name(dir, "here/f", O_RDONLY, 0), -ELOOP);
	cr_assert_eq(place_open_name(dir, "../secret", O_RDONLY, 0), -EXDEV);
	cr_assert_eq(place_open_name(dir, "/etc/passwd", O_RDONLY, 0), -EXDEV);
	fd = place_open_name(dir, "f", O_RDONLY, 0);
	cr_assert_geq(fd, 0);
	close(fd);
	close(dir);
}

/* ---- inodes ------------------------------------------------------------------------------- */

Test(fs_server, references_are_counted)
{
	uint64_t root = look(FUSE_ROOT_ID, "0"), f;
	size_t before = fs.inodes;

	f = look(root, "f");
	cr_assert_eq(look(root, "f"), f);
	cr_assert_eq(fs.inodes, before + 1);
	forget(f, 1);
	cr_assert_eq(ask(FUSE_GETATTR, f, (char[16]){ 0 }, 16), 0);
	forget(f, 1);
	cr_assert_eq(fs.inodes, before);
	cr_assert_eq(ask(FUSE_GETATTR, f, (char[16]){ 0 }, 16), -ESTALE);
	cr_assert_neq(look(root, "f"), f, "a number was used twice");
}

Test(fs_server, one_file_is_one_inode)
{
	char a[128], b[128];
	uint64_t root = look(FUSE_ROOT_ID, "0"), f = look(root, "f");

	snprintf(a, sizeof(a), "%s/a/f", top);
	snprintf(b, sizeof(b), "%s/a/g", top);
	cr_assert(!link(a, b));
	cr_assert_eq(look(root, "g"), f);
	/* The name used last goes; the other one is still known. */
	cr_assert_eq(ask(FUSE_UNLINK, root, "g", 2), 0);
	cr_assert_eq(ask(FUSE_GETATTR, f, (char[16]){ 0 }, 16), 0);
	cr_assert(!unlink(a));
	put("a/f", "another");
	cr_assert_eq(ask(FUSE_GETATTR, f, (char[16]){ 0 }, 16), -ESTALE, "another file, same name");
}

Test(fs_server, descriptors_of_directories_are_bounded)
{
	uint64_t root = look(FUSE_ROOT_ID, "0");
	uint64_t first = 0;
	char name[128];

	for (int i = 0; i < 300; i++) {
		uint64_t d;

		snprintf(name, sizeof(name), "a/d%d", i);
		close(folder(name));
		snprintf(name, sizeof(name), "a/d%d/f", i);
		put(name, "x");
		snprintf(name, sizeof(name), "d%d", i);
		d = look(root, name);
		(void)look(d, "f");
		first = first ? first : d;
	}
	cr_assert_leq(fs.dirfds, fs.dirfds_max);
	cr_assert_gt(fs.dirfds, 10);
	(void)look(first, "f");	/* its descriptor went, and comes again */
}

Test(fs_server, owners_are_mapped)
{
	struct fuse_attr_out out;
	uint64_t f = look(look(FUSE_ROOT_ID, "0"), "f");
	struct fuse_setattr_in in = { .valid = FATTR_UID | FATTR_GID, .uid = 7, .gid = 8 };

	cr_assert_eq(ask(FUSE_GETATTR, f, (char[16]){ 0 }, 16), 0);
	memcpy(&out, reply + 16, sizeof(out));
	cr_assert_eq(out.attr.uid, 1000);
	if (ask(FUSE_SETATTR, f, &in, sizeof(in)) == -EPERM)
		not_here("this file system has no attributes");
	memcpy(&out, reply + 16, sizeof(out));
	cr_assert_eq(out.attr.uid, 7);
	cr_assert_eq(out.attr.gid, 8);
}

/* ---- shares ------------------------------------------------------------------------------- */

Test(fs_server, shares_are_checked)
{
	struct err e;

	cr_assert_eq(share_add(&fs, 0, FS_RO, FS_CACHE_AUTO, 0, 0, folder("b"), -1, &e), -EEXIST);
	cr_assert_eq(share_add(&fs, FS_SHARES, FS_RO, FS_CACHE_AUTO, 0, 0, folder("b"), -1, &e),
		     -EINVAL);
	cr_assert_eq(share_add(&fs, 1, FS_COW, FS_CACHE_AUTO, 0, 0, folder("b"), -1, &e), -EINVAL);
	cr_assert_eq(share_add(&fs, 1, FS_RO, FS_CACHE_AUTO, 0, 0, folder("b"), folder("c"), &e),
		     -EINVAL);
	cr_assert_str_eq(e.msg, "cow, and only cow, needs a folder for the changes");
	cr_assert_eq(share_remove(&fs, 5), -ENOENT);
}

Test(fs_server, what_is_open_in_a_removed_share_is_stale)
{
	uint64_t f = look(look(FUSE_ROOT_ID, "0"), "f");

	cr_assert_eq(ask(FUSE_OPEN, f, (char[8]){ 0 }, 8), 0);
	cr_assert_eq(fs.handles, 1);
	cr_assert_eq(share_remove(&fs, 0), 0);
	cr_assert_eq(fs.handles, 0);
	cr_assert_eq(fs.dirfds, 0);
	cr_assert_eq(ask(FUSE_GETATTR, f, (char[16]){ 0 }, 16), -ESTALE);
	share(0, FS_RO, "a", NULL);
	cr_assert_eq(ask(FUSE_GETATTR, f, (char[16]){ 0 }, 16), -ESTALE);
	cr_assert_neq(look(look(FUSE_ROOT_ID, "0"), "f"), f);
}

Test(fs_server, a_lower_file_is_never_written)
{
	struct fuse_open_in in = { .flags = O_RDWR };
	char path[128], text[8] = "";
	uint64_t f;
	int fd;

	share(1, FS_COW, "low", "up");
	put("low/f", "low");
	f = look(look(FUSE_ROOT_ID, "1"), "f");
	if (ask(FUSE_OPEN, f, &in, sizeof(in)))
		not_here("this file system has no attributes");
	for (unsigned i = 0; i < fs.handles_max; i++)
		if (fs.handle[i])
			cr_assert_eq(pwrite(fs.handle[i]->fd, "new", 3, 0), 3);
	snprintf(path, sizeof(path), "%s/low/f", top);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	cr_assert_eq(read(fd, text, 3), 3);
	close(fd);
	cr_assert_str_eq(text, "low");
}

/* ---- the walls ---------------------------------------------------------------------------- */

/* A child's answer: what it gets by the share's own descriptor and "..", after the lock. */
static int climb(void)
{
	struct err e;
	int root = fs.share[0]->root[FS_UPPER], fd;

	if (confine_lock(&fs, &e))
		return 77;
	fd = openat(root, "f", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 1;
	if (openat(root, "../secret", O_RDONLY | O_CLOEXEC) >= 0 || errno != EACCES)
		return 2;
	if (openat(root, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC) >= 0 || errno != EACCES)
		return 3;
	if (openat(AT_FDCWD, "/etc/passwd", O_RDONLY | O_CLOEXEC) >= 0 || errno != EACCES)
		return 4;
	if (mkdirat(root, "../new", 0700) == 0 || errno != EACCES)
		return 5;
	return mkdirat(root, "new", 0700) ? 6 : 0;
}

/* A copy was made between looking and telling: the guest must not be told of the old file. */
Test(fs_server, what_changed_meanwhile_is_looked_for_again)
{
	struct inode *root, *n, *again;
	struct lookup l, now;

	share(1, FS_COW, "b", "b.upper");
	put("b/f", "text");
	root = fs.share[1]->node;
	cr_assert_eq(tree_find(&fs, root, "f", &l), 0);
	cr_assert_eq(l.f.layers, 1u << FS_LOWER);
	cr_assert_eq(inode_find(&fs, fs.share[1], root, "f", &l.f, true, &n), 0);
	cr_assert_eq(tree_raise(&fs, n, true), 0);
	l.f.must_hold = true;
	cr_assert_eq(inode_find(&fs, fs.share[1], root, "f", &l.f, true, &again), -EAGAIN);
	cr_assert_eq(tree_find(&fs, root, "f", &now), 0);
	now.f.must_hold = true;
	cr_assert_eq(inode_find(&fs, fs.share[1], root, "f", &now.f, true, &again), 0);
	cr_assert_eq(again, n);
	cr_assert_eq(n->layers, 1u << FS_UPPER);
	inode_put(&fs, n);
	inode_put(&fs, again);
	tree_found_end(&fs, &l);
	tree_found_end(&fs, &now);
}

Test(fs_server, behind_the_lock_only_the_shares_open)
{
	int status;
	pid_t pid;

	put("secret", "no");
	pid = fork();
	if (!pid)
		_exit(climb());
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		not_here("this kernel has no Landlock");
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "step %d", WEXITSTATUS(status));
}

/* ---- what is opened in a cow share may be the host's file --------------------------------- */

/* The folder of the share, with the host's file `f` in it. */
static uint64_t cow(void)
{
	close(folder("low"));
	put("low/f", "secret");
	share(1, FS_COW, "low", "up");
	return look(1, "1");
}

static unsigned mode_of(const char *name)
{
	char path[128];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", top, name);
	cr_assert(!stat(path, &st), "%s", name);
	return st.st_mode & 07777;
}

static int change_mode(uint64_t node)
{
	const struct fuse_setattr_in in = { .valid = FATTR_MODE, .mode = 0666 };

	return ask(FUSE_SETATTR, node, &in, sizeof(in));
}

static int link_as(uint64_t dir, uint64_t node, const char *name)
{
	struct { struct fuse_link_in in; char name[8]; } l = { .in = { node } };

	strcpy(l.name, name);
	return ask(FUSE_LINK, dir, &l, sizeof(l.in) + strlen(name) + 1);
}

Test(fs_server, one_that_create_finds_is_the_hosts_until_it_is_copied)
{
	struct { struct fuse_create_in in; char name[2]; } c = {
		{ .flags = O_RDONLY }, "f"
	};
	uint64_t dir = cow(), node;

	cr_assert_eq(ask(FUSE_CREATE, dir, &c, sizeof(c.in) + 2), 0);
	memcpy(&node, reply + 16, sizeof(node));
	cr_expect_eq(change_mode(node), 0);
	cr_expect_eq(mode_of("low/f"), 0644, "the host's");
	cr_expect_eq(mode_of("up/tree/f"), 0666, "the copy");
	cr_assert_eq(ask(FUSE_UNLINK, dir, "f", 2), 0);
	cr_expect_neq(link_as(dir, node, "g"), 0);
	cr_expect_eq(mode_of("low/f"), 0644, "the host's");
}

Test(fs_server, one_that_the_copy_has_not_reached_is_not_changed)
{
	uint64_t dir = cow(), node = look(dir, "f"), fh;
	struct inode *n = inode_get(&fs, node);
	char path[128];
	int fd;

	/* As if it had been opened before the copy, and became a handle after it. */
	snprintf(path, sizeof(path), "%s/low/f", top);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	cr_assert_eq(change_mode(node), 0);
	cr_assert_eq(ask(FUSE_UNLINK, dir, "f", 2), 0);
	cr_assert_eq(handle_new(&fs, n, fd, O_RDONLY, FS_LOWER, &fh), 0);
	cr_expect_eq(change_mode(node), -ESTALE);
	cr_expect_neq(link_as(dir, node, "g"), 0);
	cr_expect_eq(mode_of("low/f"), 0644);
	inode_put(&fs, n);
}

Test(fs_server, what_has_a_name_of_the_hosts_is_not_linked_to)
{
	uint64_t dir = cow(), node = look(dir, "f"), fh;
	struct inode *n = inode_get(&fs, node);
	char path[128];

	/* The guard of the guard before: even if a handle were taken for the upper layer's. */
	snprintf(path, sizeof(path), "%s/low/f", top);
	cr_assert_eq(change_mode(node), 0);
	cr_assert_eq(ask(FUSE_UNLINK, dir, "f", 2), 0);
	cr_assert_eq(handle_new(&fs, n, open(path, O_RDONLY | O_CLOEXEC), O_RDONLY, FS_UPPER, &fh),
		     0);
	cr_expect_eq(link_as(dir, node, "g"), -EPERM);
	inode_put(&fs, n);
}
