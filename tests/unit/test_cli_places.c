/* SPDX-License-Identifier: Apache-2.0 */
/* Folders that others must not have made. */
#include <criterion/criterion.h>
#include <sys/stat.h>
#include "cli/base/places.h"

static char top[64];

static void make(void)
{
	strcpy(top, "/tmp/sandbox-test-XXXXXX");
	cr_assert_not_null(mkdtemp(top));
	cr_assert_eq(chmod(top, 0755), 0);
	setenv("XDG_CACHE_HOME", top, 1);
}

static void drop(void)
{
	char cmd[128];

	snprintf(cmd, sizeof(cmd), "rm -r %s", top);
	cr_assert_eq(system(cmd), 0);
}

TestSuite(cli_places, .init = make, .fini = drop);

static mode_t mode_of(const char *below)
{
	char path[128];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", top, below);
	return stat(path, &st) ? 0 : st.st_mode & 07777;
}

static void sh(const char *script)
{
	char cmd[512];

	snprintf(cmd, sizeof(cmd), "cd %s && (%s)", top, script);
	cr_assert_eq(system(cmd), 0, "%s", script);
}

Test(cli_places, templates_are_nobody_elses_to_write)
{
	struct place p;
	struct err e = { 0 };

	cr_assert_eq(places_templates(&p, &e), 0, "%s", e.msg);
	cr_expect(mode_of("sandbox") == 0700 && mode_of("sandbox/templates") == 0700);
	sh("chmod 0777 sandbox sandbox/templates");
	cr_assert_eq(places_templates(&p, &e), 0, "%s", e.msg);
	cr_expect(mode_of("sandbox") == 0700 && mode_of("sandbox/templates") == 0700);
	/* One may lie on another disk. */
	sh("mv sandbox other && ln -s other sandbox");
	cr_assert_eq(places_templates(&p, &e), 0, "%s", e.msg);
	cr_expect(strstr(p.path, "/other/templates"), "%s", p.path);
	sh("rm -r other/templates && mkdir far && ln -s ../far other/templates");
	cr_expect_eq(places_templates(&p, &e), -EPERM);
	cr_expect(strstr(e.msg, "is not a folder of this user"), "%s", e.msg);
}

/* Another user of this host was there first, as can be in a cache below /tmp. */
Test(cli_places, a_template_of_another_user_is_not_used)
{
	static const char *const theirs[] = { "sandbox", "sandbox/templates" };
	struct place p;

	if (geteuid())
		cr_skip_test("only root can make another user's folder");
	for (size_t i = 0; i < ARRAY_LEN(theirs); i++) {
		struct err e = { 0 };
		char script[128];

		snprintf(script, sizeof(script), "rm -rf sandbox; mkdir -p sandbox/templates;"
			 "chown 12345 %s", theirs[i]);
		sh(script);
		cr_expect_eq(places_templates(&p, &e), -EPERM, "%s", theirs[i]);
		cr_expect(strstr(e.msg, "is not a folder of this user"), "%s", e.msg);
	}
}
