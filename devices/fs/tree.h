/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tree.h - names: finding them, and making, removing, moving them; with one layer or two.
 *
 * What changes the tree of a cow share runs between tree_lock() and tree_unlock(), which
 * do nothing for other shares: there the host's file system makes each step atomic.
 */
#ifndef DEVICES_FS_TREE_H
#define DEVICES_FS_TREE_H
#include "devices/fs/place.h"
#include "devices/fs/server.h"

void tree_lock(struct share *s);
void tree_unlock(struct share *s);

/* A name that was looked for, with the directories where. dir[f.layer] has what was found. */
struct lookup {
	struct found f;
	struct dir_ref dir[FS_LAYERS];
};
/*
 * 0; -ENOENT, with f.hidden and f.below filled in. tree_found_end() has to follow in both
 * cases. -ESTALE and the like: nothing has to follow.
 */
int tree_find(struct fs *fs, struct inode *parent, const char *name, struct lookup *l) must_check;
void tree_found_end(struct fs *fs, struct lookup *l);

/*
 * See to it that @n may be changed: in a cow share its copy in the upper layer is made.
 * @data: with its contents, else it is empty. The share's mode is not checked here.
 * Takes the tree's lock; tree_raise_locked() is for who has it.
 */
int tree_raise(struct fs *fs, struct inode *n, bool data) must_check;
int tree_raise_locked(struct fs *fs, struct inode *n, bool data) must_check;

/* ---- making something: @at is where to make it; then tree_made() puts it in place -------- */
struct making {
	struct share *s;
	struct dir_ref dir;		/* the parent's upper layer */
	const char *name;
	int at;				/* descriptor and name to make it under */
	const char *at_name;
	bool over;			/* a whiteout is in its place */
	bool made;
	char temp[16];
};
/*
 * Takes the lock. -EEXIST when the name is there (unless @exists is not NULL, then
 * 0 with *exists, and l is what was found; the name can then not be made).
 */
int tree_make(struct fs *fs, struct inode *parent, const char *name, struct making *m) must_check;
/* It was made at (m->at, m->at_name): put it where it belongs. */
int tree_made(struct fs *fs, struct making *m, bool directory) must_check;
/* Releases the lock; removes what was made and not put into place. */
void tree_make_end(struct fs *fs, struct making *m);

/* unlink or rmdir. */
int tree_remove(struct fs *fs, struct inode *parent, const char *name, bool directory)
	must_check;
int tree_rename(struct fs *fs, struct inode *from, const char *name, struct inode *to,
		const char *new_name, unsigned flags) must_check;

/* ---- cow.c: the upper layer. The tree's lock is held. ---- */
int cow_raise_dir(struct fs *fs, struct inode *dir) must_check;
int cow_copy(struct fs *fs, struct inode *n, bool data) must_check;
bool cow_opaque(int dirfd, const char *name) must_check;
int cow_set_opaque(int fd, int dirfd, const char *name) must_check;
/* Is there no entry in the directory, seen through all layers? 0, -ENOTEMPTY, -errno. */
int cow_empty(const struct lookup *l, const char *name) must_check;
/* Remove a directory of the upper layer with nothing but whiteouts in it. */
int cow_drop_dir(int dirfd, const char *name) must_check;
int cow_remove(struct fs *fs, struct share *s, const struct lookup *l, const char *name,
	       bool directory) must_check;
int cow_rename(struct fs *fs, struct inode *from, const char *name, struct inode *to,
	       const char *new_name, unsigned flags) must_check;
/* Call @each for the entries of a directory of one layer, but "." and ".."; until not 0. */
int cow_entries(int dirfd, const char *name, int (*each)(int fd, const char *n, void *arg),
		void *arg) must_check;
/*
 * Copy up all that a directory shows, so that nothing of the lower layer is in it any more.
 * -EXDEV: it is too much for one request.
 */
int cow_whole(struct fs *fs, struct inode *dir, const struct found *f) must_check;
/* Give a directory the mode, times and attributes of another one (a descriptor). */
int cow_like(int like, int dirfd, const char *name) must_check;
/* A name in wip that nothing has. */
void cow_temp(struct share *s, char name[16]);
#endif
