/* SPDX-License-Identifier: Apache-2.0 */
/*
 * template.c - `sandbox template ls|build|rm`.
 */
#include <jansson.h>
#include "cli/cli.h"
#include "cli/base/parse.h"
#include "cli/run/conf.h"
#include "cli/base/sigs.h"
#include "cli/base/text.h"
#include "cli/machine/template.h"

#define BOOT_TIMEOUT_S 900u

struct flags {
	struct run_conf conf;		/* first: rows of run are given the same pointer */
	bool dry_run, yes;
};

static const struct opt opts[] = {
	OPT("memory", 'm', "SIZE", "build: memory of the guest (default 128M)", run_opt_memory),
	OPT("cpus", 0, "N", "build: CPUs of the guest, 1 to 32 (default 1)", run_opt_cpus),
	OPT_TEXT("kernel", 0, "FILE", "build: boot this kernel", NULL, struct run_conf, kernel),
	OPT_TEXT("initrd", 0, "FILE", "build: with this initial RAM file system", NULL,
		 struct run_conf, initrd),
	OPT_FLAG("dry-run", 0, "build, rm: say what would be done, and do nothing", struct flags,
		 dry_run),
	OPT_FLAG("yes", 'y', "rm: do not ask", struct flags, yes),
	OPT_FLAG("json", 0, "ls: print a JSON array", struct run_conf, json),
	{ 0 },
};

static struct monitor_conf conf_of(const struct run_conf *c)
{
	return (struct monitor_conf){
		.vmm = c->vmm_at.path, .kernel = c->kernel_at.path, .initrd = c->initrd_at.path,
		.memory = c->memory, .cpus = c->cpus, .boot_timeout_s = BOOT_TIMEOUT_S,
	};
}

static void print_text(const struct template_info *t, int n)
{
	char memory[32], disk[32], when[32];

	printf("%-18s%-10s%-6s%-10s%-21s%s\n", "NAME", "MEMORY", "CPUS", "DISK", "USED", "STATE");
	for (int i = 0; i < n; i++) {
		printf("%-18s%-10s%-6llu%-10s%-21s%s\n", t[i].name,
		       parse_size_text(t[i].memory, memory), (unsigned long long)t[i].cpus,
		       parse_size_text(t[i].disk, disk), text_when(t[i].used, when),
		       t[i].stale ? "stale" : "ready");
	}
}

static int print_json(const struct template_info *t, int n)
{
	json_t *all = json_array();
	int rc = 0;

	for (int i = 0; i < n; i++)
		rc |= json_array_append_new(all, json_pack("{s:s,s:I,s:I,s:I,s:I,s:b}",
			"name", t[i].name, "memory", (json_int_t)t[i].memory,
			"cpus", (json_int_t)t[i].cpus, "disk", (json_int_t)t[i].disk,
			"used", (json_int_t)t[i].used, "stale", (int)t[i].stale));
	return text_print_json(all) || rc ? -EIO : 0;
}

static int list(const struct run_conf *c, const struct monitor_conf *mc, struct err *e)
{
	struct template_info *t;
	int rc = 0, n = template_list(mc, &t, e);

	if (n < 0)
		return n;
	if (c->json)
		rc = print_json(t, n);
	else
		print_text(t, n);
	free(t);
	return rc || fflush(stdout) ? err_set(e, -EIO, "write the list") : 0;
}

/* What is done is only said: a template that is there need not be made. */
static int would_build(const struct monitor_conf *mc, struct err *e)
{
	struct template_info *t;
	struct template_key k;
	int n = template_key(&k, mc, e);
	bool there = false;

	if (n < 0)
		return n;
	n = template_list(mc, &t, e);
	if (n < 0)
		return n;
	for (int i = 0; i < n; i++)
		there |= !strcmp(t[i].name, k.name);
	free(t);
	printf(there ? "would make nothing: template %s is there\n" :
	       "would make template %s\n", k.name);
	return 0;
}

static int build(const struct monitor_conf *mc, struct err *e)
{
	auto_fd sigfd = sigs_open(false, e);
	struct place dir;
	int rc = sigfd < 0 ? sigfd : template_get(mc, sigfd, &dir, e);

	if (rc > 0)
		return err_say(e, -EINTR, "ended by a signal");
	if (!rc)
		puts(strrchr(dir.path, '/') + 1);
	return rc ? rc : fflush(stdout) ? err_set(e, -EIO, "write the name") : 0;
}

static int would_remove(const struct monitor_conf *mc, char **words, struct err *e)
{
	struct template_info *t;
	int n = template_list(mc, &t, e), rc = n < 0 ? n : 0;

	for (; !rc && *words; words++) {
		bool there = false;

		for (int i = 0; i < n; i++)
			there |= !strcmp(t[i].name, *words);
		if (there)
			printf("would remove template %s\n", *words);
		else
			rc = err_say(e, -ENOENT, "there is no template '%s'; 'sandbox template ls' "
				     "lists them", *words);
	}
	if (n >= 0)
		free(t);
	return rc;
}

/* 1: the person would rather not. */
static int remove_words(bool yes, char **words, struct err *e)
{
	if (!*words)
		return err_say(e, -EINVAL, "rm needs names; 'sandbox template ls' lists them");
	if (!cli_confirm(&verb_template, yes, "remove template %.40s%s, which the next use makes "
			 "again", *words, words[1] ? " and others" : ""))
		return 1;
	for (; *words; words++) {
		int rc = template_remove(*words, e);

		if (rc)
			return rc;
	}
	return 0;
}

static int template_act(struct flags *f, const char *what, char **words, struct err *e)
{
	struct run_conf *c = &f->conf;
	struct monitor_conf mc;
	int rc;

	if (!strcmp(what, "rm") && (!*words || !f->dry_run))
		return remove_words(f->yes, words, e);
	if (strcmp(what, "ls") && strcmp(what, "build") && strcmp(what, "rm"))
		return err_say(e, -EINVAL, "'%s' is none of ls, build, rm", what);
	if (*words && strcmp(what, "rm"))
		return err_say(e, -EINVAL, "'%s' is one word too many", *words);
	rc = run_conf_check(c, e);
	if (rc)
		return rc;
	mc = conf_of(c);
	if (what[0] == 'l')
		return list(c, &mc, e);
	if (what[0] == 'r')
		return would_remove(&mc, words, e);
	return f->dry_run ? would_build(&mc, e) : build(&mc, e);
}

static int template_main(const struct verb *v, int argc, char **argv)
{
	auto_mem char **words = calloc((size_t)argc + 1, sizeof(*words));
	struct flags f = { .dry_run = false };
	struct err e = { 0 };
	int n, rc, status;

	run_conf_init(&f.conf);
	status = words ? cli_begin_words(v, argc, argv, &f, words, &n) : CLI_FAILED;
	if (status >= 0) {
		run_conf_free(&f.conf);
		return status;
	}
	rc = n ? template_act(&f, words[0], words + 1, &e) :
		 err_say(&e, -EINVAL, "say which: ls, build or rm");
	run_conf_free(&f.conf);
	if (rc < 0)
		cli_say("template: %s", e.msg);
	return rc > 0 ? CLI_USAGE : cli_status_of(rc);
}

const struct verb verb_template = {
	.name = "template", .args = "ls|build|rm [NAME...]",
	.summary = "Show, make or remove the booted machines that runs start from",
	.example = "  sandbox template ls\n  sandbox template build -m 512M --cpus 2\n",
	.words = "ls build rm", .table = opts, .main = template_main,
};
