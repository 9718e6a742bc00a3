/* SPDX-License-Identifier: Apache-2.0 */
/* update.h - changes to what a sandbox is configured with. */
#ifndef CLI_VERB_UPDATE_H
#define CLI_VERB_UPDATE_H
#include "cli/run/settings.h"
#include "cli/store/store.h"

/*
 * Put @more over the sandbox's config, after a check of the whole as a start would make it.
 * Of several that do so at once none is lost. With @dry_run nothing is written; @tell then
 * prints what it would become.
 */
int update_config(struct store_box *b, const struct settings *more, bool dry_run, bool tell,
		  struct err *e) must_check;
#endif
