/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sigs.h - signals that people and programs send to `sandbox`, as a descriptor.
 *
 * SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, and with a terminal SIGWINCH
 * and SIGTSTP. One that was ignored when the program started (nohup, a shell's
 * background job) stays ignored. SIGPIPE is ignored from then on.
 */
#ifndef CLI_BASE_SIGS_H
#define CLI_BASE_SIGS_H
#include "vmm/base.h"

/* A signalfd (O_NONBLOCK, close-on-exec) that the caller owns, or -errno. */
int sigs_open(bool tty, struct err *e) must_check;
/* The next signal that waits, or 0. */
int sigs_next(int fd);
#endif
