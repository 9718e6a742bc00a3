/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cow_rename.c - rename in a copy-on-write share.
 *
 * A directory that is in the lower layer, alone or merged, is copied up as a whole first
 * (cow_whole.c). What is moved leaves a whiteout where the lower layer has the old name, and
 * takes the place of one where it has the new name.
 *
 * #syscalls:fs renameat2 unlinkat
 */
#include <fcntl.h>
#include "devices/fs/tree.h"

struct move {
	struct inode *from, *to;
	const char *name, *new_name;
	struct lookup a, b;		/* what is moved; what is in its way */
	bool replaces;			/* b is there */
};

static bool fixed_dir(const struct found *f)
{
	return S_ISDIR(f->st.stx_mode) && f->layers & 1u << FS_LOWER;
}

/* Something that was found is to be in the upper layer alone. */
static int raise_found(struct fs *fs, struct inode *parent, const char *name, const struct found *f)
{
	struct inode *n = NULL;
	int rc;

	if (!fixed_dir(f) && f->layer != FS_LOWER)
		return 0;
	/* By its inode, so that what is open stays what it is. */
	rc = inode_find(fs, parent->share, parent, name, f, false, &n);
	if (!rc)
		rc = fixed_dir(f) ? cow_whole(fs, n, f) : tree_raise_locked(fs, n, true);
	inode_put(fs, n);
	return rc;
}

/* Look for both, with what is moved in the upper layer. */
static int move_find(struct fs *fs, struct move *m, unsigned flags)
{
	int rc = tree_find(fs, m->from, m->name, &m->a);

	if (rc == -ENOENT)
		tree_found_end(fs, &m->a);
	if (rc)
		return rc;
	rc = raise_found(fs, m->from, m->name, &m->a.f);
	tree_found_end(fs, &m->a);
	if (!rc)
		rc = tree_raise_locked(fs, m->from, true);
	if (!rc)
		rc = tree_raise_locked(fs, m->to, true);
	if (rc)
		return rc;
	rc = tree_find(fs, m->from, m->name, &m->a);
	if (rc == -ENOENT)
		tree_found_end(fs, &m->a);
	if (rc)
		return rc;
	rc = tree_find(fs, m->to, m->new_name, &m->b);
	m->replaces = !rc;
	if (rc == -ENOENT)
		rc = flags & RENAME_EXCHANGE ? -ENOENT : 0;
	else if (rc) {
		tree_found_end(fs, &m->a);
		return rc;
	}
	if (rc) {
		tree_found_end(fs, &m->a);
		tree_found_end(fs, &m->b);
	}
	return rc;
}

/* May it be replaced? What rename(2) says about kinds, and empty directories. */
static int may_replace(const struct move *m)
{
	bool dir = S_ISDIR(m->a.f.st.stx_mode), other = S_ISDIR(m->b.f.st.stx_mode);

	if (dir && !other)
		return -ENOTDIR;
	if (!dir && other)
		return -EISDIR;
	return other ? cow_empty(&m->b, m->new_name) : 0;
}

/* Leave a whiteout at the old name, if the lower layer has something there. */
static int move_away(const struct move *m, struct share *s, int at, const char *name)
{
	int up = m->a.dir[FS_UPPER].fd;
	char temp[16];

	if (!renameat2(up, m->name, at, name, m->a.f.below ? RENAME_WHITEOUT : 0))
		return 0;
	if (!m->a.f.below || errno != EINVAL)
		return -errno;
	/* This file system cannot do both at once. */
	cow_temp(s, temp);
	if (mknodat(s->wip, temp, S_IFCHR, 0))
		return -errno;
	if (renameat2(s->wip, temp, up, m->name, RENAME_EXCHANGE)) {
		int rc = -errno;

		(void)!unlinkat(s->wip, temp, 0);
		return rc;
	}
	if (!renameat2(s->wip, temp, at, name, 0))
		return 0;
	return -errno;
}

/*
 * Into a place that has something in the upper layer: a whiteout, or an empty directory
 * that may hold whiteouts. It goes to wip, so that nothing is in the way.
 */
static int clear_place(const struct move *m, struct share *s)
{
	int up = m->b.dir[FS_UPPER].fd;
	bool dir = m->replaces && S_ISDIR(m->b.f.st.stx_mode);
	char temp[16];

	cow_temp(s, temp);
	if (renameat2(up, m->new_name, s->wip, temp, 0))
		return errno == ENOENT ? 0 : -errno;
	if (dir)
		return cow_drop_dir(s->wip, temp);
	return unlinkat(s->wip, temp, 0) ? -errno : 0;
}

/*
 * @l is about to come to the place of @there: a directory must not show what the lower layer
 * has by that name. (Without the right to say so of it there has to be nothing.)
 */
static int hide_below(const struct lookup *l, const char *name, const struct found *there)
{
	int rc = 0;

	if (S_ISDIR(l->f.st.stx_mode) && !cow_opaque(l->dir[FS_UPPER].fd, name))
		rc = cow_set_opaque(-1, l->dir[FS_UPPER].fd, name);
	return there->below ? rc : 0;
}

static int exchange(struct fs *fs, struct move *m)
{
	int rc = raise_found(fs, m->to, m->new_name, &m->b.f);

	if (rc)
		return rc;
	tree_found_end(fs, &m->b);
	rc = tree_find(fs, m->to, m->new_name, &m->b);
	if (rc)
		return rc == -ENOENT ? -ESTALE : rc;
	rc = hide_below(&m->a, m->name, &m->b.f);
	if (!rc)
		rc = hide_below(&m->b, m->new_name, &m->a.f);
	if (rc)
		return rc;
	return renameat2(m->a.dir[FS_UPPER].fd, m->name, m->b.dir[FS_UPPER].fd, m->new_name,
			 RENAME_EXCHANGE) ? -errno : 0;
}

static int move_over(struct move *m, struct share *s)
{
	bool dir = S_ISDIR(m->a.f.st.stx_mode);
	int rc = 0;

	if (m->replaces) {
		rc = may_replace(m);
		if (rc)
			return rc;
	}
	/* A directory cannot take the place of a whiteout by itself, nor of one that holds some. */
	if (dir)
		rc = hide_below(&m->a, m->name, &m->b.f);
	if (!rc && dir)
		rc = clear_place(m, s);
	return rc ? rc : move_away(m, s, m->b.dir[FS_UPPER].fd, m->new_name);
}

int cow_rename(struct fs *fs, struct inode *from, const char *name, struct inode *to,
	       const char *new_name, unsigned flags)
{
	struct move m = { .from = from, .to = to, .name = name, .new_name = new_name };
	struct inode *n = NULL;
	int rc = move_find(fs, &m, flags);

	if (rc)
		return rc;
	if (m.replaces && flags & RENAME_NOREPLACE) {
		rc = -EEXIST;
	} else if (m.replaces && ident_same(&m.a.f.id[FS_UPPER], &m.b.f.id[FS_UPPER]) &&
		   m.b.f.layers & 1u << FS_UPPER) {
		goto out;	/* two names of one file */
	} else if (flags & RENAME_EXCHANGE) {
		rc = exchange(fs, &m);
		if (!rc && !inode_find(fs, from->share, from, name, &m.b.f, false, &n))
			inode_put(fs, n);
	} else {
		rc = move_over(&m, from->share);
		if (!rc && m.replaces)
			inode_unlinked(fs, to, new_name, &m.b.f.id[m.b.f.layer], m.b.f.layer);
	}
	if (!rc && !inode_find(fs, to->share, to, new_name, &m.a.f, false, &n))
		inode_put(fs, n);
out:
	tree_found_end(fs, &m.a);
	tree_found_end(fs, &m.b);
	return rc;
}
