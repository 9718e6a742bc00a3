/* SPDX-License-Identifier: Apache-2.0 */
/* session.h - the poor man's process tree, where there is no cgroup v2. */
#ifndef AGENT_SESSION_H
#define AGENT_SESSION_H

#include <sys/types.h>

/*
 * SIGKILL to each process whose session is `sid`, found in /proc. Returns how
 * many there were, zombies not counted. A process that has made a session of its own
 * escapes; the agent therefore reports PROTO_F_CGROUP only when it has cgroups.
 */
int session_kill(pid_t sid);
#endif
