/* SPDX-License-Identifier: Apache-2.0 */
/*
 * status.c - `sandbox status`: how sandboxes are, each as one object, which is printed as JSON or
 * as lines for people.
 *
 * What runs is asked, not remembered: its keeper for what it shares and how it is walled in,
 * its agent for a sign of life. That one of them does not answer is part of the answer.
 */
#include "cli/base/parse.h"
#include "cli/base/term.h"
#include "cli/base/text.h"
#include "cli/run/limits.h"
#include "cli/verb/drift.h"
#include "cli/verb/named.h"
#include "cli/verb/status.h"
#include "cli/verb/usage.h"

#define ANSWER_MS	10000	/* a busy host that emulates the guest takes seconds */

/* ---- asking -------------------------------------------------------------------- */

static json_t *ask_keeper(const struct store_state *s)
{
	struct err e = { 0 };
	auto_fd conn = keeper_connect(s, &e);
	json_t *answer = NULL;

	if (conn < 0 || keeper_ask(conn, "status", NULL, NULL, 0, ANSWER_MS, &answer, &e))
		return json_pack("{s:o}", "error", text_json(e.msg));
	json_object_del(answer, "ok");
	return answer;
}

static json_t *ask_agent(const struct store_state *s)
{
	struct client_err ce = { 0 };
	char path[PLACES_MAX + 8];
	uint64_t since = term_now_ns();
	struct client *c;
	json_t *o;

	snprintf(path, sizeof(path), "%s/s/v", s->runtime);
	c = client_open(path, PROTO_AGENT_PORT, ANSWER_MS, &ce);
	if (c && !client_ping(c, ANSWER_MS, &ce))
		o = json_pack("{s:i, s:I, s:f}", "protocol", (int)client_version(c), "features",
			      (json_int_t)client_features(c), "answered_ms",
			      (double)(term_now_ns() - since) / 1e6);
	else
		o = json_pack("{s:o}", "error", text_json(ce.msg));
	client_close(c);
	return o;
}

/* The differences as lines of text; NULL with a sentence. */
static char *ask_drift(struct store_box *b, struct err *e)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);
	int n = f ? drift_lines(b, NULL, f, e) : err_set(e, -ENOMEM, "status");

	if (f)
		fclose(f);
	if (n >= 0)
		return text;
	free(text);
	return NULL;
}

/* What it is made of, by its settings. */
static int describe(struct store_box *b, json_t *o, struct err *e)
{
	struct settings set = { 0 };
	struct run_conf c;
	int rc;

	run_conf_init(&c);
	rc = keeper_settings(b, &set, e);
	if (!rc)
		rc = settings_apply(&set, "", "memory cpus pin network autostart", &c, "its config",
				    e);
	if (!rc) {
		json_object_set_new(o, "memory_bytes", json_integer((json_int_t)c.memory));
		json_object_set_new(o, "cpus", json_real(run_cpus(&c)));
		json_object_set_new(o, "pin", c.pin ? json_string(c.pin) : json_null());
		json_object_set_new(o, "autostart", json_boolean(c.autostart));
		json_object_set_new(o, "network", json_string("none"));
	}
	run_conf_free(&c);
	settings_free(&set);
	return rc;
}

static int describe_running(struct store_box *b, const struct store_state *s, json_t *o,
			    struct err *e)
{
	struct usage u = usage_of(s->vmm);
	auto_mem char *differences = ask_drift(b, e);

	if (!differences)
		return e->code;
	json_object_set_new(o, "since", json_real((double)s->started_ns / 1e9));
	json_object_set_new(o, "keeper_pid", json_integer(s->keeper));
	json_object_set_new(o, "monitor_pid", json_integer(s->vmm));
	json_object_set_new(o, "restored", json_boolean(s->restored));
	json_object_set_new(o, "ready_ms", json_real((double)s->ready_ns / 1e6));
	json_object_set_new(o, "usage", usage_json(&u));
	json_object_set_new(o, "keeper", ask_keeper(s));
	json_object_set_new(o, "agent", ask_agent(s));
	json_object_set_new(o, "drift", json_boolean(*differences));
	json_object_set_new(o, "differences", json_string(differences));
	return 0;
}

json_t *status_look(const char *name, struct err *e)
{
	struct store_state s;
	struct store_box b;
	json_t *o = NULL;
	int rc = store_open(&b, name, e);

	if (!rc)
		rc = store_state(&b, &s, e);
	if (!rc) {
		o = json_pack("{s:s, s:s, s:s, s:b, s:s}", "name", name, "state",
			      store_life_name(s.life), "reason", s.reason, "drift", 0,
			      "differences", "");
		rc = o ? describe(&b, o, e) : err_set(e, -ENOMEM, "status");
	}
	if (!rc && s.life == STORE_RUNNING)
		rc = describe_running(&b, &s, o, e);
	if (rc) {
		json_decref(o);
		o = NULL;
	}
	store_close(&b);
	return o;
}

/* ---- printing ------------------------------------------------------------------- */

const char *status_text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

double status_number(const json_t *o, const char *key)
{
	return json_number_value(json_object_get(o, key));
}

static void print_machine(const json_t *o)
{
	uint64_t memory = (uint64_t)status_number(o, "memory_bytes");
	char size[32];

	printf("  machine   %s, %g CPU%s", parse_size_text(memory, size),
	       status_number(o, "cpus"), status_number(o, "cpus") > 1 ? "s" : "");
	if (*status_text(o, "pin"))
		printf(" of the host's %s", status_text(o, "pin"));
	printf("%s\n", json_is_true(json_object_get(o, "autostart")) ?
	       ", started by systemd (--autostart)" : "");
}

/* A size in @o, which may be null. */
static const char *size_of(const json_t *o, const char *key, char buf[static 32])
{
	const json_t *v = json_object_get(o, key);

	return usage_size(json_is_integer(v) ? json_integer_value(v) : -1, buf);
}

static void print_usage(const json_t *o)
{
	const json_t *u = json_object_get(o, "usage");
	char a[32], b[32], c[32];

	printf("  memory    %s resident: %s its own, %s shared\n", size_of(u, "resident_bytes", a),
	       size_of(u, "private_bytes", b), size_of(u, "shared_bytes", c));
	printf("  CPU       %.2f s; it was ready after %.0f ms, %s\n",
	       status_number(u, "cpu_seconds"), status_number(o, "ready_ms"),
	       json_is_true(json_object_get(o, "restored")) ? "restored" : "booted");
}

static void print_shares(const json_t *keeper)
{
	const json_t *list = json_object_get(keeper, "shares"), *one;
	size_t i;

	if (!json_array_size(list))
		puts("  shares    none");
	json_array_foreach(list, i, one)
		printf("  shares    %s at %s, %s\n", status_text(one, "source"),
		       status_text(one, "target"), status_text(one, "mode"));
}

static void print_keeper(const json_t *o)
{
	const json_t *k = json_object_get(o, "keeper"), *left = json_object_get(k, "ttl_left_ms");
	const char *limits = status_text(k, "limits");

	if (*status_text(k, "error")) {
		printf("  keeper    does not answer: %s\n", status_text(k, "error"));
		return;
	}
	print_shares(k);
	printf("  network   %s\n", status_text(o, "network"));
	printf("  jail      %s: %s; control group limits %s\n", status_text(k, "jail"),
	       *status_text(k, "walls") ? status_text(k, "walls") : "no walls",
	       *limits ? limits : "nothing");
	printf("  commands  %.0f attached", status_number(k, "attached"));
	if (json_is_integer(left))
		printf("; --ttl is over in %.0f s", json_number_value(left) / 1e3);
	left = json_object_get(k, "idle_left_ms");
	if (json_is_integer(left))
		printf("; stops in %.0f s if it stays idle", json_number_value(left) / 1e3);
	putchar('\n');
}

static void print_running(const json_t *o)
{
	const json_t *agent = json_object_get(o, "agent");

	print_usage(o);
	print_keeper(o);
	if (*status_text(agent, "error"))
		printf("  agent     does not answer: %s\n", status_text(agent, "error"));
	else
		printf("  agent     protocol %.0f, answered in %.1f ms\n",
		       status_number(agent, "protocol"), status_number(agent, "answered_ms"));
	if (json_is_true(json_object_get(o, "drift")))
		printf("%s  'sandbox update %s' starts it anew with what is configured\n",
		       status_text(o, "differences"), status_text(o, "name"));
	else
		puts("  settings  it runs as configured");
}

static void print(const json_t *o)
{
	const char *name = status_text(o, "name"), *state = status_text(o, "state"),
		   *reason = status_text(o, "reason");
	bool runs = json_object_get(o, "since");
	char age[32];

	printf("%s: %s%s%s", name, state, *reason ? ": " : "", reason);
	if (runs)
		printf(" for %s (keeper %.0f, monitor %.0f)",
		       named_age((uint64_t)(status_number(o, "since") * 1e9), age),
		       status_number(o, "keeper_pid"), status_number(o, "monitor_pid"));
	putchar('\n');
	print_machine(o);
	if (runs)
		print_running(o);
	if (!strcmp(state, store_life_name(STORE_CRASHED)))
		printf("  'sandbox logs --console %s' shows its last words; 'sandbox start %s' starts "
		       "it anew\n", name, name);
}

/* ---- the verb ------------------------------------------------------------------- */

static int status_main(const struct verb *v, int argc, char **argv)
{
	struct named n;
	struct err e = { 0 };
	int status = named_begin(v, argc, argv, &n, 0, 0);
	json_t *all = status < 0 && n.json ? json_array() : NULL;

	if (status < 0 && !n.n_words && named_every(&n, &e))
		status = named_failed(v, &e);
	if (status < 0) {
		status = CLI_OK;
		if (!n.n_words && !n.json)
			puts("there are no sandboxes; 'sandbox create NAME' makes one, and 'sandbox "
			     "doctor' checks this host");
		for (int i = 0; i < n.n_words; i++) {
			json_t *o;

			e = (struct err){ 0 };
			o = status_look(n.words[i], &e);
			if (o && n.json)
				json_array_append(all, o);
			else if (o)
				print(o);
			/* One that was removed meanwhile is no failure unless it was asked for. */
			else if (!n.every || e.code != -ENOENT)
				status = named_failed(v, &e);
			json_decref(o);
		}
		if (n.json && named_print_json(all))
			status = CLI_FAILED;
	}
	named_end(&n);
	return fflush(stdout) ? CLI_FAILED : status;
}

static const struct opt status_table[] = { NAMED_JSON, { 0 } };

const struct verb verb_status = {
	.name = "status", .args = "[NAME...]",
	.summary = "Show how sandboxes are: what they use and share, their jail, and whether they run as\n"
		   "configured",
	.example = "  sandbox status web\n", .table = status_table, .main = status_main,
	.names = true,
};
