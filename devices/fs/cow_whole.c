/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cow_whole.c - directories of the lower layer as a whole, so that they can be moved.
 *
 * Paths are the same in both layers, so what moves has to be in the upper one alone: all that
 * a directory shows is copied up, and it becomes opaque. To the guest nothing happened
 * by then; a copy that ends half-way (no space) has changed nothing either.
 *
 * A request that copies holds everything else that would change the share. So what is large
 * is refused with EXDEV before anything is copied, upon which programs copy by themselves.
 *
 * #syscalls:fs openat2 getdents64 statx
 */
#include <dirent.h>
#include <fcntl.h>
#include "devices/fs/tree.h"

#define WHOLE_ENTRIES	16384u
#define WHOLE_BYTES	(512ull << 20)
#define WHOLE_DEPTH	64u

struct budget { unsigned entries, depth; uint64_t bytes; };

struct names { char **v; size_t n, room; };

static void names_free(struct names *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->v[i]);
	free(s->v);
}

static int add_name(int fd, const char *name, void *arg)
{
	struct names *s = arg;

	(void)fd;
	if (s->n == WHOLE_ENTRIES)
		return -EXDEV;
	if (s->n == s->room) {
		size_t room = s->room ? 2 * s->room : 32;
		char **v = reallocarray(s->v, room, sizeof(*v));

		if (!v)
			return -ENOMEM;
		s->v = v;
		s->room = room;
	}
	s->v[s->n] = strdup(name);
	return s->v[s->n] ? (s->n++, 0) : -ENOMEM;
}

/* What the lower layer has in @dir. */
static int lower_names(struct fs *fs, struct inode *dir, struct names *s)
{
	struct dir_ref d;
	int rc = dir_get(fs, dir, FS_LOWER, &d);

	if (rc)
		return rc;
	rc = cow_entries(d.fd, ".", add_name, s);
	dir_put(fs, &d);
	return rc;
}

/* Each entry of @dir that is in the lower layer: @each gets it, held. */
static int each_lower(struct fs *fs, struct inode *dir, struct budget *b,
		      int (*each)(struct fs *fs, struct inode *n, const struct found *f,
				  struct budget *b))
{
	struct names s = { 0 };
	int rc = lower_names(fs, dir, &s);

	for (size_t i = 0; !rc && i < s.n; i++) {
		struct inode *n = NULL;
		struct lookup l;

		rc = tree_find(fs, dir, s.v[i], &l);
		if (rc && rc != -ENOENT)
			break;
		if (!rc && l.f.layers & 1u << FS_LOWER)
			rc = inode_find(fs, dir->share, dir, s.v[i], &l.f, false, &n);
		tree_found_end(fs, &l);
		if (n)
			rc = each(fs, n, &l.f, b);
		inode_put(fs, n);
		if (rc == -ENOENT)
			rc = 0;
	}
	names_free(&s);
	return rc;
}

static int measure(struct fs *fs, struct inode *n, const struct found *f, struct budget *b)
{
	int rc;

	if (!b->entries-- || !b->depth)
		return -EXDEV;
	if (n->type != S_IFDIR) {
		if (f->st.stx_blocks * 512 > b->bytes)
			return -EXDEV;
		b->bytes -= f->st.stx_blocks * 512;
		return 0;
	}
	b->depth--;
	rc = each_lower(fs, n, b, measure);
	b->depth++;
	return rc;
}

static int raise_all(struct fs *fs, struct inode *n, const struct found *f, struct budget *b)
{
	struct dir_ref up;
	int rc = tree_raise_locked(fs, n, true);

	(void)f;
	if (rc || n->type != S_IFDIR)
		return rc;
	rc = each_lower(fs, n, b, raise_all);
	if (!rc)
		rc = dir_get(fs, n, FS_UPPER, &up);
	if (rc)
		return rc;
	rc = cow_set_opaque(-1, up.fd, ".");
	if (!rc)
		inode_alone(fs, n);
	dir_put(fs, &up);
	return rc;
}

int cow_whole(struct fs *fs, struct inode *dir, const struct found *f)
{
	struct budget b = { WHOLE_ENTRIES, WHOLE_DEPTH, WHOLE_BYTES };
	int rc = measure(fs, dir, f, &b);

	if (!rc)
		rc = raise_all(fs, dir, f, &b);
	/* What the guest may move, its host's user may not always copy. */
	return rc == -EACCES || rc == -EPERM ? -EXDEV : rc;
}
