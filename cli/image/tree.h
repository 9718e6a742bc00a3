/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tree.h - the files of an image while it is made: names and attributes in
 * memory, contents at once in the image's file.
 *
 * Nothing of an image is ever a name on the host: a path is resolved here, links
 * and all, and cannot lead out of the tree. So an archive that lies about its paths
 * harms only itself, owners need no privilege, and the same input gives the same
 * bytes. Main thread only.
 */
#ifndef CLI_IMAGE_TREE_H
#define CLI_IMAGE_TREE_H
#include <sys/stat.h>
#include "vmm/base.h"

#define IMAGE_BLOCK		4096u
#define IMAGE_FILES_MAX		4000000u
#define IMAGE_BYTES_MAX		(1ull << 38)
#define IMAGE_DEPTH_MAX		1000u
#define IMAGE_NAME_MAX		255u
#define IMAGE_XATTRS_MAX	2048u	/* bytes of all extended attributes of a file, stored */

struct image_xattr {
	struct image_xattr *next;
	char *name;
	size_t len;
	unsigned char value[];
};

struct image_file {
	mode_t mode;
	uint32_t uid, gid, nlink;
	int64_t mtime;			/* seconds */
	uint32_t mtime_ns;
	dev_t rdev;
	uint64_t size;			/* of a regular file */
	uint64_t block;			/* of its first block in the image's file */
	char *target;			/* of a symbolic link */
	struct image_xattr *xattr;
	void *entries;			/* of a folder: struct image_entry, by name (tsearch) */
	size_t n_entries;
	struct image_file *parent;	/* of a folder */
	unsigned depth;			/* of a folder; IMAGE_DEPTH_MAX at most */
	uint64_t at;			/* for the writer: of its inode */
	bool placed, written;
};

struct image_entry { char *name; struct image_file *file; };

struct image_tree {
	struct image_file *root;
	int fd;				/* of the image; borrowed */
	uint64_t next_block;
	unsigned n_files;
};

/* A tree with an empty root folder, whose contents go to @fd, from block 1 on. */
int image_tree_init(struct image_tree *t, int fd, struct err *e) must_check;
void image_tree_exit(struct image_tree *t);

/*
 * A new file of that kind at @path, in place of what is there; a folder that is
 * there stays, with all in it. Missing folders on the way are made (0755). NULL with a
 * sentence for a path that cannot be.
 */
struct image_file *image_tree_make(struct image_tree *t, const char *path, mode_t mode,
				   struct err *e);
/* Another name for the file that is called @to. */
int image_tree_link(struct image_tree *t, const char *path, const char *to,
		    struct err *e) must_check;
/* Nothing that is not there is an error. */
int image_tree_remove(struct image_tree *t, const char *path, struct err *e) must_check;
/* Everything in the folder @path goes; it stays. */
int image_tree_clear(struct image_tree *t, const char *path, struct err *e) must_check;
/* What @path leads to, links followed; NULL if nothing. */
struct image_file *image_tree_find(struct image_tree *t, const char *path);

/* Room for @size bytes of a new regular file, then its bytes, in any order. */
int image_tree_size(struct image_tree *t, struct image_file *f, uint64_t size,
		    struct err *e) must_check;
int image_tree_write(struct image_tree *t, struct image_file *f, uint64_t off, const void *p,
		     size_t len, struct err *e) must_check;
int image_tree_xattr(struct image_file *f, const char *name, const void *value, size_t len,
		     struct err *e) must_check;
int image_tree_target(struct image_file *f, const char *target, struct err *e) must_check;

/* The entries of a folder in order of their names' bytes; @n of them. NULL if out of memory. */
struct image_entry **image_tree_list(const struct image_file *dir);
#endif
