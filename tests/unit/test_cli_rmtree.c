/* SPDX-License-Identifier: Apache-2.0 */
/* Removing what a guest may have made: modes, depth, links, many folders. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include "cli/base/rmtree.h"

static char dir[64];
static int at;

static void set_up(void)
{
	strcpy(dir, "/tmp/sandbox-test-XXXXXX");
	cr_assert(mkdtemp(dir));
	at = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert_geq(at, 0);
}

static void tear_down(void)
{
	close(at);
	cr_expect_eq(rmdir(dir), 0, "something is left");
}

TestSuite(cli_rmtree, .init = set_up, .fini = tear_down, .timeout = 60);

static void sh(const char *script)
{
	char cmd[512];

	snprintf(cmd, sizeof(cmd), "cd %s && (%s)", dir, script);
	cr_assert_eq(system(cmd), 0, "%s", script);
}

Test(cli_rmtree, a_file_and_nothing)
{
	sh("touch f");
	cr_assert_eq(rmtree(at, "f"), 0);
	cr_assert_eq(rmtree(at, "f"), 0);
}

Test(cli_rmtree, a_tree_with_closed_folders)
{
	sh("mkdir -p t/a/b/c t/d; touch t/a/b/c/f t/d/g; ln -s a t/l; mkfifo t/p;"
	   "chmod 0 t/a/b/c t/a/b t/d t");
	cr_assert_eq(rmtree(at, "t"), 0);
}

Test(cli_rmtree, links_are_not_followed)
{
	sh("mkdir keep t; touch keep/f; ln -s ../keep t/l; ln -s keep m");
	cr_assert_eq(rmtree(at, "t"), 0);
	cr_assert_eq(rmtree(at, "m"), 0);
	sh("test -f keep/f && rm -r keep");
}

/* Deeper than paths and descriptors go. */
Test(cli_rmtree, depth_does_not_matter)
{
	const struct rlimit few = { 64, 64 };
	int fd = dup(at);

	for (unsigned i = 0; i < 3000; i++) {
		int next;

		cr_assert_eq(mkdirat(fd, "d", 0700), 0);
		next = openat(fd, "d", O_PATH | O_CLOEXEC);
		cr_assert_geq(next, 0);
		close(fd);
		fd = next;
	}
	close(fd);
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
	cr_assert_eq(rmtree(at, "d"), 0);
}

Test(cli_rmtree, many_folders_side_by_side)
{
	sh("mkdir t; for i in 1 2 3 4 5 6 7 8 9; do mkdir -p t/$i/x/y t/$i/z; touch t/$i/x/f;"
	   "done");
	cr_assert_eq(rmtree(at, "t"), 0);
}
