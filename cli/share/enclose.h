/* SPDX-License-Identifier: Apache-2.0 */
/*
 * enclose.h - a folder as a mount of its own, which nothing leads out of.
 *
 * The file server opens by descriptors that lead into the host's tree: ".." would climb out
 * of them, were it not refused in one place of its code. In a mount that is attached
 * nowhere the folder is the top, for whatever code runs there; links are not followed, nothing
 * is executed, no device is opened, and where it is read-only nothing can be written.
 */
#ifndef CLI_SHARE_ENCLOSE_H
#define CLI_SHARE_ENCLOSE_H
#include "vmm/base.h"

/*
 * @folder (O_PATH will do), with what is mounted in it now. Returns a descriptor, close-on-exec,
 * the caller's; or -errno where this host does not let its user have mounts. Main
 * thread only.
 */
int enclose(int folder, bool read_only) must_check;
#endif
