/* SPDX-License-Identifier: Apache-2.0 */
/*
 * swap.h - what a sandbox has on disk beside its machine (changes in copy-on-write shares,
 * a disk) is replaced by what a snapshot had, all of it or nothing, whenever whoever does that
 * is killed. The caller has the lock of the sandbox, whose folder is @box.
 */
#ifndef CLI_KEEPER_SWAP_H
#define CLI_KEEPER_SWAP_H
#include "cli/share/share.h"

/* A new empty folder for what comes: a descriptor, or -errno. Nothing is replaced yet. */
int swap_prepare(int box) must_check;
/* Put what is there now aside, and what is in that folder into its place. 0 or -errno. */
int swap_exchange(int box, const struct shares *s) must_check;
/* From here on what came is what it has; swap_settle() afterwards does the rest. 0 or -errno. */
int swap_commit(int box) must_check;
/*
 * Finish what was committed, take back what was not: when a rollback ends, and before a sandbox
 * that does not run is used. 0 or -errno.
 */
int swap_settle(int box) must_check;
#endif
