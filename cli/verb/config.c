/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config.c - `sandbox config`: settings of sandboxes, and the person's file.
 *
 * A change is checked before anything is written. In the person's file only the lines of
 * the keys that are set are touched.
 */
#include <sys/stat.h>
#include <sys/wait.h>
#include "cli/verb/named.h"
#include "cli/verb/update.h"

static void print_fault(unsigned line, const struct err *e, void *arg)
{
	printf("%s line %u: %s\n", (const char *)arg, line, e->msg);
}

static int lint(struct err *e)
{
	struct place p = { 0 };
	auto_mem char *text = settings_read(&p, e);
	unsigned n = text ? settings_lint(text, print_fault, p.path) : 0;

	return !text ? e->code : n ? err_say(e, -EBADMSG, "%u line%s of %.150s %s wrong", n,
					     n == 1 ? "" : "s", p.path, n == 1 ? "is" : "are") : 0;
}

static int show(const struct named *n, struct err *e)
{
	const char *name = n->words[1];
	struct store_box b = STORE_BOX_NONE;
	struct settings s = { 0 };
	auto_mem char *text = NULL;
	int rc = name ? store_open(&b, name, e) : settings_defaults(&s, e);

	if (!rc && name)
		rc = keeper_settings(&b, &s, e);
	text = rc || n->json ? NULL : settings_text(&s);
	if (!rc && n->json)
		rc = named_print_json(settings_json(&s)) ? -EIO : 0;
	else if (text)
		fputs(text, stdout);
	store_close(&b);
	settings_free(&s);
	return rc;
}

static int paths(const struct named *n, struct err *e)
{
	static int (*const find[])(struct place *p, struct err *e) = {
		settings_path, places_state, places_images, places_cache, places_runtime,
	};
	static const char *const what[] = { "configuration", "sandboxes", "images", "templates",
					    "sockets" };
	static const char *const below[] = { "", "/sandboxes", "", "/templates", "" };
	json_t *o = json_object();
	struct place p;
	int rc = 0;

	for (unsigned i = 0; !rc && i < ARRAY_LEN(find); i++) {
		rc = find[i](&p, e);
		if (!rc && n->json)
			json_object_set_new(o, what[i], json_sprintf("%s%s", p.path, below[i]));
		else if (!rc)
			printf("%-14s %s%s\n", what[i], p.path, below[i]);
	}
	if (!rc && n->json)
		return named_print_json(o) ? -EIO : 0;
	json_decref(o);
	return rc;
}

static int edit(struct err *e)
{
	const char *editor = getenv("VISUAL") ? getenv("VISUAL") : getenv("EDITOR");
	struct place p, dir;
	int rc = settings_path(&p, e), status = 0;
	pid_t child;

	if (rc)
		return rc;
	if (!isatty(STDIN_FILENO))
		return err_say(e, -ENOTTY, "there is no terminal to edit at; change the file %.150s, or "
			       "use 'sandbox config set'", p.path);
	if (!places_config(&dir, e))
		(void)mkdir(dir.path, 0700);
	child = fork();
	if (child == 0) {
		execl("/bin/sh", "sh", "-c", "exec ${0} \"$1\"", editor ? editor : "vi",
		      p.path, NULL);
		_exit(127);
	}
	if (child < 0 || waitpid(child, &status, 0) < 0 || status)
		return err_say(e, -EIO, "the editor '%s' failed; set EDITOR",
			       editor ? editor : "vi");
	return lint(e);
}

/* ---- set ------------------------------------------------------------------- */

/* What a start would understand, whatever folder it is in: malloc'ed. NULL with a sentence. */
static char *settled(const struct opt *row, const char *value, struct err *e)
{
	struct shares s = { 0 };
	char *text = NULL;

	if (*value && !strcmp(row->name, "volume")) {
		if (!shares_add(&s, value, e))
			text = share_text(&s.v[0]);
		shares_free(&s);
	} else if (*value && row->arg && !strcmp(row->arg, "FILE")) {
		text = realpath(value, NULL);
		if (!text)
			err_set(e, -errno, "%s", value);
	} else {
		text = strdup(value);
	}
	if (!text && !e->code)
		err_set(e, -ENOMEM, "settings");
	return text;
}

/* KEY=VALUE words as settings; an empty value is kept, as the wish that there be none. */
static int parse_words(struct named *n, int from, struct settings *s, struct err *e)
{
	for (int i = from; i < n->n_words; i++) {
		char *eq = strchr(n->words[i], '=');
		auto_mem char *value = NULL;
		const struct opt *row;

		if (!eq)
			return err_say(e, -EINVAL, "'%.100s' is not KEY=VALUE", n->words[i]);
		*eq = '\0';
		row = settings_row(n->words[i], e);
		value = row ? settled(row, eq + 1, e) : NULL;
		if (!value)
			return err_wrap(e, "%s", n->words[i]);
		if (settings_add(s, "", row->name, value))
			return err_set(e, -ENOMEM, "settings");
	}
	return from < n->n_words ? 0 : err_say(e, -EINVAL, "give KEY=VALUE, as in 'sandbox config set "
					       "web memory=1G'");
}

/* The file's lines for one sandbox win over its own config. */
static void tell_overruled(const char *name, const struct settings *s)
{
	char section[STORE_NAME_MAX + 16];
	struct settings file = { 0 };
	struct err none = { 0 };
	struct place p;

	snprintf(section, sizeof(section), "sandbox %s", name);
	if (!settings_load(&file, &p, &none))
		for (size_t i = 0; i < s->n; i++) {
			const char *v = settings_get(&file, section, s->v[i].key);

			if (v && strcmp(v, s->v[i].value) != 0 && !settings_is_list(s->v[i].key))
				cli_say("config: %s says '%s = %.100s' for '%s', which wins",
					p.path, s->v[i].key, v, name);
		}
	settings_free(&file);
}

static int set_sandbox(struct named *n, struct err *e)
{
	struct store_box b = STORE_BOX_NONE;
	struct settings s = { 0 };
	int rc = parse_words(n, 2, &s, e);

	if (!rc)
		rc = store_open(&b, n->words[1], e);
	if (!rc)
		rc = update_config(&b, &s, n->dry_run, !n->json, e);
	if (!rc)
		tell_overruled(b.name, &s);
	store_close(&b);
	settings_free(&s);
	return rc;
}

/* "defaults", or "project DIR". */
static int section_of(const struct named *n, char *section, size_t len, struct err *e)
{
	auto_mem char *dir = n->project ? realpath(n->project, NULL) : NULL;

	if (n->project && !dir)
		return err_set(e, -errno, "--project: %s", n->project);
	if (snprintf(section, len, dir ? "project %s" : "defaults", dir) >= (int)len)
		return err_set(e, -ENAMETOOLONG, "--project");
	return 0;
}

/* In the person's file. */
static int set_file(struct named *n, struct err *e)
{
	char section[PLACES_MAX + 16];
	struct settings s = { 0 };
	struct place p;
	int rc = section_of(n, section, sizeof(section), e);

	if (!rc)
		rc = parse_words(n, 1, &s, e);
	if (!rc)
		rc = settings_change(section, &s, n->dry_run, &p, e);
	if (!rc && n->dry_run)
		printf("would set in [%s] of %s\n", section, p.path);
	for (size_t i = 0; !rc && n->dry_run && i < s.n; i++)
		printf("%s = %s\n", s.v[i].key, s.v[i].value);
	settings_free(&s);
	return rc;
}

static int config_main(const struct verb *v, int argc, char **argv)
{
	struct named n;
	struct err e = { 0 };
	int status = named_begin(v, argc, argv, &n, 1, 0), rc = -EINVAL;

	if (status < 0) {
		const char *what = n.words[0];

		if (!strcmp(what, "set"))
			rc = n.project || n.n_words < 2 || strchr(n.words[1], '=') ?
				set_file(&n, &e) : set_sandbox(&n, &e);
		else if (n.project)
			err_say(&e, rc, "--project is for 'set'");
		else if (!strcmp(what, "show") && n.n_words <= 2)
			rc = show(&n, &e);
		else if (n.n_words > 1)
			err_say(&e, rc, "'%.100s' is one word too many", n.words[1]);
		else if (!strcmp(what, "lint"))
			rc = lint(&e);
		else if (!strcmp(what, "paths"))
			rc = paths(&n, &e);
		else if (!strcmp(what, "edit"))
			rc = edit(&e);
		else
			err_say(&e, rc, "'%.60s' is none of show, set, edit, lint and paths", what);
		status = rc ? named_failed(v, &e) : CLI_OK;
	}
	named_end(&n);
	return fflush(stdout) ? CLI_FAILED : status;
}

static const struct opt config_table[] = {
	OPT_TEXT("project", 0, "DIR", "set: what holds in that folder and below it", NULL,
		 struct named, project),
	NAMED_DRY_RUN, NAMED_JSON,
	{ 0 },
};

const struct verb verb_config = {
	.name = "config", .args = "show [NAME] | set [NAME] KEY=VALUE... | edit | lint | paths",
	.summary = "Show, change and check settings: keys are the long flags of 'sandbox run', and an empty\n"
		   "value takes one away. Without a name they are your defaults for new sandboxes, in the\n"
		   "file that 'edit' opens, with [defaults], [project /DIR] and [sandbox NAME]",
	.example = "  sandbox config set web memory=1G cpus=2\n"
		   "  sandbox config set memory=512M\n"
		   "  sandbox config set --project . volume=.\n"
		   "  sandbox config lint\n",
	.table = config_table, .words = "show set edit lint paths", .names = true,
	.main = config_main,
};
