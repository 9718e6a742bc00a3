/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cow.h - what a guest changed in a copy-on-write share: found by laying the upper tree
 * (devices/fs/upper.h) over the host's folder, shown, taken over.
 *
 * Everything in an upper tree was chosen by a guest: names, depth, modes, links. The host's
 * folder is reached only component by component beneath its root, and no link in it is
 * followed. Main thread only.
 */
#ifndef CLI_SHARE_COW_H
#define CLI_SHARE_COW_H
#include <sys/stat.h>
#include "vmm/base.h"

enum cow_kind { COW_ADDED, COW_CHANGED, COW_DELETED, COW_MODE };

struct cow_change {
	enum cow_kind kind;
	char *path;		/* below the share's root, without a slash in front */
	mode_t old_mode, new_mode;	/* st_mode; 0 where there is nothing */
	const char *conflict;	/* the host changed it meanwhile: how; NULL: it did not */
};

/* A file of the upper tree with several names, which were all made by the guest but one. */
struct cow_linked {
	uint64_t ino;		/* in the upper tree */
	char *home;		/* the name that UPPER_ORIGIN is about; NULL: none */
	char *there;		/* a name by which the host has the same file; NULL: not yet */
};

/* In the order in which they can be applied. */
struct cow_list {
	struct cow_change *v;
	size_t n, room;
	uint64_t *hidden;	/* inodes of the host's that a deletion hides, sorted */
	size_t n_hidden, room_hidden;
	struct cow_linked *linked;	/* sorted by inode */
	size_t n_linked, room_linked;
};

/*
 * All differences between the host's folder @lower and what @upper (its `tree`) makes of it,
 * both open for reading. 0 or -errno with a sentence. cow_free() in every case.
 */
int cow_scan(int upper, int lower, struct cow_list *l, struct err *e) must_check;
void cow_free(struct cow_list *l);
/*
 * Folders that were closed to their owner are opened for as long as they are looked at; this
 * gives all of them their modes back. To be called last.
 */
void cow_restore_modes(void);

/* One line: "added    PATH", with what is no text in the name escaped. */
void cow_print(const struct cow_change *c, const char *prefix, FILE *out);
/* The name alone, as it is in that line. */
void cow_print_name(const struct cow_change *c, const char *prefix, FILE *out);
/* A unified diff with git's headers; control characters of the files escaped if @safe. */
int cow_diff(int upper, int lower, const struct cow_change *c, const char *prefix, bool safe,
	     FILE *out, struct err *e) must_check;
/*
 * Do to the host's folder what the guest did, one entry, whole or not at all. -EBUSY with a
 * sentence on a conflict, also on one that has come since the scan; -EPERM for what would lure
 * the host's programs (cow_lure.c), unless @yes. @live: a server is at work on the upper tree,
 * which then keeps the entry (and remembers the new file as its origin); otherwise the entry
 * goes from there.
 */
int cow_apply(int upper, int lower, const struct cow_list *l, const struct cow_change *c,
	      bool yes, bool live, struct err *e) must_check;

/*
 * Before what a stopped sandbox changed is applied and goes from its upper tree: folders that
 * hide all of the host's by a mark hide each entry by itself, so that what was applied is seen
 * there again. Nothing that is seen changes.
 */
int cow_flatten(int upper, int lower, struct err *e) must_check;

/*
 * All that is in the folder of changes @from (cli/share/upper.h) also in the empty folder @to.
 * Nobody changes it meanwhile. @link: files are the same ones, as nobody will ever write to
 * either. 0 or -errno with a sentence.
 */
int cow_clone(int from, int to, bool link, struct err *e) must_check;
/*
 * The number of all entries below the folder @dir, which holds folders of changes, and a checksum
 * of them. Nobody changes it meanwhile. 0 or -errno with a sentence.
 */
int cow_sum(int dir, uint64_t *n, uint32_t *crc, struct err *e) must_check;

/* ---- for cow*.c ---- */

/* Open a directory or a regular file below @root, no link followed, closed modes opened. -errno. */
int cow_open(int root, const char *path, int flags) must_check;
/* The same for a name in @dir. */
int cow_open_name(int dir, const char *name, int flags) must_check;
/* The directory that @path is in; *name: its last component. -errno. */
int cow_open_parent(int root, const char *path, const char **name) must_check;
/* How the host's entry differs from what the upper one was made from; NULL: it does not. */
const char *cow_conflict(int upper_dir, int lower_dir, const char *name,
			 const struct cow_list *l);
bool cow_is_whiteout(const struct stat *st);
/* -EPERM with a sentence for a file that makes git(1) start what a guest wrote; else 0. */
int cow_lure_file(const struct cow_change *c, struct err *e) must_check;
/* The same for a link at @path that leads out of the share, or may. */
int cow_lure_link(const char *path, const char *target, struct err *e) must_check;
/* Room for one more in an array of @n elements of @size. 0 or -ENOMEM. */
int cow_grow(void *array, size_t n, size_t *room, size_t size) must_check;
/* 1: two open files hold the same bytes, 0: they do not, or -errno. */
int cow_same(int a, int b) must_check;

/* @path is a name of that file; @home, @there: as in struct cow_linked. 0 or -ENOMEM. */
int cow_link_note(struct cow_list *l, uint64_t ino, const char *path, bool home,
		  bool there) must_check;
/* All of them are noted. */
void cow_link_sort(struct cow_list *l);
/* NULL: it has one name. @l may be NULL. */
struct cow_linked *cow_link_find(const struct cow_list *l, uint64_t ino);
/*
 * Where the host has the guest's file @up_dir/@name already, by another name and unchanged, make
 * @temp in @low_dir one more name of it. False, with nothing done, where it has not.
 */
bool cow_link_make(const struct cow_linked *k, int lower, int up_dir, const char *name,
		   int low_dir, const char *temp) must_check;
void cow_link_free(struct cow_list *l);
#endif
