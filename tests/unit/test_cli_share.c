/* SPDX-License-Identifier: Apache-2.0 */
/* What -v says. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include "cli/share/share.h"

static struct shares s;
static struct err e;
static char dir[PATH_MAX];

static void set_up(void)
{
	char made[] = "/tmp/sandbox-test-XXXXXX", state[PATH_MAX + 8];

	cr_assert(mkdtemp(made));
	cr_assert(realpath(made, dir));
	cr_assert_eq(chdir(dir), 0);
	cr_assert_eq(mkdir("a", 0700) | mkdir("b", 0700) | mkdir("a/in", 0700), 0);
	cr_assert_eq(symlink("a", "link"), 0);
	close(open("file", O_CREAT | O_WRONLY, 0600));
	snprintf(state, sizeof(state), "%s/state", dir);
	setenv("XDG_STATE_HOME", state, 1);
	unsetenv("XDG_RUNTIME_DIR");
}

static void tear_down(void)
{
	char cmd[PATH_MAX + 16];

	shares_free(&s);
	snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
	cr_assert_eq(system(cmd), 0);
}

TestSuite(cli_share, .init = set_up, .fini = tear_down, .timeout = 20);

static void taken(const char *text, const char *src, const char *dst, enum share_mode mode,
		  enum share_cache cache)
{
	char want[PATH_MAX + 32];

	shares_free(&s);
	cr_assert_eq(shares_add(&s, text, &e), 0, "%s: %s", text, e.msg);
	snprintf(want, sizeof(want), "%s%s", dir, src);
	cr_expect_str_eq(s.v[0].src, want);
	cr_expect_str_eq(s.v[0].dst, dst ? dst : want);
	cr_expect_eq(s.v[0].mode, mode, "%s", text);
	cr_expect_eq(s.v[0].cache, cache, "%s", text);
}

static void refused(const char *text, const char *why)
{
	size_t n = s.n;

	e = (struct err){ 0 };
	cr_expect_lt(shares_add(&s, text, &e), 0, "%s", text);
	cr_expect(strstr(e.msg, why), "%s: %s", text, e.msg);
	cr_expect_eq(s.n, n);
}

Test(cli_share, forms)
{
	taken(".", "", NULL, SHARE_RW, SHARE_CACHE_AUTO);
	taken("a", "/a", NULL, SHARE_RW, SHARE_CACHE_AUTO);
	taken("link:/w", "/a", "/w", SHARE_RW, SHARE_CACHE_AUTO);
	taken(".:/w:cow", "", "/w", SHARE_COW, SHARE_CACHE_AUTO);
	taken("./a/../a:/w//x/:ro", "/a", "/w/x", SHARE_RO, SHARE_CACHE_AUTO);
	taken(".:cow,cache=always", "", NULL, SHARE_COW, SHARE_CACHE_ALWAYS);
	taken("a:/w:cache=none,rw", "/a", "/w", SHARE_RW, SHARE_CACHE_NONE);
	taken("a:/w:ro,ro", "/a", "/w", SHARE_RO, SHARE_CACHE_AUTO);
}

Test(cli_share, each_refusal_says_what_to_do)
{
	refused("nowhere:/w", "there is no folder nowhere here; make it first");
	refused("file:/w", "is no folder, and only folders can be shared; share the one that it is "
		"in");
	refused(":/w", "there is no folder before the colon");
	refused("", "there is no folder before the colon");
	refused("a:/w:readonly", "'readonly' is neither ro, rw, cow");
	refused("a:/w:", "'' is neither ro");
	refused("a:w", "'w' is neither ro, rw, cow, cache=none|auto|always nor an absolute path");
	refused("a:/w:ro,cache=some", "'cache=some' is neither");
	refused("a:/w:cache=", "'cache=' is neither");
	refused("a:/w:ro,cache=none,rw", "it cannot be both ro and rw; leave one out");
	refused("a:/", "cannot take the place of the guest's /");
	refused("a:/w/../x", "has a '.' or '..' in it");
	refused("a:/proc/x", "the guest needs its own /proc");
	refused("a:/dev", "the guest needs its own /dev");
	cr_assert_eq(shares_add(&s, "a:/w", &e), 0);
	refused("b:/w/", "two folders cannot both be at /w");
}

Test(cli_share, sixty_four_and_no_more)
{
	char text[32];

	for (unsigned i = 0; i < PROTO_SHARES_MAX; i++) {
		snprintf(text, sizeof(text), "a:/w%u", i);
		cr_assert_eq(shares_add(&s, text, &e), 0, "%s", e.msg);
	}
	refused("b:/more", "at most 64 folders");
}

Test(cli_share, a_folder_comes_before_what_is_inside_of_it)
{
	cr_assert_eq(shares_add(&s, "a:/w/in/side", &e), 0);
	cr_assert_eq(shares_add(&s, "b:/w", &e), 0);
	cr_assert_eq(shares_add(&s, "a/in:/w/in", &e), 0);
	cr_expect_str_eq(s.v[0].dst, "/w");
	cr_expect_str_eq(s.v[1].dst, "/w/in");
	cr_expect_str_eq(s.v[2].dst, "/w/in/side");
	shares_drop(&s, shares_at(&s, "/w/in"));
	cr_expect_eq(s.n, 2);
	cr_expect_str_eq(s.v[1].dst, "/w/in/side");
	cr_expect_null(shares_at(&s, "/w/in"));
}

Test(cli_share, overlaps_are_refused)
{
	cr_assert_eq(shares_add(&s, "a:/x:ro", &e), 0);
	cr_assert_eq(shares_add(&s, "b:/y", &e), 0);
	cr_assert_eq(shares_guard(&s, &e), 0, "%s", e.msg);
	cr_assert_eq(shares_add(&s, "link/in:/z:cow", &e), 0);
	cr_assert_eq(shares_guard(&s, &e), -EPERM);
	cr_assert(strstr(e.msg, "overlap") && strstr(e.msg, "--yes"), "%s", e.msg);
}

Test(cli_share, the_current_folder_is_the_working_folder)
{
	char buf[PATH_MAX];

	cr_assert_null(shares_workdir(&s, buf, sizeof(buf)));
	cr_assert_eq(shares_add(&s, "b:/b", &e), 0);
	cr_assert_null(shares_workdir(&s, buf, sizeof(buf)));
	cr_assert_eq(shares_add(&s, ".:/w", &e), 0);
	cr_assert_str_eq(shares_workdir(&s, buf, sizeof(buf)), "/w");
	cr_assert_eq(chdir("a/in"), 0);
	cr_assert_str_eq(shares_workdir(&s, buf, sizeof(buf)), "/w/a/in");
	cr_assert_eq(shares_add(&s, "..:/nearer", &e), 0);
	cr_assert_str_eq(shares_workdir(&s, buf, sizeof(buf)), "/nearer/in");
}

Test(cli_share, the_text_of_one_makes_the_same_again)
{
	char *text;

	cr_assert_eq(shares_add(&s, "a:/w:cow,cache=none", &e), 0);
	text = share_text(&s.v[0]);
	taken(text, "/a", "/w", SHARE_COW, SHARE_CACHE_NONE);
	free(text);
}
