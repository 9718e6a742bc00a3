/* SPDX-License-Identifier: Apache-2.0 */
/*
 * term.h - the user's terminal: raw mode, its size, and the progress line.
 *
 * One terminal per process, so this is process state. Main thread only.
 */
#ifndef CLI_BASE_TERM_H
#define CLI_BASE_TERM_H
#include "vmm/base.h"

/*
 * Raw mode on the terminal @fd. It is undone by term_restore(), by exit(3), and
 * by the signals that mean a crash. -errno when the terminal does not do it.
 */
int term_raw(int fd) must_check;
void term_restore(void);
/* Stop this process as Ctrl-Z does, with the terminal as it was; raw again afterwards. */
void term_suspend(void);
/* False when @fd does not know its size. */
bool term_size(int fd, uint16_t *rows, uint16_t *cols);

/*
 * A line on stderr, if that is a terminal, that says what takes long. Shown only
 * once @since_ns (CLOCK_MONOTONIC) is a second ago; with the seconds so far.
 */
void term_progress(const char *what, uint64_t since_ns);
void term_progress_end(void);

uint64_t term_now_ns(void);	/* CLOCK_MONOTONIC */
#endif
