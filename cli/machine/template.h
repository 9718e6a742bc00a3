/* SPDX-License-Identifier: Apache-2.0 */
/*
 * template.h - machines that were booted once and saved when their agent was
 * ready: what a run restores instead of booting.
 *
 * A template is a folder in the cache, templates/<16 hex digits>/, with the
 * snapshot's files and `key`, the text that says what it was made from:
 * monitor, kernel and initrd (as device, inode, size and times), memory, CPUs, host. The
 * name is a hash of the key; the key itself is compared before it is used. Any
 * number of processes may use, make and remove templates at once. Main thread only.
 */
#ifndef CLI_MACHINE_TEMPLATE_H
#define CLI_MACHINE_TEMPLATE_H
#include "cli/machine/monitor.h"
#include "cli/base/places.h"

/*
 * The template for the machine that @c describes, made first if need be: only one
 * process makes it, the others wait. @sigfd as in machine_start(). 0 with its
 * folder in @dir; a signal's number; or -errno with a sentence.
 */
int template_get(const struct monitor_conf *c, int sigfd, struct place *dir,
		 struct err *e) must_check;
/* It turned out to be of no use: take it out of the way, so that the next one is made anew. */
void template_drop(const struct place *dir);

/* ---- what is there ---- */

#define TEMPLATE_KEY_MAX 2048u

struct template_key { char text[TEMPLATE_KEY_MAX]; char name[17]; };

/* One template as it lies on disk. */
struct template_info {
	char name[17];
	uint64_t memory, cpus;		/* of the guest: bytes, number */
	uint64_t disk;			/* bytes that it takes */
	int64_t used;			/* seconds since 1970: when it was last restored */
	bool stale;			/* made from files that are not these any more */
};

/*
 * All templates, the one last used first, for free(). @c: the files in use now, for
 * .stale. How many, or -errno with a sentence.
 */
int template_list(const struct monitor_conf *c, struct template_info **list,
		  struct err *e) must_check;
/* -ENOENT with a sentence. Machines that were restored from it go on. */
int template_remove(const char *name, struct err *e) must_check;
/*
 * Remove the stale ones and what dead makers left; only count them if @dry_run. How many, or
 * -errno with a sentence.
 */
int template_gc(const struct monitor_conf *c, bool dry_run, struct err *e) must_check;

/* For these: the folder of all, made if need be, in *p and as a descriptor; and the key of @c. */
int template_root(struct place *p, struct err *e) must_check;
int template_key(struct template_key *k, const struct monitor_conf *c, struct err *e) must_check;
bool template_is(const char *name) must_check;
#endif
