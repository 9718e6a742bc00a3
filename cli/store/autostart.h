/* SPDX-License-Identifier: Apache-2.0 */
/*
 * autostart.h - sandboxes that the systemd of this user starts: one unit file each, in
 * $XDG_CONFIG_HOME/systemd/user, enabled by a link as `systemctl --user enable` makes it.
 *
 * Nothing here talks to systemd, which reads the files at its next start or
 * daemon-reload. Main thread only.
 */
#ifndef CLI_STORE_AUTOSTART_H
#define CLI_STORE_AUTOSTART_H
#include "cli/base/places.h"

/* Have the sandbox @name started from now on, or not any more; what is so already stays so. */
int autostart_set(const char *name, bool on, struct err *e) must_check;
/*
 * The unit: @program starts @name, with @vars ("K=V", NULL at the end) in its environment.
 * malloc'ed; NULL: out of memory.
 */
char *autostart_unit(const char *name, const char *program, char *const *vars);
#endif
