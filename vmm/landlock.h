/* SPDX-License-Identifier: Apache-2.0 */
/*
 * landlock.h - the kernel's Landlock, as a wall: all that a kernel knows of is refused but for
 * what rules allow. The file rights of Linux 6.1 are what has to be there; what came later
 * (truncation, TCP, ioctl of devices, signals to and abstract sockets of processes outside) is
 * refused where it is known. landlock(7); Linux, Documentation/userspace-api/landlock.rst.
 */
#ifndef VMM_LANDLOCK_H
#define VMM_LANDLOCK_H
#include <linux/landlock.h>
#include "vmm/base.h"

/* Newer than Debian 12's <linux/landlock.h>. */
#define LANDLOCK_IOCTL_DEV	(1ull << 15)	/* ABI 5 */
#define LANDLOCK_READS		((uint64_t)(LANDLOCK_ACCESS_FS_READ_FILE | \
					    LANDLOCK_ACCESS_FS_READ_DIR))

/*
 * A ruleset without a rule, owned by the caller; *@files (may be NULL) is the rights to files
 * that it knows. -errno: there is no Landlock, or one that lets nobody rename between folders.
 * Any thread, as with all of these.
 */
int landlock_ruleset(uint64_t *files) must_check;
/* Allow @access, of *files, beneath the open folder @folder (-1: nothing). 0 or -errno. */
int landlock_allow(int ruleset, int folder, uint64_t access) must_check;
/* This thread, and what comes of it, is held to @ruleset from now on. 0 or -errno. */
int landlock_enter(int ruleset) must_check;
#endif
