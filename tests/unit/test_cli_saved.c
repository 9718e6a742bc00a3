/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include "cli/base/clone.h"
#include "cli/base/rmtree.h"
#include "cli/share/cow.h"
#include "cli/share/saved.h"

static char top[] = "/var/tmp/saved-XXXXXX";	/* on a disk: tmpfs may know no attributes */
static int root;
static struct err e;

static void set_up(void)
{
	cr_assert(mkdtemp(top));
	root = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert_geq(root, 0);
}

static void tear_down(void)
{
	close(root);
	cr_assert_eq(rmtree(AT_FDCWD, top), 0);
}

TestSuite(cli_saved, .init = set_up, .fini = tear_down);

static void add(struct shares *s, unsigned id, const char *src, const char *dst,
		enum share_mode mode)
{
	s->v[s->n++] = (struct share){ .id = id, .src = strdup(src), .dst = strdup(dst),
				       .mode = mode };
}

static void put(const char *name, const char *text, size_t len)
{
	int fd = openat(root, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	cr_assert_eq(write(fd, text, len), (ssize_t)len, "%s", name);
	close(fd);
}

/* ---- the list ---- */

Test(cli_saved, a_list_comes_back_whatever_is_in_the_names)
{
	struct shares s = { 0 }, was = { 0 };

	add(&s, 3, "/a\nb\xff", "/x y", SHARE_COW);
	add(&s, 0, "/c", "/z", SHARE_RO);
	cr_assert_eq(saved_write(root, &s, &e), 0, "%s", e.msg);
	cr_assert_eq(saved_read(root, &was, &e), 0, "%s", e.msg);
	cr_assert_eq(was.n, 2);
	cr_assert_eq(was.v[0].id, 3);
	cr_assert_str_eq(was.v[0].src, "/a\nb\xff");
	cr_assert_str_eq(was.v[0].dst, "/x y");
	cr_assert(was.v[0].mode == SHARE_COW && was.v[1].mode == SHARE_RO);
	cr_assert(was.v[0].mounted && was.v[1].mounted);
	shares_free(&s);
	shares_free(&was);
}

#define REFUSED(text) do { struct shares was_ = { 0 }; \
	put("shares", text, sizeof(text) - 1); \
	cr_assert_eq(saved_read(root, &was_, &e), -EBADMSG, "%s", text); \
	cr_assert(strstr(e.msg, "the list of shared folders is damaged"), "%s", e.msg); \
	shares_free(&was_); } while (0)

Test(cli_saved, a_damaged_list_is_refused)
{
	struct shares was = { 0 };

	cr_assert_eq(saved_read(root, &was, &e), 0, "no list is an empty one");
	REFUSED("0\0rw\0/a\0/b");		/* no end */
	REFUSED("0\0rw\0/a\0");			/* no place */
	REFUSED("64\0rw\0/a\0/b\0");		/* no such number */
	REFUSED("x\0rw\0/a\0/b\0");
	REFUSED("\0rw\0/a\0/b\0");
	REFUSED("0\0rx\0/a\0/b\0");		/* no such mode */
	REFUSED("0\0rw\0/a\0b\0");		/* no path */
}

Test(cli_saved, more_shares_than_there_can_be_are_refused)
{
	static char text[65 * 11 + 1];
	struct shares was = { 0 };
	size_t n = 0;

	for (unsigned i = 0; i < 65; i++) {
		memcpy(text + n, "1\0rw\0/a\0/b", 11);
		n += 11;
	}
	put("shares", text, n);
	cr_assert_eq(saved_read(root, &was, &e), -EBADMSG);
	shares_free(&was);
}

/* ---- then and now ---- */

Test(cli_saved, the_same_share_keeps_its_number_and_its_mount)
{
	struct shares was = { 0 }, now = { 0 };

	add(&was, 5, "/same", "/s", SHARE_RW);
	add(&was, 1, "/other", "/o", SHARE_RW);
	add(&was, 2, "/mode", "/m", SHARE_RO);
	for (size_t i = 0; i < was.n; i++)
		was.v[i].mounted = true;
	add(&now, 0, "/same", "/s", SHARE_RW);
	add(&now, 1, "/another", "/o", SHARE_RW);
	add(&now, 2, "/mode", "/m", SHARE_RW);
	add(&now, 5, "/new", "/n", SHARE_RW);
	saved_match(&was, &now);
	cr_assert(now.v[0].known && now.v[0].mounted);
	cr_assert_eq(now.v[0].id, 5);
	for (size_t i = 1; i < now.n; i++) {
		cr_assert(!now.v[i].known && !now.v[i].mounted, "%zu", i);
		for (size_t k = 0; k < was.n; k++)
			cr_assert_neq(now.v[i].id, was.v[k].id, "%zu: a number in use", i);
		for (size_t k = 0; k < i; k++)
			cr_assert_neq(now.v[i].id, now.v[k].id, "%zu and %zu", i, k);
	}
	cr_assert(!was.v[0].mounted && was.v[1].mounted && was.v[2].mounted);
	shares_free(&was);
	shares_free(&now);
}

Test(cli_saved, what_is_inside_of_one_that_goes_is_mounted_again)
{
	struct shares was = { 0 }, now = { 0 };

	add(&was, 0, "/out", "/o", SHARE_RW);
	add(&was, 1, "/in", "/o/in", SHARE_COW);
	was.v[0].mounted = was.v[1].mounted = true;
	add(&now, 0, "/in", "/o/in", SHARE_COW);
	saved_match(&was, &now);
	cr_assert(now.v[0].known && !now.v[0].mounted);
	cr_assert_eq(now.v[0].id, 1);
	shares_free(&was);
	shares_free(&now);
}

/* ---- copies ---- */

Test(cli_saved, holes_stay_holes)
{
	int from = openat(root, "from", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	int to = openat(root, "to", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	struct stat a, b;
	char c;

	cr_assert_eq(ftruncate(from, 64 << 20), 0);
	cr_assert_eq(pwrite(from, "x", 1, 40 << 20), 1);
	cr_assert_eq(clone_file(from, to), 0);
	cr_assert(!fstat(from, &a) && !fstat(to, &b));
	cr_assert_eq(a.st_size, b.st_size);
	cr_assert_lt(b.st_blocks, 4096, "%ld blocks", (long)b.st_blocks);
	cr_assert(pread(to, &c, 1, 40 << 20) == 1 && c == 'x');
	close(from);
	close(to);
}

static struct stat look(const char *path)
{
	struct stat st;

	cr_assert_eq(fstatat(root, path, &st, AT_SYMLINK_NOFOLLOW), 0, "%s", path);
	return st;
}

static int open_folder(const char *name)
{
	return openat(root, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void make_changes(void)
{
	int fd;

	cr_assert(!mkdirat(root, "a", 0700) && !mkdirat(root, "a/d", 0755) &&
		  !mkdirat(root, "b", 0700));
	put("a/d/f", "text", 4);
	put("a/closed", "x", 1);
	cr_assert_eq(fchmodat(root, "a/closed", 0, 0), 0);
	cr_assert_eq(linkat(root, "a/d/f", root, "a/second", 0), 0);
	cr_assert_eq(symlinkat("/etc/passwd", root, "a/link"), 0);
	cr_assert_eq(mknodat(root, "a/gone", S_IFCHR, makedev(0, 0)), 0);
	fd = openat(root, "a/d/f", O_RDWR | O_CLOEXEC);
	cr_assert_eq(fsetxattr(fd, "user.sandbox.origin", "1 2 3 4", 7, 0), 0);
	close(fd);
	fd = open_folder("a/d");
	cr_assert_eq(fsetxattr(fd, "user.sandbox.opaque", "y", 1, 0), 0);
	close(fd);
	cr_assert_eq(fchmodat(root, "a/d", 0500, 0), 0);
	cr_assert_eq(utimensat(root, "a/d", (struct timespec[]){ { 5, 0 }, { 6, 7 } }, 0), 0);
}

Test(cli_saved, changes_are_copied_with_all_that_makes_them)
{
	char value[16];
	int from, to, fd;

	make_changes();
	from = open_folder("a");
	to = open_folder("b");
	cr_assert_eq(cow_clone(from, to, false, &e), 0, "%s", e.msg);
	cr_assert_eq(look("b/d").st_mode, S_IFDIR | 0500);
	cr_assert(look("b/d").st_mtim.tv_sec == 6 && look("b/d").st_mtim.tv_nsec == 7);
	cr_assert_eq(look("b/closed").st_mode, S_IFREG);
	cr_assert_eq(look("a/closed").st_mode, S_IFREG, "the first one's mode");
	cr_assert(S_ISLNK(look("b/link").st_mode));
	cr_assert(cow_is_whiteout(&(struct stat[]){ look("b/gone") }[0]));
	cr_assert_eq(look("b/second").st_ino, look("b/d/f").st_ino, "two names of one file");
	cr_assert_neq(look("b/second").st_ino, look("a/second").st_ino);
	fd = openat(root, "b/d/f", O_RDONLY | O_CLOEXEC);
	cr_assert_eq(fgetxattr(fd, "user.sandbox.origin", value, sizeof(value)), 7);
	close(fd);
	fd = open_folder("b/d");
	cr_assert_eq(fgetxattr(fd, "user.sandbox.opaque", value, sizeof(value)), 1);
	close(fd);
	close(from);
	close(to);
}

Test(cli_saved, links_are_the_same_files_in_other_folders)
{
	int from, to;

	make_changes();
	from = open_folder("a");
	to = open_folder("b");
	cr_assert_eq(cow_clone(from, to, true, &e), 0, "%s", e.msg);
	cr_assert_eq(look("b/d/f").st_ino, look("a/d/f").st_ino);
	cr_assert_eq(look("b/gone").st_ino, look("a/gone").st_ino);
	cr_assert_neq(look("b/d").st_ino, look("a/d").st_ino);
	close(from);
	close(to);
}

Test(cli_saved, folders_that_are_too_deep_are_refused)
{
	int from, to, at;

	cr_assert(!mkdirat(root, "a", 0700) && !mkdirat(root, "b", 0700));
	from = open_folder("a");
	to = open_folder("b");
	at = dup(from);
	for (unsigned i = 0; i < 201; i++) {
		int next;

		cr_assert_eq(mkdirat(at, "d", 0700), 0);
		next = openat(at, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		close(at);
		at = next;
	}
	close(at);
	cr_assert_eq(cow_clone(from, to, false, &e), -ELOOP);
	close(from);
	close(to);
}
