/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_manifest.c - the index, manifests, configuration and layers of an OCI image layout.
 *
 * An input is up to eight files, with a byte 0xff between them: index.json, and blobs. A
 * reader looks at a blob only if its name is its digest, which no input would get right:
 * `@N` in a file stands for the digest of the Nth one, if that comes later.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include "cli/base/sum.h"
#include "cli/image/source.h"
#include "tests/fuzz/home.h"

#define FILES		8u
#define FILE_MAX	(64u << 10)

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t n);

struct text { char buf[FILE_MAX]; size_t len; char digest[SUM_HEX], path[160]; };

static struct text files[FILES];

static void make_folders(void)
{
	char path[128];

	home_folder("manifest");
	snprintf(path, sizeof(path), "%s/blobs", home);
	BUG_ON(mkdir(path, 0700));
	snprintf(path, sizeof(path), "%s/blobs/sha256", home);
	BUG_ON(mkdir(path, 0700));
}

static void fill_in(struct text *t, unsigned self, const uint8_t *in, size_t n)
{
	t->len = 0;
	for (size_t i = 0; i < n && t->len + SUM_HEX < FILE_MAX; i++) {
		unsigned other = i + 1 < n ? in[i + 1] - (unsigned)'0' : FILES;

		if (in[i] == '@' && other > self && other < FILES) {
			memcpy(t->buf + t->len, files[other].digest, SUM_HEX - 1);
			t->len += SUM_HEX - 1;
			i++;
		} else {
			t->buf[t->len++] = (char)in[i];
		}
	}
	BUG_ON(sum_bytes(t->buf, t->len, t->digest));
}

static void write_one(struct text *t, bool index)
{
	int fd;

	if (index)
		snprintf(t->path, sizeof(t->path), "%s/index.json", home);
	else
		snprintf(t->path, sizeof(t->path), "%s/blobs/sha256/%s", home, t->digest);
	fd = open(t->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	BUG_ON(fd < 0 || write(fd, t->buf, t->len) != (ssize_t)t->len);
	close(fd);
}

static void read_image(void)
{
	struct image_tree t;
	json_t *config = NULL;
	struct err e = { 0 };
	int out = memfd_create("image", MFD_CLOEXEC), rc;

	BUG_ON(out < 0 || image_tree_init(&t, out, &e));
	rc = image_from_oci(&t, home, &config, &e);
	/* A configuration is an object with known keys; a refusal has a sentence. */
	BUG_ON(!rc && !json_is_object(config));
	BUG_ON(rc && !*e.msg);
	if (!rc)
		json_decref(config);
	image_tree_exit(&t);
	close(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t n)
{
	const uint8_t *part[FILES];
	size_t len[FILES];
	unsigned count = 0;

	if (!*home)
		make_folders();
	for (size_t i = 0, from = 0; i <= n && count < FILES; i++)
		if (i == n || in[i] == 0xff) {
			part[count] = in + from;
			len[count++] = i - from;
			from = i + 1;
		}
	for (unsigned i = count; i < FILES; i++)
		files[i].digest[0] = '\0';
	for (unsigned i = count; i--;) {
		fill_in(&files[i], i, part[i], len[i]);
		write_one(&files[i], !i);
	}
	read_image();
	for (unsigned i = 0; i < count; i++)
		(void)unlink(files[i].path);	/* two may have been the same */
	return 0;
}
