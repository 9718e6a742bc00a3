/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attached.h - a command in a running named sandbox, attached to this process.
 *
 * A connection to the keeper is held meanwhile: its end is the sandbox's end, and as
 * long as it lives the sandbox is not idle.
 */
#ifndef CLI_VERB_ATTACHED_H
#define CLI_VERB_ATTACHED_H
#include "cli/run/execute.h"
#include "cli/verb/named.h"

struct attached {
	struct store_box box;
	struct store_state state;
	struct execution x;
	struct run_conf base;		/* what the sandbox gives its commands */
	struct settings set;
	int conn;			/* to the keeper */
};

#define ATTACHED_NONE { .box = STORE_BOX_NONE, .x = EXECUTION_NONE, .conn = -1 }

/*
 * Open the running sandbox @name and complete @c, a checked configuration, by what the
 * sandbox gives each of its commands (environment, folder, user).
 */
int attached_open(struct attached *a, const char *name, struct run_conf *c,
		  struct err *e) must_check;
/* Run c->argv; the exit status. The sentence, if any, is in a->x.e. */
int attached_run(struct attached *a, const char *verb, const struct run_conf *c);
/* Tell where a detached one runs: the sandbox's name, or the execution's number; or --json. */
int attached_print(const struct attached *a, bool name);
void attached_close(struct attached *a);
#endif
