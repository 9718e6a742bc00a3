/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kernel.h - what a kernel file says about itself.
 */
#ifndef CLI_MACHINE_KERNEL_H
#define CLI_MACHINE_KERNEL_H
#include "vmm/base.h"

#define KERNEL_RELEASE_MAX 64u

/*
 * The release ("6.12.48") of an x86 bzImage, from its header (Linux boot protocol
 * 2.00 and later, field kernel_version), or of a vmlinux, from its banner.
 * 0, or -EINVAL when the file does not
 * tell; the text is printable whatever the file holds.
 */
int kernel_release(const char *path, char release[static KERNEL_RELEASE_MAX]) must_check;
#endif
