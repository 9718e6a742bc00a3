/* SPDX-License-Identifier: Apache-2.0 */
/* Folders that join a sandbox's list: what is the same, what is in the way, its config. */
#include <criterion/criterion.h>
#include <sys/stat.h>
#include "cli/keeper/attach.h"

static struct shares s, want;
static struct store_box b = STORE_BOX_NONE;
static struct err e;
static char dir[64];

static void set_up(void)
{
	char path[128];

	strcpy(dir, "/tmp/sandbox-test-XXXXXX");
	cr_assert(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/state", dir);
	setenv("XDG_STATE_HOME", path, 1);
	cr_assert_eq(chdir(dir), 0);
	cr_assert_eq(mkdir("a", 0700) | mkdir("b", 0700) | mkdir("a/in", 0700), 0);
	cr_assert_eq(store_create(&b, "web", "memory = 64M\n", true, &e), 0, "%s", e.msg);
}

static void tear_down(void)
{
	char cmd[96];

	store_close(&b);
	shares_free(&s);
	shares_free(&want);
	snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
	cr_assert_eq(system(cmd), 0);
}

TestSuite(cli_attach, .init = set_up, .fini = tear_down, .timeout = 20);

static int look(const char *text, bool *there)
{
	shares_free(&want);
	e = (struct err){ 0 };
	cr_assert_eq(shares_add(&want, text, &e), 0, "%s", e.msg);
	return attach_look(&s, "web", &want.v[0], there, &e);
}

static void refused(const char *text, const char *why)
{
	bool there;

	cr_expect_eq(look(text, &there), -EEXIST, "%s", text);
	cr_expect(strstr(e.msg, why), "%s: %s", text, e.msg);
}

Test(cli_attach, the_same_again_is_there_and_another_way_is_refused)
{
	bool there;

	cr_assert_eq(shares_add(&s, "a:/x:ro", &e), 0);
	cr_assert_eq(look("a:/x:ro", &there), 0);
	cr_assert(there);
	cr_assert_eq(look("b:/y:ro", &there), 0);
	cr_assert_not(there);
	refused("a:/x", "is shared as ro,cache=auto, not as asked; detach it first: 'sandbox detach "
		"--vm web");
	refused("a:/x:ro,cache=none", "not as asked");
	refused("b:/x:ro", "/x in the guest is the host's");
	refused("a:/z:ro", "is shared at /x already; detach it first");
}

Test(cli_attach, overlaps_are_refused_but_not_with_itself)
{
	cr_assert_eq(shares_add(&s, "a:/x", &e), 0);
	cr_assert_eq(attach_overlaps(&s, &s.v[0], &e), 0);
	cr_assert_eq(shares_add(&s, "a/in:/y", &e), 0);
	cr_assert_eq(attach_overlaps(&s, shares_at(&s, "/y"), &e), -EPERM);
	cr_assert(strstr(e.msg, "--yes"), "%s", e.msg);
}

Test(cli_attach, the_config_of_a_stopped_one_gets_a_line_and_loses_it)
{
	char text[128], path[96];
	char *config;
	bool there;

	snprintf(text, sizeof(text), "%s/a:/x:cow,cache=auto", dir);
	snprintf(path, sizeof(path), "%s/a", dir);
	cr_assert_eq(attach_stopped(&b, text, false, &e), 0, "%s", e.msg);
	cr_assert_eq(attach_stopped(&b, text, false, &e), 0, "%s", e.msg);
	config = store_read(&b, "config", &e);
	cr_assert(strstr(config, text) && strstr(config, "memory = 64M"), "%s", config);
	cr_assert_eq(strstr(config, text), strrchr(config, '=') - (strrchr(text, '=') - text),
		     "one line of it: %s", config);
	free(config);
	cr_assert_eq(attach_stopped(&b, "a/in:/y", false, &e), -EPERM);
	cr_assert_eq(rmdir("a/in") | rmdir("a"), 0);
	cr_assert_eq(detach_stopped(&b, "/nonexistent", &there, &e), 0);
	cr_assert_not(there);
	cr_assert_eq(detach_stopped(&b, path, &there, &e), 0, "%s", e.msg);
	cr_assert(there, "though the folder is gone");
	config = store_read(&b, "config", &e);
	cr_assert_str_eq(config, "memory = 64M\n");
	free(config);
}
