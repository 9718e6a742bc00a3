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
#include "cli/share/shared.h"
#include "cli/base/places.h"

#define SNAPDIR_TMP	"tmp-"		/* names that nobody looks up begin so */
#define SNAPDIR_GONE	"gone-"
#define SNAPDIR_FORK	".fork-"	/* and a number: of the process that forks from there */
#define SNAPDIR_SAVE_MS	600000
#define SNAPDIR_DISK	"disk"			/* the content of the sandbox's disk */
#define SNAPDIR_IMAGE	"image"			/* id of the guest's root */

/* What a machine was restored from: a folder, and which file its memory was then. */
struct snapdir_base {
	struct place dir;		/* "": it was booted, or that is not certain */
	dev_t dev;
	ino_t ino;
};
/* Look at the folder @path: before a restore, and again after it with *b from before. */
void snapdir_base_note(struct snapdir_base *b, const char *path);
bool snapdir_base_same(const struct snapdir_base *b) must_check;

/* What is saved. */
struct snapdir_what {
	int control_fd;		/* of the monitor */
	struct monitor *pump;	/* whose pipes are read meanwhile; NULL: another thread does that */
	/*
	 * What the machine was restored from (NULL: nothing): then, where links to its files can
	 * be made, only what differs is saved.
	 */
	const struct snapdir_base *base;
	const char *image;	/* id of the guest's root; NULL: built in */
	struct shared *shared;	/* its server of folders, which are @shares; NULL: none */
	const struct shares *shares;
	int disk;		/* its disk's file, open for reading, not shared; -1: none */
	bool brief;		/* no checksums of what is of any size (snapsum.h) */
};

/*
 * Save the machine into the empty folder @dir, and have it all on disk. Other files in @dir
 * are left alone. Without pump: any thread, which alone uses shared and control_fd.
 */
int snapdir_write(const struct snapdir_what *w, int dir, struct monitor_saved *out,
		  struct err *e) must_check;
/* The same as a new folder @name in @parent. -EEXIST with a sentence. */
int snapdir_save(const struct snapdir_what *w, int parent, const char *name,
		 struct monitor_saved *out, struct err *e) must_check;
/* A folder @name in @to with links to the files of the snapshot @from. 0 or -errno. */
int snapdir_link(int from, int to, const char *name) must_check;
/* Give the folder @tmp of @parent, on disk already, the name @name; -EEXIST. */
int snapdir_publish(int parent, const char *tmp, const char *name) must_check;
/*
 * A descriptor that holds the folder @path of a snapshot: as long as it is open, nobody removes
 * that. Or -1.
 */
int snapdir_hold(const char *path) must_check;
/*
 * Remove folder @name of @parent with what a snapshot or a template consists of. 0 or -errno;
 * -EBUSY: it is held.
 */
int snapdir_remove(int parent, const char *name);
/* True for a name that only this module gives. */
bool snapdir_reserved(const char *name) must_check;
/*
 * Remove what dead writers, removers and forking commands left in @parent; its other users are
 * locked out.
 */
unsigned snapdir_sweep(int parent);
#endif
