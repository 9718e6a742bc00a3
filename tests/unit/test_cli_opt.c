/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include "cli/base/opt.h"

struct into { char log[256]; bool before, quiet, after; const char *text; };

static struct into into;
static struct opt_end end;
static struct err e;

static int note(struct into *i, const char *name, const char *value)
{
	size_t n = strlen(i->log);

	snprintf(i->log + n, sizeof(i->log) - n, "%s=%s;", name, value ? value : "");
	return 0;
}

static int parse_all(void *i, const char *value, struct err *err)
{
	(void)err;
	return note(i, "all", value);
}

static int parse_name(void *i, const char *value, struct err *err)
{
	if (!strcmp(value, "bad"))
		return err_say(err, -ERANGE, "'bad' is bad");
	return note(i, "name", value);
}

static int parse_force(void *i, const char *value, struct err *err)
{
	(void)err;
	return note(i, "force", value);
}

static const struct opt table[] = {
	OPT("all", 'a', NULL, "everything", parse_all),
	OPT("name", 'n', "WORD", "a word", parse_name),
	OPT("force", 'f', NULL, "do it", parse_force),
	OPT_FLAG("quiet", 'q', "say less", struct into, quiet),
	OPT_TEXT("text", 't', "WORD", "another word", NULL, struct into, text),
	OPT_LATER("volume", 'v', "SRC"),
	OPT_LATER("cool", 0, NULL),
	{ 0 },
};

/* argv in memory that is writable, as main() has it. */
static int parse(const char *line)
{
	static char copy[256], *argv[16];
	int argc = 0;

	snprintf(copy, sizeof(copy), "%s", line);
	for (char *save = NULL, *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save))
		argv[argc++] = w;
	argv[argc] = NULL;
	into = (struct into){ 0 };
	e = (struct err){ 0 };
	return opt_parse(table, "verb", argc, argv, 1, &into, &end, &e);
}

#define PARSES(line, log_, words_, dashes_) do { \
	cr_assert_eq(parse(line), 0, "%s: %s", line, e.msg); \
	cr_assert_str_eq(into.log, log_); \
	cr_assert_eq(end.words, words_, "words at %d", end.words); \
	cr_assert_eq(end.dashes, dashes_); } while (0)
#define REFUSED(line, code, sentence) do { \
	cr_assert_eq(parse(line), code, "%s", line); \
	cr_assert_str_eq(e.msg, sentence); } while (0)

Test(cli_opt, all_spellings)
{
	PARSES("verb", "", 1, false);
	PARSES("verb --all --name x w", "all=;name=x;", 4, false);
	PARSES("verb --name=x", "name=x;", 2, false);
	PARSES("verb --name= w", "name=;", 2, false);
	PARSES("verb -n x -nyz -afn q w", "name=x;name=yz;all=;force=;name=q;", 6, false);
	PARSES("verb -afn- w", "all=;force=;name=-;", 2, false);
}

Test(cli_opt, flags_end_at_the_first_word)
{
	PARSES("verb -a w -f", "all=;", 2, false);
	PARSES("verb -a -- -f", "all=;", 3, true);
	PARSES("verb --", "", 2, true);
	PARSES("verb -- --", "", 2, true);
	PARSES("verb - -a", "", 1, false);
	PARSES("verb --name -- w", "name=--;", 3, false);
	PARSES("verb -n -a w", "name=-a;", 3, false);
}

Test(cli_opt, members_take_flags_and_texts)
{
	PARSES("verb -q --text x w", "", 4, false);
	cr_assert(into.quiet);
	cr_assert_str_eq(into.text, "x");
	cr_assert_not(into.before || into.after);
	PARSES("verb -tx -ty", "", 3, false);
	cr_assert_not(into.quiet);
	cr_assert_str_eq(into.text, "y");
	REFUSED("verb --quiet=1", -EINVAL, "--quiet takes no value");
	REFUSED("verb -t", -EINVAL, "-t needs a value: -t WORD");
}

Test(cli_opt, help_stops_the_parser)
{
	cr_assert_eq(parse("verb -a --help --nonsense"), 0);
	cr_assert(end.help);
	cr_assert_eq(parse("verb -ah"), 0);
	cr_assert(end.help);
	cr_assert_eq(parse("verb w --help"), 0);
	cr_assert_not(end.help);
}

Test(cli_opt, refusals)
{
	REFUSED("verb --nmae x", -EINVAL, "there is no flag --nmae; did you mean --name?");
	REFUSED("verb --nmae=x", -EINVAL, "there is no flag --nmae; did you mean --name?");
	REFUSED("verb --hepl", -EINVAL, "there is no flag --hepl; did you mean --help?");
	REFUSED("verb --something-else", -EINVAL, "there is no flag --something-else (the nearest is "
		"--help); see 'sandbox verb --help'");
	REFUSED("verb --al", -EINVAL, "there is no flag --al; did you mean --all?");
	REFUSED("verb -az", -EINVAL, "there is no flag -z; see 'sandbox verb --help'");
	REFUSED("verb --name", -EINVAL, "--name needs a value: --name WORD");
	REFUSED("verb -an", -EINVAL, "-n needs a value: -n WORD");
	REFUSED("verb --all=1", -EINVAL, "--all takes no value");
	REFUSED("verb --name bad", -ERANGE, "--name: 'bad' is bad");
	REFUSED("verb -nbad", -ERANGE, "-n: 'bad' is bad");
}

Test(cli_opt, flags_of_later_versions_are_known_but_not_offered)
{
	REFUSED("verb --volume a:b", -ENOTSUP,
		"--volume is not in this version of sandbox; leave it out");
	REFUSED("verb -va:b", -ENOTSUP, "-v is not in this version of sandbox; leave it out");
	REFUSED("verb --volume", -ENOTSUP,
		"--volume is not in this version of sandbox; leave it out");
	/* --cool would be nearer to --coll, but is not there to be used. */
	REFUSED("verb --coll", -EINVAL, "there is no flag --coll; did you mean --all?");
}

Test(cli_opt, no_table)
{
	char *argv[] = { (char[]){ "verb" }, (char[]){ "--all" }, NULL };
	int rc = opt_parse(NULL, "verb", 2, argv, 1, NULL, &end, &e);

	cr_assert_eq(rc, -EINVAL);
	cr_assert(strstr(e.msg, "there is no flag --all"), "%s", e.msg);
}

Test(cli_opt, distances)
{
	static const struct { const char *a, *b; unsigned want; } cases[] = {
		{ "", "", 0 }, { "run", "run", 0 }, { "", "abc", 3 }, { "abc", "", 3 },
		{ "rnu", "run", 1 }, { "ru", "run", 1 }, { "runn", "run", 1 }, { "ran", "run", 1 },
		{ "memroy", "memory", 1 }, { "kitten", "sitting", 3 }, { "ab", "ba", 1 },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		cr_assert_eq(opt_distance(cases[i].a, cases[i].b), cases[i].want, "%s %s",
			     cases[i].a, cases[i].b);
}

Test(cli_opt, long_words_stay_in_bounds)
{
	char word[500];

	memset(word, 'x', sizeof(word) - 1);
	word[sizeof(word) - 1] = '\0';
	cr_assert_eq(opt_distance(word, word), 0);
	cr_assert_gt(opt_distance(word, "run"), 3);
	word[0] = word[1] = '-';
	{
		char *argv[] = { (char[]){ "verb" }, word, NULL };
		int rc = opt_parse(table, "verb", 2, argv, 1, &into, &end, &e);

		cr_assert_eq(rc, -EINVAL);
	}
}
