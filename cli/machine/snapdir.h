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
#ifndef CLI_MACHINE_SNAPDIR_H
#define CLI_MACHINE_SNAPDIR_H
#include "cli/machine/monitor.h"
#include "cli/base/places.h"

#define SNAPDIR_TMP	"tmp-"		/* names that nobody looks up begin so */
#define SNAPDIR_GONE	"gone-"
#define SNAPDIR_SAVE_MS	600000

/* What a machine was restored from: a folder, and which file its memory was then. */
struct snapdir_base {
	struct place dir;		/* "": it was booted, or that is not certain */
	dev_t dev;
	ino_t ino;
};
/* Look at the folder @path: before a restore, and again after it with *b from before. */
void snapdir_base_note(struct snapdir_base *b, const char *path);
bool snapdir_base_same(const struct snapdir_base *b) must_check;

/*
 * Save the machine of @m into the empty folder @dir, and have it all on disk. @base (may
 * be NULL): what the machine was restored from: then, where links to its files can
 * be made, only what differs is saved. Other files in @dir are left alone.
 */
int snapdir_write(struct monitor *m, int dir, const struct snapdir_base *base,
		  struct monitor_saved *out, struct err *e) must_check;
/*
 * The same as a new folder @name in the folder @parent, with the id of the guest's root
 * @image (NULL: built in) beside it. -EEXIST with a sentence when
 * there is one of that name.
 */
int snapdir_save(struct monitor *m, int parent, const char *name, const struct snapdir_base *base,
		 const char *image, struct monitor_saved *out, struct err *e) must_check;
/* A folder @name in @to with links to the files of the snapshot @from. 0 or -errno. */
int snapdir_link(int from, int to, const char *name) must_check;
/* Give the folder @tmp of @parent, on disk already, the name @name; -EEXIST. */
int snapdir_publish(int parent, const char *tmp, const char *name) must_check;
/* Remove folder @name of @parent with what a snapshot or a template consists of. 0 or -errno. */
int snapdir_remove(int parent, const char *name);
/* Remove what dead writers and removers left in @parent; its other users are locked out. */
unsigned snapdir_sweep(int parent);
#endif
