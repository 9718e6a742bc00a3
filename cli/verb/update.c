/* SPDX-License-Identifier: Apache-2.0 */
/*
 * update.c - `sandbox update`: change the settings of a sandbox, and have what runs follow.
 *
 * A change is checked as a whole, as a start would, before anything is written.
 */
#include <fcntl.h>
#include <sys/file.h>
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

int update_config(struct store_box *b, const struct settings *more, bool dry_run, struct err *e)
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
		changes = drift_lines(b, n->dry_run ? stdout : NULL, &e);
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
			rc = update_config(&b, &n.set, n.dry_run, &e);
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
