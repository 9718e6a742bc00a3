/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tree.c - names in a share: what every mode has in common.
 *
 * #syscalls:fs unlinkat renameat renameat2
 */
#include <fcntl.h>
#include "devices/fs/attr.h"
#include "devices/fs/tree.h"

void tree_lock(struct share *s)
{
	if (s->mode == FS_COW)
		pthread_mutex_lock(&s->tree);
}

void tree_unlock(struct share *s)
{
	if (s->mode == FS_COW)
		pthread_mutex_unlock(&s->tree);
}

/* ---- finding ------------------------------------------------------------------------------ */

static void found_in(struct found *f, enum fs_layer layer, const struct statx *st)
{
	f->layers |= (uint8_t)(1u << layer);
	f->id[layer] = ident_of(st);
	if (f->layer == FS_LAYERS) {
		f->layer = layer;
		f->st = *st;
		f->shown = f->id[layer];
	}
}

/* A copy has the number of what it was copied from, also after the server began anew. */
static void shown_as_origin(struct lookup *l, const char *name, const struct ident *lower)
{
	char text[96];
	ssize_t n = xa_get(-1, l->dir[FS_UPPER].fd, name, UPPER_ORIGIN, text, sizeof(text) - 1);

	if (n <= 0)
		return;
	text[n] = 0;
	l->f.shown = (struct ident){ lower->dev, strtoull(text, NULL, 10), 0 };
}

static int find_lower(struct fs *fs, struct inode *parent, const char *name, struct lookup *l)
{
	struct found *f = &l->f;
	struct statx st;
	bool upper = f->layers;
	int rc = dir_get(fs, parent, FS_LOWER, &l->dir[FS_LOWER]);

	if (rc)
		return rc;
	rc = place_stat(l->dir[FS_LOWER].fd, name, &st);
	if (rc)
		return rc == -ENOENT ? 0 : rc;
	f->below = true;
	if (f->hidden)
		return 0;
	if (!upper) {
		found_in(f, FS_LOWER, &st);
	} else if (S_ISDIR(f->st.stx_mode) && S_ISDIR(st.stx_mode) &&
		   !cow_opaque(l->dir[FS_UPPER].fd, name)) {
		found_in(f, FS_LOWER, &st);
		f->shown = f->id[FS_LOWER];
	} else if (S_ISREG(f->st.stx_mode)) {
		struct ident id = ident_of(&st);

		shown_as_origin(l, name, &id);
	}
	return 0;
}

static int find_upper(struct fs *fs, struct inode *parent, const char *name, struct lookup *l)
{
	struct statx st;
	int rc = dir_get(fs, parent, FS_UPPER, &l->dir[FS_UPPER]);

	if (rc)
		return rc;
	rc = place_stat(l->dir[FS_UPPER].fd, name, &st);
	if (rc)
		return rc == -ENOENT ? 0 : rc;
	if (parent->share->mode == FS_COW &&
	    upper_whiteout(st.stx_mode, makedev(st.stx_rdev_major, st.stx_rdev_minor)))
		l->f.hidden = true;
	else
		found_in(&l->f, FS_UPPER, &st);
	return 0;
}

int tree_find(struct fs *fs, struct inode *parent, const char *name, struct lookup *l)
{
	uint8_t layers;
	int rc = 0;

	*l = (struct lookup){ .f = { .layer = FS_LAYERS } };
	if (parent->type != S_IFDIR)
		return -ENOTDIR;
	pthread_mutex_lock(&fs->lock);
	layers = parent->layers;
	l->f.changes = parent->share->changes;
	pthread_mutex_unlock(&fs->lock);
	if (layers & 1u << FS_UPPER)
		rc = find_upper(fs, parent, name, l);
	if (!rc && layers & 1u << FS_LOWER)
		rc = find_lower(fs, parent, name, l);
	if (rc) {
		tree_found_end(fs, l);
		return rc == -ENOENT ? -ESTALE : rc;
	}
	return l->f.layers ? 0 : -ENOENT;
}

void tree_found_end(struct fs *fs, struct lookup *l)
{
	dir_put(fs, &l->dir[FS_UPPER]);
	dir_put(fs, &l->dir[FS_LOWER]);
}

int tree_raise_locked(struct fs *fs, struct inode *n, bool data)
{
	bool raised;

	if (n->share->mode != FS_COW)
		return 0;
	pthread_mutex_lock(&fs->lock);
	raised = n->layers & 1u << FS_UPPER;
	pthread_mutex_unlock(&fs->lock);
	if (raised)
		return 0;
	return n->type == S_IFDIR ? cow_raise_dir(fs, n) : cow_copy(fs, n, data);
}

int tree_raise(struct fs *fs, struct inode *n, bool data)
{
	int rc;

	if (n->share->mode != FS_COW)
		return 0;
	tree_lock(n->share);
	rc = tree_raise_locked(fs, n, data);
	tree_unlock(n->share);
	return rc;
}

/* ---- making ------------------------------------------------------------------------------- */

void cow_temp(struct share *s, char name[16])
{
	snprintf(name, 16, "t%x", atomic_fetch_add(&s->wip_name, 1));
}

static int make_over(struct fs *fs, struct inode *parent, const char *name, struct making *m)
{
	struct lookup l;
	int rc = tree_find(fs, parent, name, &l);

	if (rc && rc != -ENOENT)
		return rc;
	tree_found_end(fs, &l);
	if (!rc)
		return -EEXIST;
	rc = tree_raise_locked(fs, parent, true);
	if (rc)
		return rc;
	m->over = l.f.hidden;
	if (m->over) {
		cow_temp(m->s, m->temp);
		m->at = m->s->wip;
		m->at_name = m->temp;
	}
	return 0;
}

int tree_make(struct fs *fs, struct inode *parent, const char *name, struct making *m)
{
	int rc = 0;

	*m = (struct making){ .s = parent->share, .name = name, .at_name = name, .at = -1 };
	if (parent->type != S_IFDIR)
		return -ENOTDIR;
	tree_lock(m->s);
	if (m->s->mode == FS_COW)
		rc = make_over(fs, parent, name, m);
	if (!rc)
		rc = dir_get(fs, parent, FS_UPPER, &m->dir);
	if (rc) {
		tree_unlock(m->s);
		return rc;
	}
	if (m->at < 0)
		m->at = m->dir.fd;
	return 0;
}

int tree_made(struct fs *fs, struct making *m, bool directory)
{
	int rc;

	(void)fs;
	m->made = true;
	if (directory && m->s->mode == FS_COW) {
		rc = cow_set_opaque(-1, m->at, m->at_name);
		if (rc)
			return rc;
	}
	if (!m->over)
		return 0;
	/* The whiteout gives way to it in one step. */
	if (renameat2(m->at, m->at_name, m->dir.fd, m->name, directory ? RENAME_EXCHANGE : 0))
		return -errno;
	m->made = false;
	if (directory)
		(void)!unlinkat(m->at, m->at_name, 0);
	return 0;
}

void tree_make_end(struct fs *fs, struct making *m)
{
	if (m->over && m->made) {
		if (unlinkat(m->at, m->at_name, 0) && errno == EISDIR)
			(void)!unlinkat(m->at, m->at_name, AT_REMOVEDIR);
	}
	dir_put(fs, &m->dir);
	tree_unlock(m->s);
}

/* ---- removing and moving ------------------------------------------------------------------ */

int tree_remove(struct fs *fs, struct inode *parent, const char *name, bool directory)
{
	struct share *s = parent->share;
	struct lookup l;
	int rc;

	if (parent->type != S_IFDIR)
		return -ENOTDIR;
	tree_lock(s);
	if (s->mode == FS_COW)
		rc = tree_raise_locked(fs, parent, true);
	else
		rc = 0;
	if (!rc)
		rc = tree_find(fs, parent, name, &l);
	if (rc && rc != -ENOENT)
		goto out;
	if (!rc && s->mode == FS_COW)
		rc = cow_remove(fs, s, &l, name, directory);
	else if (!rc && unlinkat(l.dir[FS_UPPER].fd, name, directory ? AT_REMOVEDIR : 0))
		rc = -errno;
	if (!rc)
		inode_unlinked(fs, parent, name, &l.f.id[l.f.layer], l.f.layer);
	tree_found_end(fs, &l);
out:
	tree_unlock(s);
	return rc;
}

/* After a rename: what each name leads to. What had the new name before has lost it. */
static void renamed(struct fs *fs, struct inode *parent, const char *name, struct inode *to,
		    const char *new_name, const struct found *was, const struct found *replaced,
		    bool exchange)
{
	struct inode *n = NULL;

	if (replaced && !exchange)
		inode_unlinked(fs, to, new_name, &replaced->id[replaced->layer], replaced->layer);
	if (!inode_find(fs, to->share, to, new_name, was, false, &n))
		inode_put(fs, n);
	if (replaced && exchange && !inode_find(fs, to->share, parent, name, replaced, false, &n))
		inode_put(fs, n);
}

static int plain_rename(struct fs *fs, struct inode *from, const char *name, struct inode *to,
			const char *new_name, unsigned flags)
{
	struct lookup a, b;
	int rc, have;

	rc = tree_find(fs, from, name, &a);
	if (rc) {
		if (rc == -ENOENT)
			tree_found_end(fs, &a);
		return rc;
	}
	have = tree_find(fs, to, new_name, &b);
	if (have && have != -ENOENT) {
		tree_found_end(fs, &a);
		return have;
	}
	/* Both names of one file: nothing happens, says rename(2). */
	if (!have && !flags && ident_same(&a.f.id[FS_UPPER], &b.f.id[FS_UPPER]))
		goto out;
	if (renameat2(a.dir[FS_UPPER].fd, name, b.dir[FS_UPPER].fd, new_name, flags))
		rc = -errno;
	else
		renamed(fs, from, name, to, new_name, &a.f, have ? NULL : &b.f,
			flags & RENAME_EXCHANGE);
out:
	tree_found_end(fs, &a);
	tree_found_end(fs, &b);
	return rc;
}

int tree_rename(struct fs *fs, struct inode *from, const char *name, struct inode *to,
		const char *new_name, unsigned flags)
{
	int rc;

	if (from->share != to->share)
		return -EXDEV;
	if (from->type != S_IFDIR || to->type != S_IFDIR)
		return -ENOTDIR;
	if (flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE))
		return -EINVAL;
	if (from->share->mode != FS_COW)
		return plain_rename(fs, from, name, to, new_name, flags);
	tree_lock(from->share);
	rc = cow_rename(fs, from, name, to, new_name, flags);
	tree_unlock(from->share);
	return rc;
}
