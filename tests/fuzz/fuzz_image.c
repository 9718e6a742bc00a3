/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_image.c - an image's layer over a small tree, and the tree written as a file
 * system. The first byte says what the rest is: bytes of a tar archive, whose checksums
 * few inputs get right; or what an archive would ask of the tree, a byte for each step and
 * more for its paths. An image that is made is whole: each inode lies in it.
 */
#include <sys/mman.h>
#include "cli/image/erofs.h"
#include "cli/image/source.h"

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t n);

static int file_of(const uint8_t *in, size_t n)
{
	int fd = memfd_create("layer", MFD_CLOEXEC);

	BUG_ON(fd < 0 || write(fd, in, n) != (ssize_t)n || lseek(fd, 0, SEEK_SET));
	return fd;
}

/* What a layer finds below it: a folder, a file with two names, a link. */
static void some_tree(struct image_tree *t)
{
	struct err e;
	struct image_file *f = image_tree_make(t, "a/b/c", S_IFREG | 0644, &e);

	BUG_ON(!f || image_tree_size(t, f, 5, &e) || image_tree_write(t, f, 0, "hello", 5, &e));
	BUG_ON(image_tree_link(t, "a/d", "a/b/c", &e));
	f = image_tree_make(t, "l", S_IFLNK | 0777, &e);
	BUG_ON(!f || image_tree_target(f, "a/b", &e));
}

/* ---- steps ---- */

static const uint8_t *at, *end;

static unsigned take(void)
{
	return at < end ? *at++ : 0;
}

/* One to four parts of few names, so that they meet. */
static const char *path(char *p)
{
	static const char *const parts[] = { "a", "b", "c", "l", "..", ".", "d", "" };
	unsigned n = 1 + take() % 4;

	*p = '\0';
	while (n--) {
		strcat(p, parts[take() % ARRAY_LEN(parts)]);
		strcat(p, n ? "/" : "");
	}
	return p;
}

static int step(struct image_tree *t)
{
	static const mode_t kinds[] = { S_IFREG, S_IFDIR, S_IFLNK, S_IFCHR, S_IFIFO, S_IFDIR };
	mode_t kind = kinds[take() % ARRAY_LEN(kinds)];
	char p[64], q[64];
	struct image_file *f;
	struct err e;

	switch (take() % 5) {
	case 0:
		return image_tree_link(t, path(p), path(q), &e);
	case 1:
		return image_tree_remove(t, path(p), &e);
	case 2:
		return image_tree_clear(t, path(p), &e);
	default:
		break;
	}
	f = image_tree_make(t, path(p), kind | 0644, &e);
	if (!f)
		return 0;
	if (kind == S_IFLNK && image_tree_target(f, path(q), &e))
		BUG_ON(image_tree_target(f, "x", &e));
	if (kind == S_IFREG && !image_tree_size(t, f, take() * 100, &e) && f->size)
		BUG_ON(image_tree_write(t, f, f->size - 1, "", 1, &e));
	return image_tree_xattr(f, take() % 2 ? "user.x" : "other", p, strlen(p), &e);
}

static int layer(struct image_tree *t, const uint8_t *in, size_t n)
{
	struct err e;
	int fd, rc;

	if (in[0] % 4) {
		at = in + 1;
		end = in + n;
		while (at < end)
			(void)!step(t);
		return 0;
	}
	fd = file_of(in + 1, n - 1);
	rc = image_from_layer(t, fd, &e);
	close(fd);
	return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t n)
{
	struct image_tree t;
	struct err e;
	uint64_t size = 0;
	int out = memfd_create("image", MFD_CLOEXEC);

	if (!n || n > 1 << 16) {
		close(out);
		return 0;
	}
	BUG_ON(out < 0 || image_tree_init(&t, out, &e));
	some_tree(&t);
	if (!layer(&t, in, n) && !image_finish(&t, &e) &&
	    !image_erofs_write(&t, &size, &e))
		BUG_ON(lseek(out, 0, SEEK_END) != (off_t)size || t.root->at >= size);
	image_tree_exit(&t);
	BUG_ON(t.n_files);
	close(out);
	return 0;
}
