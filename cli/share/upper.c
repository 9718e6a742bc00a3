/* SPDX-License-Identifier: Apache-2.0 */
/*
 * upper.c - folders for changes: made, found again, swept.
 *
 * Temporary ones are made and swept under a lock on the folder that they are in, so a
 * sweeper never sees one whose owner has yet to lock it.
 */
#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include "cli/base/places.h"
#include "cli/base/rmtree.h"
#include "cli/store/store.h"
#include "cli/share/upper.h"

#define ABOUT_MAX (16u << 10)

static int open_dir(int at, const char *name)
{
	return openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* ---- temporary ones ---- */

static void sweep(int parent)
{
	int copy = open_dir(parent, ".");
	DIR *d = copy < 0 ? NULL : fdopendir(copy);

	for (const struct dirent *de; d && (de = readdir(d));) {
		auto_fd dir = *de->d_name == '.' ? -1 : open_dir(parent, de->d_name);

		if (dir >= 0 && !flock(dir, LOCK_EX | LOCK_NB) && rmtree(parent, de->d_name))
			continue;	/* the next one tries again */
	}
	if (d)
		closedir(d);
	else if (copy >= 0)
		close(copy);
}

/* The folder that they are in, made if need be. */
static int temp_parent(struct place *p, struct err *e)
{
	int rc = places_state(p, e);
	auto_fd fd = -1;
	size_t n;

	if (rc)
		return rc;
	n = strlen(p->path);
	if ((size_t)snprintf(p->path + n, sizeof(p->path) - n, "/cow") >= sizeof(p->path) - n)
		return err_say(e, -ENAMETOOLONG, "the state folder's path is too long");
	(void)mkdir(p->path, 0700);
	fd = open_dir(AT_FDCWD, p->path);
	if (fd < 0 || flock(fd, LOCK_EX))
		return err_set(e, -errno, "open the folder for changes %s", p->path);
	return take_fd(&fd);
}

int upper_temp_sweep(struct err *e)
{
	struct place p;
	int parent = temp_parent(&p, e);

	if (parent < 0)
		return parent;
	sweep(parent);
	close(parent);
	return 0;
}

int upper_temp_make(struct upper_temp *t, struct err *e)
{
	struct place p;
	uint64_t id;

	*t = (struct upper_temp)UPPER_TEMP_NONE;
	t->parent = temp_parent(&p, e);
	if (t->parent < 0)
		return t->parent;
	sweep(t->parent);
	if (getrandom(&id, sizeof(id), 0) != (ssize_t)sizeof(id))
		return err_set(e, -EIO, "getrandom");
	snprintf(t->name, sizeof(t->name), "%016llx", (unsigned long long)id);
	if (mkdirat(t->parent, t->name, 0700))
		return err_set(e, -errno, "make a folder in %s", p.path);
	t->dir = open_dir(t->parent, t->name);
	if (t->dir < 0 || flock(t->dir, LOCK_EX))
		return err_set(e, -errno, "lock a folder in %s", p.path);
	(void)flock(t->parent, LOCK_UN);
	return 0;
}

void upper_temp_remove(struct upper_temp *t)
{
	/* What stays is swept by the next one. */
	if (t->dir >= 0 && rmtree(t->parent, t->name))
		t->name[0] = '\0';
	if (t->dir >= 0)
		close(t->dir);
	if (t->parent >= 0)
		close(t->parent);
	*t = (struct upper_temp)UPPER_TEMP_NONE;
}

/* ---- one share's ---- */

void upper_name(const char *dst, char name[static UPPER_NAME_MAX])
{
	uint64_t hash = 0xcbf29ce484222325u;	/* FNV-1a */

	for (const char *p = dst; *p; p++)
		hash = (hash ^ (unsigned char)*p) * 0x100000001b3u;
	snprintf(name, UPPER_NAME_MAX, "%016llx", (unsigned long long)hash);
}

/* Bytes of a path, whatever they are. */
static json_t *bytes(const char *s)
{
	json_t *j = json_string(s);

	return j ? j : json_string_nocheck(s);
}

static int write_about(int dir, const struct share *s, struct err *e)
{
	json_t *j = json_pack("{s:o, s:o}", "src", bytes(s->src), "dst", bytes(s->dst));
	auto_mem char *text = j ? json_dumps(j, 0) : NULL;

	json_decref(j);
	if (!text)
		return err_say(e, -EILSEQ, "%.100s: a path that is not UTF-8 cannot be shared "
			       "as cow", s->src);
	return store_replace(dir, "about", text, strlen(text), e);
}

static int read_about(int dir, struct share *s, struct err *e)
{
	auto_fd fd = openat(dir, "about", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	char text[ABOUT_MAX];
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text));
	const char *src, *dst;
	json_t *j;
	int rc;

	if (n < 0)
		return err_set(e, -errno, "read what changes belong to");
	j = json_loadb(text, (size_t)n, 0, NULL);
	rc = j ? json_unpack(j, "{s:s, s:s}", "src", &src, "dst", &dst) : -1;
	if (!rc) {
		s->src = strdup(src);
		s->dst = strdup(dst);
		s->mode = SHARE_COW;
	}
	json_decref(j);
	if (!rc && (!s->src || !s->dst))
		return err_set(e, -ENOMEM, "read what changes belong to");
	return rc ? err_say(e, -EBADMSG, "the note on what changes belong to is damaged") : 0;
}

int upper_about(int cow_dir, const char *name, struct share *s, struct err *e)
{
	auto_fd dir = open_dir(cow_dir, name);

	*s = (struct share){ 0 };
	if (dir < 0)
		return err_set(e, -errno, "open the folder of changes");
	return read_about(dir, s, e);
}

int upper_open(int cow_dir, const struct share *s, struct err *e)
{
	char name[UPPER_NAME_MAX];
	struct share was = { 0 };
	auto_fd dir = -1;
	int rc;

	upper_name(s->dst, name);
	(void)mkdirat(cow_dir, name, 0700);
	dir = open_dir(cow_dir, name);
	if (dir < 0)
		return err_set(e, -errno, "make a folder for the changes to %.100s", s->dst);
	rc = read_about(dir, &was, e);
	if (rc == -ENOENT) {		/* and only then: else it may belong to somebody */
		*e = (struct err){ 0 };
		rc = write_about(dir, s, e);
	} else if (!rc && (strcmp(was.src, s->src) || strcmp(was.dst, s->dst))) {
		rc = err_say(e, -EEXIST, "changes at %.60s are kept for %.80s; take them over with "
			     "'sandbox apply' or drop them with 'sandbox discard' first", s->dst,
			     was.src);
	}
	free(was.src);
	free(was.dst);
	return rc ? rc : take_fd(&dir);
}
