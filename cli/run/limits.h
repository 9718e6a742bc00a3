/* SPDX-License-Identifier: Apache-2.0 */
/*
 * limits.h - what of this host a sandbox may have; its flags are in run/conf.h. Main thread.
 */
#ifndef CLI_RUN_LIMITS_H
#define CLI_RUN_LIMITS_H
#include <sched.h>
#include "cli/run/conf.h"

/* A list such as "0,2-3". -EINVAL for anything else. */
int limits_parse_cpus(const char *list, cpu_set_t *set) must_check;
/* The other way; into @buf, which is returned. */
const char *limits_cpus_text(const cpu_set_t *set, char *buf, size_t len);
/* Bind this process, and with it what it starts, to the CPUs of --pin. */
int limits_pin(const struct run_conf *c, struct err *e) must_check;

/*
 * Is there room for a new disk of that size, in the state folder (@kept) or in the cache? Not for
 * one that is there already: what it takes is no longer free.
 */
int limits_disk(const struct run_conf *c, bool kept, struct err *e) must_check;

/* How many CPUs, fractions included; and as text, as in "1.5". */
double run_cpus(const struct run_conf *c);
const char *run_cpus_text(const struct run_conf *c, char buf[static 16]);
#endif
