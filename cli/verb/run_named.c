/* SPDX-License-Identifier: Apache-2.0 */
/*
 * run_named.c - `sandbox run` that leaves a sandbox behind: create, start, exec, and rm if
 * that was asked for.
 *
 * The command is the first of the sandbox, not its purpose: the sandbox runs on when the
 * command has ended, until it is stopped, removed, or its --idle-timeout or --ttl is over.
 * With --detach the command is left to itself as soon as it runs. A sandbox whose start
 * fails is not kept.
 */
#include "cli/verb/attached.h"
#include "cli/base/sigs.h"

static int with_flag(const struct opt *row, const char *value, void *arg, struct err *e)
{
	return named_keep_flag(arg, row, value, e);
}

/* Made and running; otherwise nothing of it is left. */
static int make(struct named *n, const char *name, int sigfd, struct err *e)
{
	struct store_box b = STORE_BOX_NONE;
	struct err quiet = { 0 };
	int rc = create_box(n, name, &b, true, e);

	if (rc)
		return rc;
	rc = keeper_start(&b, sigfd, e);
	store_close(&b);
	if (rc && named_remove(name, true, 0, &quiet))
		cli_say("run: %s", quiet.msg);
	return rc;
}

static int run_in(struct named *n, const char *name, struct attached *a)
{
	int sigfd = sigs_open(n->conf.tty, &a->x.e), rc;

	if (sigfd < 0)
		return CLI_SANDBOX;
	rc = make(n, name, sigfd, &a->x.e);
	close(sigfd);
	if (rc)
		return rc > 0 ? 128 + rc : CLI_SANDBOX;
	if (attached_open(a, name, &n->conf, &a->x.e))
		return CLI_SANDBOX;
	a->x.res.restored = a->state.restored;
	a->x.res.booted = !a->state.restored;
	a->x.res.ready_ns = a->state.ready_ns;
	return attached_run(a, "run", &n->conf);
}

static int words(struct named *n, int argc, char **argv, const struct opt_end *end, struct err *e)
{
	int rc = run_words(&n->conf, argc, argv, end, e);

	if (rc <= 0)
		return rc;
	return settings_set(&n->set, "", "image", n->conf.root.ref) ?
		err_set(e, -ENOMEM, "settings") : 0;
}

/* It runs: that is all for now. With --rm the keeper removes the sandbox after the command. */
static int detached(struct attached *a, const struct named *n)
{
	json_t *id = n->conf.rm ? json_pack("{s:I}", "id", (json_int_t)a->x.id) : NULL;
	struct err e = { 0 };

	if (id && keeper_ask(a->conn, "until", id, NULL, 0, 30000, NULL, &e)) {
		cli_say("run: %s", e.msg);
		return CLI_SANDBOX;
	}
	return attached_print(a, true);
}

int run_named(const struct verb *v, int argc, char **argv)
{
	struct attached a = ATTACHED_NONE;
	struct named n = { 0 };
	char made[STORE_NAME_MAX];
	const char *name;
	struct opt_end end;
	struct err e = { 0 };
	int status = CLI_SANDBOX;

	run_conf_init(&n.conf);
	a.x.conf = &n.conf;
	store_name_make(made);
	if (!opt_parse_each(v->table, v->name, argc, argv, 1, with_flag, &n, &end, &a.x.e) &&
	    !words(&n, argc, argv, &end, &a.x.e) && !run_conf_check(&n.conf, &a.x.e)) {
		name = n.conf.name ? n.conf.name : made;
		status = run_in(&n, name, &a);
		if (status == CLI_OK && n.conf.detach && a.x.left) {
			status = detached(&a, &n);
			attached_close(&a);
			named_end(&n);
			return status;
		}
		if (n.conf.rm && named_remove(name, true, NAMED_GRACE_NS / 5, &e) &&
		    e.code != -ENOENT)
			cli_say("run: %s", e.msg);
	}
	execution_remark(&a.x);
	status = execution_report(&a.x, status);
	attached_close(&a);
	named_end(&n);
	return status;
}
