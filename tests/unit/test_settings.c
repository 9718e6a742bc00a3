/* SPDX-License-Identifier: Apache-2.0 */
/* Settings as text, and where `sandbox cp` copies to. */
#include <criterion/criterion.h>
#include "cli/verb/cp_path.h"
#include "cli/run/settings.h"
#include "cli/run/settings_edit.h"

TestSuite(settings, .timeout = 30);

static struct settings s;
static struct err e;

static void parse(const char *text)
{
	settings_free(&s);
	cr_assert_eq(settings_parse(&s, text, "file", &e), 0, "%s", e.msg);
}

static void refused(const char *text, const char *sentence)
{
	struct settings bad = { 0 };

	cr_expect_eq(settings_parse(&bad, text, "file", &e), -EINVAL, "%s", text);
	cr_expect_str_eq(e.msg, sentence);
	settings_free(&bad);
}

Test(settings, lines)
{
	parse("# comment\n\n memory = 1G \nenv = \"A=x\\n\\\"y\\\"\\\\\"\nenv=B=1=2\n[sandbox web]\ncpus=2");
	cr_expect_str_eq(settings_get(&s, "", "memory"), "1G");
	cr_expect_str_eq(s.v[1].value, "A=x\n\"y\"\\");
	cr_expect_str_eq(s.v[2].value, "B=1=2");
	cr_expect_str_eq(settings_get(&s, "sandbox web", "cpus"), "2");
	cr_expect_null(settings_get(&s, "", "cpus"));
	cr_expect_eq(s.v[3].line, 7);
	settings_free(&s);
}

Test(settings, what_is_no_line)
{
	refused("a = 1\nmemory\n", "file line 2: 'memory' is not 'key = value'");
	refused("= 1\n", "file line 1: there is no key before the '='");
	refused("[elsewhere]\n", "file line 1: '[elsewhere]' is none of [defaults], [sandbox NAME] "
		"and [project /DIR]");
	refused("[defaults\n", "file line 1: '[defaults' does not end with ']'");
	refused("k = \"a\n", "file line 1: the value of 'k' is no string in double quotes");
	refused("k = \"a\\q\"\n", "file line 1: the value of 'k' is no string in double quotes");
}

Test(settings, text_comes_back)
{
	static const char text[] = "memory = 1G\nenv = \"A=x\\n\"\n\n[defaults]\ncpus = 1\n";
	char *out;

	parse(text);
	out = settings_text(&s);
	cr_expect_str_eq(out, text);
	free(out);
	settings_free(&s);
}

Test(settings, set_replaces_and_lists_grow)
{
	parse("memory = 1G\nenv = A=1\nvolume = /a:/a\n");
	cr_assert_eq(settings_set(&s, "", "memory", "2G"), 0);
	cr_assert_eq(settings_set(&s, "", "env", "B=2"), 0);
	cr_assert_eq(settings_set(&s, "", "env", "A=3"), 0);
	cr_assert_eq(settings_set(&s, "", "volume", "/b:/b"), 0);
	cr_expect_eq(s.n, 5);
	cr_expect_str_eq(settings_get(&s, "", "memory"), "2G");
	cr_expect_str_eq(settings_get(&s, "", "env"), "A=3");
	cr_assert_eq(settings_set(&s, "", "env", ""), 0);
	cr_expect_eq(s.n, 3);
	settings_free(&s);
}

Test(settings, applied_and_wrong_ones_named_with_their_line)
{
	struct run_conf c;

	run_conf_init(&c);
	parse("memory = 64M\n\nmemroy = 1G\n");
	cr_expect_eq(settings_apply(&s, "", "memory cpus", &c, "file", &e), 0);
	cr_expect_eq(c.memory, 64 << 20);
	cr_expect_eq(settings_apply(&s, "", NULL, &c, "file", &e), -EINVAL);
	cr_expect_str_eq(e.msg,
			 "file line 3: there is no setting 'memroy'; did you mean 'memory'?");
	parse("tty = true\n");
	cr_expect_eq(settings_apply(&s, "", NULL, &c, "file", &e), -EINVAL, "flag of one call");
	parse("cold = maybe\n");
	cr_expect_eq(settings_apply(&s, "", NULL, &c, "file", &e), -EINVAL);
	cr_expect_str_eq(e.msg, "file line 1: 'cold' is true or false, not 'maybe'");
	run_conf_free(&c);
	settings_free(&s);
}

TestSuite(cp_path, .timeout = 30);

Test(cp_path, sides)
{
	struct cp_path p;

	cr_assert_eq(cp_path_parse(&p, "web:/etc/", &e), 0);
	cr_expect(p.guest && p.folder);
	cr_expect_str_eq(p.box, "web");
	cr_expect_str_eq(p.path, "/etc");
	cr_assert_eq(cp_path_parse(&p, "web:etc", &e), 0);
	cr_expect_str_eq(p.path, "/etc");
	cr_assert_eq(cp_path_parse(&p, "web:", &e), 0);
	cr_expect_str_eq(p.path, "/");
	cr_assert_eq(cp_path_parse(&p, "./a:b", &e), 0);
	cr_expect_not(p.guest);
	cr_assert_eq(cp_path_parse(&p, "dir/.", &e), 0);
	cr_expect(p.contents);
	cr_expect_str_eq(p.path, "dir");
	cr_assert_eq(cp_path_parse(&p, "-", &e), 0);
	cr_expect(p.stream);
	cr_expect_eq(cp_path_parse(&p, "a b:/x", &e), -EINVAL);
	cr_expect_eq(cp_path_parse(&p, "", &e), -EINVAL);
}

static void goes(const char *from, const char *to, bool from_dir, int there, const char *dir,
		 const char *name)
{
	struct cp_path a, b;
	char d[4096], n[256];

	cr_assert_eq(cp_path_parse(&a, from, &e), 0);
	cr_assert_eq(cp_path_parse(&b, to, &e), 0);
	cr_assert_eq(cp_path_target(&a, &b, from_dir, there > 0, there == 2, d, sizeof(d), n,
				    sizeof(n), &e), 0, "%s %s: %s", from, to, e.msg);
	cr_expect_str_eq(d, dir, "%s %s: %s", from, to, d);
	cr_expect_str_eq(n, name, "%s %s: %s", from, to, n);
}

/* there: 0 nothing, 1 a file, 2 a folder */
Test(cp_path, targets)
{
	struct cp_path a, b;
	char d[4096], n[256];

	goes("f", "w:/dir", false, 2, "/dir", "f");
	goes("f", "w:/new", false, 0, "/", "new");
	goes("f", "w:/old", false, 1, "/", "old");
	goes("a/d", "w:/dir", true, 2, "/dir", "d");
	goes("a/d/", "w:/x/new", true, 0, "/x", "new");
	goes("a/d/.", "w:/x/new", true, 0, "/x/new", "");
	goes("w:/etc", ".", true, 2, ".", "etc");
	goes("w:/f", "new", false, 0, ".", "new");
	goes("w:/", "all", true, 2, "all", "");
	cr_assert_eq(cp_path_parse(&a, "d", &e), 0);
	cr_assert_eq(cp_path_parse(&b, "w:/f", &e), 0);
	cr_expect_eq(cp_path_target(&a, &b, true, true, false, d, sizeof(d), n, sizeof(n), &e),
		     -ENOTDIR, "a folder over a file");
	cr_assert_eq(cp_path_parse(&b, "w:/new/", &e), 0);
	cr_expect_eq(cp_path_target(&a, &b, false, false, false, d, sizeof(d), n, sizeof(n), &e),
		     -ENOTDIR, "a file into a folder that is not there");
	cr_assert_eq(cp_path_parse(&a, "..", &e), 0);
	cr_expect_eq(cp_path_target(&a, &b, true, true, true, d, sizeof(d), n, sizeof(n), &e),
		     -EINVAL);
}

static void edited(const char *text, const char *section, const char *key, const char *value,
		   const char *want)
{
	char *out = settings_edit(text, section, key, value);

	cr_assert_not_null(out, "%s %s", section, key);
	cr_expect_str_eq(out, want);
	free(out);
}

Test(settings, an_edit_touches_its_own_lines_only)
{
	static const char text[] = "# mine\n[defaults]\n memory=1G   \n\n# for x\n[project /x]\n"
				   "memory = 2G\nenv = A=1\n";

	edited(text, "defaults", "memory", "512M",
	       "# mine\n[defaults]\nmemory = 512M\n\n# for x\n[project /x]\nmemory = 2G\nenv = A=1\n");
	edited(text, "defaults", "cpus", "2",
	       "# mine\n[defaults]\n memory=1G   \ncpus = 2\n\n# for x\n[project /x]\n"
	       "memory = 2G\nenv = A=1\n");
	edited(text, "project /x", "env", "A=2",
	       "# mine\n[defaults]\n memory=1G   \n\n# for x\n[project /x]\nmemory = 2G\nenv = A=2\n");
	edited(text, "project /x", "env", "B=\"\n",
	       "# mine\n[defaults]\n memory=1G   \n\n# for x\n[project /x]\nmemory = 2G\nenv = A=1\n"
	       "env = \"B=\\\"\\n\"\n");
	edited(text, "project /x", "memory", "",
	       "# mine\n[defaults]\n memory=1G   \n\n# for x\n[project /x]\nenv = A=1\n");
	edited(text, "sandbox web", "cold", "true",
	       "# mine\n[defaults]\n memory=1G   \n\n# for x\n[project /x]\nmemory = 2G\nenv = A=1\n"
	       "\n[sandbox web]\ncold = true\n");
	edited(text, "sandbox web", "cold", "", text);
}

Test(settings, an_edit_of_little)
{
	edited("", "defaults", "cpus", "1", "[defaults]\ncpus = 1\n");
	edited("", "defaults", "cpus", "", "");
	edited("[defaults]", "defaults", "cpus", "1", "[defaults]\ncpus = 1\n");
	edited("[defaults]\ncpus=1\ncpus=2\n", "defaults", "cpus", "3", "[defaults]\ncpus = 3\n");
	edited("[ defaults ]\ncpus=1", "defaults", "cpus", "3", "[ defaults ]\ncpus = 3\n");
	edited("[defaults]\n[defaults]\ncpus=1\n", "defaults", "cpus", "3",
	       "[defaults]\n[defaults]\ncpus = 3\n");
	/* What the parser does not take is not edited either. */
	cr_expect_null(settings_edit("nonsense\n", "defaults", "cpus", "1"));
	cr_expect_null(settings_edit("[nowhere]\n", "defaults", "cpus", "1"));
}

static char faults[600];

static void note(unsigned line, const struct err *fault, void *arg)
{
	size_t n = strlen(faults);

	(void)arg;
	snprintf(faults + n, sizeof(faults) - n, "%u %s\n", line, fault->msg);
}

Test(settings, lint_names_every_line_and_goes_on)
{
	faults[0] = '\0';
	cr_expect_eq(settings_lint("memory = 1G\n[defaults]\nmemory = 9\n# fine\nmemroy = 1G\n[x]\n"
				   "oops\ncold = maybe\ncpus = 1\n", note, NULL), 6);
	cr_expect(strstr(faults, "1 'memory' comes before the first [section]\n"), "%s", faults);
	cr_expect(strstr(faults, "3 memory: 9 asked for, but a guest needs"), "%s", faults);
	cr_expect(strstr(faults, "5 there is no setting 'memroy'; did you mean 'memory'?"), "%s",
		  faults);
	cr_expect(strstr(faults, "6 '[x]' is none of"), "%s", faults);
	cr_expect(strstr(faults, "7 'oops' is not 'key = value'"), "%s", faults);
	cr_expect(strstr(faults, "8 'cold' is true or false, not 'maybe'"), "%s", faults);
}
