/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli.h - what every verb shares: its row in the table of verbs, exit statuses,
 * and the way words reach the person.
 *
 * The folders beside it are layers, each uses those before it: base (words, places,
 * processes), store (what is kept of sandboxes), image, share (folders), machine (one that
 * runs), run (what it was asked for, and a command in it), keeper (the process of a named
 * one). On top of them verb (what a person types), doctor (whose checks are many) and remote
 * (ssh, editors and git: their verbs, and what serves them), which may use each other.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H
#include "cli/base/opt.h"

/* Exit statuses of the program itself; `run` passes the command's on. */
enum cli_status {
	CLI_OK		= 0,
	CLI_FAILED	= 1,	/* any verb but run */
	CLI_USAGE	= 2,	/* any verb but run, called wrongly */
	CLI_TIMEOUT	= 124,	/* run: --timeout ended the command */
	CLI_SANDBOX	= 125,	/* run: the sandbox failed, or was called wrongly */
};

struct verb {
	const char *name;
	const char *args;	/* for the usage line, after the flags */
	const char *summary;	/* of --help, without the full stop */
	const char *example;	/* lines for --help, each with its own newline */
	const struct opt *table;	/* NULL: no flag but --help */
	const char *words;	/* for completion: what the first argument can be */
	bool names;		/* its words are names of sandboxes */
	bool command;		/* the words after the flags are a command line */
	/* argv[0] is the verb. Returns the exit status. */
	int (*main)(const struct verb *v, int argc, char **argv);
};

/* All verbs that this version has, in the order of `sandbox help`. */
extern const struct verb *const cli_verbs[];
extern const size_t cli_n_verbs;

extern const struct verb verb_record;
extern const struct verb verb_status, verb_update, verb_config;
extern const struct verb verb_cp, verb_logs, verb_stats, verb_inspect;
extern const struct verb verb_create, verb_start, verb_stop, verb_restart, verb_rm, verb_ls,
	verb_ps, verb_exec, verb_shell;
extern const struct verb verb_ssh, verb_ssh_config, verb_code;
extern const struct verb verb_image, verb_diff, verb_apply, verb_discard,
	verb_attach, verb_detach;
extern const struct verb verb_snapshot, verb_rollback, verb_fork, verb_template, verb_gc;
extern const struct verb verb_run, verb_doctor, verb_completion, verb_version, verb_help;

/* One line on stderr: "sandbox: ...". Written in one piece; a progress line is taken away first. */
void cli_say(const char *fmt, ...) printf_like(1, 2);
/* The verb of that name, or NULL. */
const struct verb *cli_find(const char *name);
/* A sentence about a word that is no verb: misspelt, or unknown. */
void cli_no_verb(const char *name);
/* What `sandbox VERB --help` and `sandbox help VERB` print. */
void cli_verb_help(const struct verb *v, FILE *out);
/* The tree of `sandbox help`. */
void cli_help(FILE *out);

/*
 * The common start of a verb without arguments of its own: parse the flags,
 * answer --help. -1 to go on, otherwise the exit status.
 */
int cli_begin(const struct verb *v, int argc, char **argv, void *into, struct opt_end *end);
/*
 * The same with flags before, between and after the words, which go to @words (room for
 * argc), NULL at the end; *n of them.
 */
int cli_begin_words(const struct verb *v, int argc, char **argv, void *into, char **words,
		    int *n);
/* The same, where each flag is given to @each (opt_parse_each()). */
int cli_begin_each(const struct verb *v, int argc, char **argv, opt_each_fn each, void *arg,
		   char **words, int *n);
/*
 * True if it may be done: @yes, or a person at a terminal said so. Otherwise a sentence has
 * been said that begins with "this would" and what @fmt says.
 */
bool cli_confirm(const struct verb *v, bool yes, const char *fmt, ...) printf_like(3, 4);
/* The exit status for what failed with @rc: called wrongly or refused, or anything else. */
enum cli_status cli_status_of(int rc);
#endif
