/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inode.c - the table of inodes: by number, and by identity on the host.
 *
 * An inode lives while the guest has references (LOOKUP counts them up, FORGET down) or
 * while something of ours points at it: a request, a child, an open file. Two hash tables
 * grow together. Files with several names are one inode, known by the two names used last.
 */
#include "devices/fs/place.h"
#include "devices/fs/server.h"

#define BUCKETS_MIN 1024u

static size_t id_slot(const struct fs *fs, uint64_t id)
{
	return (size_t)(id * 0x9e3779b97f4a7c15ull >> 20) & (fs->buckets - 1);
}

static size_t key_slot(const struct fs *fs, const struct share *s, const struct ident *id)
{
	uint64_t h = (id->ino + id->dev * 0xff51afd7ed558ccdull + s->id) * 0x9e3779b97f4a7c15ull;

	return (size_t)(h >> 20) & (fs->buckets - 1);
}

struct ident ident_of(const struct statx *st)
{
	struct ident id = { makedev(st->stx_dev_major, st->stx_dev_minor), st->stx_ino, 0 };

	if (st->stx_mask & STATX_BTIME)
		id.born = (uint64_t)st->stx_btime.tv_sec * 1000000000u + st->stx_btime.tv_nsec;
	return id;
}

static void key_set(struct fs *fs, struct inode *n, enum fs_layer layer, const struct ident *id)
{
	struct key **at = &fs->by_key[key_slot(fs, n->share, id)];

	n->key[layer] = (struct key){ *id, n, *at };
	*at = &n->key[layer];
}

static void key_clear(struct fs *fs, struct inode *n, enum fs_layer layer)
{
	struct key *k = &n->key[layer], **at;

	if (!k->node)
		return;
	at = &fs->by_key[key_slot(fs, n->share, &k->id)];
	while (*at != k)
		at = &(*at)->next;
	*at = k->next;
	k->node = NULL;
}

static int tables_grow(struct fs *fs)
{
	size_t old = fs->buckets, want = old ? old * 2 : BUCKETS_MIN;
	struct inode **ids = calloc(want, sizeof(struct inode *));
	struct key **keys = calloc(want, sizeof(struct key *));
	struct inode **old_ids = fs->by_id;
	struct key **old_keys = fs->by_key;

	if (!ids || !keys) {
		free(ids);
		free(keys);
		return -ENOMEM;
	}
	fs->by_id = ids;
	fs->by_key = keys;
	fs->buckets = want;
	for (size_t i = 0; i < old; i++) {
		for (struct inode *n = old_ids[i], *next; n; n = next) {
			next = n->next;
			n->next = ids[id_slot(fs, n->id)];
			ids[id_slot(fs, n->id)] = n;
		}
		for (struct key *k = old_keys[i], *next; k; k = next) {
			size_t slot = key_slot(fs, k->node->share, &k->id);

			next = k->next;
			k->next = keys[slot];
			keys[slot] = k;
		}
	}
	free(old_ids);
	free(old_keys);
	return 0;
}

static struct inode *inode_new(struct fs *fs, struct share *s, uint64_t id)
{
	struct inode *n = calloc(1, sizeof(*n));

	if (!n)
		return NULL;
	n->id = id;
	n->share = s;
	n->fd[FS_UPPER] = n->fd[FS_LOWER] = -1;
	n->refs = 1;
	n->next = fs->by_id[id_slot(fs, id)];
	fs->by_id[id_slot(fs, id)] = n;
	fs->inodes++;
	if (s)
		s->inodes++;
	return n;
}

int inode_init(struct fs *fs)
{
	fs->lru.lru_next = fs->lru.lru_prev = &fs->lru;
	fs->next_id = FUSE_ROOT_ID + 1;
	if (tables_grow(fs))
		return -ENOMEM;
	fs->root = inode_new(fs, NULL, FUSE_ROOT_ID);
	if (!fs->root)
		return -ENOMEM;
	fs->root->type = S_IFDIR;
	fs->root->ino = 1;
	fs->root->lookups = 1;
	return 0;
}

void inode_exit(struct fs *fs)
{
	for (size_t i = 0; i < fs->buckets; i++) {
		for (struct inode *n = fs->by_id[i], *next; n; n = next) {
			next = n->next;
			dir_uncache(fs, n);
			if (n->share)
				share_unref(n->share);
			free(n->name);
			free(n->alt_name);
			free(n);
		}
	}
	free(fs->by_id);
	free(fs->by_key);
}

struct inode *inode_by_id(const struct fs *fs, uint64_t id)
{
	struct inode *n = fs->by_id[id_slot(fs, id)];

	while (n && n->id != id)
		n = n->next;
	return n;
}

static struct inode *by_ident(const struct fs *fs, const struct share *s, const struct ident *id)
{
	struct key *k = fs->by_key[key_slot(fs, s, id)];

	while (k && !(ident_same(&k->id, id) && k->node->share == s))
		k = k->next;
	return k ? k->node : NULL;
}

struct inode *inode_get(struct fs *fs, uint64_t id)
{
	struct inode *n;

	pthread_mutex_lock(&fs->lock);
	n = inode_by_id(fs, id);
	if (n && !n->lookups)
		n = NULL;
	if (n)
		n->refs++;
	pthread_mutex_unlock(&fs->lock);
	return n;
}

void inode_hold(struct fs *fs, struct inode *n)
{
	pthread_mutex_lock(&fs->lock);
	n->refs++;
	pthread_mutex_unlock(&fs->lock);
}

static void inode_free(struct fs *fs, struct inode *n)
{
	struct inode **at = &fs->by_id[id_slot(fs, n->id)];

	while (*at != n)
		at = &(*at)->next;
	*at = n->next;
	dir_uncache(fs, n);
	for (unsigned i = 0; i < FS_LAYERS; i++)
		key_clear(fs, n, i);
	fs->inodes--;
	share_unref(n->share);
	free(n->name);
	free(n->alt_name);
	free(n);
}

/* A child holds its parent: the chain is freed in a loop, however deep it is. */
void inode_put_locked(struct fs *fs, struct inode *n)
{
	while (n && !--n->refs && !n->lookups && n != fs->root) {
		struct inode *parent = n->parent, *other = n->alt_parent;

		inode_free(fs, n);
		/* Only files have another one, so that this goes two levels deep at most. */
		inode_put_locked(fs, other);
		n = parent;
	}
}

void inode_put(struct fs *fs, struct inode *n)
{
	pthread_mutex_lock(&fs->lock);
	inode_put_locked(fs, n);
	pthread_mutex_unlock(&fs->lock);
}

void inode_forget(struct fs *fs, uint64_t id, uint64_t count)
{
	struct inode *n;

	pthread_mutex_lock(&fs->lock);
	n = inode_by_id(fs, id);
	if (n && n != fs->root) {
		n->refs++;
		n->lookups -= count < n->lookups ? count : n->lookups;
		inode_put_locked(fs, n);
	}
	pthread_mutex_unlock(&fs->lock);
}

/* Would @n be above itself with @parent? Also true for what is deeper than we go. */
static bool makes_circle(const struct inode *n, const struct inode *parent)
{
	unsigned depth = 0;

	for (; parent; parent = parent->parent)
		if (parent == n || ++depth > FS_DEPTH_MAX)
			return true;
	return false;
}

static void drop_alt(struct fs *fs, struct inode *n)
{
	struct inode *old = n->alt_parent;

	free(n->alt_name);
	n->alt_name = NULL;
	n->alt_parent = NULL;
	inode_put_locked(fs, old);
}

static int set_name(struct fs *fs, struct inode *n, struct inode *parent, const char *name)
{
	struct inode *old = n->parent;
	char *copy;

	if (old == parent && n->name && !strcmp(n->name, name))
		return 0;
	if (makes_circle(n, parent))
		return -ESTALE;
	copy = strdup(name);
	if (!copy)
		return -ENOMEM;
	parent->refs++;
	if (old && n->type != S_IFDIR) {
		drop_alt(fs, n);
		n->alt_parent = old;
		n->alt_name = n->name;
	} else {
		free(n->name);
		inode_put_locked(fs, old);
	}
	n->name = copy;
	n->parent = parent;
	return 0;
}

/* What is known already under one of the identities found, if it is of the same kind. */
static struct inode *known(struct fs *fs, struct share *s, const struct found *f)
{
	for (unsigned i = 0; i < FS_LAYERS; i++) {
		struct inode *n = f->layers & 1u << i ? by_ident(fs, s, &f->id[i]) : NULL;

		if (!n)
			continue;
		if (n->type == (f->st.stx_mode & S_IFMT))
			return n;
		key_clear(fs, n, i);	/* the number was used again */
	}
	return NULL;
}

static bool key_stays(const struct inode *n, unsigned layer, const struct found *f)
{
	return n->key[layer].node && f->layers & 1u << layer &&
	       ident_same(&n->key[layer].id, &f->id[layer]);
}

/* The layers where it was found are those where it is. -ESTALE while the old place is in use. */
static int set_keys(struct fs *fs, struct inode *n, const struct found *f)
{
	for (unsigned i = 0; i < FS_LAYERS; i++)
		if (n->pins[i] && n->key[i].node && !key_stays(n, i, f))
			return -ESTALE;
	for (unsigned i = 0; i < FS_LAYERS; i++) {
		bool is = f->layers & 1u << i;
		struct inode *other;

		if (key_stays(n, i, f))
			continue;
		if (n->fd[i] >= 0 && !n->pins[i]) {
			close(n->fd[i]);
			n->fd[i] = -1;
			fs->dirfds--;
		}
		key_clear(fs, n, i);
		if (!is)
			continue;
		other = by_ident(fs, n->share, &f->id[i]);
		if (other)
			key_clear(fs, other, i);
		key_set(fs, n, i, &f->id[i]);
	}
	n->layers = f->layers;
	return 0;
}

int inode_find(struct fs *fs, struct share *s, struct inode *parent, const char *name,
	       const struct found *f, bool looked, struct inode **out)
{
	struct inode *n;
	int rc = 0;

	pthread_mutex_lock(&fs->lock);
	/* What is told here of a copy that was made meanwhile would be believed: it has none. */
	if (f->must_hold && f->changes != s->changes) {
		pthread_mutex_unlock(&fs->lock);
		*out = NULL;
		return -EAGAIN;
	}
	if (!f->must_hold)
		s->changes++;	/* a name may be another's now */
	n = known(fs, s, f);
	if (n) {
		n->refs++;
	} else if (fs->inodes >= FS_INODES_MAX) {
		rc = -ENFILE;
	} else {
		if (fs->inodes > fs->buckets && tables_grow(fs))
			rc = -ENOMEM;
		n = rc ? NULL : inode_new(fs, s, fs->next_id++);
		if (n) {
			n->type = f->st.stx_mode & S_IFMT;
			n->ino = share_ino(s, &f->shown);
		} else {
			rc = -ENOMEM;
		}
	}
	if (!rc) {
		rc = set_keys(fs, n, f);
		if (!rc && parent)
			rc = set_name(fs, n, parent, name);
		if (!rc && looked)
			n->lookups++;
		if (rc)
			inode_put_locked(fs, n);
	}
	pthread_mutex_unlock(&fs->lock);
	*out = rc ? NULL : n;
	return rc;
}

/* The name before it takes its place: if it is no link, it will turn out to be wrong. */
static void drop_name(struct fs *fs, struct inode *n)
{
	struct inode *old = n->parent;

	free(n->name);
	n->name = n->alt_name;
	n->parent = n->alt_parent;
	n->alt_name = NULL;
	n->alt_parent = NULL;
	inode_put_locked(fs, old);
}

void inode_unlinked(struct fs *fs, struct inode *parent, const char *name,
		    const struct ident *id, enum fs_layer layer)
{
	struct inode *n;

	pthread_mutex_lock(&fs->lock);
	parent->share->changes++;
	n = by_ident(fs, parent->share, id);
	if (n && n->key[layer].node) {
		n->refs++;
		if (n->alt_parent == parent && !strcmp(n->alt_name, name))
			drop_alt(fs, n);
		if (n->parent == parent && !strcmp(n->name, name))
			drop_name(fs, n);
		inode_put_locked(fs, n);
	}
	pthread_mutex_unlock(&fs->lock);
}

void inode_renamed(struct fs *fs, struct inode *n, struct inode *parent, const char *name)
{
	pthread_mutex_lock(&fs->lock);
	/* Without memory for a name it has none: ESTALE until it is looked up. */
	if (set_name(fs, n, parent, name))
		drop_name(fs, n);
	pthread_mutex_unlock(&fs->lock);
}

void inode_raised(struct fs *fs, struct inode *n, enum fs_layer layer, const struct ident *id)
{
	pthread_mutex_lock(&fs->lock);
	n->share->changes++;
	if (n->type != S_IFDIR) {
		key_clear(fs, n, FS_LOWER);
		n->layers = 0;
	}
	if (n->key[layer].node)
		key_clear(fs, n, layer);
	key_set(fs, n, layer, id);
	n->layers |= (uint8_t)(1u << layer);
	pthread_mutex_unlock(&fs->lock);
}

/* Who has it open there works on; the descriptor is closed with the others. */
void inode_alone(struct fs *fs, struct inode *n)
{
	pthread_mutex_lock(&fs->lock);
	n->share->changes++;
	key_clear(fs, n, FS_LOWER);
	n->layers &= (uint8_t)~(1u << FS_LOWER);
	pthread_mutex_unlock(&fs->lock);
}

void inode_renumber(struct fs *fs, struct inode *n, uint64_t id)
{
	struct inode **at = &fs->by_id[id_slot(fs, n->id)];

	while (*at != n)
		at = &(*at)->next;
	*at = n->next;
	n->id = id;
	n->next = fs->by_id[id_slot(fs, id)];
	fs->by_id[id_slot(fs, id)] = n;
}

int inode_restore(struct fs *fs, struct share *s, uint64_t number, mode_t type, uint8_t layers,
		  const struct ident id[FS_LAYERS], struct inode **out)
{
	struct inode *n = NULL;
	int rc = 0;

	pthread_mutex_lock(&fs->lock);
	if (inode_by_id(fs, number))
		rc = -EEXIST;
	else if (fs->inodes >= FS_INODES_MAX)
		rc = -ENFILE;
	else if (fs->inodes > fs->buckets && tables_grow(fs))
		rc = -ENOMEM;
	if (!rc)
		n = inode_new(fs, s, number);
	if (n) {
		n->type = type;
		n->layers = layers;
		for (unsigned i = 0; i < FS_LAYERS; i++)
			if (layers & 1u << i && id[i].ino && !by_ident(fs, s, &id[i]))
				key_set(fs, n, i, &id[i]);
	}
	pthread_mutex_unlock(&fs->lock);
	*out = n;
	return rc ? rc : n ? 0 : -ENOMEM;
}

void inode_adopt(struct fs *fs, struct inode *n, enum fs_layer layer, const struct ident *id)
{
	pthread_mutex_lock(&fs->lock);
	if (!by_ident(fs, n->share, id))
		key_set(fs, n, layer, id);
	pthread_mutex_unlock(&fs->lock);
}
