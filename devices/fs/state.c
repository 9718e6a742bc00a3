/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state.c - saving and restoring what a guest knows of its shares.
 *
 * Saved are the inodes that the guest has references to (and their ancestors), by number,
 * name and identity, and the open files. Restored inodes are looked at when they are used:
 * one whose name leads to something else by then answers ESTALE, as ever. The upper layer
 * of a cow share belongs to the sandbox and may be a copy by now (a fork): what is there
 * is found by its path, at once. Open files are opened again, at once too; those that
 * had lost their name are lost.
 *
 * The file: struct head, then a struct rec_node with its name for each inode, then a struct
 * rec_handle for each open file. Sizes, numbers and names in it are not trusted.
 *
 * #syscalls:fs pwrite64? pread64? lseek ftruncate
 */
#include <fcntl.h>
#include "devices/fs/place.h"
#include "devices/fs/state.h"
#include "vmm/blob.h"

#define MAGIC	"sandboxF"
#define VERSION	1u
#define STATE_MAX (512u << 20)

struct head {
	char magic[8];
	uint32_t version, crc;		/* of all that follows the head */
	uint64_t len;			/* of that */
	uint64_t next_id;
	uint32_t handle_gen, nodes, handles, zero;
};

struct rec_node {
	uint64_t id, ino, parent, lookups;
	struct ident key[FS_LAYERS];
	uint32_t share, type;
	uint16_t name_len;
	uint8_t layers, root;		/* root: that of its share */
	uint32_t zero;
};

struct rec_handle {
	uint64_t fh, node;
	uint32_t flags, layer;
};

/* ---- saving ------------------------------------------------------------------------------- */

struct out { uint8_t *p; size_t len, room; bool failed; };

static void put(struct out *o, const void *p, size_t len)
{
	if (!len)
		return;
	if (o->len + len > o->room) {
		size_t room = o->room ? o->room * 2 : 64 << 10;
		void *q = room > STATE_MAX ? NULL : realloc(o->p, room);

		if (!q || o->failed) {
			o->failed = true;
			return;
		}
		o->p = q;
		o->room = room;
	}
	memcpy(o->p + o->len, p, len);
	o->len += len;
}

static bool put_node(struct out *o, const struct fs *fs, const struct inode *n)
{
	struct rec_node rec = { .id = n->id, .ino = n->ino, .lookups = n->lookups,
				.type = n->type, .layers = n->layers };

	if (n == fs->root || n->share->gone)
		return false;
	rec.share = n->share->id;
	rec.root = n == n->share->node;
	rec.parent = n->parent ? n->parent->id : 0;
	rec.name_len = n->name ? (uint16_t)strlen(n->name) : 0;
	for (unsigned i = 0; i < FS_LAYERS; i++)
		if (n->key[i].node)
			rec.key[i] = n->key[i].id;
	put(o, &rec, sizeof(rec));
	put(o, n->name ? n->name : "", rec.name_len);
	return true;
}

static void put_all(struct out *o, struct fs *fs, struct head *h)
{
	pthread_mutex_lock(&fs->lock);
	h->next_id = fs->next_id;
	h->handle_gen = fs->handle_gen;
	for (size_t i = 0; i < fs->buckets; i++)
		for (struct inode *n = fs->by_id[i]; n; n = n->next)
			h->nodes += put_node(o, fs, n);
	for (unsigned i = 0; i < fs->handles_max; i++) {
		const struct handle *f = fs->handle[i];
		struct rec_handle rec;

		if (!f || f->node->share->gone)
			continue;
		rec = (struct rec_handle){ f->fh, f->node->id, (uint32_t)f->flags, f->layer };
		put(o, &rec, sizeof(rec));
		h->handles++;
	}
	pthread_mutex_unlock(&fs->lock);
}

static int write_all(int fd, const void *p, size_t len, off_t at)
{
	while (len) {
		ssize_t n = pwrite(fd, p, len, at);

		if (n <= 0)
			return n ? -errno : -EIO;
		p = (const uint8_t *)p + n;
		len -= (size_t)n;
		at += n;
	}
	return 0;
}

int state_save(struct fs *fs, int fd, struct err *e)
{
	struct head h = { .version = VERSION };
	struct out o = { 0 };
	int rc;

	memcpy(h.magic, MAGIC, sizeof(h.magic));
	put_all(&o, fs, &h);
	h.len = o.len;
	h.crc = blob_crc(o.p, o.len);
	rc = o.failed ? -ENOMEM : write_all(fd, &h, sizeof(h), 0);
	if (!rc)
		rc = write_all(fd, o.p, o.len, sizeof(h));
	if (!rc && ftruncate(fd, (off_t)(sizeof(h) + o.len)))
		rc = -errno;
	free(o.p);
	return rc ? err_set(e, rc, "save the state of the shares") : 0;
}

/* ---- restoring ---------------------------------------------------------------------------- */

struct back {
	struct fs *fs;
	const struct head *h;
	struct inode **node;		/* as they come in the file; NULL: its share is not there */
	struct rec_node *rec;
	const char **name;
};

/* The numbers of the shares' own roots must not be in the way. */
static void clear_numbers(struct fs *fs, uint64_t next_id)
{
	pthread_mutex_lock(&fs->lock);
	if (fs->next_id < next_id)
		fs->next_id = next_id;
	for (unsigned i = 0; i < FS_SHARES; i++)
		if (fs->share[i])
			inode_renumber(fs, fs->share[i]->node, fs->next_id++);
	pthread_mutex_unlock(&fs->lock);
}

/* Identities are those of the time of saving; the device may have another number today. */
static void todays_ident(const struct share *s, const struct rec_node *root, struct rec_node *r)
{
	for (unsigned i = 0; i < FS_LAYERS; i++) {
		if (s->mode == FS_COW && i == FS_UPPER)
			r->key[i] = (struct ident){ 0 };	/* by its path */
		else if (root && r->key[i].dev == root->key[i].dev)
			r->key[i].dev = s->node->key[i].id.dev;
	}
}

static int take_node(struct back *b, unsigned i, struct cursor *c)
{
	struct rec_node *r = &b->rec[i];
	const char *name;

	if (cursor_get(c, r, sizeof(*r)))
		return -EBADMSG;
	name = cursor_take(c, r->name_len);
	if (!name || r->name_len > FS_NAME_MAX || memchr(name, '/', r->name_len) ||
	    memchr(name, 0, r->name_len))
		return -EBADMSG;
	if ((r->name_len == 1 && *name == '.') ||
	    (r->name_len == 2 && !memcmp(name, "..", 2)))
		return -EBADMSG;
	if (r->id <= FUSE_ROOT_ID || r->id >= b->h->next_id || r->share >= FS_SHARES ||
	    r->layers & ~3u || (r->type & ~(uint32_t)S_IFMT))
		return -EBADMSG;
	b->name[i] = name;
	return 0;
}

static const struct rec_node *root_of(const struct back *b, uint32_t share)
{
	for (unsigned i = 0; i < b->h->nodes; i++)
		if (b->rec[i].root && b->rec[i].share == share)
			return &b->rec[i];
	return NULL;
}

static int make_node(struct back *b, unsigned i, const struct rec_node *root)
{
	struct rec_node *r = &b->rec[i];
	struct share *s = b->fs->share[r->share];
	int rc = 0;

	if (!s)
		return 0;
	todays_ident(s, root, r);
	if (r->root) {
		pthread_mutex_lock(&b->fs->lock);
		inode_renumber(b->fs, s->node, r->id);
		s->node->refs++;
		pthread_mutex_unlock(&b->fs->lock);
		b->node[i] = s->node;
	} else {
		rc = inode_restore(b->fs, s, r->id, r->type, r->layers, r->key, &b->node[i]);
	}
	if (!rc) {
		b->node[i]->lookups = r->lookups;
		b->node[i]->ino = r->ino;
	}
	return rc == -EEXIST ? -EBADMSG : rc;
}

static int make_nodes(struct back *b, struct cursor *c)
{
	const struct rec_node *root[FS_SHARES];

	for (unsigned i = 0; i < b->h->nodes; i++) {
		int rc = take_node(b, i, c);

		if (rc)
			return rc;
	}
	for (uint32_t s = 0; s < FS_SHARES; s++)
		root[s] = root_of(b, s);
	clear_numbers(b->fs, b->h->next_id);
	for (unsigned i = 0; i < b->h->nodes; i++) {
		int rc = make_node(b, i, root[b->rec[i].share]);

		if (rc)
			return rc;
	}
	return 0;
}

static struct inode *find(struct fs *fs, uint64_t id)
{
	struct inode *n;

	pthread_mutex_lock(&fs->lock);
	n = fs->buckets ? inode_by_id(fs, id) : NULL;
	pthread_mutex_unlock(&fs->lock);
	return n;
}

static void name_nodes(struct back *b)
{
	char name[FS_NAME_MAX + 1];

	for (unsigned i = 0; i < b->h->nodes; i++) {
		struct rec_node *r = &b->rec[i];
		struct inode *n = b->node[i], *parent;

		if (!n || r->root || !r->parent || !r->name_len)
			continue;
		parent = find(b->fs, r->parent);
		if (!parent || parent->type != S_IFDIR || parent->share != n->share)
			continue;
		memcpy(name, b->name[i], r->name_len);
		name[r->name_len] = 0;
		inode_renamed(b->fs, n, parent, name);
	}
}

/* The upper layer, by paths: a directory before what is in it. */
static void find_upper(struct back *b, struct inode *n, unsigned depth)
{
	struct dir_ref up;
	struct statx st;
	struct ident id;
	int rc;

	if (!(n->layers & 1u << FS_UPPER) || n->key[FS_UPPER].node || !n->parent ||
	    depth > FS_DEPTH_MAX)
		return;
	find_upper(b, n->parent, depth + 1);
	if (dir_get(b->fs, n->parent, FS_UPPER, &up))
		return;
	rc = place_stat(up.fd, n->name, &st);
	if (!rc && (st.stx_mode & S_IFMT) == n->type) {
		id = ident_of(&st);
		inode_adopt(b->fs, n, FS_UPPER, &id);
	}
	dir_put(b->fs, &up);
}

static int open_handle(struct back *b, const struct rec_handle *r)
{
	struct inode *n = find(b->fs, r->node);
	struct place p;
	int fd = -1;

	if (r->layer >= FS_LAYERS || r->flags & ~(uint32_t)O_ACCMODE)
		return -EBADMSG;
	if (!n || !n->share)
		return 0;
	if (r->flags != O_RDONLY && n->share->mode == FS_RO)
		return -EBADMSG;
	if (!place_by_name(b->fs, n, &p)) {
		fd = place_open(n, &p, (int)r->flags);
		place_put(b->fs, &p);
	}
	/* Writing goes to the upper layer, whatever the file says. */
	if (r->flags != O_RDONLY && !(n->layers & 1u << FS_UPPER) && fd >= 0) {
		close(fd);
		return -EBADMSG;
	}
	return handle_restore(b->fs, n, fd < 0 ? -1 : fd, (int)r->flags,
			      n->layers & 1u << FS_UPPER ? FS_UPPER : FS_LOWER, r->fh);
}

static int restore_all(struct back *b, struct cursor *c)
{
	int rc = make_nodes(b, c);

	if (!rc) {
		name_nodes(b);
		for (unsigned i = 0; i < b->h->nodes; i++)
			if (b->node[i] && b->node[i]->share->mode == FS_COW)
				find_upper(b, b->node[i], 0);
		b->fs->handle_gen = b->h->handle_gen;
	}
	for (unsigned i = 0; !rc && i < b->h->handles; i++) {
		struct rec_handle r;

		rc = cursor_get(c, &r, sizeof(r));
		if (!rc)
			rc = open_handle(b, &r);
	}
	/* What nothing refers to goes again. */
	for (unsigned i = 0; i < b->h->nodes; i++)
		if (b->node[i])
			inode_put(b->fs, b->node[i]);
	return rc;
}

static int check_head(const struct head *h, size_t len)
{
	if (memcmp(h->magic, MAGIC, sizeof(h->magic)) != 0 || h->len != len)
		return -EBADMSG;
	if (h->version != VERSION)
		return -EPROTO;
	if (h->nodes > len / sizeof(struct rec_node) || h->nodes > FS_INODES_MAX ||
	    h->handles > len / sizeof(struct rec_handle) || h->next_id > UINT64_MAX / 2)
		return -EBADMSG;
	return blob_crc(h + 1, len) == h->crc ? 0 : -EBADMSG;
}

static int restore(struct fs *fs, const struct head *h, size_t len)
{
	struct cursor c = { (const uint8_t *)(h + 1), len };
	struct back b = { .fs = fs, .h = h };
	int rc = check_head(h, len);

	if (rc)
		return rc;
	b.node = calloc(h->nodes + 1, sizeof(struct inode *));
	b.rec = calloc(h->nodes + 1, sizeof(*b.rec));
	b.name = calloc(h->nodes + 1, sizeof(char *));
	rc = b.node && b.rec && b.name ? restore_all(&b, &c) : -ENOMEM;
	free(b.node);
	free(b.rec);
	free(b.name);
	return rc;
}

int state_restore(struct fs *fs, int fd, struct err *e)
{
	auto_mem struct head *h = NULL;
	off_t size = lseek(fd, 0, SEEK_END);
	size_t got = 0;
	int rc;

	if (size < (off_t)sizeof(*h) || size > (off_t)STATE_MAX)
		return err_say(e, -EBADMSG, "this is not the state of shares");
	h = calloc(1, (size_t)size);
	if (!h)
		return err_set(e, -ENOMEM, "the state of the shares");
	while (got < (size_t)size) {
		ssize_t n = pread(fd, (uint8_t *)h + got, (size_t)size - got, (off_t)got);

		if (n <= 0)
			return err_say(e, -EBADMSG, "the state of the shares cannot be read");
		got += (size_t)n;
	}
	rc = restore(fs, h, (size_t)size - sizeof(*h));
	return rc ? err_say(e, rc, "the state of the shares is damaged, or another version's") : 0;
}
