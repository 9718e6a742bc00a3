/* SPDX-License-Identifier: Apache-2.0 */
/* saved.c - writing, reading and matching the list; copies of changes. */
#include <fcntl.h>
#include <sys/stat.h>
#include "cli/base/rmtree.h"
#include "cli/share/cow.h"
#include "cli/share/guard.h"
#include "cli/share/saved.h"
#include "cli/share/upper.h"

#define LIST_MAX (2u * PROTO_SHARES_MAX * (4096u + 64u))

/* ---- the list ---- */

int saved_write(int dir, const struct shares *s, struct err *e)
{
	auto_fd fd = openat(dir, SAVED_LIST, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int rc = fd < 0 ? -errno : 0;

	for (size_t i = 0; !rc && i < s->n; i++) {
		const struct share *v = &s->v[i];

		if (dprintf(fd, "%u%c%s%c%s%c%s%c", v->id, 0, share_mode_name(v->mode), 0, v->src,
			    0, v->dst, 0) < 0)
			rc = -errno;
	}
	if (!rc && fsync(fd))
		rc = -errno;
	return rc ? err_set(e, rc, "note the shared folders") : 0;
}

/* The next text; NULL at the end. */
static const char *next(char **at, const char *end)
{
	char *p = *at;
	size_t n = strnlen(p, (size_t)(end - p));

	if (p + n == end)
		return NULL;
	*at = p + n + 1;
	return p;
}

static int take(struct shares *was, char *at, const char *end)
{
	while (at < end) {
		const char *id = next(&at, end), *mode = id ? next(&at, end) : NULL;
		const char *src = mode ? next(&at, end) : NULL;
		const char *dst = src ? next(&at, end) : NULL;
		struct share *s = &was->v[was->n];
		char *rest;
		unsigned long n = id ? strtoul(id, &rest, 10) : 0;

		if (!dst || *rest || !*id || n >= PROTO_SHARES_MAX || *dst != '/' ||
		    was->n == PROTO_SHARES_MAX)
			return -EBADMSG;
		*s = (struct share){ .id = (unsigned)n, .mounted = true };
		for (s->mode = SHARE_RW; strcmp(mode, share_mode_name(s->mode)); s->mode++)
			if (s->mode == SHARE_COW)
				return -EBADMSG;
		s->src = strdup(src);
		s->dst = strdup(dst);
		was->n++;
		if (!s->src || !s->dst)
			return -ENOMEM;
	}
	return 0;
}

int saved_read(int dir, struct shares *was, struct err *e)
{
	auto_fd fd = openat(dir, SAVED_LIST, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	auto_mem char *text = NULL;
	struct stat st;
	ssize_t n;
	int rc;

	was->n = 0;
	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0 || fstat(fd, &st))
		return err_set(e, -errno, "open the list of shared folders");
	if (st.st_size > (off_t)LIST_MAX)
		return err_say(e, -EBADMSG, "the list of shared folders is damaged");
	text = malloc((size_t)st.st_size + 1);
	if (!text)
		return err_set(e, -ENOMEM, "read the list of shared folders");
	n = read(fd, text, (size_t)st.st_size);
	rc = n == st.st_size ? take(was, text, text + n) : -EBADMSG;
	return rc ? err_say(e, rc, "the list of shared folders is damaged") : 0;
}

/* ---- then and now ---- */

static bool same(const struct share *a, const struct share *b)
{
	return a->mode == b->mode && !strcmp(a->src, b->src) && !strcmp(a->dst, b->dst);
}

/* Unmounting a folder takes along what is mounted in it. */
static bool goes_along(const struct shares *was, const char *dst)
{
	for (size_t i = 0; i < was->n; i++)
		if (was->v[i].mounted && guard_inside(dst, was->v[i].dst))
			return true;
	return false;
}

void saved_match(struct shares *was, struct shares *now)
{
	uint64_t taken = 0;

	for (size_t i = 0; i < was->n; i++)
		taken |= 1ull << was->v[i].id;
	for (size_t i = 0; i < now->n; i++) {
		struct share *b = &now->v[i];
		struct share *a = shares_at(was, b->dst);

		b->known = b->mounted = a && a->mounted && same(a, b);
		if (b->known) {
			b->id = a->id;
			a->mounted = false;
		}
	}
	/* Numbers of folders that are gone are no other's: the guest may have files open there. */
	for (size_t i = 0; i < now->n; i++) {
		if (now->v[i].known)
			continue;
		for (size_t k = 0; k < now->n; k++)
			if (k != i)
				taken |= 1ull << now->v[k].id;
		if (taken >> now->v[i].id & 1 && ~taken)
			now->v[i].id = (unsigned)__builtin_ctzll(~taken);
	}
	for (size_t i = 0; i < now->n; i++)
		if (now->v[i].mounted && goes_along(was, now->v[i].dst))
			now->v[i].mounted = false;
}

/* ---- changes ---- */

static int open_dir(int at, const char *name)
{
	return openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* A copy of @name in @from as @name in @to; nothing where it is not or is already. */
static int copy(int from, int to, const char *name, struct err *e)
{
	char part[UPPER_NAME_MAX + 8];
	auto_fd in = open_dir(from, name);
	auto_fd out = -1;
	int rc;

	if (in < 0 || !faccessat(to, name, F_OK, AT_SYMLINK_NOFOLLOW))
		return in < 0 && errno != ENOENT ? err_set(e, -errno, "open what was changed") : 0;
	snprintf(part, sizeof(part), "%s.part", name);
	rc = rmtree(to, part);
	if (!rc && mkdirat(to, part, 0700))
		rc = -errno;
	out = rc ? -1 : open_dir(to, part);
	if (out < 0)
		return err_set(e, rc ? rc : -errno, "make a folder for changes");
	rc = cow_clone(in, out, false, e);
	if (!rc && renameat(to, part, to, name))
		rc = err_set(e, -errno, "put changes in their place");
	if (rc)
		(void)!rmtree(to, part);
	return rc;
}

static int copy_all(int from, int to, const struct shares *s, bool all, struct err *e)
{
	char name[UPPER_NAME_MAX];
	int rc = 0;

	for (size_t i = 0; !rc && i < s->n; i++) {
		if (s->v[i].mode != SHARE_COW || !(all || s->v[i].known))
			continue;
		upper_name(s->v[i].dst, name);
		rc = copy(from, to, name, e);
	}
	return rc;
}

int saved_write_cow(int dir, int cow_dir, const struct shares *s, struct err *e)
{
	auto_fd to = -1;
	bool any = false;

	for (size_t i = 0; i < s->n; i++)
		any |= s->v[i].mode == SHARE_COW;
	if (!any)
		return 0;
	if (mkdirat(dir, SAVED_COW, 0700))
		return err_set(e, -errno, "make a folder for changes");
	to = open_dir(dir, SAVED_COW);
	return to < 0 ? err_set(e, -errno, "open the folder for changes") :
			copy_all(cow_dir, to, s, true, e);
}

int saved_link_cow(int from, int to, struct err *e)
{
	auto_fd in = open_dir(from, SAVED_COW);
	auto_fd out = in < 0 || mkdirat(to, SAVED_COW, 0700) ? -1 : open_dir(to, SAVED_COW);

	if (in < 0 && errno == ENOENT)
		return 0;
	return out < 0 ? err_set(e, -errno, "make a folder for changes") :
			 cow_clone(in, out, true, e);
}

int saved_read_cow(int dir, int cow_dir, const struct shares *now, struct err *e)
{
	auto_fd from = open_dir(dir, SAVED_COW);

	if (from < 0)
		return errno == ENOENT ? 0 : err_set(e, -errno, "open the folder for changes");
	return copy_all(from, cow_dir, now, false, e);
}
