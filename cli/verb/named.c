/* SPDX-License-Identifier: Apache-2.0 */
/*
 * named.c - flags, words, questions.
 */
#include <time.h>
#include "cli/verb/named.h"
#include "cli/base/parse.h"
#include "cli/base/text.h"

#define NS_PER_S 1000000000ull

int named_opt_time(void *into, const char *value, struct err *e)
{
	struct named *n = into;

	if (!strcmp(value, "0")) {
		n->grace_ns = 0;
		return 0;
	}
	return parse_duration(value, &n->grace_ns, e);
}

/* ---- tables -------------------------------------------------------------- */

static bool listed(const char *names, const char *name)
{
	size_t len = strlen(name);

	for (const char *p = names; p; p = strchr(p, ' ')) {
		p += *p == ' ';
		if (!strncmp(p, name, len) && (!p[len] || p[len] == ' '))
			return true;
	}
	return false;
}

void named_rows(struct opt table[static NAMED_ROWS_MAX], const char *names, const struct opt *own)
{
	size_t n = 0;

	for (const struct opt *o = run_opts; o->name; o++)
		if (names ? listed(names, o->name) :
			    settings_has(o) || !strcmp(o->name, "env-file") || !o->help) {
			BUG_ON(n >= NAMED_ROWS_MAX - 1);
			table[n++] = *o;
		}
	for (const struct opt *o = own; o && o->name; o++) {
		BUG_ON(n >= NAMED_ROWS_MAX - 1);
		table[n++] = *o;
	}
	table[n] = (struct opt){ 0 };
}

/* ---- the line ------------------------------------------------------------ */

/* A file is meant from the folder that the person is in now. */
static int keep_text(struct named *n, const struct opt *row, const char *value, struct err *e)
{
	auto_mem char *path = NULL;

	if (row->arg && !strcmp(row->arg, "FILE")) {
		path = realpath(value, NULL);
		if (!path)
			return err_set(e, -errno, "%s", value);
		value = path;
	} else if (!strcmp(row->name, "from")) {
		path = realpath(n->conf.from_at.path, NULL);
		if (!path)
			return err_set(e, -errno, "%s", value);
		value = path;
	}
	if (settings_set(&n->set, "", row->name, value ? value : "true"))
		return err_set(e, -ENOMEM, "settings");
	return 0;
}

static bool is_run_row(const struct opt *row)
{
	for (const struct opt *o = run_opts; o->name; o++)
		if (o->help && o->parse == row->parse && o->at == row->at)
			return true;
	return false;
}

int named_keep_flag(struct named *n, const struct opt *row, const char *value, struct err *e)
{
	int rc = opt_apply(row, n, value, e);

	/* These are kept as they came out in the end, not as they were asked for. */
	if (!strcmp(row->name, "env") || !strcmp(row->name, "volume"))
		return rc;
	if (!rc && is_run_row(row) && settings_has(row))
		rc = keep_text(n, row, value, e);
	return rc;
}

static int each(const struct opt *row, const char *value, void *arg, struct err *e)
{
	return named_keep_flag(arg, row, value, e);
}

int named_failed(const struct verb *v, const struct err *e)
{
	cli_say("%s: %s", v->name, e->msg);
	return cli_status_of(e->code);
}

static int usage(const struct verb *v, const char *what)
{
	cli_say("%s: %s; see 'sandbox %s --help'", v->name, what, v->name);
	return CLI_USAGE;
}

int named_begin(const struct verb *v, int argc, char **argv, struct named *n, int min, int max)
{
	struct err e = { 0 };
	int status;

	*n = (struct named){ .grace_ns = NAMED_GRACE_NS };
	run_conf_init(&n->conf);
	n->words = calloc((size_t)argc + 1, sizeof(*n->words));
	if (!n->words) {
		err_set(&e, -ENOMEM, "words");
		return named_failed(v, &e);
	}
	status = cli_begin_each(v, argc, argv, each, n, n->words, &n->n_words);
	if (status >= 0)
		return status;
	if (n->n_words < min)
		return usage(v, min == 1 ? "the name of a sandbox is missing" :
					   "there are too few words");
	if (max > 0 && n->n_words > max) {
		cli_say("%s: '%.100s' is one word too many; see 'sandbox %s --help'", v->name,
			n->words[max], v->name);
		return CLI_USAGE;
	}
	return -1;
}

int named_every(struct named *n, struct err *e)
{
	size_t count;
	char **names = store_names(&count, e);

	if (!names)
		return e->code;
	free(n->words);
	n->words = n->every = names;
	n->n_words = (int)count;
	return 0;
}

void named_end(struct named *n)
{
	if (n->every)
		store_names_free(n->every);
	else
		free(n->words);
	settings_free(&n->set);
	run_conf_free(&n->conf);
}

/* ---- questions and answers ------------------------------------------------ */

const char *named_age(uint64_t since_ns, char buf[static 32])
{
	static const struct { uint64_t s; const char *name; } units[] = {
		{ 172800, "d" }, { 7200, "h" }, { 120, "min" }, { 0, "s" },
	};
	static const uint64_t sizes[] = { 86400, 3600, 60, 1 };
	struct timespec now;
	uint64_t ns, s;
	size_t i = 0;

	clock_gettime(CLOCK_REALTIME, &now);
	ns = (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
	s = ns > since_ns ? (ns - since_ns) / NS_PER_S : 0;
	while (s < units[i].s)
		i++;
	snprintf(buf, 32, "%llu %s", (unsigned long long)(s / sizes[i]), units[i].name);
	return buf;
}

int named_print_json(json_t *o)
{
	if (!text_print_json(o))
		return CLI_OK;
	cli_say("the answer could not be written");
	return CLI_FAILED;
}
