/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jobs.h - executions as others than their client see them: listed, attached to, waited
 * for, signalled, watched.
 *
 * A *kept* execution outlives the connection that started it: EXEC had the flag KEEP, or
 * its client left it with DETACH. What it writes goes into two rings (ring.h), and its end
 * is remembered.
 */
#ifndef AGENT_JOBS_H
#define AGENT_JOBS_H

#include "agent/exec.h"

void jobs_init(void);
/* EXEC_LIST, ATTACH, EXEC_WAIT, EXEC_SIGNAL, EXEC_WATCH. */
void jobs_request(struct conn *c, const struct proto_hdr *h, const uint8_t *payload);
/* It has ended, or goes: whoever waits for it is told. */
void jobs_ended(const struct exec *x);
#endif
