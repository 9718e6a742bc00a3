/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snapsum.h - checksums of what is in a snapshot's folder and not the monitor's
 * (vmm/snapshot.h): lengths and CRC-32C of
 *
 *	shares, fs, image	small: compared by whoever goes on from it
 *	disk, cow/		of any size: only compared when all is verified; of the disk, the
 *				length always. A fork's have none, as it is used at once
 *
 * in the file `parts` (vmm/blob.h). Where there is no such part, there is no such file.
 */
#ifndef CLI_MACHINE_SNAPSUM_H
#define CLI_MACHINE_SNAPSUM_H
#include "vmm/base.h"

#define SNAPSUM_FILE "parts"

/*
 * Write it into the folder @dir, where all parts are, on disk; without @all, nothing of any size
 * is read. Any thread, one at a time. 0 or -errno with a sentence.
 */
int snapsum_write(int dir, bool all, struct err *e) must_check;
/*
 * Compare: what is missing, too short or too long, damaged, or of another snapshot is named.
 * 1: something is of any size and has no checksum, 0: nothing; -EBADMSG or another with a sentence.
 */
int snapsum_check(const char *path, bool all, struct err *e) must_check;
#endif
