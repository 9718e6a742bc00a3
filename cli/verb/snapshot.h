/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snapshot.h - saving named sandboxes that run, for whichever verb asks.
 */
#ifndef CLI_VERB_SNAPSHOT_H
#define CLI_VERB_SNAPSHOT_H
#include "cli/keeper/keeper.h"

/* `sandbox snapshot create SANDBOX [SNAPSHOT]`: words, NULL at the end. */
int snapshot_create(char **words, bool json, struct err *e) must_check;
#endif
