/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include "cli/base/crc.h"
#include "cli/base/rmtree.h"
#include "cli/machine/snapsum.h"

#define DISK	(8 << 20)

static char top[] = "/var/tmp/snapsum-XXXXXX";	/* on a disk: tmpfs may know no attributes */
static int root;
static struct err e;

static void put(const char *name, const void *p, size_t len, off_t at)
{
	int fd = openat(root, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	cr_assert_eq(pwrite(fd, p, len, at), (ssize_t)len, "%s", name);
	close(fd);
}

static void flip(const char *name, off_t at)
{
	int fd = openat(root, name, O_RDWR | O_CLOEXEC);
	char c;

	cr_assert_eq(pread(fd, &c, 1, at), 1, "%s", name);
	c ^= 8;
	cr_assert_eq(pwrite(fd, &c, 1, at), 1, "%s", name);
	close(fd);
}

static void cut(const char *name, off_t len)
{
	int fd = openat(root, name, O_RDWR | O_CLOEXEC);

	cr_assert_eq(ftruncate(fd, len), 0, "%s", name);
	close(fd);
}

static void move(const char *from, const char *to)
{
	cr_assert_eq(renameat(root, from, root, to), 0, "%s", from);
}

static void set_up(void)
{
	char many[100000];

	memset(many, 'x', sizeof(many));
	cr_assert(mkdtemp(top));
	root = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	put("shares", "0\0cow\0/a\0/b", 12, 0);
	put("fs", many, sizeof(many), 0);
	put("image", "sha256", 6, 0);
	put("disk", many, sizeof(many), 3 << 20);
	cut("disk", DISK);
	cr_assert_eq(mkdirat(root, "cow", 0700), 0);
	cr_assert_eq(mkdirat(root, "cow/1", 0700), 0);
	cr_assert_eq(mkdirat(root, "cow/1/tree", 0750), 0);
	put("cow/1/tree/file", "content", 7, 0);
	put("cow/1/tree/other", "", 0, 0);
	cr_assert_eq(symlinkat("target", root, "cow/1/tree/link"), 0);
	cr_assert_eq(mknodat(root, "cow/1/tree/white", S_IFCHR | 0600, makedev(0, 0)), 0);
}

static void tear_down(void)
{
	close(root);
	cr_assert_eq(rmtree(AT_FDCWD, top), 0);
}

TestSuite(cli_snapsum, .init = set_up, .fini = tear_down);

static void good(bool all, int without)
{
	cr_assert_eq(snapsum_check(top, all, &e), without, "%s", e.msg);
}

/* @where: is it seen without reading all, too? */
static void refused(const char *sentence, bool always)
{
	cr_assert_eq(snapsum_check(top, true, &e), -EBADMSG, "not refused: %s", sentence);
	cr_assert(strstr(e.msg, sentence), "it said '%s', not '%s'", e.msg, sentence);
	cr_assert(strstr(e.msg, top), "it said '%s'", e.msg);
	cr_assert_eq(snapsum_check(top, false, &e), always ? -EBADMSG : 0, "%s", sentence);
}

Test(cli_snapsum, a_bit_that_is_another_is_found_in_each_part)
{
	static const struct { const char *file, *sentence; off_t at; bool always; } all[] = {
		{ "shares", "its shares file is damaged", 3, true },
		{ "fs", "its fs file is damaged", 99999, true },
		{ "image", "its image file is damaged", 0, true },
		{ "disk", "its disk file is damaged", (3 << 20) + 7, false },
		{ "disk", "its disk file is damaged", 0, false },
		{ "disk", "its disk file is damaged", DISK - 1, false },
		{ "cow/1/tree/file", "its cow folder is damaged", 2, false },
		{ "parts", "its parts file: the state is damaged", 50, true },
	};

	cr_assert_eq(snapsum_write(root, true, &e), 0, "%s", e.msg);
	good(true, 0);
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		flip(all[i].file, all[i].at);
		refused(all[i].sentence, all[i].always);
		flip(all[i].file, all[i].at);
		good(true, 0);
	}
}

Test(cli_snapsum, what_is_too_short_or_too_long_is_found)
{
	cr_assert_eq(snapsum_write(root, true, &e), 0, "%s", e.msg);
	cut("disk", DISK - 4096);
	refused("its disk file has 8384512 bytes, not 8388608", true);
	cut("disk", DISK + 4096);
	refused("its disk file has 8392704 bytes, not 8388608", true);
	cut("disk", DISK);
	cut("fs", 99999);
	refused("its fs file has 99999 bytes, not 100000", true);
	put("fs", "x", 1, 99999);
	cut("cow/1/tree/other", 1);
	refused("its cow folder is damaged", false);
	cut("cow/1/tree/other", 0);
	good(true, 0);
	cut("parts", 100);
	refused("its parts file: the state is truncated", true);
	cut("parts", 0);
	refused("its parts file: this is not a saved state", true);
}

Test(cli_snapsum, what_is_missing_or_too_much_is_named)
{
	static const char *const all[] = { "shares", "fs", "image", "disk", "cow" };
	char sentence[80];

	cr_assert_eq(snapsum_write(root, true, &e), 0, "%s", e.msg);
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		move(all[i], "away");
		snprintf(sentence, sizeof(sentence), "its %s %s is missing", all[i],
			 i == 4 ? "folder" : "file");
		refused(sentence, true);
		move("away", all[i]);
	}
	move("parts", "away");
	refused("its parts file is missing", true);
	move("disk", "gone");
	cr_assert_eq(snapsum_write(root, true, &e), 0, "%s", e.msg);
	move("gone", "disk");
	refused("its disk file is damaged, or of another snapshot", true);
}

Test(cli_snapsum, changes_in_shares_are_more_than_contents)
{
	struct stat st;

	cr_assert_eq(fstatat(root, "cow/1/tree/file", &st, 0), 0);
	cr_assert_eq(snapsum_write(root, true, &e), 0, "%s", e.msg);
	move("cow/1/tree/file", "cow/1/tree/elif");
	refused("its cow folder is damaged", false);
	move("cow/1/tree/elif", "cow/1/tree/file");
	put("cow/1/tree/new", "", 0, 0);
	refused("its cow folder has 7 entries, not 6", false);
	cr_assert_eq(unlinkat(root, "cow/1/tree/new", 0), 0);
	cr_assert_eq(fchmodat(root, "cow/1/tree/file", 0644, 0), 0);
	refused("its cow folder is damaged", false);
	cr_assert_eq(fchmodat(root, "cow/1/tree/file", 0600, 0), 0);
	good(true, 0);
	cr_assert_eq(unlinkat(root, "cow/1/tree/link", 0), 0);
	cr_assert_eq(symlinkat("tarGet", root, "cow/1/tree/link"), 0);
	refused("its cow folder is damaged", false);
}

Test(cli_snapsum, attributes_are_compared_in_any_order)
{
	int fd = openat(root, "cow/1/tree", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	cr_assert_eq(fsetxattr(fd, "user.a", "1", 1, 0), 0);
	cr_assert_eq(fsetxattr(fd, "user.b", "2", 1, 0), 0);
	cr_assert_eq(snapsum_write(root, true, &e), 0, "%s", e.msg);
	cr_assert_eq(fremovexattr(fd, "user.a"), 0);
	refused("its cow folder is damaged", false);
	cr_assert_eq(fsetxattr(fd, "user.a", "1", 1, 0), 0);
	good(true, 0);
	cr_assert_eq(fsetxattr(fd, "user.b", "1", 1, 0), 0);
	refused("its cow folder is damaged", false);
	close(fd);
}

Test(cli_snapsum, a_fork_has_sums_of_what_is_small)
{
	cr_assert_eq(snapsum_write(root, false, &e), 0, "%s", e.msg);
	good(true, 1);
	flip("disk", 3 << 20);
	flip("cow/1/tree/file", 0);
	good(true, 1);
	flip("shares", 0);
	refused("its shares file is damaged", true);
}

Test(cli_snapsum, a_folder_of_memory_alone_needs_no_list)
{
	static const char *const all[] = { "shares", "fs", "image", "disk", "cow" };

	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		cr_assert_eq(rmtree(root, all[i]), 0);
	cr_assert_eq(snapsum_write(root, true, &e), 0, "%s", e.msg);
	cr_assert(faccessat(root, "parts", F_OK, 0), "there is a list");
	good(true, 0);
}

Test(cli_snapsum, zeroes_that_take_room_are_holes)
{
	static char zeroes[1 << 20];
	uint32_t before, after;
	int fd = openat(root, "disk", O_RDWR | O_CLOEXEC);

	cr_assert_eq(crc_file(fd, &before), 0);
	cr_assert_eq(pwrite(fd, zeroes, sizeof(zeroes), 1000), (ssize_t)sizeof(zeroes));
	cr_assert_eq(crc_file(fd, &after), 0);
	cr_assert_eq(before, after);
	cr_assert_eq(ftruncate(fd, DISK + 5), 0);	/* the last block is a part of one */
	cr_assert_eq(pwrite(fd, "x", 1, DISK + 4), 1);
	cr_assert_eq(crc_file(fd, &after), 0);
	cr_assert_neq(before, after);
	close(fd);
}
