/* SPDX-License-Identifier: Apache-2.0 */
/*
 * saved.h - shared folders in a snapshot's folder:
 *
 *	shares	which ones there were: for each its number, mode, folder on the host and place
 *		in the guest, as four texts with a NUL after each
 *	fs	what the guest knew of them (devices/fs/state.h)
 *	cow/	what it had changed in copy-on-write ones (upper.h)
 *
 * A machine that goes on from there need not be given the same folders: those that are the
 * same keep their number, and what the guest had open stays so; the others are unmounted
 * and mounted. Nothing of the list itself is ever opened.
 */
#ifndef CLI_SHARE_SAVED_H
#define CLI_SHARE_SAVED_H
#include "cli/share/share.h"

#define SAVED_LIST	"shares"
#define SAVED_STATE	"fs"
#define SAVED_COW	"cow"

/* Write the list to the folder @dir. 0 or -errno with a sentence. */
int saved_write(int dir, const struct shares *s, struct err *e) must_check;
/* Copies of the folders for changes in @cow_dir, as `cow` in @dir. Any thread, one at a time. */
int saved_write_cow(int dir, int cow_dir, const struct shares *s, struct err *e) must_check;
/* The same of one snapshot's folder in another one's, by links to the files. */
int saved_link_cow(int from, int to, struct err *e) must_check;
/* The list, empty where there is none. shares_free() in every case. */
int saved_read(int dir, struct shares *was, struct err *e) must_check;
/*
 * Give @now the numbers of those of @was that are the same, and set their .known and
 * .mounted; .mounted in @was stays set for those that are not, and have to go.
 */
void saved_match(struct shares *was, struct shares *now);
/*
 * For those of @now that are the same and copy-on-write, what was changed is put into
 * @cow_dir, unless something is kept there already. @dir is the snapshot's folder.
 */
int saved_read_cow(int dir, int cow_dir, const struct shares *now, struct err *e) must_check;
#endif
