/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verbs.c - the table of verbs, and everything that is printed from it: help,
 * version, and the hint for a word that is no verb.
 */
#include <sys/utsname.h>
#include "agent/proto.h"
#include "cli/cli.h"
#include "cli/machine/kernel.h"
#include "cli/base/places.h"
#include "cli/base/term.h"

const struct verb *const cli_verbs[] = {
	&verb_run,
	&verb_create,
	&verb_start,
	&verb_stop,
	&verb_restart,
	&verb_rm,
	&verb_ls,
	&verb_ps,
	&verb_exec,
	&verb_shell,
	&verb_cp,
	&verb_ssh,
	&verb_ssh_config,
	&verb_code,
	&verb_logs,
	&verb_record,
	&verb_stats,
	&verb_inspect,
	&verb_status,
	&verb_update,
	&verb_config,
	&verb_image,
	&verb_attach,
	&verb_detach,
	&verb_diff,
	&verb_apply,
	&verb_discard,
	&verb_snapshot,
	&verb_rollback,
	&verb_fork,
	&verb_template,
	&verb_gc,
	&verb_doctor,
	&verb_completion,
	&verb_version,
	&verb_help,
};
const size_t cli_n_verbs = ARRAY_LEN(cli_verbs);

/* What `sandbox help` prints: every verb in one line, with those that belong to it. */
static const struct { const char *verbs, *what; } tree[] = {
	{ "run [IMAGE] [--] CMD", "a command in a fresh microVM, which is gone afterwards" },
	{ "create start stop restart rm ls ps", "sandboxes that are kept under a name" },
	{ "exec shell cp", "commands and files in one that runs" },
	{ "ssh ssh-config code", "the same for ssh, scp, sftp and editors" },
	{ "logs record stats inspect status", "what happens in it, and how it is" },
	{ "config update", "its settings, and your defaults" },
	{ "attach detach", "share folders with it, while it runs" },
	{ "diff apply discard", "changes in copy-on-write shares: look, take over, drop" },
	{ "snapshot rollback fork", "save one that runs, put it back, copy it" },
	{ "image", "root file systems: import, build, pull, list, verify" },
	{ "template gc", "booted machines that runs start from; cleaning up" },
	{ "doctor completion version help", "this host, and this program" },
};

/* A path, or what an archive says, may be made to move a terminal's cursor. */
static void tame_lines(char *p)
{
	char *end;

	while ((end = strchr(p, '\n'))) {
		*end = '\0';
		proto_tame(p);
		*end = '\n';
		p = end + 1;
	}
	proto_tame(p);
}

void cli_say(const char *fmt, ...)
{
	char line[1200] = "sandbox: ";
	size_t len = strlen(line);
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line + len, sizeof(line) - len - 1, fmt, ap);
	va_end(ap);
	len = n < 0 ? len : strnlen(line, sizeof(line) - 2);
	tame_lines(line);
	line[len++] = '\n';
	term_progress_end();
	if (write(STDERR_FILENO, line, len) < 0)
		return;	/* nobody is listening, and there is nobody else to tell */
}

const struct verb *cli_find(const char *name)
{
	for (size_t i = 0; i < cli_n_verbs; i++)
		if (!strcmp(cli_verbs[i]->name, name))
			return cli_verbs[i];
	return NULL;
}

void cli_no_verb(const char *name)
{
	const char *best = NULL;
	unsigned d = 0;

	if (name[0] == '-') {
		cli_say("the flag %s must come after a verb, as in 'sandbox run %s'; see "
			"'sandbox help'", name, name);
		return;
	}
	for (size_t i = 0; i < cli_n_verbs; i++)
		best = opt_nearer(name, cli_verbs[i]->name, best, &d);
	if (d <= opt_distance_max(name))
		cli_say("there is no verb '%s'; did you mean '%s'?", name, best);
	else
		cli_say("there is no verb '%s' (the nearest is '%s'); see 'sandbox help'", name,
			best);
}

void cli_verb_help(const struct verb *v, FILE *out)
{
	fprintf(out, "usage: sandbox %s%s%s%s\n%s.\n\n", v->name, v->table ? " [flags]" : "",
		*v->args ? " " : "", v->args, v->summary);
	opt_help(v->table, out);
	fprintf(out, "\n%s:\n%s", strchr(v->example, '\n') == strrchr(v->example, '\n') ?
		"Example" : "Examples", v->example);
}

void cli_help(FILE *out)
{
	fputs("sandbox - run a command in a microVM of its own\n\n", out);
	for (size_t i = 0; i < ARRAY_LEN(tree); i++)
		fprintf(out, "  %-36s %s\n", tree[i].verbs, tree[i].what);
	fputs("\n'sandbox VERB --help' says more of each, with an example; 'man sandbox' has the "
	      "rest.\n\n"
	      "Example:\n  sandbox run -- sh -c 'echo hello from $(uname -r)'\n", out);
}

int cli_begin(const struct verb *v, int argc, char **argv, void *into, struct opt_end *end)
{
	struct err e = { 0 };

	if (opt_parse(v->table, v->name, argc, argv, 1, into, end, &e)) {
		cli_say("%s: %s", v->name, e.msg);
		return CLI_USAGE;
	}
	if (end->help) {
		cli_verb_help(v, stdout);
		return fflush(stdout) ? CLI_FAILED : CLI_OK;
	}
	return -1;
}

int cli_begin_each(const struct verb *v, int argc, char **argv, opt_each_fn each, void *arg,
		   char **words, int *n)
{
	struct opt_end end = { 0 };
	struct err e = { 0 };

	*n = 0;
	for (int i = 1; i < argc; i = end.words + 1) {
		if (end.dashes) {
			end.words = i;
		} else if (opt_parse_each(v->table, v->name, argc, argv, i, each, arg, &end, &e)) {
			cli_say("%s: %s", v->name, e.msg);
			return CLI_USAGE;
		}
		if (end.help) {
			cli_verb_help(v, stdout);
			return fflush(stdout) ? CLI_FAILED : CLI_OK;
		}
		if (end.words < argc)
			words[(*n)++] = argv[end.words];
	}
	words[*n] = NULL;
	return -1;
}

int cli_begin_words(const struct verb *v, int argc, char **argv, void *into, char **words, int *n)
{
	return cli_begin_each(v, argc, argv, NULL, into, words, n);
}

bool cli_confirm(const struct verb *v, bool yes, const char *fmt, ...)
{
	char what[400], line[16] = "";
	va_list ap;

	if (yes)
		return true;
	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO)) {
		cli_say("%s: this would %s; there is no terminal to ask at, so say --yes if it "
			"shall be done", v->name, what);
		return false;
	}
	fprintf(stderr, "sandbox: %s: this will %s. Go on? [y/N] ", v->name, what);
	fflush(stderr);
	if (!fgets(line, sizeof(line), stdin))
		return false;
	return !strcmp(line, "y\n") || !strcmp(line, "Y\n") || !strcmp(line, "yes\n");
}

enum cli_status cli_status_of(int rc)
{
	if (rc == -EINVAL || rc == -EPERM || rc == -EEXIST || rc == -EBUSY || rc == -ENOTSUP)
		return CLI_USAGE;
	return rc ? CLI_FAILED : CLI_OK;
}

/* ---- help -------------------------------------------------------------- */

static int help_main(const struct verb *v, int argc, char **argv)
{
	struct opt_end end;
	int status = strcmp(argv[0], "help") ? -1 : cli_begin(v, argc, argv, NULL, &end);
	const struct verb *about;

	if (status >= 0)
		return status;
	if (argc < 2) {
		cli_help(stdout);
		return fflush(stdout) ? CLI_FAILED : CLI_OK;
	}
	about = cli_find(argv[1]);
	if (!about) {
		cli_no_verb(argv[1]);
		return CLI_USAGE;
	}
	cli_verb_help(about, stdout);
	return fflush(stdout) ? CLI_FAILED : CLI_OK;
}

const struct verb verb_help = {
	.name = "help", .args = "[VERB]", .summary = "List the verbs, or the flags of one",
	.example = "  sandbox help run\n", .main = help_main,
};

/* ---- version ----------------------------------------------------------- */

static int version_main(const struct verb *v, int argc, char **argv)
{
	char release[KERNEL_RELEASE_MAX];
	struct opt_end end;
	struct place kernel;
	struct utsname host;
	struct err e;
	int status = cli_begin(v, argc, argv, NULL, &end);

	if (status >= 0)
		return status;
	if (end.words < argc) {
		cli_say("version: '%s' is one word too many", argv[end.words]);
		return CLI_USAGE;
	}
	puts("sandbox " SANDBOX_VERSION);
	if (!places_kernel(&kernel, &e) && !kernel_release(kernel.path, release))
		printf("guest kernel %s\n", release);
	if (!uname(&host))
		printf("host kernel %s %s\n", host.release, host.machine);
	return fflush(stdout) ? CLI_FAILED : CLI_OK;
}

const struct verb verb_version = {
	.name = "version", .args = "", .summary = "Print the version, and those of the kernels",
	.example = "  sandbox version\n", .main = version_main,
};
