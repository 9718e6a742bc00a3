/* SPDX-License-Identifier: Apache-2.0 */
/* usage.h - what a process uses of this host, as far as this user may see it. */
#ifndef CLI_VERB_USAGE_H
#define CLI_VERB_USAGE_H
#include <jansson.h>
#include <sys/types.h>
#include "vmm/base.h"

/* Bytes, and seconds since its start; -1: not known. */
struct usage { json_int_t resident, own, shared; double cpu_s; };

struct usage usage_of(pid_t pid);
/* A new object. */
json_t *usage_json(const struct usage *u);
/* As text, "?" for -1; into buf, which is returned. */
const char *usage_size(json_int_t v, char buf[static 32]);
#endif
