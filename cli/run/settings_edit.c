/* SPDX-License-Identifier: Apache-2.0 */
/*
 * settings_edit.c - line by line: what a line says is asked of the parser, so that there is
 * one idea only of what a line is.
 */
#include "cli/run/settings.h"
#include "cli/run/settings_edit.h"

struct edit {
	const char *section, *key, *value;
	FILE *out;		/* NULL in the first pass */
	bool here;		/* the line is in our section */
	size_t after;		/* line that a new one comes after; 0: our section is not there */
	size_t mine;		/* lines that say what is to be changed */
	bool done;		/* the value is written */
};

static bool put_value(struct edit *w)
{
	struct setting one = { (char[]){ "" }, (char *)(uintptr_t)w->key,
			       (char *)(uintptr_t)w->value, 0 };
	auto_mem char *line = settings_text(&(struct settings){ &one, 1 });

	w->done = true;
	return line && fputs(line, w->out) >= 0;
}

/* Is the section that this header begins ours? -1 if it is no header. */
static int enters(const struct edit *w, const char *line)
{
	struct settings s = { 0 };
	struct err none;
	auto_mem char *probe = NULL;
	int ours = -1;

	if (asprintf(&probe, "%s\nk=v", line) > 0 && !settings_parse(&s, probe, "", &none) &&
	    s.n == 1)
		ours = !strcmp(s.v[0].section, w->section);
	settings_free(&s);
	return ours;
}

/* 1 if it says what is to be changed, 0 if not, -1 if it is no line. */
static int look(struct edit *w, const char *line, size_t number)
{
	struct settings s = { 0 };
	struct err none;
	int mine = 0;

	line += strspn(line, " \t\r\f\v");
	if (*line == '[') {
		int ours = enters(w, line);

		w->here = ours > 0;
		w->after = w->here ? number : w->after;
		return ours < 0 ? -1 : 0;
	}
	if (settings_parse(&s, line, "", &none))
		return -1;
	if (w->here && s.n == 1) {
		w->after = number;
		mine = !strcmp(s.v[0].key, w->key) &&
		       (!*w->value || settings_replaces(w->key, s.v[0].value, w->value));
	}
	settings_free(&s);
	return mine;
}

static bool edit_line(struct edit *w, const char *line, size_t number, size_t after)
{
	int mine = look(w, line, number);

	if (mine < 0 || !w->out) {
		w->mine += mine > 0;
		return mine >= 0;
	}
	if (!mine)
		fprintf(w->out, "%s\n", line);
	if (!w->done && *w->value && (w->mine ? mine : number == after))
		return put_value(w);
	return true;
}

static bool pass(struct edit *w, const char *text)
{
	auto_mem char *copy = strdup(text);
	size_t number = 0, after = w->after;
	bool ok = copy;

	w->here = !*w->section;
	for (char *line = copy, *next; ok && *line; line = next) {
		next = line + strcspn(line, "\n");
		if (*next)
			*next++ = '\0';
		ok = edit_line(w, line, ++number, after);
	}
	if (!ok || !w->out || w->done || !*w->value)
		return ok;
	if (*w->section)
		fprintf(w->out, "%s[%s]\n", number ? "\n" : "", w->section);
	return put_value(w);
}

char *settings_edit(const char *text, const char *section, const char *key, const char *value)
{
	struct edit w = { .section = section, .key = key, .value = value };
	char *result = NULL;
	size_t len;
	bool ok = pass(&w, text);

	w.out = ok ? open_memstream(&result, &len) : NULL;
	ok = w.out && pass(&w, text);
	if (w.out && fclose(w.out))
		ok = false;
	if (ok)
		return result;
	free(result);
	return NULL;
}
