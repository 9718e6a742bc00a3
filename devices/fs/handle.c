/* SPDX-License-Identifier: Apache-2.0 */
/*
 * handle.c - open files and directories of the guest: a table of bounded size.
 *
 * A handle's number is its slot and, above it, a count that makes it unlike the earlier
 * ones of the slot; it is believed only together with the inode it was opened for. The
 * descriptor stays the same number for the handle's life: when a lower file is copied
 * up, dup3() puts the copy under it, so that readers see what is written from then on.
 *
 * #syscalls:fs dup3 flock? close
 */
#include <fcntl.h>
#include <sys/file.h>
#include "devices/fs/dir.h"
#include "devices/fs/place.h"
#include "devices/fs/server.h"

static void link_in(struct fs *fs, struct handle *h)
{
	h->next = h->node->handles;
	h->node->handles = h;
	h->node->refs++;
	fs->handles++;
}

int handle_new(struct fs *fs, struct inode *n, int fd, int flags, enum fs_layer layer,
	       uint64_t *fh)
{
	struct handle *h = calloc(1, sizeof(*h));
	unsigned slot;

	if (!h) {
		close(fd);
		return -ENOMEM;
	}
	*h = (struct handle){ .node = n, .fd = fd, .flags = flags & O_ACCMODE, .refs = 1,
			      .layer = layer, .dir = n->type == S_IFDIR };
	pthread_mutex_init(&h->lock, NULL);
	pthread_mutex_lock(&fs->lock);
	if (fs->handles >= fs->handles_max) {
		pthread_mutex_unlock(&fs->lock);
		pthread_mutex_destroy(&h->lock);
		close(fd);
		free(h);
		return -ENFILE;
	}
	slot = fs->handle_hint;
	while (fs->handle[slot % fs->handles_max])
		slot++;
	slot %= fs->handles_max;
	fs->handle_hint = slot + 1;
	fs->handle[slot] = h;
	h->fh = *fh = (uint64_t)++fs->handle_gen << 32 | slot;
	link_in(fs, h);
	pthread_mutex_unlock(&fs->lock);
	return 0;
}

struct handle *handle_last(struct fs *fs, uint64_t fh, const struct inode *n, bool dir)
{
	uint32_t slot = (uint32_t)fh;
	struct handle *h = NULL;

	pthread_mutex_lock(&fs->lock);
	if (slot < fs->handles_max)
		h = fs->handle[slot];
	if (h && (h->fh != fh || h->node != n || h->dir != dir))
		h = NULL;
	if (h)
		h->refs++;
	pthread_mutex_unlock(&fs->lock);
	return h;
}

struct handle *handle_get(struct fs *fs, uint64_t fh, const struct inode *n, bool dir)
{
	struct handle *h = handle_last(fs, fh, n, dir);

	if (!h || h->fd >= 0)
		return h;
	handle_put(fs, h);
	return NULL;
}

int handle_missing(struct fs *fs, uint64_t fh)
{
	uint32_t slot = (uint32_t)fh;
	int rc = -EBADF;

	pthread_mutex_lock(&fs->lock);
	if (slot < fs->handles_max && fs->handle[slot] && fs->handle[slot]->fh == fh &&
	    fs->handle[slot]->fd < 0)
		rc = -ESTALE;
	pthread_mutex_unlock(&fs->lock);
	return rc;
}

int handle_restore(struct fs *fs, struct inode *n, int fd, int flags, enum fs_layer layer,
		   uint64_t fh)
{
	uint32_t slot = (uint32_t)fh;
	struct handle *h = calloc(1, sizeof(*h));
	int rc = h ? 0 : -ENOMEM;

	pthread_mutex_lock(&fs->lock);
	if (!rc && slot >= fs->handles_max)
		rc = -EINVAL;
	else if (!rc && fs->handle[slot])
		rc = -EEXIST;
	if (!rc) {
		*h = (struct handle){ .node = n, .fd = fd, .flags = flags & O_ACCMODE, .refs = 1,
				      .layer = layer, .dir = n->type == S_IFDIR, .fh = fh,
				      .pos = UINT64_MAX };
		pthread_mutex_init(&h->lock, NULL);
		fs->handle[slot] = h;
		link_in(fs, h);
	}
	pthread_mutex_unlock(&fs->lock);
	if (rc) {
		free(h);
		if (fd >= 0)
			close(fd);
	}
	return rc;
}

/*
 * A file that has been copied up, and a handle that the copy has not reached: what is done to the
 * file must not be done to the lower one.
 */
static bool left_below(const struct inode *n, const struct handle *h)
{
	return !h->dir && h->layer == FS_LOWER && n->layers & 1u << FS_UPPER;
}

struct handle *handle_any(struct fs *fs, struct inode *n, int flags)
{
	struct handle *h;

	pthread_mutex_lock(&fs->lock);
	for (h = n->handles; h; h = h->next)
		if (h->fd >= 0 && !left_below(n, h) &&
		    (flags < 0 || h->flags == O_RDWR || h->flags == flags))
			break;
	if (h)
		h->refs++;
	pthread_mutex_unlock(&fs->lock);
	return h;
}

static void unlink_locked(struct fs *fs, struct handle *h)
{
	struct handle **at = &h->node->handles;

	while (*at != h)
		at = &(*at)->next;
	*at = h->next;
	inode_put_locked(fs, h->node);
}

static void drop(struct fs *fs, struct handle *h, bool release)
{
	bool last;

	pthread_mutex_lock(&fs->lock);
	if (release && !h->released) {
		h->released = true;
		fs->handle[(uint32_t)h->fh] = NULL;
		h->refs--;
	}
	last = !--h->refs;
	if (last) {
		unlink_locked(fs, h);
		fs->handles--;
		dir_list_drop(fs, h);
	}
	pthread_mutex_unlock(&fs->lock);
	if (!last)
		return;
	if (h->fd >= 0)
		close(h->fd);
	pthread_mutex_destroy(&h->lock);
	free(h);
}

void handle_put(struct fs *fs, struct handle *h)
{
	drop(fs, h, false);
}

void handle_release(struct fs *fs, struct handle *h)
{
	drop(fs, h, true);
}

void handle_raise(struct fs *fs, struct inode *n, int dirfd, const char *name)
{
	auto_fd fd = -1;
	struct handle *h;

	pthread_mutex_lock(&fs->lock);
	for (h = n->handles; h; h = h->next) {
		if (h->dir || h->layer != FS_LOWER || h->fd < 0)
			continue;
		/* One description each, as their locks are apart. */
		fd = place_open_name(dirfd, name, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
		if (fd < 0 || dup3(fd, h->fd, O_CLOEXEC) < 0)
			break;
		close(take_fd(&fd));
		h->layer = FS_UPPER;
		if (h->flocked)		/* nobody else can have it yet */
			(void)!flock(h->fd, h->flock_type | LOCK_NB);
	}
	pthread_mutex_unlock(&fs->lock);
}

void handle_drop_share(struct fs *fs, const struct share *s)
{
	for (unsigned i = 0; i < fs->handles_max; i++) {
		struct handle *h;

		pthread_mutex_lock(&fs->lock);
		h = fs->handle[i];
		if (h && h->node->share != s)
			h = NULL;
		if (h)
			h->refs++;
		pthread_mutex_unlock(&fs->lock);
		if (!h)
			continue;
		handle_release(fs, h);
	}
}
