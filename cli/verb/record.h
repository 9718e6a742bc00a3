/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record.h - where recordings are: in `recordings` of a sandbox's folder, with which they go,
 * and those of runs without a name in `recordings` of the state folder.
 */
#ifndef CLI_VERB_RECORD_H
#define CLI_VERB_RECORD_H
#include "cli/run/execute.h"
#include "cli/store/store.h"

#define RECORDINGS "recordings"

/*
 * Begin to record @x's command, in the folder of @b (NULL: a run without a name). 0 or -errno
 * with a sentence. recording_end() in any case.
 */
int recording_begin(struct record *r, struct execution *x, const struct store_box *b,
		    struct err *e) must_check;
/* Close it; what went wrong with it is said. */
void recording_end(struct record *r, int status);
#endif
