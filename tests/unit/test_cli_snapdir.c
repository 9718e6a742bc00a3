/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "cli/machine/snapdir.h"

static char top[] = "/tmp/snapdir-XXXXXX";
static int root;

static void make_file(const char *path)
{
	int fd = openat(root, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	cr_assert_geq(fd, 0, "%s", path);
	close(fd);
}

static void make_folder(const char *name)
{
	cr_assert_eq(mkdirat(root, name, 0700), 0, "%s", name);
}

static ino_t number(const char *path)
{
	struct stat st;

	return fstatat(root, path, &st, AT_SYMLINK_NOFOLLOW) ? 0 : st.st_ino;
}

static void set_up(void)
{
	cr_assert(mkdtemp(top));
	root = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert_geq(root, 0);
}

static void tear_down(void)
{
	close(root);
	cr_assert_eq(rmdir(top), 0, "something is left in %s", top);
}

TestSuite(cli_snapdir, .init = set_up, .fini = tear_down);

Test(cli_snapdir, a_name_that_is_taken_is_not_replaced)
{
	make_folder("tmp-a");
	make_folder("a");
	make_file("a/state");
	cr_assert_eq(snapdir_publish(root, "tmp-a", "a"), -EEXIST);
	cr_assert(number("a/state"));
	cr_assert_eq(snapdir_publish(root, "tmp-a", "b"), 0);
	cr_assert(!number("tmp-a"));
	cr_assert_eq(snapdir_remove(root, "a"), 0);
	cr_assert_eq(snapdir_remove(root, "b"), 0);
}

Test(cli_snapdir, removing_follows_no_link)
{
	make_folder("real");
	make_file("real/state");
	cr_assert_eq(symlinkat("real", root, "link"), 0);
	cr_assert_neq(snapdir_remove(root, "link"), 0);
	cr_assert(number("real/state"));
	cr_assert_eq(unlinkat(root, "link", 0), 0);
	cr_assert_eq(snapdir_remove(root, "real"), 0);
	cr_assert_eq(snapdir_remove(root, "real"), -ENOENT);
}

Test(cli_snapdir, a_fork_goes_with_the_command_that_made_it)
{
	char mine[40], dead[40];
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	cr_assert_eq(waitpid(pid, NULL, 0), pid);
	snprintf(mine, sizeof(mine), SNAPDIR_FORK "%d", (int)getpid());
	snprintf(dead, sizeof(dead), SNAPDIR_FORK "%d", (int)pid);
	make_folder(mine);
	make_folder(dead);
	make_folder(SNAPDIR_FORK "x");
	cr_assert_eq(snapdir_sweep(root), 1);
	cr_assert(number(mine) && !number(dead) && number(SNAPDIR_FORK "x"));
	cr_assert_eq(snapdir_remove(root, mine), 0);
	cr_assert_eq(snapdir_remove(root, SNAPDIR_FORK "x"), 0);
}

Test(cli_snapdir, debris_is_swept_and_nothing_else)
{
	make_folder("tmp-x-1");
	make_file("tmp-x-1/memory");
	make_folder("gone-y-2");
	make_folder("tmpfile");
	make_folder("kept");
	cr_assert_eq(snapdir_sweep(root), 2);
	cr_assert(!number("tmp-x-1") && !number("gone-y-2"));
	cr_assert(number("kept") && number("tmpfile"));
	cr_assert_eq(snapdir_remove(root, "kept"), 0);
	cr_assert_eq(snapdir_remove(root, "tmpfile"), 0);
}

Test(cli_snapdir, links_are_the_same_files)
{
	int from;

	make_folder("one");
	make_file("one/state");
	make_file("one/memory");
	make_file("one/base");
	from = openat(root, "one", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert_eq(snapdir_link(from, root, "two"), 0);
	cr_assert_eq(number("two/memory"), number("one/memory"));
	cr_assert_eq(number("two/base"), number("one/base"));
	cr_assert_eq(snapdir_link(from, root, "two"), -EEXIST);
	close(from);
	cr_assert_eq(snapdir_remove(root, "one"), 0);
	cr_assert(number("two/memory"));
	cr_assert_eq(snapdir_remove(root, "two"), 0);
}

/* What was made anew under a template's name is not the memory that a machine has mapped. */
Test(cli_snapdir, a_base_that_was_replaced_is_not_the_same)
{
	struct snapdir_base b;
	char path[64];

	make_folder("t");
	make_file("t/memory");
	snprintf(path, sizeof(path), "%s/t", top);
	snapdir_base_note(&b, path);
	cr_assert(snapdir_base_same(&b));
	make_folder("u");
	make_file("u/memory");
	cr_assert_eq(renameat2(root, "t", root, "u", RENAME_EXCHANGE), 0);
	cr_assert(!snapdir_base_same(&b));
	cr_assert_eq(snapdir_remove(root, "t"), 0);
	cr_assert(!snapdir_base_same(&b));
	cr_assert_eq(snapdir_remove(root, "u"), 0);
	snapdir_base_note(&b, path);
	cr_assert(!snapdir_base_same(&b));
}
