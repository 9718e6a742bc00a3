/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jobs.h - the words after `exec` that are no sandbox's name (store_name_new() keeps them
 * free): ls, attach, wait, signal, kill.
 */
#ifndef CLI_VERB_JOBS_H
#define CLI_VERB_JOBS_H
#include "cli/cli.h"

/* The verb that `exec @word` is, or NULL. Its main takes the words from @word on. */
const struct verb *jobs_verb(const char *word);
#endif
