/* SPDX-License-Identifier: Apache-2.0 */
/* tool.h - run another program of this host to its end. */
#ifndef CLI_BASE_TOOL_H
#define CLI_BASE_TOOL_H
#include "vmm/base.h"

struct tool {
	const char *const *argv;	/* argv[0] is found along PATH; NULL at the end */
	const char *package;		/* of Debian, to install if it is missing; NULL: argv[0] */
	const char *path_dir;		/* looked through before PATH; NULL: none */
	/* What it says on stderr goes to ours; otherwise its last line becomes the sentence. */
	bool loud;
	/* Its stdout without the last newline; what does not fit is dropped. */
	char *out;
	size_t out_len;			/* with NUL; 0: stdout goes to stderr if loud */
};

/*
 * Nothing is on its stdin, and it ends with this process. Its exit status (128+N for a
 * signal); e->msg holds what it said if that is not 0. -ENOENT with a sentence if
 * it is not there, or another -errno. Main thread only.
 */
int tool_run(const struct tool *t, struct err *e) must_check;
/* True if @name is found along PATH. */
bool tool_is_there(const char *name);
#endif
