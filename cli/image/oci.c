/* SPDX-License-Identifier: Apache-2.0 */
/*
 * oci.c - an OCI image layout (OCI image specification 1.0): index, manifest,
 * configuration, layers. A blob is opened by its digest beneath the layout and hashed
 * before it is read; so what the index names is what is used.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include "cli/image/source.h"
#include "cli/base/sum.h"

#define JSON_BYTES_MAX	(4u << 20)
#define NESTED_MAX	4u
#define LAYERS_MAX	200u

static const char *string(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static json_t *parse(int fd, const char *what, struct err *e)
{
	struct stat st;
	json_error_t je;
	json_t *o;
	auto_mem char *text = NULL;

	if (fstat(fd, &st) || st.st_size > JSON_BYTES_MAX) {
		err_say(e, -EFBIG, "%s is too large", what);
		return NULL;
	}
	text = malloc((size_t)st.st_size + 1);
	if (!text || pread(fd, text, (size_t)st.st_size, 0) != st.st_size) {
		err_say(e, -EIO, "%s cannot be read", what);
		return NULL;
	}
	o = json_loadb(text, (size_t)st.st_size, JSON_REJECT_DUPLICATES, &je);
	if (!json_is_object(o)) {
		err_say(e, -EBADMSG, "%s is no JSON object: %.100s", what, je.text);
		json_decref(o);
		return NULL;
	}
	return o;
}

/* The blob that the descriptor @d names, checked. */
static int open_blob(int layout, const json_t *d, struct err *e)
{
	const char *digest = string(d, "digest"), *hex = digest + 7;
	char path[128], have[SUM_HEX];
	auto_fd fd = -1;
	struct stat st;

	if (strncmp(digest, "sha256:", 7) || !sum_valid(hex))
		return err_say(e, -EBADMSG, "'%.100s' is no SHA-256 digest", digest);
	snprintf(path, sizeof(path), "blobs/sha256/%s", hex);
	fd = openat(layout, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		return err_set(e, -errno, "open %s", path);
	if (!S_ISREG(st.st_mode))
		return err_say(e, -EBADMSG, "%s is no file", path);
	if (sum_file(fd, have))
		return err_say(e, -EIO, "%s cannot be read", path);
	if (strcmp(have, hex))
		return err_say(e, -EBADMSG, "%s is damaged: its contents have the digest %s", path,
			       have);
	return take_fd(&fd);
}

static json_t *blob_json(int layout, const json_t *d, const char *what, struct err *e)
{
	auto_fd fd = open_blob(layout, d, e);

	return fd < 0 ? NULL : parse(fd, what, e);
}

/* As OCI calls this machine. */
static const char *architecture(void)
{
	static struct utsname u;

	if (uname(&u))
		return "";
	if (!strcmp(u.machine, "x86_64"))
		return "amd64";
	return strcmp(u.machine, "aarch64") ? u.machine : "arm64";
}

/* The first manifest of @index that is for this machine, or that does not say. */
static const json_t *choose(const json_t *index, struct err *e)
{
	const json_t *list = json_object_get(index, "manifests"), *d;
	size_t i;

	json_array_foreach(list, i, d) {
		const json_t *p = json_object_get(d, "platform");

		if (!p || (!strcmp(string(p, "os"), "linux") &&
			   !strcmp(string(p, "architecture"), architecture())))
			return d;
	}
	err_say(e, -ENOENT, "the layout has no image for linux/%s", architecture());
	return NULL;
}

/* Down to a manifest: an index may hold indexes. */
static json_t *find_manifest(int layout, struct err *e)
{
	auto_fd fd = openat(layout, "index.json", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	json_t *now = fd < 0 ? NULL : parse(fd, "index.json", e);

	if (fd < 0)
		err_set(e, -errno, "open index.json");
	for (unsigned i = 0; now && i < NESTED_MAX && json_object_get(now, "manifests"); i++) {
		const json_t *d = choose(now, e);
		json_t *next = d ? blob_json(layout, d, "the manifest", e) : NULL;

		json_decref(now);
		now = next;
	}
	if (now && !json_is_array(json_object_get(now, "layers"))) {
		err_say(e, -EBADMSG, "the manifest has no layers");
		json_decref(now);
		now = NULL;
	}
	return now;
}

static bool all_strings(const json_t *list)
{
	const json_t *s;
	size_t i;

	json_array_foreach(list, i, s)
		if (!json_is_string(s))
			return false;
	return json_is_array(list);
}

static json_t *pick_config(const json_t *blob)
{
	static const struct { const char *from, *to; } lists[] = {
		{ "Entrypoint", "entrypoint" }, { "Cmd", "cmd" }, { "Env", "env" },
	}, strings[] = { { "User", "user" }, { "WorkingDir", "workdir" } };
	const json_t *c = json_object_get(blob, "config");
	json_t *out = json_object();

	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		json_t *v = json_object_get(c, lists[i].from);

		if (all_strings(v) && json_array_size(v))
			json_object_set(out, lists[i].to, v);
	}
	for (size_t i = 0; i < ARRAY_LEN(strings); i++)
		if (*string(c, strings[i].from))
			json_object_set_new(out, strings[i].to,
					    json_string(string(c, strings[i].from)));
	if (*string(out, "workdir") && *string(out, "workdir") != '/')
		json_object_set_new(out, "workdir", json_sprintf("/%s", string(out, "workdir")));
	return out;
}

static int add_layers(struct image_tree *t, int layout, const json_t *manifest, struct err *e)
{
	const json_t *layers = json_object_get(manifest, "layers"), *d;
	size_t i;

	if (json_array_size(layers) > LAYERS_MAX)
		return err_say(e, -E2BIG, "more than %u layers", LAYERS_MAX);
	json_array_foreach(layers, i, d) {
		auto_fd fd = open_blob(layout, d, e);
		int rc = fd < 0 ? fd : image_from_layer(t, fd, e);

		if (rc) {
			err_wrap(e, "layer %zu", i + 1);
			return rc;
		}
	}
	return 0;
}

int image_from_oci(struct image_tree *t, const char *path, json_t **config, struct err *e)
{
	auto_fd layout = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	json_t *manifest, *blob;
	int rc;

	if (layout < 0)
		return err_set(e, -errno, "open %s", path);
	manifest = find_manifest(layout, e);
	if (!manifest)
		return e->code;
	blob = blob_json(layout, json_object_get(manifest, "config"), "the configuration", e);
	rc = blob ? add_layers(t, layout, manifest, e) : e->code;
	if (!rc)
		*config = pick_config(blob);
	json_decref(blob);
	json_decref(manifest);
	return rc;
}
