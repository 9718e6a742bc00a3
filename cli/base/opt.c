/* SPDX-License-Identifier: Apache-2.0 */
/*
 * opt.c - one parser for every verb's flags.
 *
 * getopt_long() is not used because it abbreviates names (so that a new option
 * can break an old script), prints its own messages, and cannot tell a flag of a
 * later version from a misspelt one.
 */
#include "cli/base/opt.h"

#define WORD_MAX 64u

unsigned opt_distance(const char *a, const char *b)
{
	unsigned row[3][WORD_MAX + 1];
	size_t la = strnlen(a, WORD_MAX), lb = strnlen(b, WORD_MAX);
	unsigned *prev2 = row[0], *prev = row[1], *cur = row[2], *t;

	for (size_t j = 0; j <= lb; j++)
		prev[j] = prev2[j] = (unsigned)j;
	for (size_t i = 1; i <= la; i++) {
		cur[0] = (unsigned)i;
		for (size_t j = 1; j <= lb; j++) {
			unsigned best = prev[j - 1] + (a[i - 1] != b[j - 1]);

			if (prev[j] + 1 < best)
				best = prev[j] + 1;
			if (cur[j - 1] + 1 < best)
				best = cur[j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    prev2[j - 2] + 1 < best)
				best = prev2[j - 2] + 1;
			cur[j] = best;
		}
		t = prev2;
		prev2 = prev;
		prev = cur;
		cur = t;
	}
	return prev[lb];
}

unsigned opt_distance_max(const char *word)
{
	size_t len = strlen(word);

	return len <= 3 ? 1 : len <= 6 ? 2 : 3;
}

const char *opt_nearer(const char *word, const char *name, const char *best, unsigned *d)
{
	unsigned mine = opt_distance(word, name);

	if (best && mine >= *d)
		return best;
	*d = mine;
	return name;
}

static const struct opt *find_long(const struct opt *table, const char *name, size_t len)
{
	for (const struct opt *o = table; o && o->name; o++)
		if (strlen(o->name) == len && !memcmp(o->name, name, len))
			return o;
	return NULL;
}

static const struct opt *find_letter(const struct opt *table, char letter)
{
	for (const struct opt *o = table; o && o->name; o++)
		if (o->letter == letter)
			return o;
	return NULL;
}

static int unknown(const struct opt *table, const char *verb, const char *word, size_t len,
		   struct err *e)
{
	const char *best = NULL;
	char name[WORD_MAX];
	unsigned d = 0;

	if (len >= sizeof(name))
		len = sizeof(name) - 1;
	memcpy(name, word, len);
	name[len] = '\0';
	for (const struct opt *o = table; o && o->name; o++)
		if (o->help)
			best = opt_nearer(name, o->name, best, &d);
	best = opt_nearer(name, "help", best, &d);
	if (d <= opt_distance_max(name))
		return err_say(e, -EINVAL, "there is no flag --%s; did you mean --%s?", name, best);
	return err_say(e, -EINVAL, "there is no flag --%s (the nearest is --%s); see "
		       "'sandbox %s --help'", name, best, verb);
}

struct state {
	const struct opt *table;
	const char *verb;
	int argc;
	char **argv;
	void *into;
	opt_each_fn each;	/* NULL: opt_apply() */
	struct err *e;
	bool help;
};

int opt_apply(const struct opt *row, void *into, const char *value, struct err *e)
{
	char *at = (char *)into + row->at;

	if (row->parse)
		return row->parse(into, value, e);
	if (row->arg)
		memcpy(at, &value, sizeof(value));
	else
		*(bool *)at = true;
	return 0;
}

/* With the flag's name before the sentence of the row's function. */
static int apply(const struct state *s, const struct opt *o, bool was_long, const char *value)
{
	char shown[WORD_MAX];
	struct err *e = s->e;
	int rc;

	if (was_long)
		snprintf(shown, sizeof(shown), "--%s", o->name);
	else
		snprintf(shown, sizeof(shown), "-%c", o->letter);
	if (!o->help)
		return err_say(e, -ENOTSUP, "%s is not in this version of sandbox; leave it out",
			       shown);
	rc = s->each ? s->each(o, value, s->into, e) : opt_apply(o, s->into, value, e);
	if (rc)
		err_wrap(e, "%s", shown);
	return rc;
}

/* argv[i] starts with `--`. Returns how many words it took, or -errno. */
static int long_flag(struct state *s, int i)
{
	const char *name = s->argv[i] + 2, *eq = strchr(name, '='), *value = NULL;
	size_t len = eq ? (size_t)(eq - name) : strlen(name);
	const struct opt *o = find_long(s->table, name, len);
	int used = 1, rc;

	if (!o && len == 4 && !memcmp(name, "help", 4)) {
		s->help = true;
		return 1;
	}
	if (!o)
		return unknown(s->table, s->verb, name, len, s->e);
	if (!o->arg && eq && o->help)
		return err_say(s->e, -EINVAL, "--%s takes no value", o->name);
	if (o->arg && eq) {
		value = eq + 1;
	} else if (o->arg && o->help) {
		if (i + 1 >= s->argc)
			return err_say(s->e, -EINVAL, "--%s needs a value: --%s %s", o->name,
				       o->name, o->arg);
		value = s->argv[i + 1];
		used = 2;
	}
	rc = apply(s, o, true, value);
	return rc ? rc : used;
}

/* argv[i] is `-x...`: one letter after the other, the last one perhaps with a value. */
static int short_flags(struct state *s, int i)
{
	for (const char *p = s->argv[i] + 1; *p; p++) {
		const struct opt *o = find_letter(s->table, *p);
		const char *value = NULL;
		int used = 1, rc;

		if (!o && *p == 'h') {
			s->help = true;
			return 1;
		}
		if (!o)
			return err_say(s->e, -EINVAL, "there is no flag -%.1s; see "
				       "'sandbox %s --help'", p, s->verb);
		if (o->arg && o->help) {
			value = p[1] ? p + 1 : s->argv[i + 1];
			used = p[1] ? 1 : 2;
			if (!value)
				return err_say(s->e, -EINVAL, "-%c needs a value: -%c %s",
					       o->letter, o->letter, o->arg);
		}
		rc = apply(s, o, false, value);
		if (rc || value)
			return rc ? rc : used;
	}
	return 1;
}

static int parse(struct state *s, int from, struct opt_end *end)
{
	int i = from;

	*end = (struct opt_end){ 0 };
	while (i < s->argc && !s->help && s->argv[i][0] == '-' && s->argv[i][1]) {
		int used;

		if (!strcmp(s->argv[i], "--")) {
			end->dashes = true;
			i++;
			break;
		}
		used = s->argv[i][1] == '-' ? long_flag(s, i) : short_flags(s, i);
		if (used < 0)
			return used;
		i += used;
	}
	end->words = i;
	end->help = s->help;
	return 0;
}

int opt_parse(const struct opt *table, const char *verb, int argc, char **argv, int from,
	      void *into, struct opt_end *end, struct err *e)
{
	struct state s = { .table = table, .verb = verb, .argc = argc, .argv = argv,
			   .into = into, .e = e };

	return parse(&s, from, end);
}

int opt_parse_each(const struct opt *table, const char *verb, int argc, char **argv, int from,
		   opt_each_fn each, void *arg, struct opt_end *end, struct err *e)
{
	struct state s = { .table = table, .verb = verb, .argc = argc, .argv = argv,
			   .into = arg, .each = each, .e = e };

	return parse(&s, from, end);
}

void opt_help(const struct opt *table, FILE *out)
{
	for (const struct opt *o = table; o && o->name; o++) {
		char left[WORD_MAX];

		if (!o->help)
			continue;
		snprintf(left, sizeof(left), "-%c, --%s%s%s", o->letter ? o->letter : ' ', o->name,
			 o->arg ? " " : "", o->arg ? o->arg : "");
		if (!o->letter)
			memset(left, ' ', 4);
		fprintf(out, "  %-28s %s\n", left, o->help);
	}
	fprintf(out, "  %-28s %s\n", "-h, --help", "print this");
}
