/* SPDX-License-Identifier: Apache-2.0 */
/* drift.h - what a running sandbox was started with, against what is configured now. */
#ifndef CLI_VERB_DRIFT_H
#define CLI_VERB_DRIFT_H
#include "cli/run/settings.h"
#include "cli/store/store.h"

/*
 * Lines of what is configured and not running, and the other way, to @f (NULL: only counted);
 * @more (or NULL) is what would be configured besides. The number of them, or -errno with a
 * sentence.
 */
int drift_lines(struct store_box *b, const struct settings *more, FILE *f,
		struct err *e) must_check;
#endif
