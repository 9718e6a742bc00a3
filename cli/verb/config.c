/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config.c - `sandbox config`, `status` and `update`: what is configured, what a
 * running sandbox was started with, and how the one becomes the other.
 *
 * A change is checked as a whole, as a start would, before anything is written. In the
 * person's file only the lines of the keys that are set are touched.
 */
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "cli/store/autostart.h"
#include "cli/store/event.h"
#include "cli/verb/named.h"
#include "cli/base/sigs.h"

/* Settings that hold without a new start: each command asks for them anew. */
static const char of_commands[] = " env workdir user pids-limit secret autostart ";

/* ---- differences ---------------------------------------------------------- */

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

/* What is in @a and not in @b, one line each to @f (NULL: only counted). */
static unsigned differ(const struct settings *a, const struct settings *b, const char *what,
		       FILE *f)
{
	unsigned n = 0;

	for (size_t i = 0; i < a->n; i++) {
		if (a->v[i].section[0] || has(b, &a->v[i]) || !needs_start(a->v[i].key))
			continue;
		if (f)
			fprintf(f, "  %s: %s = %s\n", what, a->v[i].key, a->v[i].value);
		n++;
	}
	return n;
}

/* Lines of what is configured and not running, and the other way. The number, or -errno. */
static int drift(struct store_box *b, FILE *f, struct err *e)
{
	struct settings now = { 0 }, then = { 0 };
	auto_mem char *text = store_read(b, "running", e);
	int n = -EIO;

	if (text && !settings_parse(&then, text, "running", e) && !keeper_settings(b, &now, e))
		n = (int)(differ(&now, &then, "configured, not yet running", f) +
			  differ(&then, &now, "running, no longer configured", f));
	settings_free(&now);
	settings_free(&then);
	return n;
}

/* ---- status ---------------------------------------------------------------- */

static int status_one(const struct named *n, const char *name, json_t *all, struct err *e)
{
	struct store_state s;
	struct store_box b;
	char age[32], *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);
	int rc = store_open(&b, name, e), changes = 0;

	if (!rc)
		rc = store_state(&b, &s, e);
	if (!rc && s.life == STORE_RUNNING && f) {
		changes = drift(&b, f, e);
		rc = changes < 0 ? e->code : 0;
	}
	if (f)
		fclose(f);
	if (!rc && n->json) {
		json_array_append_new(all, json_pack("{s:s, s:s, s:s, s:b, s:s}", "name", name,
			"state", store_life_name(s.life), "reason", s.reason, "drift", changes > 0,
			"differences", text ? text : ""));
	} else if (!rc) {
		printf("%s: %s%s%s", name, store_life_name(s.life), *s.reason ? ": " : "",
		       s.reason);
		if (s.life == STORE_RUNNING)
			printf(" for %s, keeper %d, monitor %d", named_age(s.started_ns, age),
			       (int)s.keeper, (int)s.vmm);
		printf("\n%s", text ? text : "");
		if (changes > 0)
			printf("  'sandbox update %s' starts it anew with what is configured\n",
			       name);
		else if (s.life == STORE_CRASHED)
			printf("  'sandbox logs --console %s' shows its last words; 'sandbox start %s' "
			       "starts it anew\n", name, name);
	}
	free(text);
	store_close(&b);
	return rc;
}

static int status_main(const struct verb *v, int argc, char **argv)
{
	struct named n;
	struct err e = { 0 };
	size_t count = 0;
	int status = named_begin(v, argc, argv, &n, 0, 0);
	json_t *all = status < 0 && n.json ? json_array() : NULL;
	char **names = status < 0 && !n.n_words ? store_names(&count, &e) : NULL;

	if (status < 0 && !n.n_words && !names)
		status = named_failed(v, &e);
	if (status < 0) {
		size_t end = n.n_words ? (size_t)n.n_words : names ? count : 0;

		status = CLI_OK;
		if (!end && !n.json)
			puts("there are no sandboxes; 'sandbox create NAME' makes one, and 'sandbox "
			     "doctor' checks this host");
		for (size_t i = 0; i < end; i++)
			if (status_one(&n, n.n_words ? n.words[i] : names[i], all, &e))
				status = named_failed(v, &e);
		if (n.json && named_print_json(all))
			status = CLI_FAILED;
	}
	store_names_free(names);
	named_end(&n);
	return fflush(stdout) ? CLI_FAILED : status;
}

static const struct opt status_table[] = { NAMED_JSON, { 0 } };

const struct verb verb_status = {
	.name = "status", .args = "[NAME...]",
	.summary = "Show how sandboxes are, and whether they run as configured",
	.example = "  sandbox status web\n", .table = status_table, .main = status_main,
	.names = true,
};

/* ---- changing a sandbox's config -------------------------------------------- */

/* All of @s as a start would take it. */
static int check(const struct settings *s, struct err *e)
{
	struct run_conf c;
	int rc;

	run_conf_init(&c);
	rc = settings_apply(s, "", NULL, &c, "the configuration", e);
	if (!rc)
		rc = run_conf_check(&c, e);
	run_conf_free(&c);
	return rc;
}

static int read_config(const struct store_box *b, struct settings *s, struct err *e)
{
	auto_mem char *text = store_read(b, "config", e);

	return text ? settings_parse(s, text, "its config", e) : e->code;
}

/* Put @more over the sandbox's config; of several that do so at once none is lost. */
static int change(struct store_box *b, const struct settings *more, bool dry_run, struct err *e)
{
	struct settings s = { 0 };
	auto_mem char *text = NULL;
	auto_fd lock = openat(b->dir, "config.lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC,
			      0600);
	int rc = lock < 0 || flock(lock, LOCK_EX) ? err_set(e, -errno, "lock the config") :
						    read_config(b, &s, e);

	for (size_t i = 0; !rc && i < more->n; i++)
		if (settings_set(&s, "", more->v[i].key, more->v[i].value))
			rc = err_set(e, -ENOMEM, "settings");
	if (!rc)
		rc = check(&s, e);
	text = rc ? NULL : settings_text(&s);
	if (!rc && !text)
		rc = err_set(e, -ENOMEM, "settings");
	if (!rc && dry_run)
		printf("would configure sandbox '%s' as\n%s", b->name, text);
	else if (!rc)
		rc = store_write(b, "config", text, strlen(text), e);
	if (!rc && !dry_run)
		rc = autostart_set(b->name, settings_is_on(&s, "", "autostart"), e);
	if (!rc && !dry_run)
		event_write(b, "configured", NULL);
	settings_free(&s);
	return rc;
}

/* ---- update ----------------------------------------------------------------- */

static struct opt update_table[NAMED_ROWS_MAX];

static int opt_restart(void *into, const char *value, struct err *e)
{
	static const char *const names[] = { "auto", "always", "never" };

	for (unsigned i = 0; i < ARRAY_LEN(names); i++)
		if (!strcmp(value, names[i])) {
			((struct named *)into)->restart = (enum named_restart)i;
			return 0;
		}
	return err_say(e, -EINVAL, "'%s' is none of auto, always and never", value);
}

static const struct opt update_own[] = {
	{ "restart", 0, "WHEN", "auto: if what runs differs, after asking (default); always; never",
	  opt_restart, "auto always never" },
	NAMED_DRY_RUN,
	{ 0 },
};

__attribute__((constructor)) static void make_table(void)
{
	named_rows(update_table, NULL, update_own);
}

/* Start it anew if that is needed and wanted. The exit status. */
static int apply_changes(const struct verb *v, struct named *n, struct store_box *b)
{
	struct store_state s;
	struct err e = { 0 };
	int changes = 0, sigfd, rc = store_state(b, &s, &e);
	bool was;

	if (!rc && s.life == STORE_RUNNING)
		changes = drift(b, n->dry_run ? stdout : NULL, &e);
	if (rc || changes < 0)
		return named_failed(v, &e);
	if (s.life != STORE_RUNNING || n->restart == NAMED_RESTART_NEVER ||
	    (!changes && n->restart == NAMED_RESTART_AUTO))
		return CLI_OK;
	if (n->dry_run) {
		printf("would restart sandbox '%s'\n", b->name);
		return CLI_OK;
	}
	if (n->restart == NAMED_RESTART_AUTO &&
	    !named_confirm(v, n, "restart sandbox '%s', which ends all commands in it", b->name))
		return CLI_USAGE;
	sigfd = sigs_open(false, &e);
	rc = sigfd < 0 ? sigfd : named_stop(b->name, n->grace_ns, "it was updated", &was, &e);
	if (!rc)
		rc = named_start(b->name, sigfd, &was, &e);
	if (sigfd >= 0)
		close(sigfd);
	return rc > 0 ? 128 + rc : rc ? named_failed(v, &e) : CLI_OK;
}

static int update_main(const struct verb *v, int argc, char **argv)
{
	struct store_box b = STORE_BOX_NONE;
	struct named n;
	struct err e = { 0 };
	int status = named_begin(v, argc, argv, &n, 1, 1), rc = 0;

	if (status < 0) {
		for (size_t i = 0; !rc && i < n.conf.env.n; i++)
			rc = settings_set(&n.set, "", "env", n.conf.env.v[i]);
		/* `yes` is both the answer to our question and a setting about shares. */
		n.yes |= n.conf.yes;
		rc = rc ? err_set(&e, rc, "settings") : store_open(&b, n.words[0], &e);
		if (!rc && n.set.n)
			rc = change(&b, &n.set, n.dry_run, &e);
		status = rc ? named_failed(v, &e) : apply_changes(v, &n, &b);
	}
	store_close(&b);
	named_end(&n);
	return fflush(stdout) ? CLI_FAILED : status;
}

const struct verb verb_update = {
	.name = "update", .args = "NAME",
	.summary = "Change the settings of a sandbox, and start it anew if that is needed for them",
	.example = "  sandbox update web -m 1G\n  sandbox update --restart never -e A=1 web\n",
	.table = update_table, .main = update_main, .names = true,
};

/* ---- config ------------------------------------------------------------------ */

static void print_fault(const struct setting *line, const struct err *e, void *arg)
{
	printf("%s line %u: %s\n", (const char *)arg, line->line, e->msg);
}

static int lint(struct err *e)
{
	struct settings s = { 0 };
	struct place p = { 0 };
	int rc = settings_load(&s, &p, e);
	unsigned n = rc ? 0 : settings_lint(&s, print_fault, p.path);

	settings_free(&s);
	return rc ? rc : n ? err_say(e, -EBADMSG, "%u line%s of %.150s %s wrong", n,
				     n == 1 ? "" : "s", p.path, n == 1 ? "is" : "are") : 0;
}

static int show(const char *name, struct err *e)
{
	struct store_box b = STORE_BOX_NONE;
	struct settings s = { 0 };
	auto_mem char *text = NULL;
	int rc = name ? store_open(&b, name, e) : settings_defaults(&s, e);

	if (!rc && name)
		rc = keeper_settings(&b, &s, e);
	text = rc ? NULL : settings_text(&s);
	if (text)
		fputs(text, stdout);
	store_close(&b);
	settings_free(&s);
	return rc;
}

static int paths(struct err *e)
{
	struct place file, state, cache, run;
	int rc = settings_path(&file, e);

	if (!rc)
		rc = places_state(&state, e);
	if (!rc)
		rc = places_cache(&cache, e);
	if (!rc)
		rc = places_runtime(&run, e);
	if (!rc)
		printf("configuration  %s\nsandboxes      %s/sandboxes\ntemplates      %s/templates\n"
		       "sockets        %s\n", file.path, state.path, cache.path, run.path);
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

/* KEY=VALUE words as settings. */
static int parse_words(struct named *n, int from, struct settings *s, struct err *e)
{
	for (int i = from; i < n->n_words; i++) {
		char *eq = strchr(n->words[i], '=');

		if (!eq)
			return err_say(e, -EINVAL, "'%.100s' is not KEY=VALUE", n->words[i]);
		*eq = '\0';
		if (!settings_row(n->words[i], e))
			return e->code;
		if (settings_set(s, "", n->words[i], eq + 1))
			return err_set(e, -ENOMEM, "settings");
		if (!eq[1]) {	/* an empty value takes the key away */
			struct setting *grown = realloc(s->v, (s->n + 1) * sizeof(*grown));

			if (!grown)
				return err_set(e, -ENOMEM, "settings");
			s->v = grown;
			s->v[s->n++] = (struct setting){ strdup(""), strdup(n->words[i]),
							 strdup(""), 0 };
		}
	}
	return from < n->n_words ? 0 : err_say(e, -EINVAL, "give KEY=VALUE, as in 'sandbox config set "
					       "web memory=1G'");
}

static int set(struct named *n, struct err *e)
{
	struct store_box b = STORE_BOX_NONE;
	struct settings s = { 0 };
	struct place p;
	int rc;

	if (n->n_words < 2 || strchr(n->words[1], '=')) {
		rc = settings_path(&p, e);
		return rc ? rc : err_say(e, -EINVAL, "name a sandbox, as in 'sandbox config set web "
					 "memory=1G'; what holds for all is in %.150s ('sandbox config "
					 "edit')", p.path);
	}
	rc = parse_words(n, 2, &s, e);
	if (!rc)
		rc = store_open(&b, n->words[1], e);
	if (!rc)
		rc = change(&b, &s, n->dry_run, e);
	store_close(&b);
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

		if (!strcmp(what, "show") && n.n_words <= 2)
			rc = show(n.words[1], &e);
		else if (!strcmp(what, "set"))
			rc = set(&n, &e);
		else if (n.n_words > 1)
			err_say(&e, rc, "'%.100s' is one word too many", n.words[1]);
		else if (!strcmp(what, "lint"))
			rc = lint(&e);
		else if (!strcmp(what, "paths"))
			rc = paths(&e);
		else if (!strcmp(what, "edit"))
			rc = edit(&e);
		else
			err_say(&e, rc, "'%.60s' is none of show, set, edit, lint and paths", what);
		status = rc ? named_failed(v, &e) : CLI_OK;
	}
	named_end(&n);
	return fflush(stdout) ? CLI_FAILED : status;
}

static const struct opt config_table[] = { NAMED_DRY_RUN, { 0 } };

const struct verb verb_config = {
	.name = "config", .args = "show [NAME] | set NAME KEY=VALUE... | edit | lint | paths",
	.summary = "Show, change and check settings: keys are the long flags of 'sandbox run'. The file\n"
		   "that 'edit' opens has [defaults], [project /DIR] and [sandbox NAME], with lines "
		   "'key = value'",
	.example = "  sandbox config set web memory=1G cpus=2\n  sandbox config lint\n",
	.table = config_table, .words = "show set edit lint paths", .main = config_main,
};
