/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <sys/mman.h>
#include "cli/base/env.h"

static struct env env;
static struct err e;

static const char *get(const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < env.n; i++)
		if (!strncmp(env.v[i], name, len) && env.v[i][len] == '=')
			return env.v[i] + len + 1;
	return NULL;
}

/* env_add_file() on a file with that content. */
static int add_file(const char *text, size_t len)
{
	int fd = memfd_create("env", 0), rc;
	char path[32];

	cr_assert_eq(write(fd, text, len), (ssize_t)len);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	rc = env_add_file(&env, path, &e);
	close(fd);
	return rc;
}

static void drop(void)
{
	env_free(&env);
}

TestSuite(cli_env, .fini = drop);

Test(cli_env, values_are_taken_as_they_are)
{
	cr_assert_eq(env_add(&env, "A=1", &e), 0);
	cr_assert_eq(env_add(&env, "B= \"x=y\" ", &e), 0);
	cr_assert_eq(env_add(&env, "C=", &e), 0);
	cr_assert_str_eq(get("A"), "1");
	cr_assert_str_eq(get("B"), " \"x=y\" ");
	cr_assert_str_eq(get("C"), "");
	cr_assert_eq(env.n, 3);
	cr_assert_null(env.v[3]);
}

Test(cli_env, the_last_one_counts_and_prefixes_are_other_names)
{
	cr_assert_eq(env_add(&env, "AB=1", &e), 0);
	cr_assert_eq(env_add(&env, "A=2", &e), 0);
	cr_assert_eq(env_add(&env, "AB=3", &e), 0);
	cr_assert_eq(env.n, 2);
	cr_assert_str_eq(get("AB"), "3");
	cr_assert_str_eq(get("A"), "2");
	cr_assert(env_has(&env, "AB"));
	cr_assert_not(env_has(&env, "ABC"));
}

Test(cli_env, a_bare_name_copies_the_host)
{
	setenv("CLI_ENV_TEST", "a=b", 1);
	unsetenv("CLI_ENV_NONE");
	cr_assert_eq(env_add(&env, "CLI_ENV_TEST", &e), 0);
	cr_assert_eq(env_add(&env, "CLI_ENV_NONE", &e), 0);
	cr_assert_eq(env.n, 1);
	cr_assert_str_eq(get("CLI_ENV_TEST"), "a=b");
}

Test(cli_env, names_that_are_none)
{
	cr_assert_eq(env_add(&env, "", &e), -EINVAL);
	cr_assert_str_eq(e.msg, "'' has no name before the '='");
	cr_assert_eq(env_add(&env, "=x", &e), -EINVAL);
	cr_assert_str_eq(e.msg, "'=x' has no name before the '='");
	cr_assert_eq(env_add(&env, "A B=x", &e), -EINVAL);
	cr_assert_str_eq(e.msg, "the name 'A B' has a space in it");
	cr_assert_eq(env.n, 0);
}

Test(cli_env, files)
{
	static const char text[] = "\xef\xbb\xbf# first\n\n  \nA=1\r\n  B='2' # not a comment\n"
				   "#C=3\nD=a\rb";

	cr_assert_eq(add_file(text, sizeof(text) - 1), 0, "%s", e.msg);
	cr_assert_eq(env.n, 3);
	cr_assert_str_eq(get("A"), "1");
	cr_assert_str_eq(get("B"), "'2' # not a comment");
	cr_assert_str_eq(get("D"), "a\rb");
}

Test(cli_env, files_that_are_no_good)
{
	cr_assert_eq(add_file("A=1\nB C=2\n", 10), -EINVAL);
	cr_assert(strstr(e.msg, " line 2: the name 'B C' has a space in it"), "%s", e.msg);
	cr_assert_eq(add_file("A=1\0x\n", 6), -EINVAL);
	cr_assert(strstr(e.msg, " line 1 has a zero byte in it"), "%s", e.msg);
	cr_assert_eq(env_add_file(&env, "/no/such", &e), -ENOENT);
	cr_assert_str_eq(e.msg, "open /no/such: No such file or directory");
	cr_assert_eq(env_add_file(&env, "/", &e), -EISDIR);
	cr_assert_str_eq(e.msg, "read /: Is a directory");
}
