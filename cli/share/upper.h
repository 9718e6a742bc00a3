/* SPDX-License-Identifier: Apache-2.0 */
/*
 * upper.h - where the changes to copy-on-write shares are kept (devices/fs/upper.h says
 * how): a folder with one folder for each place in the guest, named by a hash of it, with
 *
 *	about	JSON: "src" and "dst" of the share
 *	tree/, wip/	the server's
 *
 * A named sandbox keeps it in its own folder, as `cow`. Without a name it lies in the state
 * folder and goes with the machine.
 */
#ifndef CLI_SHARE_UPPER_H
#define CLI_SHARE_UPPER_H
#include "cli/share/share.h"

#define UPPER_NAME_MAX 24u

/* A folder that vanishes: locked by its owner, so that one of a dead process can be told. */
struct upper_temp {
	int parent, dir;	/* -1: there is none */
	char name[UPPER_NAME_MAX];
};

#define UPPER_TEMP_NONE { .parent = -1, .dir = -1 }

/* What dead processes have left. */
int upper_temp_sweep(struct err *e) must_check;
/* Sweeps, too. */
int upper_temp_make(struct upper_temp *t, struct err *e) must_check;
void upper_temp_remove(struct upper_temp *t);

/* Name of the folder for what is at @dst in the guest. */
void upper_name(const char *dst, char name[static UPPER_NAME_MAX]);
/*
 * The folder for @s in @cow_dir, made if need be: a descriptor. -EEXIST with a sentence when
 * it keeps changes of another folder.
 */
int upper_open(int cow_dir, const struct share *s, struct err *e) must_check;
/* The share that the folder @name of @cow_dir belongs to; src and dst are the caller's then. */
int upper_about(int cow_dir, const char *name, struct share *s, struct err *e) must_check;
#endif
