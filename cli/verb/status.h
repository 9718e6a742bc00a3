/* SPDX-License-Identifier: Apache-2.0 */
/* status.h - how one sandbox is, as an object: what `status` prints and `doctor` judges. */
#ifndef CLI_VERB_STATUS_H
#define CLI_VERB_STATUS_H
#include <jansson.h>
#include "vmm/base.h"

/*
 * A new object, or NULL with a sentence. Always: name, state, reason, memory_bytes, cpus, pin,
 * autostart, network, drift, differences. Of one that runs: since, keeper_pid, monitor_pid,
 * restored, ready_ms, usage (usage.h), keeper (keeper/status.c) and agent; these two are
 * {"error": SENTENCE} when they do not answer, for which it waits some seconds at most.
 */
json_t *status_look(const char *name, struct err *e);
/* Text of a key, "" if there is none; and a number, 0 likewise. */
const char *status_text(const json_t *o, const char *key);
double status_number(const json_t *o, const char *key);
#endif
