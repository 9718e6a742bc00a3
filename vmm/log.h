/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log.h - what the monitor says, and what the guest's console said.
 *
 * The monitor's own words go to stderr as one line each, prefixed by the
 * program's name. What a guest can provoke is said through a struct log_limit,
 * which lets LOG_BURST lines through and then one per second, counting the rest.
 *
 * What the guest's console says (virtio-console or the boot-time log port) goes to one
 * descriptor and is not kept. One process is one virtual machine, so this is the only
 * global state of the monitor.
 *
 * Every function may be called from any thread.
 */
#ifndef VMM_LOG_H
#define VMM_LOG_H
#include "vmm/base.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

#define LOG_BURST 8u

struct log_limit { uint64_t second; unsigned said, dropped; };

/* Highest level that is printed; LOG_LEVEL_WARN at the start. */
void log_level(enum log_level max);
/* The name before each line; a string literal. */
void log_name(const char *name);
void log_say(enum log_level level, const char *fmt, ...) printf_like(2, 3);
/*
 * As log_say() at LOG_LEVEL_WARN, for something that the guest can repeat at will: a line that
 * stderr has no room for is dropped.
 */
void log_guest(struct log_limit *limit, const char *fmt, ...) printf_like(2, 3);

/* Guest console output: @len bytes for the tee, if there is one. */
void log_console(const void *buf, size_t len);
/*
 * From now on console bytes are written to @fd (not owned; -1 turns it off). What its
 * reader leaves no room for is left out, and counted: a machine does not wait for its watcher.
 */
void log_console_tee(int fd);
#endif
