/* SPDX-License-Identifier: Apache-2.0 */
/*
 * named.h - what the verbs of named sandboxes share: their flags, their words, how they
 * ask, and the acts that more than one of them performs.
 *
 * Flags may stand before and after the names. A verb that is given several names does
 * what it can and returns the worst status.
 */
#ifndef CLI_VERB_NAMED_H
#define CLI_VERB_NAMED_H
#include "cli/cli.h"
#include "cli/keeper/keeper.h"
#include "cli/run/settings.h"
#include "cli/store/store.h"

#define NAMED_GRACE_NS	10000000000ull	/* for a guest to power off */
#define NAMED_ROWS_MAX	96u		/* of a table made by named_rows() */

enum named_restart { NAMED_RESTART_AUTO, NAMED_RESTART_ALWAYS, NAMED_RESTART_NEVER };

/* The flags of all these verbs; `into` of their rows. */
struct named {
	struct run_conf conf;		/* first: rows of run are given the same pointer */
	struct settings set;		/* flags that are settings, as text */
	bool json, yes, dry_run, force, all, quiet, follow, console;
	uint64_t grace_ns, lines;
	bool has_lines;
	enum named_restart restart;
	const char *session, *project;
	bool tmux;			/* shell: in the guest's tmux */
	char **words;			/* what is no flag; NULL at the end */
	int n_words;
	char **every;			/* the words, if named_every() filled them in */
};

/* Rows for the tables of several verbs. */
#define NAMED_JSON OPT_FLAG("json", 0, "print JSON", struct named, json)
#define NAMED_YES OPT_FLAG("yes", 'y', "do not ask", struct named, yes)
#define NAMED_DRY_RUN OPT_FLAG("dry-run", 0, "say what would be done, and do nothing", \
			       struct named, dry_run)
int named_opt_time(void *into, const char *value, struct err *e);

/*
 * A table of run's rows and then the verb's own: run's are those named in @names (with
 * spaces between), or all settings if it is NULL. Called before main(), by a constructor.
 */
void named_rows(struct opt table[static NAMED_ROWS_MAX], const char *names,
		const struct opt *own);

/*
 * Parse the verb's line. -1 to go on, otherwise the exit status. In both cases
 * named_end() comes afterwards. @min and @max bound the number of words (@max 0: any).
 */
int named_begin(const struct verb *v, int argc, char **argv, struct named *n, int min, int max);
void named_end(struct named *n);
/*
 * The names of all sandboxes become the words, as if the person had given them. One of them
 * may be gone when its turn comes; that is no failure then, see n->every. 0, or -errno.
 */
int named_every(struct named *n, struct err *e) must_check;
/* Parse one flag, and keep its text in n->set if it is a setting. */
int named_keep_flag(struct named *n, const struct opt *row, const char *value,
		    struct err *e) must_check;
/*
 * The variables of -e and --env-file as settings of today: K alone means its value now. So
 * are the shared folders: `.` is the one we are in. -ENOMEM.
 */
int named_keep_settled(const struct run_conf *c, struct settings *s) must_check;
/* The sentence, with the verb before it. Returns the exit status for it. */
int named_failed(const struct verb *v, const struct err *e);

/* Settings of a new sandbox: the person's defaults, then the flags; checked as a start would. */
int create_settings(struct named *n, struct settings *s, struct err *e) must_check;
/* Make it, with those. */
int create_box(struct named *n, const char *name, struct store_box *b, bool lock,
	       struct err *e) must_check;
/* Start one that may run already (*was then). 0, a signal's number, or -errno. */
int named_start(const char *name, int sigfd, bool *was, struct err *e) must_check;
/* Stop one that may have stopped already (*was then). */
int named_stop(const char *name, uint64_t grace_ns, const char *reason, bool *was,
	       struct err *e) must_check;
/* Remove one, which is stopped before if @force. */
int named_remove(const char *name, bool force, uint64_t grace_ns, struct err *e) must_check;
/* How old, as "12 s", "3 min", "4 h", "5 d". Into buf, which is returned. */
const char *named_age(uint64_t since_ns, char buf[static 32]);
/* `sandbox run` with a name, --keep or --detach. */
int run_named(const struct verb *v, int argc, char **argv);
/* Print and release. The exit status. */
int named_print_json(json_t *o);
#endif
