/* SPDX-License-Identifier: Apache-2.0 */
/* tidy.h - work ahead: what makes the next command cheaper, done while nobody waits. */
#ifndef AGENT_TIDY_H
#define AGENT_TIDY_H

#include <stdbool.h>

/* @init: the agent is the init of a guest, whose files and memory are its own to arrange. */
void tidy_init(bool init);
/* A process has ended: tidy up a moment later. */
void tidy_later(void);
#endif
