/* SPDX-License-Identifier: Apache-2.0 */
/* clone.h - a second file with what a first one holds, at the least cost. */
#ifndef CLI_BASE_CLONE_H
#define CLI_BASE_CLONE_H
#include "vmm/base.h"

/*
 * Fill the empty file @to with @from's content: shared blocks where the file system can do
 * that, else a copy that has holes where @from has. Moves @from's offset. 0 or -errno.
 * Any thread.
 */
int clone_file(int from, int to) must_check;
#endif
