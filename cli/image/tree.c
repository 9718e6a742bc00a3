/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tree.c - folders are search trees (tsearch), so a folder of any size costs
 * no more than its names. A file lives as long as names lead to it; a hostile archive
 * cannot make cycles, because folders have one name each.
 */
#include <search.h>
#include "cli/image/tree.h"

#define LINKS_MAX	40u
#define PATH_BYTES_MAX	4096u

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct image_entry *)a)->name, ((const struct image_entry *)b)->name);
}

/* ---- files ---- */

static struct image_file *file_new(struct image_tree *t, mode_t mode, struct err *e)
{
	struct image_file *f = t->n_files < IMAGE_FILES_MAX ? calloc(1, sizeof(*f)) : NULL;

	if (!f) {
		err_say(e, -ENOSPC, "more than %u files, or no memory for them", t->n_files);
		return NULL;
	}
	t->n_files++;
	f->mode = mode;
	return f;
}

static void clear(struct image_tree *t, struct image_file *dir);

/* One name less. */
static void file_put(struct image_tree *t, struct image_file *f)
{
	if (f->nlink-- > 1)
		return;
	clear(t, f);
	while (f->xattr) {
		struct image_xattr *x = f->xattr;

		f->xattr = x->next;
		free(x->name);
		free(x);
	}
	free(f->target);
	free(f);
	t->n_files--;
}

static void clear(struct image_tree *t, struct image_file *dir)
{
	while (dir->entries) {
		struct image_entry *n = *(struct image_entry **)dir->entries;

		tdelete(n, &dir->entries, by_name);
		file_put(t, n->file);
		free(n->name);
		free(n);
	}
	dir->n_entries = 0;
}

static struct image_entry *lookup(const struct image_file *dir, const char *name)
{
	union { const char *c; char *v; } u = { .c = name };
	struct image_entry key = { .name = u.v };
	void *const *found = tfind(&key, &dir->entries, by_name);

	return found ? *found : NULL;
}

static int add(struct image_file *dir, const char *name, struct image_file *f, struct err *e)
{
	struct image_entry *n;

	BUG_ON(!dir);
	if (S_ISDIR(f->mode) && dir->depth == IMAGE_DEPTH_MAX)
		return err_say(e, -ELOOP, "folders deeper than %u", IMAGE_DEPTH_MAX);
	n = calloc(1, sizeof(*n));
	if (n)
		n->name = strdup(name);
	if (n)
		n->file = f;
	if (!n || !n->name || !tsearch(n, &dir->entries, by_name)) {
		if (n)
			free(n->name);
		free(n);
		return err_set(e, -ENOMEM, "file %s", name);
	}
	dir->n_entries++;
	f->nlink++;
	if (S_ISDIR(f->mode)) {
		f->parent = dir;
		f->depth = dir->depth + 1;
	}
	return 0;
}

static void drop(struct image_tree *t, struct image_file *dir, struct image_entry *n)
{
	tdelete(n, &dir->entries, by_name);
	dir->n_entries--;
	file_put(t, n->file);
	free(n->name);
	free(n);
}

/* ---- paths ---- */

/* The next part of *path, into @name; false at its end. A part that is too long is cut, badly. */
static bool next_part(const char **path, char name[static IMAGE_NAME_MAX + 2])
{
	size_t n;

	*path += strspn(*path, "/");
	n = strcspn(*path, "/");
	if (!n)
		return false;
	snprintf(name, IMAGE_NAME_MAX + 2, "%.*s", (int)(n < 4096 ? n : 4096), *path);
	*path += n;
	return true;
}

static bool is_last(const char *rest)
{
	return !rest[strspn(rest, "/")];
}

static struct image_file *walk(struct image_tree *t, struct image_file *from, const char *path,
			       bool make, bool all, char *last, unsigned *links, struct err *e);

/* What the entry leads to, as a folder on the way of a path. */
static struct image_file *follow(struct image_tree *t, struct image_file *dir,
				 struct image_file *f, bool make, unsigned *links, struct err *e)
{
	char last[IMAGE_NAME_MAX + 2];

	if (!S_ISLNK(f->mode))
		return f;
	if (++*links > LINKS_MAX) {
		err_say(e, -ELOOP, "too many links");
		return NULL;
	}
	return walk(t, f->target[0] == '/' ? t->root : dir, f->target, make, true, last, links, e);
}

static struct image_file *make_folder(struct image_tree *t, struct image_file *dir,
				      const char *name, struct err *e)
{
	struct image_file *f = file_new(t, S_IFDIR | 0755, e);

	if (f && add(dir, name, f, e)) {
		f->nlink = 1;
		file_put(t, f);
		return NULL;
	}
	return f;
}

/* One part further down from @dir. */
static struct image_file *step(struct image_tree *t, struct image_file *dir, const char *name,
			       bool make, unsigned *links, struct err *e)
{
	struct image_entry *n;
	struct image_file *f;

	if (!strcmp(name, "."))
		return dir;
	if (!strcmp(name, ".."))
		return dir->parent ? dir->parent : dir;
	if (strlen(name) > IMAGE_NAME_MAX) {
		err_say(e, -ENAMETOOLONG, "a name of more than %u bytes", IMAGE_NAME_MAX);
		return NULL;
	}
	n = lookup(dir, name);
	if (!n && make)
		return make_folder(t, dir, name, e);
	f = n ? follow(t, dir, n->file, make, links, e) : NULL;
	if (!n)
		err_say(e, -ENOENT, "%.100s is not there", name);
	return f;
}

/*
 * From @from along @path. With @all to its end; else to the folder that holds its last
 * part, which is put into @last. Missing folders are made with @make.
 */
static struct image_file *walk(struct image_tree *t, struct image_file *from, const char *path,
			       bool make, bool all, char *last, unsigned *links, struct err *e)
{
	struct image_file *dir = from;
	char name[IMAGE_NAME_MAX + 2];

	last[0] = '\0';
	if (strlen(path) >= PATH_BYTES_MAX) {
		err_say(e, -ENAMETOOLONG, "a path of more than %u bytes", PATH_BYTES_MAX);
		return NULL;
	}
	while (next_part(&path, name)) {
		if (!all && is_last(path)) {
			memcpy(last, name, sizeof(name));
			break;
		}
		if (!S_ISDIR(dir->mode)) {
			err_say(e, -ENOTDIR, "%.100s is in something that is no folder", name);
			return NULL;
		}
		dir = step(t, dir, name, make, links, e);
		if (!dir)
			return NULL;
	}
	if (!all && !S_ISDIR(dir->mode)) {
		err_say(e, -ENOTDIR, "%.100s is in something that is no folder", last);
		return NULL;
	}
	return dir;
}

struct image_file *image_tree_find(struct image_tree *t, const char *path)
{
	char last[IMAGE_NAME_MAX + 2];
	unsigned links = 0;
	struct err e;

	return walk(t, t->root, path, false, true, last, &links, &e);
}

/* The folder of @path's last part, which is a plain name. */
static struct image_file *parent_of(struct image_tree *t, const char *path, bool make, char *last,
				    struct err *e)
{
	unsigned links = 0;
	struct image_file *dir = walk(t, t->root, path, make, false, last, &links, e);

	if (!dir)
		return NULL;
	if (!last[0] || !strcmp(last, ".") || !strcmp(last, "..") ||
	    strlen(last) > IMAGE_NAME_MAX) {
		err_say(e, -EBADMSG, "no file can be called '%.100s'", path);
		return NULL;
	}
	return dir;
}

/* ---- the interface ---- */

int image_tree_init(struct image_tree *t, int fd, struct err *e)
{
	*t = (struct image_tree){ .fd = fd, .next_block = 1 };
	t->root = file_new(t, S_IFDIR | 0755, e);
	if (!t->root)
		return e->code;
	t->root->nlink = 1;
	return 0;
}

void image_tree_exit(struct image_tree *t)
{
	if (t->root)
		file_put(t, t->root);
	t->root = NULL;
}

static void forget_attributes(struct image_file *f)
{
	while (f->xattr) {
		struct image_xattr *x = f->xattr;

		f->xattr = x->next;
		free(x->name);
		free(x);
	}
}

struct image_file *image_tree_make(struct image_tree *t, const char *path, mode_t mode,
				   struct err *e)
{
	char last[IMAGE_NAME_MAX + 2];
	bool top = !path[strspn(path, "./")] && !strstr(path, "..");
	struct image_file *dir = top ? NULL : parent_of(t, path, true, last, e), *f;
	struct image_entry *n;

	if (!dir && (!top || !S_ISDIR(mode))) {
		if (top)
			err_say(e, -EBADMSG, "the root is no folder");
		return NULL;
	}
	n = dir ? lookup(dir, last) : NULL;
	f = dir ? (n ? n->file : NULL) : t->root;
	if (f && S_ISDIR(f->mode) && S_ISDIR(mode)) {
		forget_attributes(f);
		f->mode = mode;
		return f;
	}
	if (n)
		drop(t, dir, n);
	f = file_new(t, mode, e);
	if (f && add(dir, last, f, e)) {
		f->nlink = 1;
		file_put(t, f);
		return NULL;
	}
	return f;
}

int image_tree_link(struct image_tree *t, const char *path, const char *to, struct err *e)
{
	char last[IMAGE_NAME_MAX + 2];
	struct image_file *dir = parent_of(t, to, false, last, e), *f;
	struct image_entry *n = dir ? lookup(dir, last) : NULL;

	if (!n || S_ISDIR(n->file->mode))
		return err_say(e, -EBADMSG, "'%.100s' is a link to '%.100s', which is not there",
			       path, to);
	f = n->file;
	dir = parent_of(t, path, true, last, e);
	if (!dir)
		return e->code;
	n = lookup(dir, last);
	if (n && n->file == f)
		return 0;
	f->nlink++;		/* the old name at @path may be the last of another link's target */
	if (n)
		drop(t, dir, n);
	f->nlink--;
	return add(dir, last, f, e);
}

int image_tree_remove(struct image_tree *t, const char *path, struct err *e)
{
	char last[IMAGE_NAME_MAX + 2];
	struct image_file *dir = parent_of(t, path, false, last, e);
	struct image_entry *n = dir ? lookup(dir, last) : NULL;

	if (n)
		drop(t, dir, n);
	return !dir && e->code != -ENOENT && e->code != -ENOTDIR ? e->code : 0;
}

int image_tree_clear(struct image_tree *t, const char *path, struct err *e)
{
	char last[IMAGE_NAME_MAX + 2];
	unsigned links = 0;
	struct image_file *dir = walk(t, t->root, path, false, true, last, &links, e);

	if (dir && S_ISDIR(dir->mode))
		clear(t, dir);
	return 0;
}

int image_tree_size(struct image_tree *t, struct image_file *f, uint64_t size, struct err *e)
{
	uint64_t blocks = size / IMAGE_BLOCK + (size % IMAGE_BLOCK != 0);

	if (size > IMAGE_BYTES_MAX || blocks > IMAGE_BYTES_MAX / IMAGE_BLOCK - t->next_block)
		return err_say(e, -EFBIG, "the files are larger than an image can be");
	f->size = size;
	f->block = size ? t->next_block : 0;
	t->next_block += blocks;
	return 0;
}

int image_tree_write(struct image_tree *t, struct image_file *f, uint64_t off, const void *p,
		     size_t len, struct err *e)
{
	const char *at = p;

	if (off > f->size || len > f->size - off)
		return err_say(e, -EBADMSG, "a file is longer than its header says");
	while (len) {
		ssize_t n = pwrite(t->fd, at, len, (off_t)(f->block * IMAGE_BLOCK + off));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return err_set(e, n ? -errno : -ENOSPC, "write the image");
		at += n;
		off += (size_t)n;
		len -= (size_t)n;
	}
	return 0;
}

int image_tree_xattr(struct image_file *f, const char *name, const void *value, size_t len,
		     struct err *e)
{
	struct image_xattr *x, **at = &f->xattr;
	size_t sum = strlen(name) + len + 8;

	for (x = f->xattr; x; x = x->next)
		sum += strlen(x->name) + x->len + 8;
	if (strlen(name) > IMAGE_NAME_MAX || len > IMAGE_XATTRS_MAX || sum > IMAGE_XATTRS_MAX)
		return err_say(e, -E2BIG, "more than %u bytes of extended attributes",
			       IMAGE_XATTRS_MAX);
	while (*at && strcmp((*at)->name, name) < 0)	/* sorted: the same bytes each time */
		at = &(*at)->next;
	x = malloc(sizeof(*x) + len);
	if (!x)
		return err_set(e, -ENOMEM, "extended attribute");
	*x = (struct image_xattr){ .next = *at, .name = strdup(name), .len = len };
	memcpy(x->value, value, len);
	if (!x->name) {
		free(x);
		return err_set(e, -ENOMEM, "extended attribute");
	}
	*at = x;
	return 0;
}

int image_tree_target(struct image_file *f, const char *target, struct err *e)
{
	if (!*target || strlen(target) >= PATH_BYTES_MAX)
		return err_say(e, -EBADMSG, "a link to a path of %zu bytes", strlen(target));
	f->target = strdup(target);
	return f->target ? 0 : err_set(e, -ENOMEM, "link");
}

static struct image_entry **list_at;		/* twalk has no argument of its caller's */

static void list_one(const void *node, VISIT which, int depth)
{
	(void)depth;
	if (which == postorder || which == leaf)
		*list_at++ = *(struct image_entry *const *)node;
}

struct image_entry **image_tree_list(const struct image_file *dir)
{
	struct image_entry **list = calloc(dir->n_entries + 1, sizeof(struct image_entry *));

	if (!list)
		return NULL;
	list_at = list;
	twalk(dir->entries, list_one);
	return list;
}
