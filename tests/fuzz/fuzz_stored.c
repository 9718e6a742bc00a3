/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_stored.c - the manifest of an image that is in the store: opened, listed, and used as
 * the root of a command.
 *
 * An input is the manifest's text, in which `@` stands for the digest of the image's file. It
 * lies under the ID that it has, so a well-formed one is opened.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include "cli/cli.h"
#include "cli/image/store.h"
#include "cli/run/conf.h"
#include "tests/fuzz/home.h"

#define TEXT_MAX (64u << 10)

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t n);

static const char root_text[] = "the bytes of a file system";
static struct place images;

static void write_file(const char *path, const char *text, size_t len)
{
	auto_fd fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	BUG_ON(fd < 0 || write(fd, text, len) != (ssize_t)len);
}

static size_t fill_in(char *text, const uint8_t *in, size_t n)
{
	char sum[SUM_HEX];
	size_t len = 0;

	BUG_ON(sum_bytes(root_text, sizeof(root_text), sum));
	for (size_t i = 0; i < n && len + SUM_HEX < TEXT_MAX; i++)
		if (in[i] == '@') {
			memcpy(text + len, sum, SUM_HEX - 1);
			len += SUM_HEX - 1;
		} else {
			text[len++] = (char)in[i];
		}
	return len;
}

/* The ID that the text would have, or any. */
static void id_of(const char *text, size_t len, char id[static SUM_HEX])
{
	json_t *m = json_loadb(text, len, 0, NULL);
	struct err e;

	if (image_store_id(m, id, &e))
		BUG_ON(sum_bytes("", 0, id));
	json_decref(m);
}

/* As for `sandbox run --image ID`, with a command and without one. */
static void use(const char *id, bool command)
{
	static char word[] = "true";
	char *const argv[] = { word, NULL }, *const none[] = { NULL };
	struct err e = { 0 };
	struct run_conf c;
	int rc;

	run_conf_init(&c);
	c.root.ref = id;
	c.argv = command ? argv : none;
	c.entrypoint = true;
	rc = run_image(&c, &e);
	BUG_ON(rc && !*e.msg);
	BUG_ON(!rc && !*c.argv);
	for (size_t i = 0; !rc && i < c.env_file.n; i++)
		BUG_ON(!strchr(c.env_file.v[i], '='));
	run_conf_free(&c);
}

/* What a person sees, on a stdout that nobody reads. */
static void list(void)
{
	char ls[] = "ls", json[] = "--json", image[] = "image";
	char *words[] = { image, ls, NULL, NULL };

	BUG_ON(verb_image.main(&verb_image, 2, words) > CLI_FAILED);
	words[2] = json;
	BUG_ON(verb_image.main(&verb_image, 3, words) > CLI_FAILED);
}

static void begin(void)
{
	struct err e;

	home_make("stored");
	BUG_ON(places_images(&images, &e));
	BUG_ON(!freopen("/dev/null", "w", stdout));
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t n)
{
	static char text[TEXT_MAX];
	static const char *const files[] = { "root", "manifest", "checked" };
	char id[SUM_HEX], path[sizeof(images) + SUM_HEX + 16];
	size_t len;
	int before;

	if (!*home)
		begin();
	before = home_next_fd();
	len = fill_in(text, in, n);
	id_of(text, len, id);
	snprintf(path, sizeof(path), "%s/%s", images.path, id);
	BUG_ON(mkdir(path, 0700));
	snprintf(path, sizeof(path), "%s/%s/root", images.path, id);
	write_file(path, root_text, sizeof(root_text));
	snprintf(path, sizeof(path), "%s/%s/manifest", images.path, id);
	write_file(path, text, len);
	use(id, true);
	use(id, false);
	list();
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		snprintf(path, sizeof(path), "%s/%s/%s", images.path, id, files[i]);
		(void)unlink(path);
	}
	snprintf(path, sizeof(path), "%s/%s", images.path, id);
	BUG_ON(rmdir(path));
	BUG_ON(home_next_fd() != before);
	return 0;
}
