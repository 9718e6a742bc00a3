/* SPDX-License-Identifier: Apache-2.0 */
/*
 * #syscalls:fs openat2 statx close
 */
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include "devices/fs/place.h"

int place_open_name(int dirfd, const char *name, int flags, mode_t mode)
{
	struct open_how how = {
		.flags = (uint64_t)(unsigned)(flags | O_NOFOLLOW | O_CLOEXEC),
		.mode = mode,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	long fd = syscall(SYS_openat2, dirfd, name, &how, sizeof(how));

	/* The kernel saw a rename while it looked: nothing is wrong, it says. */
	for (int i = 0; fd < 0 && errno == EAGAIN && i < 8; i++)
		fd = syscall(SYS_openat2, dirfd, name, &how, sizeof(how));
	return fd < 0 ? -errno : (int)fd;
}

int place_stat(int dirfd, const char *name, struct statx *st)
{
	return statx(dirfd, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, PLACE_STATX, st) ?
		-errno : 0;
}

int place_stat_fd(int fd, struct statx *st)
{
	return statx(fd, "", AT_EMPTY_PATH, PLACE_STATX, st) ? -errno : 0;
}

/* ---- the cache of directories' descriptors; fs.lock held -------------------------------- */

static void lru_remove(struct inode *n)
{
	if (!n->in_lru)
		return;
	n->lru_prev->lru_next = n->lru_next;
	n->lru_next->lru_prev = n->lru_prev;
	n->in_lru = false;
}

static void lru_front(struct fs *fs, struct inode *n)
{
	lru_remove(n);
	n->lru_prev = &fs->lru;
	n->lru_next = fs->lru.lru_next;
	n->lru_next->lru_prev = n;
	fs->lru.lru_next = n;
	n->in_lru = true;
}

static bool evict(struct fs *fs, struct inode *n)
{
	bool all = true;

	for (unsigned i = 0; i < FS_LAYERS; i++) {
		if (n->fd[i] < 0)
			continue;
		if (n->pins[i]) {
			all = false;
			continue;
		}
		close(n->fd[i]);
		n->fd[i] = -1;
		fs->dirfds--;
	}
	if (all)
		lru_remove(n);
	return all;
}

static void lru_trim(struct fs *fs)
{
	struct inode *n = fs->lru.lru_prev;

	while (fs->dirfds > fs->dirfds_max && n != &fs->lru) {
		struct inode *prev = n->lru_prev;

		evict(fs, n);
		n = prev;
	}
}

void dir_uncache(struct fs *fs, struct inode *n)
{
	evict(fs, n);
	lru_remove(n);
}

static bool pin(struct fs *fs, struct inode *n, enum fs_layer layer, struct dir_ref *d)
{
	if (n->fd[layer] < 0)
		return false;
	n->pins[layer]++;
	lru_front(fs, n);
	*d = (struct dir_ref){ n, layer, n->fd[layer] };
	return true;
}

void dir_put(struct fs *fs, struct dir_ref *d)
{
	if (!d->n)
		return;
	pthread_mutex_lock(&fs->lock);
	d->n->pins[d->layer]--;
	lru_trim(fs);
	inode_put_locked(fs, d->n);
	pthread_mutex_unlock(&fs->lock);
	d->n = NULL;
}

/* ---- opening a directory again ------------------------------------------------------------ */

/* One step: @n, whose parent is open as @dirfd. @name is a copy of its name. */
static int open_step(struct fs *fs, struct inode *n, enum fs_layer layer, int dirfd,
		     const char *name, struct dir_ref *d)
{
	auto_fd fd = place_open_name(dirfd, name, O_PATH | O_DIRECTORY, 0);
	struct statx st;
	struct ident id;
	int rc;

	if (fd < 0)
		return fd == -ENOTDIR || fd == -ELOOP || fd == -ENOENT ? -ESTALE : fd;
	rc = place_stat_fd(fd, &st);
	if (rc)
		return rc;
	id = ident_of(&st);
	pthread_mutex_lock(&fs->lock);
	if (!n->key[layer].node || !ident_same(&n->key[layer].id, &id)) {
		rc = -ESTALE;
	} else {
		if (n->fd[layer] < 0) {
			n->fd[layer] = take_fd(&fd);
			fs->dirfds++;
		}
		if (pin(fs, n, layer, d))
			n->refs++;
	}
	pthread_mutex_unlock(&fs->lock);
	return rc;
}

/*
 * Nearest to @n among it and its ancestors that is open, pinned; *down, held, is the next
 * one below it, and @name a copy of that one's name. NULL if @n itself is open.
 */
static int nearest(struct fs *fs, struct inode *n, enum fs_layer layer, struct dir_ref *d,
		   struct inode **down, char name[FS_NAME_MAX + 1])
{
	struct inode *below = NULL;
	unsigned depth = 0;
	int rc = 0;

	pthread_mutex_lock(&fs->lock);
	while (!pin(fs, n, layer, d)) {
		if (!n->parent) {
			rc = -ESTALE;	/* removed, or not in this layer */
			break;
		}
		if (++depth > FS_DEPTH_MAX) {
			rc = -ENAMETOOLONG;
			break;
		}
		below = n;
		n = n->parent;
	}
	if (!rc) {
		n->refs++;
		*down = below;
		if (below) {
			below->refs++;
			snprintf(name, FS_NAME_MAX + 1, "%s", below->name);
		}
	}
	pthread_mutex_unlock(&fs->lock);
	return rc;
}

int dir_get(struct fs *fs, struct inode *n, enum fs_layer layer, struct dir_ref *d)
{
	char name[FS_NAME_MAX + 1];

	d->n = NULL;
	/* Every round opens one more; others may rename and close meanwhile. */
	for (unsigned i = 0; i < 2 * FS_DEPTH_MAX; i++) {
		struct dir_ref above = { 0 }, got = { 0 };
		struct inode *down = NULL;
		int rc = nearest(fs, n, layer, &above, &down, name);

		if (rc)
			return rc;
		if (!down) {
			*d = above;
			return 0;
		}
		rc = open_step(fs, down, layer, above.fd, name, &got);
		dir_put(fs, &above);
		inode_put(fs, down);
		if (!rc && got.n == n) {
			*d = got;
			return 0;
		}
		dir_put(fs, &got);
		if (rc)
			return rc;
	}
	return -ESTALE;
}

/* ---- places ------------------------------------------------------------------------------- */

static int by_name(struct fs *fs, struct inode *n, enum fs_layer layer, struct place *p)
{
	struct inode *parent;
	struct ident id;
	int rc;

	pthread_mutex_lock(&fs->lock);
	parent = n->parent;
	if (parent) {
		parent->refs++;
		snprintf(p->name, sizeof(p->name), "%s", n->name);
	}
	pthread_mutex_unlock(&fs->lock);
	if (!parent)
		return -ESTALE;
	rc = dir_get(fs, parent, layer, &p->dir);
	inode_put(fs, parent);
	if (rc)
		return rc;
	p->fd = -1;
	rc = place_stat(p->dir.fd, p->name, &p->st);
	if (rc)
		return rc == -ENOENT ? -ESTALE : rc;
	id = ident_of(&p->st);
	pthread_mutex_lock(&fs->lock);
	if (!n->key[layer].node || !ident_same(&n->key[layer].id, &id))
		rc = -ESTALE;
	pthread_mutex_unlock(&fs->lock);
	return rc;
}

static enum fs_layer top_layer(struct fs *fs, const struct inode *n)
{
	enum fs_layer top;

	pthread_mutex_lock(&fs->lock);
	top = n->layers & 1u << FS_UPPER ? FS_UPPER : FS_LOWER;
	pthread_mutex_unlock(&fs->lock);
	return top;
}

static int place_find(struct fs *fs, struct inode *n, struct place *p)
{
	int rc = -ESTALE;

	/* A copy up in between moves it to the other layer: look once more. */
	for (int i = 0; i < 3 && rc == -ESTALE; i++) {
		place_put(fs, p);
		rc = by_name(fs, n, top_layer(fs, n), p);
	}
	return rc;
}

static void place_init(struct place *p)
{
	p->dir.n = NULL;
	p->h = NULL;
	p->fd = -1;
}

int place_by_name(struct fs *fs, struct inode *n, struct place *p)
{
	int rc;

	place_init(p);
	if (n->share->node != n) {
		rc = place_find(fs, n, p);
	} else {
		strcpy(p->name, ".");
		rc = dir_get(fs, n, top_layer(fs, n), &p->dir);
		if (!rc)
			rc = place_stat_fd(p->dir.fd, &p->st);
	}
	if (rc)
		place_put(fs, p);
	return rc;
}

int place_get(struct fs *fs, struct inode *n, struct place *p)
{
	int rc = -ESTALE;

	/* Others are rarely open, and by name they are what they are without being permitted. */
	if (n->type != S_IFREG)
		rc = place_by_name(fs, n, p);
	if (rc != -ESTALE)
		return rc;
	place_init(p);
	p->h = handle_any(fs, n, -1);
	if (!p->h)
		return n->type == S_IFREG ? place_by_name(fs, n, p) : rc;
	p->fd = p->h->fd;
	rc = place_stat_fd(p->fd, &p->st);
	if (rc)
		place_put(fs, p);
	return rc;
}

void place_put(struct fs *fs, struct place *p)
{
	dir_put(fs, &p->dir);
	if (p->h)
		handle_put(fs, p->h);
	p->h = NULL;
	p->fd = -1;
}

int place_open(const struct inode *n, const struct place *p, int flags)
{
	auto_fd fd = -1;
	struct statx st;
	int rc;

	if (n->type != S_IFREG && n->type != S_IFDIR)
		return -ENXIO;
	if (!S_ISREG(p->st.stx_mode) && !S_ISDIR(p->st.stx_mode))
		return -ESTALE;
	fd = place_open_name(p->dir.fd, p->name, flags | O_NONBLOCK | O_NOCTTY, 0);
	if (fd < 0)
		return fd == -ENOENT || fd == -ELOOP ? -ESTALE : fd;
	rc = place_stat_fd(fd, &st);
	if (rc)
		return rc;
	/* Somebody put another one there after we looked. */
	if (st.stx_ino != p->st.stx_ino || st.stx_dev_minor != p->st.stx_dev_minor ||
	    st.stx_dev_major != p->st.stx_dev_major ||
	    (st.stx_mode & S_IFMT) != (p->st.stx_mode & S_IFMT))
		return -ESTALE;
	return take_fd(&fd);
}
