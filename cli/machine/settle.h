/* SPDX-License-Identifier: Apache-2.0 */
/*
 * settle.h - wait until a guest has nothing more to do. Main thread only.
 */
#ifndef CLI_MACHINE_SETTLE_H
#define CLI_MACHINE_SETTLE_H
#include "cli/machine/machine.h"

/*
 * What all threads of process @pid ran and waited for a processor, in nanoseconds.
 * -errno where the kernel does not tell (CONFIG_SCHED_INFO).
 */
int settle_busy_ns(const char *proc, pid_t pid, uint64_t *ns) must_check;
/*
 * Wait until the machine's threads have slept for nearly all of a fifth of a second, at
 * most @limit_ms. The monitor's pipes are read meanwhile. 0, also when it never came to
 * rest; or the number of a signal that arrived at @sigfd.
 */
int machine_settle(struct machine *m, int sigfd, unsigned limit_ms) must_check;
#endif
