/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/stat.h>
#include "cli/base/rmtree.h"
#include "cli/share/upper.h"

static char top[] = "/tmp/upper-XXXXXX";
static int cow;
static struct err e;

static void set_up(void)
{
	cr_assert(mkdtemp(top));
	cow = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert_geq(cow, 0);
}

static void tear_down(void)
{
	close(cow);
	cr_assert_eq(rmtree(AT_FDCWD, top), 0);
}

TestSuite(cli_upper, .init = set_up, .fini = tear_down);

static int look(const char *src, const char *dst)
{
	struct share s = { .src = strdup(src), .dst = strdup(dst), .mode = SHARE_COW };
	int fd = upper_open(cow, &s, &e);

	free(s.src);
	free(s.dst);
	return fd < 0 ? fd : close(fd);
}

/* Who reads @e at the end of a run would take a sentence that was left in it for a failure. */
Test(cli_upper, a_new_folder_leaves_no_sentence)
{
	cr_assert_eq(look("/host/a", "/w"), 0, "%s", e.msg);
	cr_assert_eq(e.code, 0, "%s", e.msg);
	cr_assert_str_eq(e.msg, "");
}

Test(cli_upper, it_is_found_again_and_only_for_the_same_folder)
{
	char name[UPPER_NAME_MAX];
	struct share was;

	cr_assert_eq(look("/host/a", "/w"), 0, "%s", e.msg);
	cr_assert_eq(look("/host/a", "/w"), 0, "%s", e.msg);
	cr_assert_eq(look("/host/b", "/w"), -EEXIST);
	cr_assert(strstr(e.msg, "/host/a") && strstr(e.msg, "apply"), "%s", e.msg);
	upper_name("/w", name);
	cr_assert_eq(upper_about(cow, name, &was, &e), 0, "%s", e.msg);
	cr_assert_str_eq(was.src, "/host/a");
	cr_assert_str_eq(was.dst, "/w");
	free(was.src);
	free(was.dst);
}

/* Written anew, the changes would belong to whoever came next. */
Test(cli_upper, a_note_that_cannot_be_read_is_not_written_anew)
{
	char name[UPPER_NAME_MAX + 8];
	struct stat st;
	int fd;

	cr_assert_eq(look("/host/a", "/w"), 0, "%s", e.msg);
	upper_name("/w", name);
	strcat(name, "/about");
	fd = openat(cow, name, O_WRONLY | O_TRUNC | O_CLOEXEC);
	cr_assert_geq(fd, 0);
	close(fd);
	cr_assert_eq(look("/host/b", "/w"), -EBADMSG);
	cr_assert(strstr(e.msg, "damaged"), "%s", e.msg);
	cr_assert_eq(fstatat(cow, name, &st, 0), 0);
	cr_assert_eq(st.st_size, 0);
}
