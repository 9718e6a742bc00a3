/* SPDX-License-Identifier: Apache-2.0 */
/*
 * life.c - `sandbox start`, `stop`, `restart`, `rm`: each prints the names for which
 * it is done, as they are done.
 */
#include "cli/base/sigs.h"
#include "cli/run/limits.h"
#include "cli/verb/named.h"

static int finish(struct named *n, json_t *all, int status)
{
	named_end(n);
	if (n->json && all)
		return named_print_json(all) == CLI_OK ? status : CLI_FAILED;
	json_decref(all);
	return fflush(stdout) ? CLI_FAILED : status;
}

/* How one name went. */
static void tell(const struct verb *v, const struct named *n, json_t *all, const char *name, int rc,
		 const struct err *e, const char *did, int *status)
{
	if (n->json)
		json_array_append_new(all, json_pack("{s:s, s:b, s:s, s:s?}", "name", name, "ok",
						     !rc, "result", rc ? "failed" : did, "error",
						     rc ? e->msg : NULL));
	else if (!rc)
		puts(name);
	if (rc && !n->json)
		cli_say("%s: %s", v->name, e->msg);
	if (rc)
		*status = *status == CLI_FAILED ? CLI_FAILED : cli_status_of(rc);
}

/* ---- start --------------------------------------------------------------- */

/* Whether a start would be possible, and what it would be; to @out unless it is NULL. */
static int would_start(const char *name, FILE *out, struct err *e)
{
	struct settings s = { 0 };
	struct run_conf c;
	struct store_state st;
	struct store_box b;
	char cpus[16];
	int rc = store_open(&b, name, e);

	run_conf_init(&c);
	if (!rc)
		rc = store_state(&b, &st, e);
	if (!rc)
		rc = keeper_settings(&b, &s, e);
	if (!rc)
		rc = settings_apply(&s, "", NULL, &c, "its config", e);
	if (!rc)
		rc = run_conf_check(&c, e);
	if (!rc && out)
		fprintf(out, "would start sandbox '%s'%s: %llu MiB of memory, %s CPU%s\n", name,
			st.life == STORE_RUNNING ? ", which runs already" : "",
			(unsigned long long)(c.memory >> 20), run_cpus_text(&c, cpus),
			run_cpus(&c) > 1 ? "s" : "");
	store_close(&b);
	run_conf_free(&c);
	settings_free(&s);
	return rc;
}

static int start_all(const struct verb *v, struct named *n, json_t *all)
{
	struct err e = { 0 };
	int sigfd = sigs_open(false, &e), status = CLI_OK, rc;

	if (sigfd < 0)
		return named_failed(v, &e);
	for (int i = 0; i < n->n_words; i++) {
		bool was = false;

		e = (struct err){ 0 };
		if (n->dry_run) {
			rc = would_start(n->words[i], n->json ? NULL : stdout, &e);
			if (rc || n->json)
				tell(v, n, all, n->words[i], rc, &e, "would start", &status);
			continue;
		}
		rc = named_start(n->words[i], sigfd, &was, &e);
		if (rc > 0) {
			status = 128 + rc;
			break;
		}
		tell(v, n, all, n->words[i], rc, &e, was ? "ran already" : "started", &status);
	}
	close(sigfd);
	return status;
}

static int start_main(const struct verb *v, int argc, char **argv)
{
	struct named n;
	int status = named_begin(v, argc, argv, &n, 1, 0);
	json_t *all = status < 0 && n.json ? json_array() : NULL;

	return finish(&n, all, status < 0 ? start_all(v, &n, all) : status);
}

static const struct opt start_table[] = {
	NAMED_DRY_RUN, NAMED_JSON,
	{ 0 },
};

const struct verb verb_start = {
	.name = "start", .args = "NAME...",
	.summary = "Start sandboxes, and return when commands can run in them",
	.example = "  sandbox start web\n",
	.table = start_table, .main = start_main, .names = true,
};

/* ---- stop ---------------------------------------------------------------- */

static const struct opt stop_table[] = {
	OPT("time", 't', "TIME", "how long the guest may take to power off (default 10s); 0: none",
	    named_opt_time),
	OPT_FLAG("all", 'a', "every sandbox that runs", struct named, all),
	NAMED_DRY_RUN, NAMED_JSON,
	{ 0 },
};

/* With --all, the words are those that run. */
static int all_running(struct named *n, struct err *e)
{
	int kept = 0, rc = named_every(n, e);

	for (int i = 0; !rc && i < n->n_words; i++) {
		struct store_state s = { 0 };
		struct store_box b;
		struct err quiet = { 0 };
		bool runs = !store_open(&b, n->words[i], &quiet) &&
			    !store_state(&b, &s, &quiet) &&
			    (s.life == STORE_RUNNING || s.life == STORE_STARTING);

		store_close(&b);
		if (runs)
			n->words[kept++] = n->words[i];
		else
			free(n->words[i]);
	}
	if (rc)
		return rc;
	n->words[kept] = NULL;
	n->n_words = kept;
	return 0;
}

static int stop_one(const struct named *n, const char *name, bool *was, struct err *e)
{
	struct store_state s;
	struct store_box b;
	int rc;

	if (!n->dry_run)
		return named_stop(name, n->grace_ns, "it was stopped", was, e);
	rc = store_open(&b, name, e);
	if (!rc)
		rc = store_state(&b, &s, e);
	if (!rc && !n->json)
		printf("would stop sandbox '%s', which is %s\n", name, store_life_name(s.life));
	store_close(&b);
	return rc;
}

static int stop_main(const struct verb *v, int argc, char **argv)
{
	struct named n;
	struct err e = { 0 };
	int status = named_begin(v, argc, argv, &n, 0, 0);
	json_t *all = status < 0 && n.json ? json_array() : NULL;

	if (status < 0 && !n.all == !n.n_words) {
		cli_say("stop: give names, or --all");
		status = CLI_USAGE;
	}
	if (status < 0 && n.all && all_running(&n, &e))
		status = named_failed(v, &e);
	if (status < 0) {
		status = CLI_OK;
		for (int i = 0; i < n.n_words; i++) {
			bool was = false;
			int rc;

			e = (struct err){ 0 };
			rc = stop_one(&n, n.words[i], &was, &e);
			if (rc || n.json || !n.dry_run)
				tell(v, &n, all, n.words[i], rc, &e, was ? "did not run" :
				     n.dry_run ? "would stop" : "stopped", &status);
		}
	}
	return finish(&n, all, status);
}

const struct verb verb_stop = {
	.name = "stop", .args = "NAME...",
	.summary = "Ask guests to power off, and end those that do not in time",
	.example = "  sandbox stop web\n  sandbox stop --all -t 2s\n",
	.table = stop_table, .main = stop_main, .names = true,
};

/* ---- restart ------------------------------------------------------------- */

static const struct opt restart_table[] = {
	OPT("time", 't', "TIME", "how long the guest may take to power off (default 10s); 0: none",
	    named_opt_time),
	NAMED_DRY_RUN, NAMED_JSON,
	{ 0 },
};

static int restart_main(const struct verb *v, int argc, char **argv)
{
	struct named n;
	struct err e = { 0 };
	int status = named_begin(v, argc, argv, &n, 1, 0), rc = 0;
	json_t *all = status < 0 && n.json ? json_array() : NULL;
	bool was;

	if (status >= 0 || n.dry_run)
		return finish(&n, all, status < 0 ? start_all(v, &n, all) : status);
	status = CLI_OK;
	for (int i = 0; i < n.n_words; i++) {
		e = (struct err){ 0 };
		rc = named_stop(n.words[i], n.grace_ns, "it was restarted", &was, &e);
		if (rc) {
			tell(v, &n, all, n.words[i], rc, &e, "", &status);
			n.words[i][0] = '\0';
		}
	}
	for (int i = 0; i < n.n_words; i++)
		if (n.words[i][0]) {
			struct named one = { .json = n.json, .n_words = 1, .words = &n.words[i] };

			rc = start_all(v, &one, all);
			status = rc ? rc : status;
		}
	return finish(&n, all, status);
}

const struct verb verb_restart = {
	.name = "restart", .args = "NAME...",
	.summary = "Stop sandboxes and start them again",
	.example = "  sandbox restart web\n",
	.table = restart_table, .main = restart_main, .names = true,
};

/* ---- rm ------------------------------------------------------------------ */

static const struct opt rm_table[] = {
	OPT_FLAG("force", 'f', "stop those that run, and do not ask", struct named, force),
	NAMED_YES, NAMED_DRY_RUN, NAMED_JSON,
	{ 0 },
};

static int rm_main(const struct verb *v, int argc, char **argv)
{
	struct named n;
	struct err e = { 0 };
	struct store_box b;
	int status = named_begin(v, argc, argv, &n, 1, 0), rc;
	json_t *all = status < 0 && n.json ? json_array() : NULL;

	n.yes |= n.force;
	for (int i = 0; status < 0 && i < n.n_words; i++) {
		rc = store_open(&b, n.words[i], &e);
		store_close(&b);
		if (rc && n.force && rc == -ENOENT)
			continue;
		if (rc)
			status = named_failed(v, &e);
	}
	if (status < 0 && !n.dry_run &&
	    !cli_confirm(v, n.yes, "remove %s%s and all that is kept of %s", n.words[0],
			   n.n_words > 1 ? " and others" : "", n.n_words > 1 ? "them" : "it"))
		status = CLI_USAGE;
	for (int i = 0, go = status < 0; go && i < n.n_words; i++) {
		status = i ? status : CLI_OK;
		e = (struct err){ 0 };
		if (n.dry_run && !n.json)
			printf("would remove sandbox '%s'\n", n.words[i]);
		else if (n.dry_run)
			tell(v, &n, all, n.words[i], 0, &e, "would remove", &status);
		if (n.dry_run)
			continue;
		rc = named_remove(n.words[i], n.force, NAMED_GRACE_NS / 5, &e);
		if (rc == -ENOENT && n.force)
			rc = 0;
		tell(v, &n, all, n.words[i], rc, &e, "removed", &status);
	}
	return finish(&n, all, status);
}

const struct verb verb_rm = {
	.name = "rm", .args = "NAME...",
	.summary = "Remove sandboxes, with all that is kept of them",
	.example = "  sandbox rm web\n  sandbox rm --force task-1 task-2\n",
	.table = rm_table, .main = rm_main, .names = true,
};
