/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attached.c - open, run, note.
 */
#include "cli/verb/attached.h"
#include "cli/verb/record.h"
#include "cli/store/event.h"
#include "cli/base/term.h"
#include <poll.h>

#define ASK_MS		30000
#define OF_COMMANDS	"env image workdir user pids-limit secret detach-keys"
#define ARGV_MAX	4096u		/* bytes of a command line in the event log */

/* The sandbox's variables, then the call's, which win. */
static int join_env(struct env *base, struct env *own, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < own->n; i++)
		rc = env_add(base, own->v[i], e);
	env_free(own);
	*own = *base;
	*base = (struct env){ 0 };
	return rc;
}

static int complete(struct attached *a, struct run_conf *c, struct err *e)
{
	int rc = join_env(&a->base.env, &c->env, e);

	if (!rc)
		rc = join_env(&a->base.secrets, &c->secrets, e);
	if (!c->workdir)
		c->workdir = a->base.workdir;
	if (!c->user) {
		c->user = take_ptr(&a->base.user);
		c->group = c->group ? c->group : take_ptr(&a->base.group);
	}
	if (!c->pids)
		c->pids = a->base.pids;
	if (!rc && !c->own_keys && a->base.own_keys)
		c->keys = a->base.keys;
	else if (!rc && !c->own_keys)
		rc = keys_parse(KEYS_DEFAULT, &c->keys, e);
	return rc;
}

int attached_open(struct attached *a, const char *name, struct run_conf *c, struct err *e)
{
	int rc = box_running(&a->box, &a->state, name, e);
	struct err none;

	run_conf_init(&a->base);
	if (!rc)
		rc = keeper_settings(&a->box, &a->set, e);
	if (!rc)
		rc = settings_apply(&a->set, "", OF_COMMANDS, &a->base, "its config", e);
	if (!rc && run_image(&a->base, &none))
		a->base.root.ref = NULL;	/* what was removed meanwhile still runs */
	if (!rc)
		rc = complete(a, c, e);
	if (!rc) {
		a->conn = keeper_hold(&a->box, &a->state, e);
		rc = a->conn < 0 ? a->conn : 0;
	}
	return rc;
}

static int on_keeper_end(struct client *c, short revents, void *arg)
{
	(void)c;
	(void)revents;
	(void)arg;
	return -ECONNRESET;
}

/* The keeper writes its last word before it hangs up. */
static bool explain(void *arg, struct err *e)
{
	struct attached *a = arg;
	uint64_t until = term_now_ns() + 5000000000ull;
	struct err quiet = { 0 };
	struct store_state s;

	while (!store_state(&a->box, &s, &quiet) && s.life == STORE_RUNNING) {
		struct pollfd p = { a->conn, POLLIN, 0 };

		if (term_now_ns() > until || poll(&p, 1, 100) < 0)
			return false;
		if (p.revents)
			poll(NULL, 0, 10);
	}
	if (quiet.code)
		return false;
	err_say(e, -ECONNRESET, "sandbox '%s' %s while the command ran: %.150s", a->box.name,
		s.life == STORE_CRASHED ? "crashed" : "stopped", s.reason);
	return true;
}

static json_t *words(char *const *argv)
{
	json_t *o = json_array();
	size_t len = 0;

	for (; *argv && len < ARGV_MAX; argv++) {
		len += strlen(*argv);
		json_array_append_new(o, len < ARGV_MAX && json_string(*argv) ?
				      json_string(*argv) : json_string("..."));
	}
	return o;
}

static void note(struct attached *a, const char *what, json_t *details)
{
	json_object_set_new(details, "by", json_integer(getpid()));
	event_write(&a->box, what, details);
}

/* What the command was given, before it runs: whatever comes of it, that it was tried is told. */
static void note_begin(struct attached *a, const struct run_conf *c)
{
	if (a->x.wait)
		return;
	if (a->x.follow)
		note(a, "exec-attach", json_pack("{s:I}", "id", (json_int_t)a->x.follow));
	else
		note(a, "exec", json_pack("{s:o, s:b, s:s?, s:b, s:s?}", "argv", words(c->argv),
					  "tty", c->tty, "user", c->user, "detach", c->detach,
					  "recording", a->x.record ? a->x.record->name : NULL));
}

static void note_end(struct attached *a, int status)
{
	const struct execution *x = &a->x;
	json_t *id = x->id ? json_integer((json_int_t)x->id) : json_null();

	if (x->wait || (x->follow && !x->left)) {
		json_decref(id);	/* the keeper notes the end */
		return;
	}
	if (x->left)
		note(a, x->conf->detach ? "exec-started" : "exec-left",
		     json_pack("{s:o}", "id", id));
	else
		note(a, "exit", json_pack("{s:o, s:i, s:I, s:b, s:b, s:b}", "id", id, "status",
					  status, "exec_ms", (json_int_t)(x->res.exec_ns / 1000000),
					  "timed_out", x->res.timed_out, "oom", x->res.oom,
					  "truncated", x->res.trunc_stdout || x->res.trunc_stderr));
}

int attached_run(struct attached *a, const char *verb, const struct run_conf *c)
{
	struct execution *x = &a->x;
	struct record rec = RECORD_NONE;
	struct err quiet = { 0 };
	struct client *client;
	int rc = 0, status = CLI_SANDBOX;

	if (execution_begin(x, verb, c))
		return status;
	x->explain = explain;
	x->arg = a;
	x->leavable = true;
	execution_watch(x, a->conn, on_keeper_end, NULL);
	/* The keeper notes the end of what nobody may wait for. */
	if (c->detach && keeper_ask(a->conn, "watch", NULL, NULL, 0, ASK_MS, NULL, &x->e))
		return status;
	if (c->record && recording_begin(&rec, x, &a->box, &x->e))
		return status;
	note_begin(a, c);
	client = box_client(&a->state, &x->e);
	if (client)
		status = execution_run(x, client);
	else
		explain(a, &x->e);
	client_close(client);
	recording_end(&rec, status);
	/* Of one that is left the keeper notes the end: it has to hear of it. */
	if (x->left && !c->detach && !x->follow)
		rc = keeper_ask(a->conn, "watch", NULL, NULL, 0, ASK_MS, NULL, &quiet);
	if (rc)
		cli_say("its end will not be in the event log: %s", quiet.msg);
	note_end(a, status);
	if (x->left && !c->detach && !x->wait && x->id)
		cli_say("%llu runs on; 'sandbox exec attach %s %llu' goes back to it",
			(unsigned long long)x->id, a->box.name, (unsigned long long)x->id);
	return status;
}

int attached_print(const struct attached *a, bool name)
{
	if (a->x.conf->json)
		return named_print_json(json_pack("{s:s, s:I, s:I}", "sandbox", a->box.name, "id",
						  (json_int_t)a->x.id, "pid",
						  (json_int_t)a->x.pid));
	if (name)
		puts(a->box.name);
	else
		printf("%llu\n", (unsigned long long)a->x.id);
	return fflush(stdout) ? CLI_SANDBOX : CLI_OK;
}

void attached_close(struct attached *a)
{
	if (a->conn >= 0)
		close(a->conn);
	execution_end(&a->x);
	store_close(&a->box);
	settings_free(&a->set);
	run_conf_free(&a->base);
	*a = (struct attached)ATTACHED_NONE;
}
