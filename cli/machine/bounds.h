/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bounds.h - a limit on all of a machine's memory, threads, processor time and, if its disks have
 * limits, use of the host's disks, where this host lets its user set one: cgroup v2 below
 * a delegated group (a systemd user session), or the v1 controllers for those who may write there.
 * Its monitor and its server of folders are in it.
 *
 * It is no wall: the monitor bounds itself, and this catches it when it does not.
 */
#ifndef CLI_MACHINE_BOUNDS_H
#define CLI_MACHINE_BOUNDS_H
#include <sys/types.h>
#include "cli/base/places.h"

#define BOUNDS_MAX 4u			/* v1 has a folder for each controller */

struct bounds {
	struct place dir[BOUNDS_MAX];
	unsigned n;			/* 0: nothing can be limited here */
	char what[32];			/* "memory pids cpu io", or some of them */
};

#define BOUNDS_NONE { .n = 0 }

struct bounds_limits {
	uint64_t memory, pids, cpus;	/* cpus 0: all there are */
	uint64_t bps, iops;		/* each of: reads and writes per second; 0: no limit */
	int disk[2];			/* files on the disks that this is about */
	unsigned n_disks;
};

/*
 * Make a group with these limits. That there is none on this host is no error: c->n is 0 then.
 * What dead processes left beside it is removed. @proc is "/proc" (tests have their own).
 */
void bounds_make(struct bounds *c, const char *proc, const struct bounds_limits *l);
/* Descriptors to be entered by writing "0", close-on-exec, the caller's. Returns how many. */
unsigned bounds_doors(const struct bounds *c, int fd[BOUNDS_MAX]) must_check;
/* Have one more process in it, with all of its threads. */
void bounds_enter(const struct bounds *c, pid_t pid);
/* Is @pid in it? */
bool bounds_has(const struct bounds *c, pid_t pid) must_check;
/* Once no process is in it any more; until then it stays, for another call. */
void bounds_remove(struct bounds *c);
#endif
