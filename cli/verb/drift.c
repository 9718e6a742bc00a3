/* SPDX-License-Identifier: Apache-2.0 */
/*
 * drift.c - two lists of settings, line by line. What holds without a new start is no
 * difference.
 */
#include "cli/keeper/keeper.h"
#include "cli/verb/drift.h"

/* Settings that hold without a new start: each command asks for them anew. */
static const char of_commands[] = " env workdir user pids-limit secret autostart ";

static bool has(const struct settings *s, const struct setting *x)
{
	for (size_t i = 0; i < s->n; i++)
		if (!strcmp(s->v[i].key, x->key) && !strcmp(s->v[i].value, x->value))
			return true;
	return false;
}

static bool needs_start(const char *key)
{
	char word[80];

	snprintf(word, sizeof(word), " %s ", key);
	return !strstr(of_commands, word);
}

/* "128M", "131072k" and the default are one size; of CPUs likewise. */
static bool same_machine(const struct settings *a, const struct settings *b, const char *key)
{
	const struct settings *const both[] = { a, b };
	struct run_conf c[2];
	struct err none;
	bool same = !strcmp(key, "memory") || !strcmp(key, "cpus");

	for (unsigned i = 0; i < ARRAY_LEN(c); i++)
		run_conf_init(&c[i]);
	for (unsigned i = 0; same && i < ARRAY_LEN(c); i++)
		same = !settings_apply(both[i], "", key, &c[i], "", &none);
	same = same && c[0].memory == c[1].memory && c[0].cpus == c[1].cpus &&
	       c[0].cpu_milli == c[1].cpu_milli;
	for (unsigned i = 0; i < ARRAY_LEN(c); i++)
		run_conf_free(&c[i]);
	return same;
}

/* What is in @a and not in @b, one line each to @f (NULL: only counted). */
static unsigned differ(const struct settings *a, const struct settings *b, const char *what,
		       FILE *f)
{
	unsigned n = 0;

	for (size_t i = 0; i < a->n; i++) {
		if (a->v[i].section[0] || has(b, &a->v[i]) || !needs_start(a->v[i].key) ||
		    same_machine(a, b, a->v[i].key))
			continue;
		if (f)
			fprintf(f, "  %s: %s = %s\n", what, a->v[i].key, a->v[i].value);
		n++;
	}
	return n;
}

int drift_lines(struct store_box *b, const struct settings *more, FILE *f, struct err *e)
{
	struct settings now = { 0 }, then = { 0 };
	auto_mem char *text = store_read(b, "running", e);
	int n = text && !settings_parse(&then, text, "running", e) &&
		!keeper_settings(b, &now, e) ? 0 : -EIO;

	for (size_t i = 0; !n && more && i < more->n; i++)
		if (settings_set(&now, "", more->v[i].key, more->v[i].value))
			n = err_set(e, -ENOMEM, "settings");
	if (!n)
		n = (int)(differ(&now, &then, "configured, not yet running", f) +
			  differ(&then, &now, "running, no longer configured", f));
	settings_free(&now);
	settings_free(&then);
	return n;
}
