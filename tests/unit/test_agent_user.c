// SPDX-License-Identifier: Apache-2.0
/* Names from passwd and group files, which are the guest's own. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/user.h"

static char passwd[] = "/tmp/passwd.XXXXXX", group[] = "/tmp/group.XXXXXX";

static void put(char *path, const char *text)
{
	int fd = mkstemp(path);

	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static void files(void)
{
	static char text[8192];

	/* A line too long for the reader holds what looks like a user. */
	snprintf(text, sizeof(text),
		 "root:x:0:0:root:/root:/bin/sh\n# comment\n:x:5:5::/:/\nshort:x:7\n"
		 "neg:x:-1:0::/:/\nhuge:x:4294967295:0::/:/\nbig:x:99999999999:0::/:/\n"
		 "%03000d\nlong:x:66:66:%02040d:/:/\nann:x:1000:100:Ann:/home/ann:/bin/sh\n"
		 "last:x:2000:200::/home/last:/bin/sh", 0, 0);
	put(passwd, text);
	put(group, "root:x:0:\nusers:x:100:\nwheel:x:10:root,ann\nbad:x:z:ann\nannex:x:11:annex\n"
		   "disk:x:6:last,ann");
}

static void clean(void)
{
	unlink(passwd);
	unlink(group);
}

TestSuite(agent_user, .init = files, .fini = clean);

static int look(const char *user, const char *grp, struct user *u)
{
	const char *why;
	int rc = user_lookup(passwd, group, user, grp, u, &why);

	cr_expect_eq(rc < 0, why != NULL);
	return rc;
}

Test(agent_user, by_name_with_groups)
{
	struct user u;

	cr_assert_eq(look("ann", NULL, &u), 0);
	cr_expect(u.uid == 1000 && u.gid == 100 && u.n_groups == 2);
	cr_expect(u.groups[0] == 10 && u.groups[1] == 6);
	cr_expect_str_eq(u.home, "/home/ann");
	/* No other group than the one that was asked for. */
	cr_assert_eq(look("last", "wheel", &u), 0);
	cr_expect(u.uid == 2000 && u.gid == 10 && u.n_groups == 0);
	cr_assert_eq(look("1000", "4242", &u), 0);
	cr_expect(u.gid == 4242 && strcmp(u.name, "ann") == 0);
}

Test(agent_user, numbers_need_not_be_listed)
{
	struct user u;

	cr_assert_eq(look("31337", NULL, &u), 0);
	cr_expect(u.uid == 31337 && u.gid == 0 && !u.name[0] && strcmp(u.home, "/") == 0);
	cr_assert_eq(user_lookup("/none", "/none", "5", "6", &u, &(const char *){ NULL }), 0);
	cr_expect(u.uid == 5 && u.gid == 6);
}

Test(agent_user, malformed_lines_are_no_users)
{
	static const char *const names[] = {
		"short", "neg", "huge", "big", "long", "", "nobody", "4294967295", "-1",
		"99999999999", "1x", "# comment",
	};
	struct user u;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		cr_expect_eq(look(names[i], NULL, &u), -ENOENT, "'%s'", names[i]);
	cr_expect_eq(look("ann", "bad", &u), -ENOENT);
	cr_expect_eq(look("ann", "none", &u), -ENOENT);
}
