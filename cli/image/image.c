/* SPDX-License-Identifier: Apache-2.0 */
/* image.c - images that are in the store: found, opened, checked, listed, removed. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include "cli/image/store.h"
#include "cli/base/opt.h"
#include "cli/store/store.h"
#include "cli/base/term.h"

#define PREFIX		"sha256:"
#define SHORT_MIN	6u
#define NAME_CHARS	"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
#define HEX_CHARS	"0123456789abcdef"

int image_name_check(const char *name, struct err *e)
{
	size_t n = strlen(name);

	if (!n || n >= IMAGE_REF_MAX || strspn(name, NAME_CHARS "_.:-") != n ||
	    !strchr(NAME_CHARS, name[0]) || !strncmp(name, PREFIX, strlen(PREFIX)) ||
	    sum_valid(name))
		return err_say(e, -EINVAL, "'%.100s' is no name for an image: it takes letters, "
			       "digits, and _ . : - after the first", name);
	return 0;
}

/* ---- finding ---- */

static bool read_name(int store, const char *name, char id[static SUM_HEX])
{
	char path[IMAGE_REF_MAX + 8];
	auto_fd fd = -1;

	snprintf(path, sizeof(path), "names/%s", name);
	fd = openat(store, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || read(fd, id, SUM_HEX) != SUM_HEX)
		return false;
	id[SUM_HEX - 1] = '\0';
	return sum_valid(id);
}

static DIR *open_dir(int store, const char *name)
{
	int fd = openat(store, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d)
		fd_cleanup(&fd);
	return d;
}

/* The ID that begins with @digits. */
static int by_digits(int store, const char *digits, char id[static SUM_HEX], struct err *e)
{
	DIR *d = open_dir(store, ".");
	unsigned n = 0;

	if (!d)
		return err_set(e, -errno, "read the image store");
	for (const struct dirent *de; (de = readdir(d));)
		if (sum_valid(de->d_name) && !strncmp(de->d_name, digits, strlen(digits))) {
			memcpy(id, de->d_name, SUM_HEX);
			n++;
		}
	closedir(d);
	if (n > 1)
		return err_say(e, -EINVAL, "%u images begin with %s; give more digits", n, digits);
	return n ? 0 : -ENOENT;
}

static int not_there(int store, const char *ref, struct err *e)
{
	DIR *d = open_dir(store, "names");
	char best[IMAGE_REF_MAX] = "";
	unsigned near = opt_distance_max(ref) + 1;

	for (const struct dirent *de; d && (de = readdir(d));) {
		unsigned now = opt_distance(ref, de->d_name);

		if (de->d_name[0] != '.' && now < near && strlen(de->d_name) < sizeof(best)) {
			memcpy(best, de->d_name, strlen(de->d_name) + 1);
			near = now;
		}
	}
	if (d)
		closedir(d);
	if (*best)
		return err_say(e, -ENOENT, "there is no image '%.100s'; did you mean '%s'?", ref,
			       best);
	return err_say(e, -ENOENT, "there is no image '%.100s'; 'sandbox image ls' lists those "
		       "there are, 'sandbox image build' and 'import' make new ones", ref);
}

/* *named: @ref was a name. */
static int resolve(int store, const char *ref, char id[static SUM_HEX], bool *named,
		   struct err *e)
{
	const char *at = strstr(ref, "@" PREFIX);
	bool prefixed = at || !strncmp(ref, PREFIX, strlen(PREFIX));
	const char *digits = prefixed ? (at ? at + 1 : ref) + strlen(PREFIX) : ref;
	size_t n = strlen(digits);
	int rc = -ENOENT;

	*named = !prefixed && n < IMAGE_REF_MAX && !strchr(ref, '/') && ref[0] != '.' &&
		 read_name(store, ref, id);
	if (*named)
		return 0;
	if (n >= SHORT_MIN && n < SUM_HEX && strspn(digits, HEX_CHARS) == n)
		rc = by_digits(store, digits, id, e);
	return rc == -ENOENT ? not_there(store, ref, e) : rc;
}

/* ---- opening ---- */

static json_t *read_manifest(int dir, const char *id, struct err *e)
{
	auto_fd fd = openat(dir, "manifest", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	json_t *m = fd < 0 ? NULL : json_loadfd(fd, 0, NULL);
	const char *type = json_string_value(json_object_get(m, "type"));
	const char *sum = json_string_value(json_object_get(m, "sha256"));
	char have[SUM_HEX];

	if (type && sum && sum_valid(sum) && (!strcmp(type, "erofs") || !strcmp(type, "ext4")) &&
	    !image_store_id(m, have, e) && !strcmp(have, id))
		return m;
	err_say(e, -EBADMSG, "the manifest of image %.*s is damaged; remove the image and make it "
		"again", IMAGE_SHORT, id);
	json_decref(m);
	return NULL;
}

static int check_root(struct image *im, int dir, struct err *e)
{
	const char *want = json_string_value(json_object_get(im->manifest, "sha256"));
	char have[SUM_HEX];
	uint64_t since = term_now_ns();

	term_progress("checking the image", since);
	if (sum_file(im->fd, have))
		return err_say(e, -EIO, "image %.*s cannot be read", IMAGE_SHORT, im->id);
	term_progress_end();
	if (strcmp(want, have))
		return err_say(e, -EBADMSG, "image %.*s is damaged: its file has the digest %.*s..., "
			       "not %.*s...; remove the image and make it again", IMAGE_SHORT,
			       im->id, IMAGE_SHORT, have, IMAGE_SHORT, want);
	image_store_checked(dir, im->fd);
	return 0;
}

static int open_id(struct image *im, int store, const struct place *p, bool verify, struct err *e)
{
	auto_fd dir = openat(store, im->id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (dir < 0)
		return err_set(e, -errno, "open image %.*s", IMAGE_SHORT, im->id);
	im->manifest = read_manifest(dir, im->id, e);
	if (!im->manifest)
		return e->code;
	snprintf(im->type, sizeof(im->type), "%s",
		 json_string_value(json_object_get(im->manifest, "type")));
	im->fd = openat(dir, "root", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (im->fd < 0 || fstat(im->fd, &st))
		return err_set(e, -errno, "open image %.*s", IMAGE_SHORT, im->id);
	im->size = (uint64_t)st.st_size;
	if ((size_t)snprintf(im->path.path, sizeof(im->path.path), "%s/%s/root", p->path, im->id) >=
	    sizeof(im->path.path))
		return err_say(e, -ENAMETOOLONG, "the path of the image store is too long");
	return verify || !image_store_was_checked(dir, im->fd) ? check_root(im, dir, e) : 0;
}

int image_open(struct image *im, const char *ref, bool verify, struct err *e)
{
	struct place p;
	bool named;
	int rc;

	*im = (struct image)IMAGE_NONE;
	{
		auto_fd store = image_store_open(&p, e);

		if (store < 0)
			return store;
		rc = resolve(store, ref, im->id, &named, e);
		if (!rc)
			rc = open_id(im, store, &p, verify, e);
	}
	if (rc)
		image_close(im);
	return rc;
}

void image_close(struct image *im)
{
	fd_cleanup(&im->fd);
	im->fd = -1;
	json_decref(im->manifest);
	im->manifest = NULL;
}

const char *image_string(const struct image *im, const char *key)
{
	return json_string_value(json_object_get(json_object_get(im->manifest, "config"), key));
}

size_t image_list(const struct image *im, const char *key, const char **out, size_t max)
{
	const json_t *list = json_object_get(json_object_get(im->manifest, "config"), key), *s;
	size_t i, n = 0;

	json_array_foreach(list, i, s)
		if (n < max && json_is_string(s))
			out[n++] = json_string_value(s);
	return n;
}

/* ---- all of them ---- */

static int each_name(int store, const char *only, int (*each)(const char *, const char *, void *),
		     void *arg, unsigned *n, struct err *e)
{
	struct dirent **names;
	int count = scandirat(store, "names", &names, NULL, alphasort), rc = 0;
	char id[SUM_HEX];

	if (count < 0)
		return err_set(e, -errno, "read the image store");
	for (int i = 0; i < count; i++) {
		if (!rc && names[i]->d_name[0] != '.' && read_name(store, names[i]->d_name, id) &&
		    (!only || !strcmp(only, id))) {
			++*n;
			rc = each ? each(names[i]->d_name, id, arg) : 0;
		}
		free(names[i]);
	}
	free(names);
	return rc;
}

int image_each(int (*each)(const char *name, const char *id, void *arg), void *arg, struct err *e)
{
	struct place p;
	auto_fd store = image_store_open(&p, e);
	struct dirent **ids;
	unsigned n = 0;
	int count, rc = store < 0 ? store : each_name(store, NULL, each, arg, &n, e);

	if (rc)
		return rc;
	count = scandirat(store, ".", &ids, NULL, alphasort);
	for (int i = 0; i < count; i++) {
		n = 0;
		if (!rc && sum_valid(ids[i]->d_name))
			rc = each_name(store, ids[i]->d_name, NULL, NULL, &n, e);
		if (!rc && sum_valid(ids[i]->d_name) && !n)
			rc = each(NULL, ids[i]->d_name, arg);
		free(ids[i]);
	}
	if (count >= 0)
		free(ids);
	return rc;
}

int image_find(const char *ref, char id[static SUM_HEX], struct err *e)
{
	struct place p;
	auto_fd store = image_store_open(&p, e);
	bool named;

	return store < 0 ? store : resolve(store, ref, id, &named, e);
}

static int remove_name(int store, const char *name, struct err *e)
{
	char path[IMAGE_REF_MAX + 8];

	snprintf(path, sizeof(path), "names/%s", name);
	return unlinkat(store, path, 0) ? err_set(e, -errno, "remove %s", name) : 0;
}

int image_remove(const char *ref, int (*may)(const char *id, struct err *e), struct err *e)
{
	char id[SUM_HEX], gone[SUM_HEX + 16];
	struct place p;
	auto_fd store = image_store_open(&p, e);
	auto_fd lock = store < 0 ? -1 : image_store_lock(store, e);
	unsigned n = 0;
	bool named;
	int rc = lock < 0 ? e->code : resolve(store, ref, id, &named, e);

	if (!rc)
		rc = each_name(store, id, NULL, NULL, &n, e);
	if (rc)
		return rc;
	if (named && n > 1)
		return remove_name(store, ref, e);
	if (!named && n)
		return err_say(e, -EBUSY, "image %.*s has %u names; remove those", IMAGE_SHORT, id,
			       n);
	rc = may ? may(id, e) : 0;
	if (!rc && named)
		rc = remove_name(store, ref, e);
	if (rc)
		return rc;
	snprintf(gone, sizeof(gone), IMAGE_DRAFT_PREFIX "gone-%.16s", id);
	if (renameat(store, id, store, gone))
		return err_set(e, -errno, "remove image %.*s", IMAGE_SHORT, id);
	image_store_delete(store, gone);
	return 0;
}

int image_tag(const char *ref, const char *name, struct err *e)
{
	char id[SUM_HEX];
	struct place p;
	auto_fd store = image_store_open(&p, e);
	auto_fd lock = store < 0 ? -1 : image_store_lock(store, e);
	bool named;
	int rc = lock < 0 ? e->code : image_name_check(name, e);

	if (!rc)
		rc = resolve(store, ref, id, &named, e);
	return rc ? rc : image_store_name(store, name, id, e);
}
