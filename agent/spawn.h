/* SPDX-License-Identifier: Apache-2.0 */
/* spawn.h - start a process without copying the agent's address space. */
#ifndef AGENT_SPAWN_H
#define AGENT_SPAWN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/user.h"

struct spawn {
	char *const *argv, *const *envp;
	const char *path;	/* PATH to search argv[0] in, unless it has a slash */
	const char *cwd;
	const struct user *user;	/* NULL: keep the agent's */
	int fd[3];		/* become 0, 1, 2; each at least 3 */
	bool tty;		/* fd[0] becomes the controlling terminal */
	int cgroup_fd;		/* -1: none */
};

enum spawn_stage {
	SPAWN_OK,
	SPAWN_CLONE,	/* no process was made */
	SPAWN_SETUP,	/* session, terminal, descriptors */
	SPAWN_USER,
	SPAWN_CWD,
	SPAWN_EXEC,
};

/*
 * The process id, or -errno with the step that failed in *stage (a child that
 * failed has been reaped). The child leads a session of its own and has no signal
 * blocked; it inherits what the caller ignores. All signals must be blocked in the
 * caller, which has no handlers.
 */
pid_t spawn(const struct spawn *s, enum spawn_stage *stage);
#endif
