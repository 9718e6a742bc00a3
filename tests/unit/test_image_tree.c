/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree of an image: paths, links, replacement, bounds; and the file that it becomes, as
 * far as its words can be looked at here (fsck.erofs and guests do the rest).
 */
#include <criterion/criterion.h>
#include <sys/mman.h>
#include "cli/image/erofs.h"
#include "cli/image/source.h"

static struct image_tree t;
static struct err e;
static int fd = -1;

static void set_up(void)
{
	fd = memfd_create("image", MFD_CLOEXEC);
	cr_assert_eq(image_tree_init(&t, fd, &e), 0);
}

static void tear_down(void)
{
	image_tree_exit(&t);
	cr_assert_eq(t.n_files, 0);
	close(fd);
}

TestSuite(image_tree, .init = set_up, .fini = tear_down, .timeout = 60);

static struct image_file *make(const char *path, mode_t mode)
{
	struct image_file *f = image_tree_make(&t, path, mode, &e);

	cr_assert(f, "%s: %s", path, e.msg);
	return f;
}

static void make_link(const char *path, const char *target)
{
	cr_assert_eq(image_tree_target(make(path, S_IFLNK | 0777), target, &e), 0);
}

static void refused(const char *path, const char *say)
{
	e = (struct err){ 0 };
	cr_assert_eq(image_tree_make(&t, path, S_IFREG | 0644, &e), NULL, "%s", path);
	cr_assert(strstr(e.msg, say), "%s: %s", path, e.msg);
}

Test(image_tree, no_path_leads_out)
{
	struct image_file *f;

	make("dir", S_IFDIR | 0755);
	make_link("dir/up", "../../../..");
	make_link("abs", "/dir");
	f = make("dir/up/../../x", S_IFREG | 0644);
	cr_assert_eq(image_tree_find(&t, "/x"), f);
	cr_assert_eq(image_tree_find(&t, "dir/up/dir/../../../x"), f);
	f = make("abs/y", S_IFREG | 0644);
	cr_assert_eq(image_tree_find(&t, "dir/y"), f);
	refused("..", "no file can be called");
	refused("dir/..", "no file can be called");
	refused("x/y", "is in something that is no folder");
}

Test(image_tree, links_without_end_are_refused)
{
	make_link("a", "b");
	make_link("b", "a");
	refused("a/x", "too many links");
	make_link("c", "c/c");
	refused("c/x", "too many links");
}

Test(image_tree, names_and_paths_are_bounded)
{
	char name[300], path[5000] = "";

	memset(name, 'n', sizeof(name) - 1);
	name[255] = '\0';
	make(name, S_IFREG | 0644);
	name[255] = 'n';
	name[256] = '\0';
	refused(name, "no file can be called");
	strcat(name, "/x");
	refused(name, "more than 255 bytes");
	memset(path, 'p', 4200);
	refused(path, "more than 4096 bytes");
}

Test(image_tree, folders_deeper_than_the_bound)
{
	char path[4096] = "";

	for (unsigned i = 0; i < IMAGE_DEPTH_MAX; i++)
		strcat(path, "d/");
	make(path, S_IFDIR | 0755);
	strcat(path, "d/f");
	refused(path, "folders deeper than 1000");
}

Test(image_tree, what_comes_later_takes_the_place)
{
	struct image_file *f;

	make("d/in", S_IFREG | 0644);
	f = make("d", S_IFDIR | 0700);
	cr_assert(f->n_entries == 1 && f->mode == (S_IFDIR | 0700));
	make("d", S_IFREG | 0600);
	cr_assert_eq(image_tree_find(&t, "d/in"), NULL);
	make("d", S_IFDIR | 0755);
	cr_assert_eq(image_tree_find(&t, "d")->n_entries, 0);
	cr_assert_eq(image_tree_remove(&t, "d", &e), 0);
	cr_assert_eq(image_tree_remove(&t, "d", &e), 0);
	cr_assert_eq(image_tree_remove(&t, "no/such", &e), 0);
	cr_assert_eq(image_tree_find(&t, "d"), NULL);
}

Test(image_tree, hard_links_are_one_file)
{
	struct image_file *f = make("a", S_IFREG | 0644);

	cr_assert_eq(image_tree_link(&t, "b", "a", &e), 0);
	cr_assert_eq(image_tree_link(&t, "b", "a", &e), 0);
	cr_assert_eq(image_tree_link(&t, "a", "b", &e), 0);
	cr_assert(image_tree_find(&t, "b") == f && f->nlink == 2);
	cr_assert_eq(image_tree_remove(&t, "a", &e), 0);
	cr_assert(image_tree_find(&t, "b") == f && f->nlink == 1);
	make("dir", S_IFDIR | 0755);
	cr_assert_eq(image_tree_link(&t, "x", "dir", &e), -EBADMSG);
	cr_assert_eq(image_tree_link(&t, "x", "gone", &e), -EBADMSG);
}

Test(image_tree, contents_stay_within_the_file)
{
	struct image_file *f = make("f", S_IFREG | 0644), *g = make("g", S_IFREG | 0644);
	char back[4];

	cr_assert_eq(image_tree_size(&t, f, 5000, &e), 0);
	cr_assert_eq(image_tree_size(&t, g, 1, &e), 0);
	cr_assert(f->block == 1 && g->block == 3 && t.next_block == 4);
	cr_assert_eq(image_tree_write(&t, f, 4999, "z", 1, &e), 0);
	cr_assert_eq(image_tree_write(&t, f, 5000, "z", 1, &e), -EBADMSG);
	cr_assert_eq(image_tree_write(&t, f, UINT64_MAX, "zz", 2, &e), -EBADMSG);
	cr_assert_eq(image_tree_write(&t, g, 0, "g", 1, &e), 0);
	cr_assert_eq(pread(fd, back, 1, 3 * 4096), 1);
	cr_assert_eq(back[0], 'g');
	cr_assert_eq(image_tree_size(&t, g, UINT64_MAX, &e), -EFBIG);
	cr_assert_eq(image_tree_size(&t, g, IMAGE_BYTES_MAX, &e), -EFBIG);
}

Test(image_tree, extended_attributes_are_bounded)
{
	struct image_file *f = make("f", S_IFREG | 0644);
	char big[IMAGE_XATTRS_MAX];

	cr_assert_eq(image_tree_xattr(f, "user.b", "2", 1, &e), 0);
	cr_assert_eq(image_tree_xattr(f, "user.a", "1", 1, &e), 0);
	cr_assert_str_eq(f->xattr->name, "user.a");
	memset(big, 'x', sizeof(big));
	cr_assert_eq(image_tree_xattr(f, "user.c", big, sizeof(big) - 30, &e), -E2BIG);
}

/* ---- the file ---- */

static uint32_t word(uint64_t at)
{
	uint32_t v = 0;

	cr_assert_eq(pread(fd, &v, sizeof(v), (off_t)at), sizeof(v));
	return v;
}

Test(image_tree, a_large_folder_is_in_order)
{
	uint64_t size, meta, at;
	char name[32], before[256] = "";
	unsigned seen = 0;

	for (unsigned i = 0; i < 3000; i++) {
		snprintf(name, sizeof(name), "many/%x", i * 2654435761u);
		make(name, S_IFREG | 0644);
	}
	cr_assert_eq(image_erofs_write(&t, &size, &e), 0, "%s", e.msg);
	cr_assert_eq(word(1024), 0xe0f5e1e2u);
	cr_assert_eq(lseek(fd, 0, SEEK_END), (off_t)size);
	meta = (uint64_t)word(1024 + 40) * 4096;
	at = meta + image_tree_find(&t, "many")->at;
	cr_assert_eq(word(at) & 0xffff, 1);		/* extended, plain */
	size = word(at + 8);
	/* Each block: entries of 12 bytes, then their names; all in the order of bytes. */
	for (uint64_t b = (uint64_t)word(at + 16) * 4096, left = size; left;) {
		uint32_t n = (word(b + 8) & 0xffff) / 12;
		uint64_t len = left < 4096 ? left : 4096;

		for (uint32_t i = 0; i < n; i++) {
			uint32_t from = word(b + i * 12 + 8) & 0xffff;
			uint32_t to = i + 1 < n ? word(b + (i + 1) * 12 + 8) & 0xffff :
						  (uint32_t)len;
			char text[256] = "";

			cr_assert(from < to && to <= len && to - from < 256);
			cr_assert_eq(pread(fd, text, to - from, (off_t)(b + from)), to - from);
			cr_assert_lt(strcmp(before, text), 0, "%s, %s", before, text);
			memcpy(before, text, sizeof(text));
			seen++;
		}
		b += len;
		left -= len;
	}
	cr_assert_eq(seen, 3002);
}

Test(image_tree, the_mount_points_are_there)
{
	make("proc", S_IFREG | 0644);
	make_link("run", "/var/run");
	cr_assert_eq(image_finish(&t, &e), 0);
	cr_assert(S_ISDIR(image_tree_find(&t, "proc")->mode));
	cr_assert(S_ISDIR(image_tree_find(&t, "run")->mode));
	cr_assert_eq(image_tree_find(&t, "tmp")->mode, S_IFDIR | 01777);
}
