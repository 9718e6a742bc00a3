/* SPDX-License-Identifier: Apache-2.0 */
/*
 * update.c - `sandbox update`: change the settings of a sandbox, and have what runs follow.
 *
 * A change is checked as a whole, as a start would, before anything is written.
 */
#include "cli/base/sigs.h"
#include "cli/store/autostart.h"
#include "cli/store/event.h"
#include "cli/verb/drift.h"
#include "cli/verb/named.h"
#include "cli/verb/update.h"

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

int update_config(struct store_box *b, const struct settings *more, bool dry_run, bool tell,
		  struct err *e)
{
	struct settings s = { 0 };
	auto_mem char *text = NULL;
	auto_fd lock = store_config_lock(b, e);
	int rc = lock < 0 ? lock : read_config(b, &s, e);

	for (size_t i = 0; !rc && i < more->n; i++)
		if (settings_set(&s, "", more->v[i].key, more->v[i].value))
			rc = err_set(e, -ENOMEM, "settings");
	if (!rc)
		rc = check(&s, e);
	text = rc ? NULL : settings_text(&s);
	if (!rc && !text)
		rc = err_set(e, -ENOMEM, "settings");
	if (!rc && dry_run && tell)
		printf("would configure sandbox '%s' as\n%s", b->name, text);
	else if (!rc && !dry_run)
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
	OPT_WORDS("restart", 0, "WHEN",
		  "auto: if what runs differs, after asking (default); always; never", opt_restart,
		  "auto always never"),
	NAMED_DRY_RUN, NAMED_JSON,
	{ 0 },
};

__attribute__((constructor)) static void make_table(void)
{
	named_rows(update_table, NULL, update_own);
}

struct update {
	struct named n;
	struct store_box b;
	char *differences;	/* of what runs from what is configured now */
	bool restarted;		/* or would be */
};

/* Lines of it; -errno with a sentence, or how many. */
static int look(struct update *u, struct err *e)
{
	size_t len;
	FILE *f = open_memstream(&u->differences, &len);
	int n = f ? drift_lines(&u->b, u->n.dry_run ? &u->n.set : NULL, f, e) :
		    err_set(e, -ENOMEM, "update");

	if (f && fclose(f) && n >= 0)
		n = err_set(e, -ENOMEM, "update");
	return n;
}

/* Start it anew if that is needed and wanted. The exit status. */
static int apply_changes(const struct verb *v, struct update *u)
{
	struct named *n = &u->n;
	const char *name = u->b.name;
	struct store_state s;
	struct err e = { 0 };
	int changes = 0, sigfd, rc = store_state(&u->b, &s, &e);
	bool was;

	if (!rc && s.life == STORE_RUNNING)
		changes = look(u, &e);
	if (rc || changes < 0)
		return named_failed(v, &e);
	if (s.life != STORE_RUNNING || n->restart == NAMED_RESTART_NEVER ||
	    (!changes && n->restart == NAMED_RESTART_AUTO))
		return CLI_OK;
	u->restarted = true;
	if (n->dry_run) {
		if (!n->json)
			printf("%swould restart sandbox '%s'\n", u->differences, name);
		return CLI_OK;
	}
	if (n->restart == NAMED_RESTART_AUTO &&
	    !cli_confirm(v, n->yes, "restart sandbox '%s', which ends all commands in it", name))
		return CLI_USAGE;
	sigfd = sigs_open(false, &e);
	rc = sigfd < 0 ? sigfd : named_stop(name, n->grace_ns, "it was updated", &was, &e);
	if (!rc)
		rc = named_start(name, sigfd, &was, &e);
	if (sigfd >= 0)
		close(sigfd);
	return rc > 0 ? 128 + rc : rc ? named_failed(v, &e) : CLI_OK;
}

/* The flags as settings. `yes` is the answer to our question, and a setting for folders only. */
static int take_flags(struct named *n)
{
	int rc = named_keep_settled(&n->conf, &n->set);

	n->yes |= n->conf.yes;
	return rc || n->conf.shares.n ? rc : settings_set(&n->set, "", "yes", "");
}

static int update_main(const struct verb *v, int argc, char **argv)
{
	struct update u = { .b = STORE_BOX_NONE };
	struct err e = { 0 };
	int status = named_begin(v, argc, argv, &u.n, 1, 1), rc;

	if (status < 0) {
		rc = take_flags(&u.n) ? err_set(&e, -ENOMEM, "settings") :
					store_open(&u.b, u.n.words[0], &e);
		if (!rc && u.n.set.n)
			rc = update_config(&u.b, &u.n.set, u.n.dry_run, !u.n.json, &e);
		status = rc ? named_failed(v, &e) : apply_changes(v, &u);
		if (u.n.json && !status)
			status = named_print_json(json_pack("{s:s, s:b, s:b, s:b, s:s}", "name",
				u.b.name, "dry_run", u.n.dry_run, "changed", u.n.set.n > 0,
				"restarted", u.restarted, "differences",
				u.differences ? u.differences : ""));
	}
	free(u.differences);
	store_close(&u.b);
	named_end(&u.n);
	return fflush(stdout) ? CLI_FAILED : status;
}

const struct verb verb_update = {
	.name = "update", .args = "NAME",
	.summary = "Change the settings of a sandbox, and start it anew if that is needed for them",
	.example = "  sandbox update web -m 1G\n  sandbox update --restart never -e A=1 web\n",
	.table = update_table, .main = update_main, .names = true,
};
