/* SPDX-License-Identifier: Apache-2.0 */
/* boot.h - what PID 1 owes to a Linux program: file systems, lo, a hostname. */
#ifndef AGENT_BOOT_H
#define AGENT_BOOT_H

/*
 * Failures are reported to the kernel log and are not fatal: a guest with a
 * missing file system still answers, and can be looked at.
 */
void boot_guest(void);
/* One line to the kernel log. */
void boot_log(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
#endif
