/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snapdir.h - the folder of a snapshot (vmm/snapshot.h): written, given its name,
 * removed.
 *
 * A folder that is being written is called SNAPDIR_TMP... and gets its name by its last
 * step, a rename(2), when all of it is on disk; one that is removed goes by rename
 * first. So whatever is found under its name is whole, whenever the writer or the
 * host was killed. Main thread only.
 */
#ifndef CLI_SNAPDIR_H
#define CLI_SNAPDIR_H
#include "cli/monitor.h"

#define SNAPDIR_TMP	"tmp-"		/* names that nobody looks up begin so */
#define SNAPDIR_GONE	"gone-"
#define SNAPDIR_SAVE_MS	600000

/*
 * Save the machine of @m into the empty folder @dir, and have it all on disk. @base:
 * the folder that the machine was restored from, or NULL: then, where links to its files can
 * be made, only what differs is saved. Files that are there already are left alone.
 */
int snapdir_write(struct monitor *m, int dir, const char *base, struct monitor_saved *out,
		  struct err *e) must_check;
/*
 * The same as a new folder @name in the folder @parent. -EEXIST with a sentence when
 * there is one of that name.
 */
int snapdir_save(struct monitor *m, int parent, const char *name, const char *base,
		 struct monitor_saved *out, struct err *e) must_check;
/* Give the folder @tmp of @parent, on disk already, the name @name; -EEXIST. */
int snapdir_publish(int parent, const char *tmp, const char *name) must_check;
/* Remove folder @name of @parent with what a snapshot or a template consists of. 0 or -errno. */
int snapdir_remove(int parent, const char *name);
/* Remove what dead writers and removers left in @parent; its other users are locked out. */
unsigned snapdir_sweep(int parent);
#endif
