/* SPDX-License-Identifier: Apache-2.0 */
/* rmtree.h - remove a tree that somebody hostile may have made. */
#ifndef CLI_BASE_RMTREE_H
#define CLI_BASE_RMTREE_H
#include "vmm/base.h"

/*
 * Delete what is called @name in @dir, a folder with all in it. Nothing is followed;
 * depth and modes of what is in there do not matter. 0 (also when there is nothing of
 * that name) or -errno.
 */
int rmtree(int dir, const char *name) must_check;
#endif
