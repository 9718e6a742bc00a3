/* SPDX-License-Identifier: Apache-2.0 */
/*
 * settings.c - lists of settings: parse, look up, change, apply, print.
 *
 * The order of lines is kept, and a file is only ever written by those who asked for
 * it; a sandbox's own config has no comments to lose, the person's file is changed by
 * `config set` line by line (config.c).
 */
#include <ctype.h>
#include "cli/base/text.h"
#include "cli/run/settings.h"

/* Flags of run that are about one command of one call. */
static const char *const of_a_call[] = {
	"interactive", "tty", "json", "json-status-fd", "console", "rm", "keep", "name", "detach",
	"timeout", "max-output", "env-file", "record", "help", "entrypoint",
};

static const char *const lists[] = {
	"env", "volume", "tmpfs", "publish", "allow", "deny", "secret",
};

static bool is_one_of(const char *name, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(name, names[i]))
			return true;
	return false;
}

bool settings_has(const struct opt *row)
{
	return row->help && !is_one_of(row->name, of_a_call, ARRAY_LEN(of_a_call));
}

bool settings_is_list(const char *key)
{
	return is_one_of(key, lists, ARRAY_LEN(lists));
}

const struct opt *settings_row(const char *key, struct err *e)
{
	const char *best = NULL;
	unsigned d = 0;

	for (const struct opt *o = run_opts; o->name; o++) {
		if (!settings_has(o))
			continue;
		if (!strcmp(o->name, key))
			return o;
		best = opt_nearer(key, o->name, best, &d);
	}
	if (best && d <= opt_distance_max(key))
		err_say(e, -EINVAL, "there is no setting '%.60s'; did you mean '%s'?", key, best);
	else
		err_say(e, -EINVAL, "there is no setting '%.60s'; the flags in 'sandbox create "
			"--help' are what there is", key);
	return NULL;
}

/* ---- the list ---------------------------------------------------------- */

static void free_one(struct setting *x)
{
	free(x->section);
	free(x->key);
	free(x->value);
}

void settings_free(struct settings *s)
{
	for (size_t i = 0; i < s->n; i++)
		free_one(&s->v[i]);
	free(s->v);
	*s = (struct settings){ 0 };
}

static int append(struct settings *s, const char *section, const char *key, const char *value,
		  unsigned line)
{
	struct setting *grown = realloc(s->v, (s->n + 1) * sizeof(*grown));
	struct setting *x;

	if (!grown)
		return -ENOMEM;
	s->v = grown;
	x = &grown[s->n];
	*x = (struct setting){ strdup(section), strdup(key), strdup(value), line };
	if (!x->section || !x->key || !x->value) {
		free_one(x);
		return -ENOMEM;
	}
	s->n++;
	return 0;
}

int settings_add(struct settings *s, const char *section, const char *key, const char *value)
{
	return append(s, section, key, value, 0);
}

static bool is_at(const struct setting *x, const char *section, const char *key)
{
	return !strcmp(x->section, section) && !strcmp(x->key, key);
}

static void drop(struct settings *s, size_t i)
{
	free_one(&s->v[i]);
	memmove(&s->v[i], &s->v[i + 1], (s->n - i - 1) * sizeof(s->v[0]));
	s->n--;
}

bool settings_replaces(const char *key, const char *old, const char *new)
{
	size_t n = strcspn(new, "=");

	if (!settings_is_list(key))
		return true;
	if (strcmp(key, "env") != 0)
		return !strcmp(old, new);
	return !strncmp(old, new, n) && (old[n] == '=' || !old[n]);
}

int settings_set(struct settings *s, const char *section, const char *key, const char *value)
{
	for (size_t i = s->n; i-- > 0;)
		if (is_at(&s->v[i], section, key) &&
		    (!*value || settings_replaces(key, s->v[i].value, value)))
			drop(s, i);
	return *value ? append(s, section, key, value, 0) : 0;
}

const char *settings_get(const struct settings *s, const char *section, const char *key)
{
	const char *found = NULL;

	for (size_t i = 0; i < s->n; i++)
		if (is_at(&s->v[i], section, key))
			found = s->v[i].value;
	return found;
}

bool settings_is_on(const struct settings *s, const char *section, const char *key)
{
	const char *v = settings_get(s, section, key);

	return v && !strcmp(v, "true");
}

int settings_merge(struct settings *into, const char *to_section, const struct settings *from,
		   const char *section)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < from->n; i++)
		if (!strcmp(from->v[i].section, section))
			rc = settings_set(into, to_section, from->v[i].key, from->v[i].value);
	return rc;
}

/* ---- text -------------------------------------------------------------- */

/* A quoted value, in place. False when it does not end, or more comes after it. */
static bool unquote(char *p)
{
	char *out = p, *in = p + 1;

	for (; *in && *in != '"'; in++) {
		if (*in != '\\') {
			*out++ = *in;
			continue;
		}
		in++;
		if (*in == 'n')
			*out++ = '\n';
		else if (*in == 't')
			*out++ = '\t';
		else if (*in == '"' || *in == '\\')
			*out++ = *in;
		else
			return false;
	}
	if (*in != '"' || in[1])
		return false;
	*out = '\0';
	return true;
}

static char *trim(char *p)
{
	size_t n;

	while (isspace((unsigned char)*p))
		p++;
	n = strlen(p);
	while (n && isspace((unsigned char)p[n - 1]))
		p[--n] = '\0';
	return p;
}

static int parse_section(char *p, char *section, size_t len, struct err *e)
{
	size_t n = strlen(p);
	char *name;

	if (p[n - 1] != ']')
		return err_say(e, -EINVAL, "'%.60s' does not end with ']'", p);
	p[n - 1] = '\0';
	name = trim(p + 1);
	if (strcmp(name, "defaults") && strncmp(name, "project /", 9) &&
	    (strncmp(name, "sandbox ", 8) || !name[8]))
		return err_say(e, -EINVAL, "'[%.60s]' is none of [defaults], [sandbox NAME] and "
			       "[project /DIR]", name);
	if (strlen(name) >= len)
		return err_say(e, -EINVAL, "'[%.40s...' is too long", name);
	memcpy(section, name, strlen(name) + 1);
	return 0;
}

static int parse_line(struct settings *s, char *p, char *section, size_t len, unsigned line,
		      struct err *e)
{
	char *eq, *key, *value;

	p = trim(p);
	if (!*p || *p == '#')
		return 0;
	if (*p == '[')
		return parse_section(p, section, len, e);
	eq = strchr(p, '=');
	if (!eq)
		return err_say(e, -EINVAL, "'%.60s' is not 'key = value'", p);
	*eq = '\0';
	key = trim(p);
	value = trim(eq + 1);
	if (!*key)
		return err_say(e, -EINVAL, "there is no key before the '='");
	if (*value == '"' && !unquote(value))
		return err_say(e, -EINVAL, "the value of '%.60s' is no string in double quotes",
			       key);
	return append(s, section, key, value, line) ? err_set(e, -ENOMEM, "settings") : 0;
}

int settings_parse(struct settings *s, const char *text, const char *where, struct err *e)
{
	char section[PLACES_MAX + 16] = "";
	auto_mem char *copy = strdup(text);
	unsigned line = 0;
	int rc = copy ? 0 : err_set(e, -ENOMEM, "settings");

	for (char *p = copy, *next; !rc && p; p = next) {
		next = strchr(p, '\n');
		if (next)
			*next++ = '\0';
		rc = parse_line(s, p, section, sizeof(section), ++line, e);
		if (rc)
			err_wrap(e, "%.100s line %u", where, line);
	}
	return rc;
}

static void print_value(FILE *f, const char *v)
{
	if (*v && *v != '"' && !strchr(v, '\n') && !isspace((unsigned char)*v) &&
	    !isspace((unsigned char)v[strlen(v) - 1])) {
		fputs(v, f);
		return;
	}
	putc('"', f);
	for (; *v; v++) {
		if (*v == '\n')
			fputs("\\n", f);
		else if (*v == '\t')
			fputs("\\t", f);
		else
			fprintf(f, *v == '"' || *v == '\\' ? "\\%c" : "%c", *v);
	}
	putc('"', f);
}

char *settings_text(const struct settings *s)
{
	const char *section = "";
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		return NULL;
	for (size_t i = 0; i < s->n; i++) {
		if (strcmp(section, s->v[i].section) != 0) {
			section = s->v[i].section;
			fprintf(f, "%s[%s]\n", i ? "\n" : "", section);
		}
		fprintf(f, "%s = ", s->v[i].key);
		print_value(f, s->v[i].value);
		putc('\n', f);
	}
	if (fclose(f)) {
		free(text);
		return NULL;
	}
	return text;
}

json_t *settings_json(const struct settings *s)
{
	json_t *o = json_object();

	for (size_t i = 0; i < s->n; i++) {
		json_t *v = text_json(s->v[i].value), *list;

		if (!settings_is_list(s->v[i].key)) {
			json_object_set_new(o, s->v[i].key, v);
			continue;
		}
		list = json_object_get(o, s->v[i].key);
		if (!list) {
			list = json_array();
			json_object_set_new(o, s->v[i].key, list);
		}
		json_array_append_new(list, v);
	}
	return o;
}

/* ---- use --------------------------------------------------------------- */

static int apply_one(const struct setting *x, struct run_conf *c, struct err *e)
{
	const struct opt *row = settings_row(x->key, e);
	int rc;

	if (!row)
		return e->code;
	if (!row->arg && !strcmp(x->value, "false"))
		return 0;
	if (!row->arg && strcmp(x->value, "true") != 0)
		return err_say(e, -EINVAL, "'%s' is true or false, not '%.60s'", x->key, x->value);
	rc = opt_apply(row, c, row->arg ? x->value : NULL, e);
	if (rc)
		err_wrap(e, "%s", x->key);
	return rc;
}

static bool wanted(const char *only, const char *key)
{
	size_t n = strlen(key);

	for (const char *p = only; p; p = strchr(p, ' ')) {
		p += *p == ' ';
		if (!strncmp(p, key, n) && (!p[n] || p[n] == ' '))
			return true;
	}
	return !only;
}

int settings_apply(const struct settings *s, const char *section, const char *only,
		   struct run_conf *c, const char *where, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < s->n; i++) {
		const struct setting *x = &s->v[i];

		if (strcmp(x->section, section) || !wanted(only, x->key))
			continue;
		rc = apply_one(x, c, e);
		if (rc && x->line)
			err_wrap(e, "%.100s line %u", where, x->line);
		else if (rc)
			err_wrap(e, "%.100s", where);
	}
	return rc;
}

unsigned settings_lint(const char *text,
		       void (*fault)(unsigned line, const struct err *e, void *arg), void *arg)
{
	char section[PLACES_MAX + 16] = "";
	auto_mem char *copy = strdup(text);
	struct settings s = { 0 };
	unsigned n = 0, line = 0;

	for (char *p = copy, *next; p; p = next) {
		struct err e = { 0 };
		struct run_conf c;
		size_t before = s.n;

		next = strchr(p, '\n');
		if (next)
			*next++ = '\0';
		run_conf_init(&c);
		if (parse_line(&s, p, section, sizeof(section), ++line, &e) ||
		    (s.n > before && (*s.v[before].section ? apply_one(&s.v[before], &c, &e) :
				      err_say(&e, -EINVAL, "'%.60s' comes before the first "
					      "[section]", s.v[before].key)))) {
			fault(line, &e, arg);
			n++;
		}
		run_conf_free(&c);
	}
	settings_free(&s);
	return n;
}
