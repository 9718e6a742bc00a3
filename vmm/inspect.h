/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inspect.h - what is in a snapshot, for people and programs.
 */
#ifndef VMM_INSPECT_H
#define VMM_INSPECT_H
#include <stdio.h>
#include "vmm/snapshot.h"

/*
 * Open the snapshot in @dir and print lines `key value` on @out. With @verify every
 * page is read and compared with its checksum, those of the base included. 0, or
 * -errno with a sentence: what a restore would refuse, -EBADMSG for a wrong page.
 */
int snapshot_inspect(const char *dir, bool verify, FILE *out, struct err *e) must_check;
#endif
