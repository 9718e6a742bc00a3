/* SPDX-License-Identifier: Apache-2.0 */
/*
 * entry.c - lookup and forget; making and removing names.
 *
 * #syscalls:fs mknodat(2&S_IFMT=S_IFREG) mknodat(2&S_IFMT=S_IFIFO)
 * #syscalls:fs mknodat(2&S_IFMT=S_IFSOCK) mkdirat(2&06000=0) symlinkat linkat
 */
#include <fcntl.h>
#include <limits.h>
#include "devices/fs/attr.h"
#include "devices/fs/entry.h"
#include "devices/fs/lock.h"

/* What a batch of FORGETs may hold is bounded by the request; so many are taken at most. */
#define FORGETS_MAX 65536u
#define LOOKS_MAX 16u

static void entry_fill(struct fs *fs, struct share *s, const struct inode *n,
		       const struct statx *st, int dirfd, const char *name,
		       struct fuse_entry_out *e)
{
	*e = (struct fuse_entry_out){ .nodeid = n->id, .entry_valid = attr_valid(s),
				      .attr_valid = attr_valid(s) };
	attr_fill(fs, s, n, st, -1, dirfd, name, &e->attr);
}

static int look(struct fs *fs, struct inode *parent, const char *name, bool locked,
		struct fuse_entry_out *e)
{
	struct lookup l;
	struct inode *n;
	int rc = tree_find(fs, parent, name, &l);

	if (rc) {
		if (rc == -ENOENT)
			tree_found_end(fs, &l);
		return rc;
	}
	l.f.must_hold = !locked && parent->share->mode == FS_COW;
	rc = inode_find(fs, parent->share, parent, name, &l.f, true, &n);
	if (!rc) {
		entry_fill(fs, parent->share, n, &l.f.st, l.dir[l.f.layer].fd, name, e);
		inode_put(fs, n);
	}
	tree_found_end(fs, &l);
	return rc;
}

/* Without the tree's lock, which a large copy may hold, unless there is no end of changes. */
int entry_find(struct fs *fs, struct inode *parent, const char *name, struct fuse_entry_out *e)
{
	int rc = -EAGAIN;

	for (unsigned i = 0; rc == -EAGAIN && i < LOOKS_MAX; i++)
		rc = look(fs, parent, name, false, e);
	if (rc != -EAGAIN)
		return rc;
	tree_lock(parent->share);
	rc = look(fs, parent, name, true, e);
	tree_unlock(parent->share);
	return rc;
}

int entry_share(struct fs *fs, const char *name, struct fuse_entry_out *e)
{
	struct share *s = NULL;
	struct place p;
	char *end;
	unsigned long id = strtoul(name, &end, 10);
	int rc;

	if (*end || *name < '0' || *name > '9' || (*name == '0' && name[1]) || id >= FS_SHARES)
		return -ENOENT;
	pthread_mutex_lock(&fs->lock);
	s = fs->share[id];
	if (s && s->gone)
		s = NULL;
	if (s) {
		s->users++;
		s->node->lookups++;
	}
	pthread_mutex_unlock(&fs->lock);
	if (!s)
		return -ENOENT;
	rc = place_get(fs, s->node, &p);
	if (!rc) {
		entry_fill(fs, s, s->node, &p.st, p.dir.fd, ".", e);
		place_put(fs, &p);
	} else {
		inode_forget(fs, s->node->id, 1);
	}
	share_leave(fs, s);
	return rc;
}

/* Without room for it the guest has no reference. */
static int put_entry(struct req *r, const struct fuse_entry_out *e)
{
	int rc = req_put(r, e, sizeof(*e));

	if (rc)
		inode_forget(r->fs, e->nodeid, 1);
	return rc;
}

int op_lookup(struct req *r)
{
	struct fuse_entry_out e;
	const char *name;
	int rc = cursor_name(&r->in, &name);

	if (!rc)
		rc = r->share ? entry_find(r->fs, r->node, name, &e) :
			entry_share(r->fs, name, &e);
	return rc ? rc : put_entry(r, &e);
}

int op_forget(struct req *r)
{
	struct fuse_forget_in in;

	if (!cursor_get(&r->in, &in, sizeof(in)))
		inode_forget(r->fs, r->h.nodeid, in.nlookup);
	return REQ_NO_REPLY;
}

int op_batch_forget(struct req *r)
{
	struct fuse_batch_forget_in in;
	struct fuse_forget_one one;

	if (cursor_get(&r->in, &in, sizeof(in)))
		return REQ_NO_REPLY;
	for (uint32_t i = 0; i < in.count && i < FORGETS_MAX; i++) {
		if (cursor_get(&r->in, &one, sizeof(one)))
			break;
		inode_forget(r->fs, one.nodeid, one.nlookup);
	}
	return REQ_NO_REPLY;
}

/* ---- making ------------------------------------------------------------------------------- */

/* The reply to whatever made a name. */
static int reply_entry(struct req *r, const char *name)
{
	struct fuse_entry_out e;
	int rc = entry_find(r->fs, r->node, name, &e);

	return rc ? rc : put_entry(r, &e);
}

int op_symlink(struct req *r)
{
	const char *name, *target;
	struct making m;
	int rc = cursor_name(&r->in, &name);

	if (rc)
		return rc;
	target = cursor_string(&r->in, PATH_MAX - 1);
	if (!target)
		return -EINVAL;
	rc = tree_make(r->fs, r->node, name, &m);
	if (rc)
		return rc;
	rc = symlinkat(target, m.at, m.at_name) ? -errno : tree_made(r->fs, &m, false);
	tree_make_end(r->fs, &m);
	return rc ? rc : reply_entry(r, name);
}

/* mkdir and mknod: the caller becomes the owner before the name can be seen, where that goes. */
static int make_node(struct req *r, const char *name, mode_t mode)
{
	bool dir = S_ISDIR(mode);
	struct making m;
	int rc = tree_make(r->fs, r->node, name, &m);

	if (rc)
		return rc;
	rc = dir ? mkdirat(m.at, m.at_name, mode & FS_MODE_BITS) :
		mknodat(m.at, m.at_name, mode & (S_IFMT | 0777), 0);
	rc = rc ? -errno : 0;
	if (!rc && (dir || S_ISREG(mode)))
		rc = attr_own(r, -1, m.at, m.at_name);
	if (!rc)
		rc = tree_made(r->fs, &m, dir);
	tree_make_end(r->fs, &m);
	return rc ? rc : reply_entry(r, name);
}

int op_mknod(struct req *r)
{
	struct fuse_mknod_in in;
	const char *name;
	int rc = cursor_get(&r->in, &in, sizeof(in));

	if (!rc)
		rc = cursor_name(&r->in, &name);
	if (rc)
		return rc;
	/* What a fifo or socket is for happens in the guest's kernel; devices are refused. */
	if (!S_ISREG(in.mode) && !S_ISFIFO(in.mode) && !S_ISSOCK(in.mode))
		return -EPERM;
	return make_node(r, name, in.mode);
}

int op_mkdir(struct req *r)
{
	struct fuse_mkdir_in in;
	const char *name;
	int rc = cursor_get(&r->in, &in, sizeof(in));

	if (!rc)
		rc = cursor_name(&r->in, &name);
	return rc ? rc : make_node(r, name, S_IFDIR | (in.mode & FS_MODE_BITS));
}

/* A file without a name (O_TMPFILE) has a descriptor to be linked by. */
static int link_to(struct req *r, struct inode *old, const struct making *m)
{
	struct place p;
	int rc = place_by_name(r->fs, old, &p);

	if (!rc) {
		rc = linkat(p.dir.fd, p.name, m->at, m->at_name, 0) ? -errno : 0;
	} else if (rc == -ESTALE && !place_get(r->fs, old, &p)) {
		/* In the upper layer, what has another name somewhere may be the host's. */
		if (p.fd < 0 || (r->share->mode == FS_COW && p.st.stx_nlink))
			rc = -EPERM;
		else if (linkat(p.fd, "", m->at, m->at_name, AT_EMPTY_PATH))
			rc = errno == ENOENT ? -ENOENT : -EPERM;
		else
			rc = 0;
	} else {
		return rc;
	}
	place_put(r->fs, &p);
	return rc;
}

int op_link(struct req *r)
{
	struct fuse_link_in in;
	struct making m;
	struct inode *old;
	const char *name;
	int rc = cursor_get(&r->in, &in, sizeof(in));

	if (!rc)
		rc = cursor_name(&r->in, &name);
	if (rc)
		return rc;
	old = inode_get(r->fs, in.oldnodeid);
	if (!old)
		return -ESTALE;
	if (old->share != r->share || old->type == S_IFDIR)
		rc = old->type == S_IFDIR ? -EPERM : -EXDEV;
	if (!rc)
		rc = tree_raise(r->fs, old, true);
	if (!rc)
		rc = tree_make(r->fs, r->node, name, &m);
	if (!rc) {
		rc = link_to(r, old, &m);
		if (!rc)
			rc = tree_made(r->fs, &m, false);
		tree_make_end(r->fs, &m);
	}
	inode_put(r->fs, old);
	return rc ? rc : reply_entry(r, name);
}

/* ---- removing, moving --------------------------------------------------------------------- */

static int remove_name(struct req *r, bool directory)
{
	const char *name;
	int rc = cursor_name(&r->in, &name);

	return rc ? rc : tree_remove(r->fs, r->node, name, directory);
}

int op_unlink(struct req *r)
{
	return remove_name(r, false);
}

int op_rmdir(struct req *r)
{
	return remove_name(r, true);
}

static int move_name(struct req *r, uint64_t newdir, unsigned flags)
{
	const char *name, *new_name;
	struct inode *to;
	int rc = cursor_name(&r->in, &name);

	if (!rc)
		rc = cursor_name(&r->in, &new_name);
	if (rc)
		return rc;
	to = inode_get(r->fs, newdir);
	if (!to)
		return -ESTALE;
	rc = tree_rename(r->fs, r->node, name, to, new_name, flags);
	inode_put(r->fs, to);
	return rc;
}

int op_rename(struct req *r)
{
	struct fuse_rename_in in;
	int rc = cursor_get(&r->in, &in, sizeof(in));

	return rc ? rc : move_name(r, in.newdir, 0);
}

int op_rename2(struct req *r)
{
	struct fuse_rename2_in in;
	int rc = cursor_get(&r->in, &in, sizeof(in));

	return rc ? rc : move_name(r, in.newdir, in.flags);
}
