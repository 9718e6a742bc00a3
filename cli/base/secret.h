/* SPDX-License-Identifier: Apache-2.0 */
/*
 * secret.h - variables whose values reach one process of the guest and are kept nowhere:
 * what is stored, logged and shown is only where a value comes from.
 *
 * Values travel in the EXEC message alone: not in an argument, a file, a log or a state.
 * They are in the guest's memory while the process lives, so a snapshot that is taken
 * meanwhile holds them.
 */
#ifndef CLI_BASE_SECRET_H
#define CLI_BASE_SECRET_H
#include "cli/base/env.h"

/*
 * NAME (the host's variable of that name), NAME=env:VARIABLE or NAME=file:PATH; added to
 * @refs in its long form. A value in place of a reference is refused.
 */
int secret_add(struct env *refs, const char *text, struct err *e) must_check;
/* Add NAME=value for each reference to @env. The sentence of an error has no value in it. */
int secret_resolve(const struct env *refs, struct env *env, struct err *e) must_check;
/* Free a list that had values, and leave nothing of them in memory. */
void secret_free(struct env *env);
#endif
