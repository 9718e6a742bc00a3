/* SPDX-License-Identifier: Apache-2.0 */
/*
 * open.c - opening and making files, and letting go of them.
 *
 * The guest's flags are not the host's: only those in FLAGS_KEPT go there. O_APPEND is the
 * guest's kernel's affair and comes with each write; O_DIRECT's alignment would be wrong
 * here; O_CREAT and the like come as requests of their own.
 *
 * #syscalls:fs fchmod(1&06000=0) ftruncate fcntl(F_DUPFD_CLOEXEC)
 */
#include <fcntl.h>
#include "devices/fs/attr.h"
#include "devices/fs/entry.h"
#include "devices/fs/io.h"
#include "devices/fs/lock.h"

#define FLAGS_KEPT (O_ACCMODE | O_TRUNC | O_DSYNC | O_SYNC)

static bool same_time(const struct statx_timestamp *a, const struct statx_timestamp *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

/* May the guest keep what it has cached of this file? If nothing happened since it was opened. */
static uint32_t open_flags(struct req *r, struct inode *n, int fd)
{
	struct statx st;
	uint32_t flags = 0;

	if (r->share->cache == FS_CACHE_ALWAYS)
		return FOPEN_KEEP_CACHE;
	if (r->share->cache == FS_CACHE_NONE || place_stat_fd(fd, &st))
		return 0;
	pthread_mutex_lock(&r->fs->lock);
	if (same_time(&st.stx_mtime, &n->seen.mtime) && same_time(&st.stx_ctime, &n->seen.ctime) &&
	    st.stx_size == n->seen.size)
		flags = FOPEN_KEEP_CACHE;
	n->seen.mtime = st.stx_mtime;
	n->seen.ctime = st.stx_ctime;
	n->seen.size = st.stx_size;
	pthread_mutex_unlock(&r->fs->lock);
	return flags;
}

/* A file of the host's may have these bits; whoever may write it must not keep them. */
static int drop_set_id(int fd)
{
	struct statx st;
	int rc = place_stat_fd(fd, &st);

	if (rc || !(st.stx_mode & (S_ISUID | S_ISGID)))
		return rc;
	return fchmod(fd, st.stx_mode & FS_MODE_BITS) ? -errno : 0;
}

/* A descriptor for @flags, of the layer that it has to be of. */
static int open_node(struct req *r, struct inode *n, int flags)
{
	bool writes = (flags & O_ACCMODE) != O_RDONLY || flags & O_TRUNC;
	struct place p;
	struct handle *h;
	int fd, rc;

	if (n->type != S_IFREG)
		return n->type == S_IFDIR ? -EISDIR : -ENXIO;
	if (writes && r->share->mode == FS_RO)
		return -EROFS;
	rc = writes ? tree_raise(r->fs, n, !(flags & O_TRUNC)) : 0;
	if (rc)
		return rc;
	rc = place_by_name(r->fs, n, &p);
	if (rc == -ESTALE) {	/* without a name by now, but open: once more what is open */
		h = handle_any(r->fs, n, flags & O_ACCMODE);
		if (!h)
			return rc;
		fd = fcntl(h->fd, F_DUPFD_CLOEXEC, 0);
		rc = fd < 0 ? -errno : 0;
		handle_put(r->fs, h);
		if (!rc && flags & O_TRUNC && ftruncate(fd, 0)) {
			rc = -errno;
			close(fd);
		}
		return rc ? rc : fd;
	}
	if (rc)
		return rc;
	fd = -EPERM;
	/* What the guest reads leaves no mark on what it may not change. */
	if (!writes && r->share->mode != FS_RW)
		fd = place_open(n, &p, (flags & FLAGS_KEPT) | O_NOATIME);
	if (fd == -EPERM)
		fd = place_open(n, &p, flags & FLAGS_KEPT);
	place_put(r->fs, &p);
	if (fd >= 0 && writes) {
		rc = drop_set_id(fd);
		if (rc) {
			close(fd);
			return rc;
		}
	}
	return fd;
}

/* Which layer's file was opened? By identity: it may have been copied up since. */
static enum fs_layer layer_of(struct fs *fs, const struct inode *n, int fd)
{
	enum fs_layer layer = FS_UPPER;
	struct statx st;
	struct ident id;

	if (n->share->mode != FS_COW)
		return FS_UPPER;
	if (place_stat_fd(fd, &st))
		return FS_LOWER;
	id = ident_of(&st);
	pthread_mutex_lock(&fs->lock);
	if (!n->key[FS_UPPER].node || !ident_same(&n->key[FS_UPPER].id, &id))
		layer = FS_LOWER;
	pthread_mutex_unlock(&fs->lock);
	return layer;
}

/* The copy may have been made before the handle was there to be raised with it. */
static void raise_late(struct fs *fs, struct inode *n)
{
	struct place p;
	bool raised;

	pthread_mutex_lock(&fs->lock);
	raised = n->layers & 1u << FS_UPPER;
	pthread_mutex_unlock(&fs->lock);
	if (!raised || place_by_name(fs, n, &p))
		return;
	handle_raise(fs, n, p.dir.fd, p.name);
	place_put(fs, &p);
}

int op_open(struct req *r)
{
	struct fuse_open_in in;
	struct fuse_open_out out = { 0 };
	enum fs_layer layer;
	int rc = cursor_get(&r->in, &in, sizeof(in)), fd;

	if (rc)
		return rc;
	fd = open_node(r, r->node, (int)in.flags);
	if (fd < 0)
		return fd;
	out.open_flags = open_flags(r, r->node, fd);
	layer = layer_of(r->fs, r->node, fd);
	rc = handle_new(r->fs, r->node, fd, (int)in.flags, layer, &out.fh);
	if (rc)
		return rc;
	if (layer == FS_LOWER)
		raise_late(r->fs, r->node);
	return req_put(r, &out, sizeof(out));
}

/* Is @fd the file @n? In which layer: an existing one may be the lower one's. */
static bool opened(struct fs *fs, const struct inode *n, int fd, enum fs_layer *layer)
{
	struct statx st;
	struct ident id;
	bool upper, lower;

	if (n->type != S_IFREG || place_stat_fd(fd, &st) || !S_ISREG(st.stx_mode))
		return false;
	id = ident_of(&st);
	pthread_mutex_lock(&fs->lock);
	upper = n->key[FS_UPPER].node && ident_same(&n->key[FS_UPPER].id, &id);
	lower = n->key[FS_LOWER].node && ident_same(&n->key[FS_LOWER].id, &id);
	pthread_mutex_unlock(&fs->lock);
	*layer = upper || n->share->mode != FS_COW ? FS_UPPER : FS_LOWER;
	return upper || lower;
}

/* Reply of create and tmpfile: an entry and an open file, or neither. Takes @fd. */
static int reply_created(struct req *r, struct fuse_entry_out *e, int fd, uint32_t flags)
{
	struct fuse_open_out out = { 0 };
	struct inode *n = inode_get(r->fs, e->nodeid);
	enum fs_layer layer = FS_UPPER;
	struct handle *h;
	int rc = -ESTALE;

	/* Its name may be another one's by now: then that is not what is open. */
	if (!n || !opened(r->fs, n, fd, &layer)) {
		close(fd);
		inode_put(r->fs, n);
		inode_forget(r->fs, e->nodeid, 1);
		return rc;
	}
	out.open_flags = open_flags(r, n, fd);
	rc = handle_new(r->fs, n, fd, (int)flags, layer, &out.fh);
	if (!rc && layer == FS_LOWER)
		raise_late(r->fs, n);
	if (!rc) {
		rc = req_put(r, e, sizeof(*e));
		if (!rc)
			rc = req_put(r, &out, sizeof(out));
		h = rc ? handle_get(r->fs, out.fh, n, false) : NULL;
		if (h) {
			handle_release(r->fs, h);
		}
	}
	inode_put(r->fs, n);
	if (rc)
		inode_forget(r->fs, e->nodeid, 1);
	return rc;
}

/* Somebody on the host was faster, and the guest does not insist on a new file. */
static int open_existing(struct req *r, const char *name, const struct fuse_create_in *in)
{
	struct fuse_entry_out e;
	struct inode *n;
	int rc = entry_find(r->fs, r->node, name, &e), fd;

	if (rc)
		return rc;
	n = inode_get(r->fs, e.nodeid);
	fd = n ? open_node(r, n, (int)in->flags) : -ESTALE;
	inode_put(r->fs, n);
	if (fd >= 0)
		return reply_created(r, &e, fd, in->flags);
	inode_forget(r->fs, e.nodeid, 1);
	return fd;
}

int op_create(struct req *r)
{
	struct fuse_create_in in;
	struct fuse_entry_out e;
	struct making m;
	const char *name;
	auto_fd fd = -1;
	int rc = cursor_get(&r->in, &in, sizeof(in));

	if (!rc)
		rc = cursor_name(&r->in, &name);
	if (rc)
		return rc;
	rc = tree_make(r->fs, r->node, name, &m);
	if (rc == -EEXIST && !((int)in.flags & O_EXCL))
		return open_existing(r, name, &in);
	if (rc)
		return rc;
	fd = place_open_name(m.at, m.at_name, ((int)in.flags & FLAGS_KEPT) | O_CREAT | O_EXCL |
			     O_NONBLOCK | O_NOCTTY, in.mode & 0777);
	rc = fd < 0 ? fd : attr_own(r, fd, -1, NULL);
	if (!rc)
		rc = tree_made(r->fs, &m, false);
	tree_make_end(r->fs, &m);
	if (rc == -EEXIST && !((int)in.flags & O_EXCL))
		return open_existing(r, name, &in);
	if (!rc)
		rc = entry_find(r->fs, r->node, name, &e);
	return rc ? rc : reply_created(r, &e, take_fd(&fd), in.flags);
}

/* An inode for an open file that has no name; held and looked up once. */
static int nameless(struct req *r, int fd, struct fuse_entry_out *e)
{
	struct found f = { .layers = 1u << FS_UPPER, .layer = FS_UPPER };
	struct inode *n;
	int rc = place_stat_fd(fd, &f.st);

	if (rc)
		return rc;
	f.id[FS_UPPER] = f.shown = ident_of(&f.st);
	rc = inode_find(r->fs, r->share, NULL, NULL, &f, true, &n);
	if (rc)
		return rc;
	*e = (struct fuse_entry_out){ .nodeid = n->id, .attr_valid = attr_valid(r->share) };
	attr_fill(r->fs, r->share, n, &f.st, fd, -1, NULL, &e->attr);
	inode_put(r->fs, n);
	return 0;
}

int op_tmpfile(struct req *r)
{
	struct fuse_create_in in;
	struct fuse_entry_out e;
	struct dir_ref d;
	auto_fd fd = -1;
	int rc = cursor_get(&r->in, &in, sizeof(in));

	if (rc)
		return rc;
	if (((int)in.flags & O_ACCMODE) == O_RDONLY)
		return -EINVAL;
	rc = tree_raise(r->fs, r->node, true);
	if (!rc)
		rc = dir_get(r->fs, r->node, FS_UPPER, &d);
	if (rc)
		return rc;
	fd = place_open_name(d.fd, ".", ((int)in.flags & (O_ACCMODE | O_EXCL)) | O_TMPFILE,
			     in.mode & 0777);
	dir_put(r->fs, &d);
	if (fd < 0)
		return fd;
	rc = attr_own(r, fd, -1, NULL);
	if (!rc)
		rc = nameless(r, fd, &e);
	return rc ? rc : reply_created(r, &e, take_fd(&fd), in.flags);
}

int op_flush(struct req *r)
{
	struct fuse_flush_in in;
	int rc = cursor_get(&r->in, &in, sizeof(in));

	if (!rc)
		locks_flush(r->fs, r->node, in.lock_owner);
	return rc;
}

int op_release(struct req *r)
{
	struct fuse_release_in in;
	struct handle *h;
	int rc = cursor_get(&r->in, &in, sizeof(in));

	if (rc)
		return rc;
	h = handle_last(r->fs, in.fh, r->node, false);
	if (!h)
		return -EBADF;
	handle_release(r->fs, h);
	locks_release(r->fs, r->node, in.fh);
	if (in.release_flags & FUSE_RELEASE_FLOCK_UNLOCK)
		locks_wake(r->fs);
	return 0;
}
