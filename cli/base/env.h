/* SPDX-License-Identifier: Apache-2.0 */
/*
 * env.h - the command's environment, from -e and --env-file.
 *
 * A list of unique names: a name that is set again replaces the earlier value in
 * place. The strings belong to the list.
 */
#ifndef CLI_BASE_ENV_H
#define CLI_BASE_ENV_H
#include "vmm/base.h"

struct env {
	char **v;	/* "K=V", NULL at the end; NULL while the list is empty */
	size_t n;
};

/* `K=V`, or `K` alone for the host's value (nothing is set if the host has none). */
int env_add(struct env *env, const char *text, struct err *e) must_check;
/* A file of such lines; empty lines and lines that start with # are skipped. */
int env_add_file(struct env *env, const char *path, struct err *e) must_check;
bool env_has(const struct env *env, const char *name);
void env_free(struct env *env);
#endif
