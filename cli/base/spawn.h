/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spawn.h - start a program that is going to jail itself (vmm/jail.h): with exactly
 * the descriptors that are named, in a session of its own, ended with this
 * process, and, where this host allows, as the first process of a pid namespace, which
 * is the one wall that can only be had at birth.
 */
#ifndef CLI_BASE_SPAWN_H
#define CLI_BASE_SPAWN_H
#include <sys/types.h>
#include "vmm/base.h"

#define SPAWN_FDS_MAX	16u
#define SPAWN_PARENT	(-2)	/* as a descriptor: a pidfd of this process */

struct spawn {
	char *const *argv;		/* argv[0] is the program's path */
	int fd[SPAWN_FDS_MAX];		/* what descriptors 0 to @nfd - 1 shall be; -1: closed */
	unsigned nfd;
	int door[4];			/* of cgroups to enter first (bounds.h); @ndoors of them */
	unsigned ndoors;
	bool no_namespace;		/* for debugging */
	/* If it cannot be executed, this text goes to its descriptor @lost_fd. */
	const char *lost;
	int lost_fd;
};

/*
 * What of this process's environment it gets: nothing of the person's. Freed by the caller (the
 * array alone); NULL with a sentence.
 */
char **spawn_env(struct err *e) must_check;
/*
 * Start it. Returns its pid, as seen from here, and a pidfd in *pidfd; or -errno with a
 * sentence. Main thread only; the caller reaps it. The descriptors stay the caller's.
 */
pid_t spawn_start(const struct spawn *s, int *pidfd, struct err *e) must_check;
/*
 * Does every thread of @pid have a seccomp filter, no_new_privs and no capability but those
 * of @caps (bits), as /proc tells? 0; -EPERM with a sentence.
 */
int spawn_verify(pid_t pid, uint64_t caps, struct err *e) must_check;
#endif
