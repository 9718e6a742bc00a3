/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stats.c - `sandbox stats` and `sandbox inspect`.
 */
#include "cli/verb/named.h"
#include "cli/verb/usage.h"

/* One line; 0, or -errno with a sentence. */
static int stats_one(const struct named *n, const char *name, json_t *all, struct err *e)
{
	char a[32], b[32], c[32], d[32], age[32];
	struct store_state s;
	struct store_box box;
	struct usage u;
	json_t *o;
	int rc = box_running(&box, &s, name, e);

	store_close(&box);
	if (rc)
		return rc;
	u = usage_of(s.vmm);
	if (n->json) {
		o = usage_json(&u);
		json_object_set_new(o, "name", json_string(name));
		json_object_set_new(o, "running_since", json_real((double)s.started_ns / 1e9));
		json_array_append_new(all, o);
		return 0;
	}
	printf("%-24s %-8s %10s %12s %12s %12s\n", name, named_age(s.started_ns, age),
	       u.cpu_s < 0 ? "?" : (snprintf(c, sizeof(c), "%.2f s", u.cpu_s), c),
	       usage_size(u.resident, a), usage_size(u.own, b), usage_size(u.shared, d));
	return 0;
}

static int stats_main(const struct verb *v, int argc, char **argv)
{
	struct named n;
	struct err e = { 0 };
	int status = named_begin(v, argc, argv, &n, 0, 0);
	json_t *all = status < 0 && n.json ? json_array() : NULL;

	if (status < 0 && !n.n_words && named_every(&n, &e))
		status = named_failed(v, &e);
	if (status < 0 && !n.json)
		printf("%-24s %-8s %10s %12s %12s %12s\n", "NAME", "RUNNING", "CPU", "RESIDENT",
		       "PRIVATE", "SHARED");
	if (status < 0) {
		status = CLI_OK;
		for (int i = 0; i < n.n_words; i++)
			if (stats_one(&n, n.words[i], all, &e) && !n.every)
				status = named_failed(v, &e);
		if (n.json && named_print_json(all))
			status = CLI_FAILED;
	}
	named_end(&n);
	return fflush(stdout) ? CLI_FAILED : status;
}

static const struct opt stats_table[] = { NAMED_JSON, { 0 } };

const struct verb verb_stats = {
	.name = "stats", .args = "[NAME...]",
	.summary = "Show the CPU time and the memory of sandboxes that run",
	.example = "  sandbox stats\n", .table = stats_table, .main = stats_main, .names = true,
};

/* ---- inspect -------------------------------------------------------------- */

static json_t *moment(uint64_t ns)
{
	return ns ? json_real((double)ns / 1e9) : json_null();
}

/* What the running one was started with. */
static json_t *running_json(const struct store_box *b)
{
	struct settings s = { 0 };
	struct err e = { 0 };
	auto_mem char *text = store_read(b, "running", &e);
	json_t *o = text && !settings_parse(&s, text, "running", &e) ? settings_json(&s) :
								      json_null();

	settings_free(&s);
	return o;
}

static json_t *inspect(const char *name, struct err *e)
{
	struct settings set = { 0 };
	struct store_state s;
	struct store_box b;
	json_t *o = NULL;

	if (!store_open(&b, name, e) && !store_state(&b, &s, e) && !keeper_settings(&b, &set, e)) {
		bool runs = s.life == STORE_RUNNING;
		struct usage u = runs ? usage_of(s.vmm) : (struct usage){ -1, -1, -1, -1 };

		o = json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
			"name", b.name, "state", store_life_name(s.life), "reason", s.reason,
			"folder", b.path.path, "created", moment(s.created_ns),
			"started", moment(s.started_ns), "ended", moment(s.ended_ns),
			"keeper_pid", runs ? json_integer(s.keeper) : json_null(),
			"monitor_pid", runs ? json_integer(s.vmm) : json_null(),
			"config", settings_json(&set),
			"running_config", runs ? running_json(&b) : json_null(),
			"usage", runs ? usage_json(&u) : json_null());
	}
	store_close(&b);
	settings_free(&set);
	return o;
}

static int inspect_main(const struct verb *v, int argc, char **argv)
{
	struct named n;
	struct err e = { 0 };
	int status = named_begin(v, argc, argv, &n, 1, 0), bad = CLI_OK;
	json_t *all = status < 0 ? json_array() : NULL;

	for (int i = 0; status < 0 && i < n.n_words; i++) {
		json_t *o = inspect(n.words[i], &e);

		if (o)
			json_array_append_new(all, o);
		else
			bad = named_failed(v, &e);
	}
	if (status < 0)
		status = named_print_json(all) ? CLI_FAILED : bad;
	named_end(&n);
	return status;
}

const struct verb verb_inspect = {
	.name = "inspect", .args = "NAME...",
	.summary = "Print all that is known of sandboxes, as JSON",
	.example = "  sandbox inspect web\n", .table = stats_table, .main = inspect_main,
	.names = true,
};
