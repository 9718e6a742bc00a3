/* SPDX-License-Identifier: Apache-2.0 */
/* cgroup.h - one cgroup (v2) per command, all under one limited parent. */
#ifndef AGENT_CGROUP_H
#define AGENT_CGROUP_H

#include <stdint.h>

struct cgroup_limits {
	uint64_t memory_max;	/* bytes; 0: only the parent's */
	uint64_t pids_max;	/* 0: the default, half of the parent's */
	uint64_t cpu_milli;	/* 0: none */
};

/*
 * Use the cgroup v2 folder `root` (NULL: none). Makes root/exec with limits
 * that keep memory and processes free for the agent. Returns the PROTO_F_*
 * bits of what works; without any, the other functions must not be called.
 */
uint64_t cgroup_setup(const char *root);
/*
 * Make the group of command `id`, a number above those before: an O_PATH descriptor for
 * CLONE_INTO_CGROUP, or -errno.
 */
int cgroup_new(unsigned int id, const struct cgroup_limits *l);
/* Make the next command's group now, with default limits, so that cgroup_new() finds it. */
void cgroup_prepare(void);
/* SIGKILL to all of its processes, atomically. */
int cgroup_kill(unsigned int id);
/* Another signal to each of its processes. */
int cgroup_signal(unsigned int id, int signo);
/* Bytes at the peak; 0 when not known. */
uint64_t cgroup_mem_peak(unsigned int id);
uint64_t cgroup_oom_kills(unsigned int id);
/* 0, or -EBUSY while a process lives in it. */
int cgroup_remove(unsigned int id);
#endif
