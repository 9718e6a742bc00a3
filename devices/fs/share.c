/* SPDX-License-Identifier: Apache-2.0 */
/*
 * share.c - the shared folders, and the server around them.
 *
 * A share that is removed answers ESTALE at once; its descriptors are closed when the
 * requests that are at work in it have ended. What the guest still references of it stays
 * in the table, without anything behind it, until the guest forgets it.
 *
 * #syscalls:fs mkdirat(2&06000=0) openat2 fsetxattr fremovexattr close
 */
#include <fcntl.h>
#include <sys/xattr.h>
#include "devices/fs/lock.h"
#include "devices/fs/place.h"
#include "devices/fs/server.h"
#include "devices/fs/tree.h"

int fs_open(struct fs *fs, unsigned descriptors, bool remote_locks)
{
	*fs = (struct fs){ .remote_locks = remote_locks, .uid = geteuid(), .gid = getegid() };
	pthread_mutex_init(&fs->lock, NULL);
	pthread_cond_init(&fs->idle, NULL);
	/* What is left is for shares (three each), threads, and what is open only for a moment. */
	fs->dirfds_max = descriptors * 3 / 16;
	fs->handles_max = descriptors * 7 / 16;
	fs->locks_max = descriptors / 32;
	fs->handle = calloc(fs->handles_max + 1, sizeof(struct handle *));
	if (!fs->handle || inode_init(fs) || locks_init(fs)) {
		fs_close(fs);
		return -ENOMEM;
	}
	return 0;
}

void fs_close(struct fs *fs)
{
	locks_exit(fs);
	for (unsigned i = 0; i < FS_SHARES; i++)
		if (fs->share[i])
			(void)!share_remove(fs, i);
	inode_exit(fs);
	free(fs->handle);
	pthread_cond_destroy(&fs->idle);
	pthread_mutex_destroy(&fs->lock);
}

/* ---- adding ------------------------------------------------------------------------------- */

/* @like: a new one gets the mode and the times of this folder; -1: it is only ours. */
static int make_folder(int dirfd, const char *name, int like)
{
	int rc = mkdirat(dirfd, name, 0700) ? -errno : 0;

	if (rc && rc != -EEXIST)
		return rc;
	if (!rc && like >= 0)
		rc = cow_like(like, dirfd, name);
	if (rc && rc != -EEXIST)
		return rc;
	return place_open_name(dirfd, name, O_PATH | O_DIRECTORY, 0);
}

/* Attributes are what opaque directories are marked by. */
static int try_attribute(int dirfd, const char *name)
{
	auto_fd fd = place_open_name(dirfd, name, O_RDONLY | O_DIRECTORY, 0);

	if (fd < 0)
		return fd;
	if (fsetxattr(fd, UPPER_XATTR "test", "y", 1, 0) ||
	    fremovexattr(fd, UPPER_XATTR "test"))
		return -errno;
	return 0;
}

static int open_upper(struct share *s, int upper, struct err *e)
{
	int rc;

	s->root[FS_UPPER] = make_folder(upper, UPPER_TREE, s->root[FS_LOWER]);
	if (s->root[FS_UPPER] < 0)
		return err_set(e, s->root[FS_UPPER], "folder '%s' of the changes", UPPER_TREE);
	s->wip = make_folder(upper, UPPER_WIP, -1);
	if (s->wip < 0)
		return err_set(e, s->wip, "folder '%s' of the changes", UPPER_WIP);
	rc = try_attribute(upper, UPPER_WIP);
	return rc ? err_set(e, rc, "the file system for the changes has no user attributes") : 0;
}

static void close_fds(struct share *s)
{
	for (unsigned i = 0; i < FS_LAYERS; i++)
		if (s->root[i] >= 0)
			close(s->root[i]);
	if (s->wip >= 0)
		close(s->wip);
	s->root[FS_UPPER] = s->root[FS_LOWER] = s->wip = -1;
}

void share_unref(struct share *s)
{
	if (--s->inodes)
		return;
	close_fds(s);
	pthread_mutex_destroy(&s->tree);
	free(s);
}

/* Its root's inode, whose descriptors are the share's and stay open. */
static int make_root(struct fs *fs, struct share *s, struct err *e)
{
	struct found f = { .layer = FS_LAYERS };
	int rc;

	for (unsigned i = 0; i < FS_LAYERS; i++) {
		struct statx st;

		if (s->root[i] < 0)
			continue;
		rc = place_stat_fd(s->root[i], &st);
		if (rc)
			return err_set(e, rc, "statx");
		if (!S_ISDIR(st.stx_mode))
			return err_say(e, -ENOTDIR, "not a folder");
		f.layers |= (uint8_t)(1u << i);
		f.id[i] = ident_of(&st);
		f.shown = f.id[i];	/* the lower one's, if there is one */
		if (f.layer == FS_LAYERS) {
			f.layer = i;
			f.st = st;
		}
	}
	rc = inode_find(fs, s, NULL, NULL, &f, false, &s->node);
	if (rc)
		return err_set(e, rc, "root of the share");
	pthread_mutex_lock(&fs->lock);
	for (unsigned i = 0; i < FS_LAYERS; i++) {
		s->node->fd[i] = s->root[i];
		s->node->pins[i] = 1;
		fs->dirfds += s->root[i] >= 0;
	}
	pthread_mutex_unlock(&fs->lock);
	return 0;
}

int share_add(struct fs *fs, unsigned id, enum fs_mode mode, enum fs_cache cache, uint32_t uid,
	      uint32_t gid, int root, int upper, struct err *e)
{
	auto_fd r = root, u = upper;
	struct share *s;
	int rc = 0;

	if (id >= FS_SHARES)
		return err_say(e, -EINVAL, "share numbers are 0 to %u", FS_SHARES - 1);
	if (fs->locked)
		return err_say(e, -EPERM, "the server is locked: it can have no more shares");
	if (fs->share[id])
		return err_say(e, -EEXIST, "there is a share %u", id);
	if ((mode == FS_COW) != (u >= 0))
		return err_say(e, -EINVAL, "cow, and only cow, needs a folder for the changes");
	s = calloc(1, sizeof(*s));
	if (!s)
		return err_set(e, -ENOMEM, "share %u", id);
	*s = (struct share){ .id = id, .mode = mode, .cache = cache, .uid = uid, .gid = gid,
			     .root = { -1, -1 }, .wip = -1, .inodes = 1 };
	pthread_mutex_init(&s->tree, NULL);
	s->root[mode == FS_COW ? FS_LOWER : FS_UPPER] = take_fd(&r);
	if (mode == FS_COW)
		rc = open_upper(s, u, e);
	if (!rc)
		rc = make_root(fs, s, e);
	if (rc) {
		share_unref(s);
		return err_wrap(e, "share %u", id);
	}
	pthread_mutex_lock(&fs->lock);
	fs->share[id] = s;
	pthread_mutex_unlock(&fs->lock);
	return 0;
}

/* ---- users, and removing ------------------------------------------------------------------ */

bool share_enter(struct fs *fs, struct share *s)
{
	bool ok;

	pthread_mutex_lock(&fs->lock);
	ok = !s->gone;
	s->users += ok;
	pthread_mutex_unlock(&fs->lock);
	return ok;
}

void share_leave(struct fs *fs, struct share *s)
{
	pthread_mutex_lock(&fs->lock);
	if (!--s->users)
		pthread_cond_broadcast(&fs->idle);
	pthread_mutex_unlock(&fs->lock);
}

/* Descriptors of its directories that are cached. fs.lock held. */
static void uncache(struct fs *fs, const struct share *s)
{
	for (struct inode *n = fs->lru.lru_next, *next; n != &fs->lru; n = next) {
		next = n->lru_next;
		if (n->share == s)
			dir_uncache(fs, n);
	}
}

int share_remove(struct fs *fs, unsigned id)
{
	struct share *s;

	pthread_mutex_lock(&fs->lock);
	s = id < FS_SHARES ? fs->share[id] : NULL;
	if (!s || s->gone) {
		pthread_mutex_unlock(&fs->lock);
		return -ENOENT;
	}
	s->gone = true;
	while (s->users)
		pthread_cond_wait(&fs->idle, &fs->lock);
	pthread_mutex_unlock(&fs->lock);
	locks_drop_share(fs, s);
	handle_drop_share(fs, s);
	pthread_mutex_lock(&fs->lock);
	for (unsigned i = 0; i < FS_LAYERS; i++) {
		s->node->pins[i] = 0;
		fs->dirfds -= s->node->fd[i] >= 0;
		s->node->fd[i] = -1;	/* the share's own */
	}
	uncache(fs, s);
	inode_put_locked(fs, s->node);
	close_fds(s);
	/* The struct stays while inodes point at it; its number can be used again. */
	fs->share[id] = NULL;
	share_unref(s);
	pthread_mutex_unlock(&fs->lock);
	return 0;
}

uint64_t share_ino(struct share *s, const struct ident *id)
{
	unsigned i;

	for (i = 0; i < s->ndevs && s->dev[i] != id->dev; i++)
		;
	if (i == s->ndevs && i < FS_DEVS)
		s->dev[s->ndevs++] = id->dev;
	/* Host numbers stay below 2^48 as a rule; the device's number goes above. */
	return id->ino ^ (uint64_t)(s->id * (FS_DEVS + 1) + i) << 48;
}
