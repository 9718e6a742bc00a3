/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dir.c - reading directories.
 *
 * A directory of one layer is read as it is: positions are the host's, which stay good
 * while entries come and go. One that is merged from two is listed whole when reading
 * begins, and positions count that list's entries. Lists take at most FS_LISTS_MAX together.
 *
 * #syscalls:fs getdents64 lseek dup3 fsync
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include "devices/fs/dir.h"
#include "devices/fs/entry.h"

#define CHUNK	32768u
#define CHUNK_MIN 1024u

struct host_dirent {
	uint64_t ino;
	int64_t off;
	uint16_t len;
	uint8_t type;
	char name[];
};

void dir_list_drop(struct fs *fs, struct handle *h)
{
	if (!h->list)
		return;
	fs->list_bytes -= h->list->bytes;
	free(h->list->item);
	free(h->list->names);
	free(h->list);
	h->list = NULL;
}

/* ---- one entry into the reply ------------------------------------------------------------- */

static bool dots(const char *name, size_t len)
{
	return name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.'));
}

/* False: no room. A name that vanished meanwhile is left out. */
static bool emit(struct req *r, bool plus, const char *name, size_t len, uint64_t ino,
		 uint32_t type, uint64_t next)
{
	struct fuse_dirent d = { .ino = ino, .off = next, .namelen = (uint32_t)len, .type = type };
	struct fuse_entry_out e = { 0 };
	size_t size = (plus ? FUSE_NAME_OFFSET_DIRENTPLUS : FUSE_NAME_OFFSET) + len;
	size_t pad = FUSE_DIRENT_ALIGN(size) - size;
	static const char zero[8];
	int rc = 0;

	if (len > FS_NAME_MAX)
		return true;
	if (size + pad > r->room - r->len)
		return false;
	if (plus && !dots(name, len)) {
		rc = r->share ? entry_find(r->fs, r->node, name, &e) :
			entry_share(r->fs, name, &e);
		if (rc == -ENOENT)
			return true;
		if (rc)
			memset(&e, 0, sizeof(e));
		else
			d.ino = e.attr.ino;
	}
	if (plus)
		rc = req_put(r, &e, sizeof(e));
	rc = req_put(r, &d, FUSE_NAME_OFFSET) || req_put(r, name, len) || req_put(r, zero, pad);
	BUG_ON(rc);	/* there was room */
	return true;
}

/* ---- the root above the shares ------------------------------------------------------------ */

static int read_root(struct req *r, bool plus, uint64_t off)
{
	for (uint64_t i = off; i < FS_SHARES + 2; i++) {
		char name[16] = "..";
		bool is = true;

		if (i < 2) {
			name[i + 1] = 0;
		} else {
			snprintf(name, sizeof(name), "%u", (unsigned)(i - 2));
			pthread_mutex_lock(&r->fs->lock);
			is = r->fs->share[i - 2] && !r->fs->share[i - 2]->gone;
			pthread_mutex_unlock(&r->fs->lock);
		}
		if (is && !emit(r, plus, name, strlen(name), i < 2 ? FUSE_ROOT_ID : i + 2, DT_DIR,
				i + 1))
			break;
	}
	return 0;
}

/* ---- merged directories ------------------------------------------------------------------- */

static int list_add(struct fs *fs, struct dir_list *l, const char *name, uint8_t type,
		    uint64_t ino)
{
	size_t len = strlen(name), used = 0, need = 0;
	bool fits;

	if (len > FS_NAME_MAX)		/* some file systems have them; no guest can ask for one */
		return 0;
	if (l->n)
		used = l->item[l->n - 1].at + l->item[l->n - 1].len + 1u;
	if (l->n == l->items_room)
		need += (l->items_room ? l->items_room : 64) * sizeof(*l->item);
	if (used + len + 1 > l->room)
		need += l->room ? l->room : 4096;
	pthread_mutex_lock(&fs->lock);
	fits = need <= FS_LISTS_MAX - fs->list_bytes;
	if (fits)
		fs->list_bytes += need;
	pthread_mutex_unlock(&fs->lock);
	if (!fits)
		return -ENOMEM;
	l->bytes += need;
	if (l->n == l->items_room) {
		size_t room = l->items_room ? l->items_room * 2 : 64;
		void *p = realloc(l->item, room * sizeof(*l->item));

		if (!p)
			return -ENOMEM;
		l->item = p;
		l->items_room = room;
	}
	if (used + len + 1 > l->room) {
		size_t room = l->room ? l->room * 2 : 4096;
		void *p = realloc(l->names, room);

		if (!p)
			return -ENOMEM;
		l->names = p;
		l->room = room;
	}
	memcpy(l->names + used, name, len + 1);
	l->item[l->n++] = (struct dir_item){ ino, (uint32_t)used, type, (uint8_t)len };
	return 0;
}

struct listing {
	struct req *r;
	struct dir_list *l;
	int upper;			/* -1 while the upper layer itself is read */
	struct inode *dir;
	uint64_t dev;
};

static int list_one(struct listing *g, int fd, const struct host_dirent *d)
{
	struct ident id = { g->dev, d->ino, 0 };
	uint64_t ino;

	if (g->upper >= 0) {
		struct statx st;

		if (dots(d->name, strlen(d->name)) || !place_stat(g->upper, d->name, &st))
			return 0;
	} else if (d->type == DT_CHR || d->type == DT_UNKNOWN) {
		struct statx st;

		if (place_stat(fd, d->name, &st) ||
		    upper_whiteout(st.stx_mode, makedev(st.stx_rdev_major, st.stx_rdev_minor)))
			return 0;
	} else if (!dots(d->name, strlen(d->name)) && (d->type == DT_REG || d->type == DT_DIR)) {
		struct lookup k;
		int rc = tree_find(g->r->fs, g->dir, d->name, &k);

		if (!rc)
			id = k.f.shown;
		if (!rc || rc == -ENOENT)
			tree_found_end(g->r->fs, &k);
	}
	pthread_mutex_lock(&g->r->fs->lock);
	ino = share_ino(g->r->share, &id);
	pthread_mutex_unlock(&g->r->fs->lock);
	return list_add(g->r->fs, g->l, d->name, d->type, ino);
}

static int list_layer(struct listing *g, enum fs_layer layer)
{
	_Alignas(8) char buf[CHUNK];
	struct dir_ref d;
	auto_fd fd = -1;
	int rc = dir_get(g->r->fs, g->dir, layer, &d);

	if (rc)
		return rc;
	fd = place_open_name(d.fd, ".", O_RDONLY | O_DIRECTORY, 0);
	dir_put(g->r->fs, &d);
	if (fd < 0)
		return fd;
	g->dev = g->dir->key[layer].id.dev;
	while (!rc) {
		long n = syscall(SYS_getdents64, fd, buf, sizeof(buf));

		if (n <= 0)
			return n ? -errno : 0;
		for (long at = 0; !rc && at < n;) {
			struct host_dirent *e = (struct host_dirent *)(void *)(buf + at);

			rc = list_one(g, fd, e);
			at += e->len;
		}
	}
	return rc;
}

static int list_merged(struct req *r, struct handle *h)
{
	struct dir_list *l = calloc(1, sizeof(*l));
	struct listing g = { .r = r, .l = l, .upper = -1, .dir = r->node };
	struct dir_ref up = { 0 };
	int rc;

	if (!l)
		return -ENOMEM;
	rc = list_layer(&g, FS_UPPER);
	if (!rc)
		rc = dir_get(r->fs, r->node, FS_UPPER, &up);
	if (!rc) {
		g.upper = up.fd;
		rc = list_layer(&g, FS_LOWER);
		dir_put(r->fs, &up);
	}
	pthread_mutex_lock(&r->fs->lock);
	dir_list_drop(r->fs, h);
	h->list = l;
	if (rc)
		dir_list_drop(r->fs, h);
	pthread_mutex_unlock(&r->fs->lock);
	return rc;
}

static int read_list(struct req *r, const struct dir_list *l, bool plus, uint64_t off)
{
	for (uint64_t i = off; i < l->n; i++)
		if (!emit(r, plus, l->names + l->item[i].at, l->item[i].len, l->item[i].ino,
			  l->item[i].type, i + 1))
			break;
	return 0;
}

/* ---- directories of one layer ------------------------------------------------------------- */

static bool skipped(const struct req *r, const struct handle *h, const struct host_dirent *d)
{
	struct statx st;

	if (r->share->mode != FS_COW || h->layer != FS_UPPER ||
	    (d->type != DT_CHR && d->type != DT_UNKNOWN))
		return false;
	return !place_stat(h->fd, d->name, &st) &&
	       upper_whiteout(st.stx_mode, makedev(st.stx_rdev_major, st.stx_rdev_minor));
}

static int read_host(struct req *r, struct handle *h, bool plus, uint64_t off)
{
	_Alignas(8) char buf[CHUNK];
	size_t want = plus ? r->room / 4 : r->room;
	uint64_t dev = r->node->key[h->layer].id.dev, ino;
	long n, at = 0;

	want = want > sizeof(buf) ? sizeof(buf) : want < CHUNK_MIN ? CHUNK_MIN : want;
	if (off != h->pos && lseek(h->fd, (off_t)off, SEEK_SET) < 0)
		return -errno;
	/* Until something fits, or the end: an empty reply is the end to the guest. */
	do {
		n = syscall(SYS_getdents64, h->fd, buf, want);
		if (n < 0)
			return -errno;
		for (at = 0; at < n;) {
			struct host_dirent *d = (struct host_dirent *)(void *)(buf + at);
			struct ident id = { dev, d->ino, 0 };

			if (!skipped(r, h, d)) {
				pthread_mutex_lock(&r->fs->lock);
				ino = share_ino(r->share, &id);
				pthread_mutex_unlock(&r->fs->lock);
				if (!emit(r, plus, d->name, strlen(d->name), ino, d->type,
					  (uint64_t)d->off))
					break;
			}
			h->pos = (uint64_t)d->off;
			at += d->len;
		}
	} while (n && !r->len && at == n);
	if (at < n)
		h->pos = UINT64_MAX;	/* the host is ahead of what was told */
	return 0;
}

/* ---- handlers ----------------------------------------------------------------------------- */

static uint8_t layers_of(struct fs *fs, const struct inode *n, enum fs_layer *top)
{
	uint8_t layers;

	pthread_mutex_lock(&fs->lock);
	layers = n->layers;
	pthread_mutex_unlock(&fs->lock);
	*top = layers & 1u << FS_UPPER ? FS_UPPER : FS_LOWER;
	return layers;
}

/* By its name: to read a directory one need not be permitted to look for names in it. */
static int open_dir(struct req *r)
{
	struct place p;
	int rc = place_by_name(r->fs, r->node, &p);

	if (rc)
		return rc;
	rc = place_open(r->node, &p, O_RDONLY | O_DIRECTORY);
	place_put(r->fs, &p);
	return rc;
}

int op_opendir(struct req *r)
{
	struct fuse_open_out out = { 0 };
	enum fs_layer top;
	int fd, rc;

	if (r->node->type != S_IFDIR)
		return -ENOTDIR;
	if (!r->share)
		return req_put(r, &out, sizeof(out));
	(void)layers_of(r->fs, r->node, &top);
	fd = open_dir(r);
	if (fd < 0)
		return fd;
	rc = handle_new(r->fs, r->node, fd, O_RDONLY, top, &out.fh);
	return rc ? rc : req_put(r, &out, sizeof(out));
}

/* Reading begins, perhaps again: see which layers there are now. h->lock held. */
static int rewind_dir(struct req *r, struct handle *h)
{
	enum fs_layer top;
	uint8_t layers = layers_of(r->fs, r->node, &top);

	if (top != h->layer) {
		auto_fd fd = open_dir(r);

		if (fd < 0)
			return fd;
		if (dup3(fd, h->fd, O_CLOEXEC) < 0)
			return -errno;
		h->layer = top;
		h->pos = UINT64_MAX;
	}
	if (layers == (1u << FS_UPPER | 1u << FS_LOWER))
		return list_merged(r, h);
	pthread_mutex_lock(&r->fs->lock);
	dir_list_drop(r->fs, h);
	pthread_mutex_unlock(&r->fs->lock);
	return 0;
}

/* A position in a list, without the list: the guest was restored in between. */
static bool lost_list(struct req *r, const struct handle *h)
{
	enum fs_layer top;

	return !h->list && h->pos == UINT64_MAX &&
	       layers_of(r->fs, r->node, &top) == (1u << FS_UPPER | 1u << FS_LOWER);
}

static int read_dir(struct req *r, bool plus)
{
	struct fuse_read_in in;
	struct handle *h;
	int rc = cursor_get(&r->in, &in, sizeof(in));

	if (rc)
		return rc;
	if (in.size < r->room)
		r->room = in.size;
	if (!r->share)
		return read_root(r, plus, in.offset);
	h = handle_get(r->fs, in.fh, r->node, true);
	if (!h)
		return handle_missing(r->fs, in.fh);
	pthread_mutex_lock(&h->lock);
	rc = !in.offset || lost_list(r, h) ? rewind_dir(r, h) : 0;
	if (!rc)
		rc = h->list ? read_list(r, h->list, plus, in.offset) :
			read_host(r, h, plus, in.offset);
	pthread_mutex_unlock(&h->lock);
	handle_put(r->fs, h);
	return rc;
}

int op_readdir(struct req *r)
{
	return read_dir(r, false);
}

int op_readdirplus(struct req *r)
{
	return read_dir(r, true);
}

int op_releasedir(struct req *r)
{
	struct fuse_release_in in;
	struct handle *h;
	int rc = cursor_get(&r->in, &in, sizeof(in));

	if (rc || !r->share)
		return rc;
	h = handle_last(r->fs, in.fh, r->node, true);
	if (!h)
		return -EBADF;
	handle_release(r->fs, h);
	return 0;
}

int op_fsyncdir(struct req *r)
{
	struct fuse_fsync_in in;
	struct handle *h;
	int rc = cursor_get(&r->in, &in, sizeof(in));

	if (rc || !r->share || r->share->mode == FS_RO)
		return rc;
	h = handle_get(r->fs, in.fh, r->node, true);
	if (!h)
		return handle_missing(r->fs, in.fh);
	rc = fsync(h->fd) ? -errno : 0;
	handle_put(r->fs, h);
	return rc;
}
