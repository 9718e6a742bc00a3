/* SPDX-License-Identifier: Apache-2.0 */
/*
 * erofs.c - two walks over the tree, in the order of names: the first gives
 * each inode its place, the second writes it.
 *
 *	block 0		superblock, at byte 1024
 *	1 ..		contents of files, as they came
 *	..		contents of folders and links too large to stand in their inode
 *	meta ..		inodes: each with its attributes and a small folder or link
 *			behind it, all within one block
 *
 * The number of an inode is its place in units of 32 bytes; folders hold the numbers.
 * Everything is little-endian, and zero where nothing is said.
 */
#include <endian.h>
#include <sys/sysmacros.h>
#include "cli/image/erofs.h"

#define MAGIC		0xe0f5e1e2u
#define SUPER_AT	1024u
#define SLOT		32u
#define FIRST_AT	64u		/* no inode has number 0: readdir(3) would skip it */
#define LAYOUT_PLAIN	0u
#define LAYOUT_INLINE	2u
#define EXTENDED	1u

struct super {
	uint32_t magic, checksum, feature_compat;
	uint8_t blkszbits, extslots;
	uint16_t root_nid;
	uint64_t inos, build_time;
	uint32_t build_time_nsec, blocks, meta_blkaddr, xattr_blkaddr;
	uint8_t uuid[16], volume_name[16];
	uint32_t feature_incompat;
	uint8_t rest[44];
};

struct inode {
	uint16_t format, xattr_icount, mode, reserved;
	uint64_t size;
	uint32_t u, ino, uid, gid;
	uint64_t mtime;
	uint32_t mtime_nsec, nlink;
	uint8_t reserved2[16];
};

struct __attribute__((packed)) dirent {
	uint64_t nid;
	uint16_t nameoff;
	uint8_t type, reserved;
};

_Static_assert(sizeof(struct super) == 128, "EROFS superblock");
_Static_assert(sizeof(struct inode) == 64, "EROFS extended inode");
_Static_assert(sizeof(struct dirent) == 12, "EROFS directory entry");

struct writer {
	struct image_tree *t;
	uint64_t pos;		/* in the metadata; then its size */
	uint64_t meta;		/* block at which it begins */
	uint64_t inodes;
	struct err *e;
};

/* ---- extended attributes ---- */

static const struct { const char *prefix; uint8_t index; bool whole; } prefixes[] = {
	{ "user.", 1, false }, { "system.posix_acl_access", 2, true },
	{ "system.posix_acl_default", 3, true }, { "trusted.", 4, false },
	{ "security.", 6, false },
};

/* Its index and the rest of its name; 0 for one that EROFS cannot have. */
static uint8_t xattr_index(const char *name, const char **rest)
{
	for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
		size_t n = strlen(prefixes[i].prefix);

		*rest = name + n;
		if (!strncmp(name, prefixes[i].prefix, n) && (!prefixes[i].whole || !**rest))
			return prefixes[i].index;
	}
	return 0;
}

/* The attributes as they are stored, to @out if that is not NULL. Returns their bytes. */
static size_t put_xattrs(const struct image_file *f, uint8_t *out)
{
	size_t n = 12;			/* the header: no shared ones */

	for (const struct image_xattr *x = f->xattr; x; x = x->next) {
		const char *name;
		uint8_t index = xattr_index(x->name, &name);
		size_t len = strlen(name);

		if (!index)
			continue;
		if (out) {
			out[n] = (uint8_t)len;
			out[n + 1] = index;
			out[n + 2] = (uint8_t)x->len;
			out[n + 3] = (uint8_t)(x->len >> 8);
			memcpy(out + n + 4, name, len);
			memcpy(out + n + 4 + len, x->value, x->len);
		}
		n += (4 + len + x->len + 3) & ~(size_t)3;
	}
	return n == 12 ? 0 : n;
}

/* ---- folders ---- */

static uint8_t type_of(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG: return 1;
	case S_IFDIR: return 2;
	case S_IFCHR: return 3;
	case S_IFBLK: return 4;
	case S_IFIFO: return 5;
	case S_IFSOCK: return 6;
	default: return 7;		/* link */
	}
}

struct list { struct image_entry **v; size_t n; };

/* With "." and "..", all in order. */
static int list_all(const struct image_file *dir, struct list *l, struct image_entry dots[2],
		    struct err *e)
{
	struct image_entry **names = image_tree_list(dir), **v;
	size_t n = dir->n_entries, i = 0, d = 0;

	v = names ? calloc(n + 2, sizeof(struct image_entry *)) : NULL;
	if (!v) {
		free(names);
		return err_set(e, -ENOMEM, "write the image");
	}
	for (l->n = 0; i < n || d < 2;)
		if (d < 2 && (i == n || strcmp(dots[d].name, names[i]->name) < 0))
			v[l->n++] = &dots[d++];
		else
			v[l->n++] = names[i++];
	l->v = v;
	free(names);
	return 0;
}

/* How many entries from @from on fit into a block, and the bytes that they take. */
static size_t block_of(const struct list *l, size_t from, size_t *bytes)
{
	size_t n = from;

	for (*bytes = 0; n < l->n; n++) {
		size_t more = sizeof(struct dirent) + strlen(l->v[n]->name);

		if (*bytes + more > IMAGE_BLOCK)
			break;
		*bytes += more;
	}
	return n - from;
}

static void put_block(const struct list *l, size_t from, size_t n, uint8_t *out)
{
	size_t off = n * sizeof(struct dirent);

	for (size_t i = 0; i < n; i++) {
		const struct image_entry *it = l->v[from + i];
		struct dirent d = { .nid = htole64(it->file->at / SLOT),
				    .nameoff = htole16((uint16_t)off),
				    .type = type_of(it->file->mode) };

		memcpy(out + i * sizeof(d), &d, sizeof(d));
		memcpy(out + off, it->name, strlen(it->name));
		off += strlen(it->name);
	}
}

/* The folder's contents, malloc'ed, of *size bytes; blocks but the last one are full. */
static uint8_t *folder(const struct image_file *dir, uint64_t *size, struct err *e)
{
	char one[] = ".", two[] = "..";
	union { const struct image_file *c; struct image_file *v; } self = { .c = dir };
	struct image_entry dots[2] = { { one, self.v },
				       { two, dir->parent ? dir->parent : self.v } };
	size_t bytes = 0, blocks = 0;
	struct list l = { 0 };
	uint8_t *out;

	if (list_all(dir, &l, dots, e))
		return NULL;
	for (size_t i = 0; i < l.n; blocks++)
		i += block_of(&l, i, &bytes);
	BUG_ON(!blocks);		/* there are always the dots */
	*size = (uint64_t)(blocks - 1) * IMAGE_BLOCK + bytes;
	out = calloc(blocks, IMAGE_BLOCK);
	if (!out)
		err_set(e, -ENOMEM, "write the image");
	for (size_t i = 0, b = 0; out && i < l.n; b++) {
		size_t n = block_of(&l, i, &bytes);

		put_block(&l, i, n, out + b * IMAGE_BLOCK);
		i += n;
	}
	free(l.v);
	return out;
}

/* ---- places ---- */

/* What a folder or a link holds. NULL and *size 0 for other files; malloc'ed. */
static int contents(const struct image_file *f, uint8_t **out, uint64_t *size, struct err *e)
{
	*out = NULL;
	*size = 0;
	if (S_ISDIR(f->mode)) {
		*out = folder(f, size, e);
	} else if (S_ISLNK(f->mode)) {
		*size = strlen(f->target);
		*out = (uint8_t *)strdup(f->target);
		if (!*out)
			err_set(e, -ENOMEM, "write the image");
	} else {
		return 0;
	}
	return *out ? 0 : e->code;
}

static size_t head_size(const struct image_file *f)
{
	return sizeof(struct inode) + put_xattrs(f, NULL);
}

static int place(struct writer *w, struct image_file *f)
{
	uint8_t *own;
	uint64_t size, need = head_size(f);
	int rc;

	if (f->placed)
		return 0;
	rc = contents(f, &own, &size, w->e);
	if (rc)
		return rc;
	free(own);
	if (own && need + size <= IMAGE_BLOCK) {
		need += size;
	} else if (own) {
		f->block = w->t->next_block;
		w->t->next_block += (size + IMAGE_BLOCK - 1) / IMAGE_BLOCK;
	}
	if (w->pos % IMAGE_BLOCK + need > IMAGE_BLOCK)
		w->pos = (w->pos + IMAGE_BLOCK - 1) / IMAGE_BLOCK * IMAGE_BLOCK;
	f->at = w->pos;
	f->placed = true;
	w->pos = (w->pos + need + SLOT - 1) / SLOT * SLOT;
	w->inodes++;
	return 0;
}

static int each(struct writer *w, struct image_file *f, int (*fn)(struct writer *w,
								   struct image_file *f))
{
	struct image_entry **list;
	int rc = fn(w, f);

	if (rc || !S_ISDIR(f->mode))
		return rc;
	list = image_tree_list(f);
	if (!list)
		return err_set(w->e, -ENOMEM, "write the image");
	for (size_t i = 0; !rc && i < f->n_entries; i++)
		rc = each(w, list[i]->file, fn);
	free(list);
	return rc;
}

/* ---- writing ---- */

static int put(struct writer *w, const void *p, size_t len, uint64_t at)
{
	const char *s = p;

	while (len) {
		ssize_t n = pwrite(w->t->fd, s, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return err_set(w->e, n ? -errno : -ENOSPC, "write the image");
		s += n;
		at += (size_t)n;
		len -= (size_t)n;
	}
	return 0;
}

static uint32_t links_of(const struct image_file *f)
{
	uint32_t n = 2;
	struct image_entry **list;

	if (!S_ISDIR(f->mode))
		return f->nlink;
	list = image_tree_list(f);
	for (size_t i = 0; list && i < f->n_entries; i++)
		n += S_ISDIR(list[i]->file->mode);
	free(list);
	return n;
}

static uint32_t encode_dev(dev_t d)
{
	uint32_t a = major(d), b = minor(d);

	return (b & 0xff) | a << 8 | (b & ~0xffu) << 12;
}

static void fill_inode(const struct image_file *f, struct inode *d, uint64_t size, bool in_line,
		       size_t xattrs)
{
	bool device = S_ISCHR(f->mode) || S_ISBLK(f->mode);

	*d = (struct inode){
		.format = htole16(EXTENDED | (in_line ? LAYOUT_INLINE : LAYOUT_PLAIN) << 1),
		.xattr_icount = htole16((uint16_t)(xattrs ? (xattrs - 12) / 4 + 1 : 0)),
		.mode = htole16((uint16_t)f->mode), .size = htole64(size),
		.u = htole32(device ? encode_dev(f->rdev) : (uint32_t)f->block),
		.ino = htole32((uint32_t)(f->at / SLOT)), .uid = htole32(f->uid),
		.gid = htole32(f->gid), .mtime = htole64((uint64_t)f->mtime),
		.mtime_nsec = htole32(f->mtime_ns), .nlink = htole32(links_of(f)),
	};
}

static int write_file(struct writer *w, struct image_file *f)
{
	uint8_t block[IMAGE_BLOCK] = { 0 };
	size_t head = head_size(f), xattrs = head - sizeof(struct inode);
	uint8_t *own;
	uint64_t size;
	struct inode d;
	bool in_line;
	int rc;

	if (f->written)
		return 0;
	f->written = true;
	rc = contents(f, &own, &size, w->e);
	if (rc)
		return rc;
	in_line = own && head + size <= IMAGE_BLOCK;
	fill_inode(f, &d, own ? size : f->size, in_line, xattrs);
	memcpy(block, &d, sizeof(d));
	if (xattrs)
		put_xattrs(f, block + sizeof(d));
	if (in_line)
		memcpy(block + head, own, size);
	else if (own)
		rc = put(w, own, size, f->block * IMAGE_BLOCK);
	free(own);
	return rc ? rc : put(w, block, head + (in_line ? size : 0),
			     w->meta * IMAGE_BLOCK + f->at);
}

static int write_super(struct writer *w, uint64_t blocks)
{
	struct super s = {
		.magic = htole32(MAGIC), .blkszbits = 12,
		.root_nid = htole16((uint16_t)(w->t->root->at / SLOT)),
		.inos = htole64(w->inodes), .blocks = htole32((uint32_t)blocks),
		.meta_blkaddr = htole32((uint32_t)w->meta),
	};

	return put(w, &s, sizeof(s), SUPER_AT);
}

int image_erofs_write(struct image_tree *t, uint64_t *size, struct err *e)
{
	struct writer w = { .t = t, .pos = FIRST_AT, .e = e };
	uint64_t blocks;
	int rc = each(&w, t->root, place);

	if (rc)
		return rc;
	w.meta = t->next_block;
	rc = each(&w, t->root, write_file);
	blocks = w.meta + (w.pos + IMAGE_BLOCK - 1) / IMAGE_BLOCK;
	if (!rc)
		rc = write_super(&w, blocks);
	if (!rc && ftruncate(t->fd, (off_t)(blocks * IMAGE_BLOCK)))
		rc = err_set(e, -errno, "size the image");
	*size = blocks * IMAGE_BLOCK;
	return rc;
}
