/* SPDX-License-Identifier: Apache-2.0 */
/*
 * template.h - machines that were booted once and saved when their agent was
 * ready: what a run restores instead of booting.
 *
 * A template is a folder in the cache, templates/<16 hex digits>/, with the
 * snapshot's two files and `key`, the text that says what it was made from:
 * monitor, kernel and initrd (as device, inode, size and times), memory, CPUs. The
 * name is a hash of the key; the key itself is compared before it is used. Any
 * number of processes may use, make and remove templates at once. Main thread only.
 */
#ifndef CLI_TEMPLATE_H
#define CLI_TEMPLATE_H
#include "cli/monitor.h"
#include "cli/places.h"

/*
 * The template for the machine that @c describes, made first if need be: only one
 * process makes it, the others wait. @sigfd as in machine_start(). 0 with its
 * folder in @dir; a signal's number; or -errno with a sentence.
 */
int template_get(const struct monitor_conf *c, int sigfd, struct place *dir,
		 struct err *e) must_check;
/* It turned out to be of no use: take it out of the way, so that the next one is made anew. */
void template_drop(const struct place *dir);
#endif
