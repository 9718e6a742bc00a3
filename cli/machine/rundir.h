/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rundir.h - the private folder that holds one sandbox's sockets while they are
 * needed, in the user's runtime folder.
 *
 * Its owner holds a lock on it (flock on the folder itself), which the kernel
 * drops with the process, however that ends. So a folder whose lock can be taken
 * is provably dead.
 *
 *	FOLDER/c	of a keeper
 *	FOLDER/s/	the monitor's: this is the root of its jail, so whatever lies in it
 *			can be connected to by a guest that took the monitor over
 */
#ifndef CLI_MACHINE_RUNDIR_H
#define CLI_MACHINE_RUNDIR_H
#include "cli/base/places.h"

struct rundir {
	int parent;		/* the runtime folder */
	int lock;		/* the folder itself, locked */
	char name[16];		/* in the parent; "" when there is none */
	char path[104];	/* the folder */
	char vsock[104];	/* the monitor's socket, short enough for sun_path with "_53" */
	char ready[108];	/* the same with "_53" */
};

#define RUNDIR_NONE { .parent = -1, .lock = -1 }

/* Sweep what dead processes left in the runtime folder, then make a folder in it. */
int rundir_make(struct rundir *r, struct err *e) must_check;
/* Remove the folder and all in it; nothing the second time, after a failed make, or to NONE. */
void rundir_remove(struct rundir *r);
#endif
