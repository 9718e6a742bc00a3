/* SPDX-License-Identifier: Apache-2.0 */
/*
 * list.c - `sandbox ls` and `ps`: what there is, and what runs.
 */
#include "cli/run/limits.h"
#include "cli/verb/named.h"
#include "cli/base/parse.h"

struct line {
	struct store_box box;
	struct store_state state;
	struct run_conf conf;
	struct settings set;
	struct err e;
};

/* False if it went away meanwhile. */
static bool look(struct line *l, const char *name)
{
	l->e = (struct err){ 0 };
	l->set = (struct settings){ 0 };
	run_conf_init(&l->conf);
	if (store_open(&l->box, name, &l->e))
		return false;
	if (store_state(&l->box, &l->state, &l->e) ||
	    keeper_settings(&l->box, &l->set, &l->e) ||
	    settings_apply(&l->set, "", "memory cpus", &l->conf, "config", &l->e))
		return l->e.code != -ENOENT;
	return true;
}

static void forget(struct line *l)
{
	store_close(&l->box);
	settings_free(&l->set);
	run_conf_free(&l->conf);
}

static uint64_t since(const struct store_state *s)
{
	return s->life == STORE_RUNNING || s->life == STORE_STARTING ? s->started_ns :
	       s->ended_ns ? s->ended_ns : s->created_ns;
}

static json_t *describe(const struct line *l)
{
	const struct store_state *s = &l->state;

	return json_pack("{s:s, s:s, s:f, s:o, s:I, s:o, s:s, s:s?}", "name", l->box.name, "state",
			 l->e.code ? "damaged" : store_life_name(s->life),
			 "created", (double)s->created_ns / 1e9, "started",
			 s->started_ns ? json_real((double)s->started_ns / 1e9) : json_null(),
			 "memory_bytes", (json_int_t)l->conf.memory, "cpus", l->conf.cpu_milli ?
			 json_real(run_cpus(&l->conf)) : json_integer(l->conf.cpus),
			 "reason", s->reason, "error", l->e.code ? l->e.msg : NULL);
}

static void print(const struct line *l, bool quiet)
{
	char age[32], size[32], cpus[16];

	if (quiet) {
		puts(l->box.name);
		return;
	}
	printf("%-24s %-9s %-8s %-9s %4s  %s\n", l->box.name,
	       l->e.code ? "damaged" : store_life_name(l->state.life),
	       named_age(since(&l->state), age), parse_size_text(l->conf.memory, size),
	       run_cpus_text(&l->conf, cpus), l->e.code ? l->e.msg :
	       l->state.life == STORE_RUNNING ? "" : l->state.reason);
}

static int list(const struct verb *v, struct named *n, bool only_running)
{
	struct err e = { 0 };
	size_t count;
	char **names = store_names(&count, &e);
	json_t *all = n->json ? json_array() : NULL;

	if (!names)
		return named_failed(v, &e);
	if (!n->json && !n->quiet)
		printf("%-24s %-9s %-8s %-9s %4s  %s\n", "NAME", "STATE", "SINCE", "MEMORY", "CPUS",
		       "WHY");
	for (size_t i = 0; i < count; i++) {
		struct line l = { .box = STORE_BOX_NONE };
		bool there = look(&l, names[i]);

		if (there && (!only_running || l.state.life == STORE_RUNNING ||
			      l.state.life == STORE_STARTING)) {
			if (n->json)
				json_array_append_new(all, describe(&l));
			else
				print(&l, n->quiet);
		}
		forget(&l);
	}
	store_names_free(names);
	if (n->json)
		return named_print_json(all);
	return fflush(stdout) ? CLI_FAILED : CLI_OK;
}

static int ls_main(const struct verb *v, int argc, char **argv)
{
	struct named n;
	int status = named_begin(v, argc, argv, &n, 0, -1);

	if (status < 0 && n.n_words) {
		cli_say("%s: '%.100s' is one word too many; 'sandbox inspect NAME' tells of one",
			v->name, n.words[0]);
		status = CLI_USAGE;
	}
	if (status < 0)
		status = list(v, &n, !strcmp(v->name, "ps") && !n.all);
	named_end(&n);
	return status;
}

static const struct opt table[] = {
	OPT_FLAG("all", 'a', "also those that do not run ('ls' always shows them)", struct named,
		 all),
	OPT_FLAG("quiet", 'q', "names only", struct named, quiet),
	NAMED_JSON,
	{ 0 },
};

const struct verb verb_ls = {
	.name = "ls", .args = "", .summary = "List the sandboxes",
	.example = "  sandbox ls\n  sandbox ls --json\n", .table = table, .main = ls_main,
};

const struct verb verb_ps = {
	.name = "ps", .args = "", .summary = "List the sandboxes that run",
	.example = "  sandbox ps\n  sandbox ps -a\n", .table = table, .main = ls_main,
};
