/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cow.c - laying the upper tree over the host's folder.
 *
 * Both are walked together, name by name in sorted order. A difference is one of state, not
 * of history: a file that was written and holds what the host's does is none.
 *
 * Has the host changed meanwhile? A copy remembers what it was made from (UPPER_ORIGIN):
 * that must still be there. What has no such memory (a deletion, a new file in the place
 * of another) is younger than the host's entry, by its time of birth, or there is a
 * conflict. A copy that was moved remembers something that a deletion hides, and one that got
 * more names something that is there by its first.
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include "cli/share/cow.h"
#include "devices/fs/upper.h"

#define DEPTH_MAX	200u
#define CHANGES_MAX	1000000u

struct walk {
	struct cow_list *l;
	struct err *e;
	char path[PATH_MAX];
	unsigned depth;
};

bool cow_is_whiteout(const struct stat *st)
{
	return upper_whiteout(st->st_mode, st->st_rdev);
}

/* ---- conflicts ---- */

static bool later(const struct timespec *a, const struct statx_timestamp *b)
{
	return a->tv_sec != b->tv_sec ? a->tv_sec > b->tv_sec :
					a->tv_nsec > (long)b->tv_nsec;
}

static int compare_ino(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static bool is_hidden(const struct cow_list *l, uint64_t ino)
{
	return l && l->n_hidden &&
	       bsearch(&ino, l->hidden, l->n_hidden, sizeof(ino), compare_ino);
}

/* Is it a name that the guest gave to a copy of another one's file? */
static bool is_elsewhere(const struct cow_list *l, uint64_t up, uint64_t low, uint64_t origin_ino)
{
	const struct cow_linked *k = cow_link_find(l, up);

	return k && k->home && low != origin_ino;
}

/* What a copy remembers. */
static bool origin(int fd, unsigned long long *ino, long long *sec, unsigned *nsec,
		   unsigned long long *size)
{
	char text[96];
	ssize_t n = fgetxattr(fd, UPPER_ORIGIN, text, sizeof(text) - 1);

	if (n <= 0)
		return false;
	text[n] = '\0';
	return sscanf(text, "%llu %lld %u %llu", ino, sec, nsec, size) == 4;
}

const char *cow_conflict(int upper_dir, int lower_dir, const char *name,
			 const struct cow_list *l)
{
	unsigned long long ino, size;
	long long sec;
	unsigned nsec;
	struct statx up;
	struct stat low;
	bool there = lower_dir >= 0 && !fstatat(lower_dir, name, &low, AT_SYMLINK_NOFOLLOW);
	auto_fd fd = -1;

	if (statx(upper_dir, name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_BTIME, &up))
		return NULL;
	if (S_ISREG(up.stx_mode))
		fd = cow_open_name(upper_dir, name, O_RDONLY);
	if (fd >= 0 && origin(fd, &ino, &sec, &nsec, &size) && !is_hidden(l, ino) &&
	    !is_elsewhere(l, up.stx_ino, there ? low.st_ino : 0, ino)) {
		if (!there)
			return "was deleted on the host";
		if (low.st_ino != ino || low.st_mtim.tv_sec != sec ||
		    low.st_mtim.tv_nsec != (long)nsec || (uint64_t)low.st_size != size)
			return "was changed on the host";
		return NULL;
	}
	if (!there || S_ISDIR(up.stx_mode))
		return NULL;
	if (later(&low.st_ctim, up.stx_mask & STATX_BTIME ? &up.stx_btime : &up.stx_ctime))
		return "was changed on the host";
	return NULL;
}

/* ---- the list ---- */

int cow_grow(void *array, size_t n, size_t *room, size_t size)
{
	size_t more = *room ? 2 * *room : 64;
	void *p;

	if (n < *room)
		return 0;
	p = reallocarray(*(void **)array, more, size);
	if (!p)
		return -ENOMEM;
	*(void **)array = p;
	*room = more;
	return 0;
}

static int add(struct walk *w, enum cow_kind kind, mode_t old, mode_t new, const char *conflict)
{
	struct cow_list *l = w->l;
	char *path = strdup(w->path);

	if (!path || l->n == CHANGES_MAX || cow_grow(&l->v, l->n, &l->room, sizeof(*l->v))) {
		free(path);
		return err_say(w->e, -ENOMEM, "more than %zu changes are more than this program "
			       "can handle at once", l->n);
	}
	l->v[l->n++] = (struct cow_change){ .kind = kind, .path = path, .old_mode = old,
					    .new_mode = new, .conflict = conflict };
	return 0;
}

static int hide(struct walk *w, uint64_t ino)
{
	struct cow_list *l = w->l;

	if (cow_grow(&l->hidden, l->n_hidden, &l->room_hidden, sizeof(*l->hidden)))
		return err_set(w->e, -ENOMEM, "list changes");
	l->hidden[l->n_hidden++] = ino;
	return 0;
}

void cow_free(struct cow_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->v[i].path);
	free(l->v);
	free(l->hidden);
	cow_link_free(l);
	*l = (struct cow_list){ 0 };
}

/* ---- names of a directory, sorted ---- */

struct names { char **v; size_t n, room; };

static void names_free(struct names *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->v[i]);
	free(s->v);
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Those of @dir (-1: none) added. */
static int names_add(struct names *s, int dir)
{
	int copy = dir < 0 ? -1 : openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	int rc = 0;

	if (!d) {
		if (copy >= 0)
			close(copy);
		return dir < 0 ? 0 : -errno;
	}
	for (const struct dirent *de; !rc && (de = readdir(d));) {
		if (!strcmp(de->d_name, ".") || !strcmp(de->d_name, ".."))
			continue;
		rc = cow_grow(&s->v, s->n, &s->room, sizeof(*s->v));
		if (!rc && !(s->v[s->n++] = strdup(de->d_name)))
			rc = -ENOMEM;
	}
	closedir(d);
	return rc;
}

static void names_sort(struct names *s)
{
	size_t n = 0;

	if (s->n)
		qsort(s->v, s->n, sizeof(*s->v), compare);
	for (size_t i = 0; i < s->n; i++)
		if (n && !strcmp(s->v[n - 1], s->v[i]))
			free(s->v[i]);
		else
			s->v[n++] = s->v[i];
	s->n = n;
}

/* ---- walking ---- */

static size_t enter(struct walk *w, const char *name)
{
	size_t n = strlen(w->path);

	snprintf(w->path + n, sizeof(w->path) - n, "%s%s", n ? "/" : "", name);
	return n;
}

static int too_deep(struct walk *w)
{
	if (w->depth < DEPTH_MAX && strlen(w->path) + NAME_MAX + 2 < sizeof(w->path))
		return 0;
	return err_say(w->e, -ELOOP, "folders in the share are nested deeper than %u", DEPTH_MAX);
}

static int failed(struct walk *w, int rc)
{
	return err_set(w->e, rc, "look at %.150s", *w->path ? w->path : "the share");
}

/*
 * @name of @lower is gone, with all in it: what is inside comes first. @since: when that
 * happened, so that what is newer is a conflict.
 */
static int walk_deleted(struct walk *w, int lower, const char *name,
			const struct statx_timestamp *since)
{
	struct names names = { 0 };
	struct stat st;
	int rc = 0;

	if (fstatat(lower, name, &st, AT_SYMLINK_NOFOLLOW))
		return errno == ENOENT ? 0 : failed(w, -errno);
	if (S_ISDIR(st.st_mode)) {
		auto_fd dir = openat(lower, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

		rc = dir < 0 ? failed(w, -errno) : too_deep(w);
		if (!rc && names_add(&names, dir))
			rc = failed(w, -errno);
		names_sort(&names);
		w->depth++;
		for (size_t i = 0; !rc && i < names.n; i++) {
			size_t n = enter(w, names.v[i]);

			rc = walk_deleted(w, dir, names.v[i], since);
			w->path[n] = '\0';
		}
		w->depth--;
		names_free(&names);
	}
	if (!rc)
		rc = hide(w, st.st_ino);
	return rc ? rc : add(w, COW_DELETED, st.st_mode, 0,
			     !S_ISDIR(st.st_mode) && later(&st.st_ctim, since) ?
			     "was changed on the host" : NULL);
}

/* Where in the file something other than a hole begins; its end if nothing does. */
static off_t data_from(int fd, off_t at)
{
	off_t data = lseek(fd, at, SEEK_DATA);

	if (data < 0 && errno == ENXIO)
		data = lseek(fd, 0, SEEK_END);
	return data > at ? data : at;
}

/* Holes that both have are passed over: a file of a terabyte may have nothing in it. */
int cow_same(int a, int b)
{
	static char x[65536], y[65536];
	ssize_t n, m;
	off_t at = 0;

	for (;;) {
		off_t in_a = data_from(a, at), in_b = data_from(b, at);

		at = in_a < in_b ? in_a : in_b;
		n = pread(a, x, sizeof(x), at);
		m = pread(b, y, sizeof(y), at);
		if (n < 0 || m < 0)
			return -errno;
		if (n != m || memcmp(x, y, (size_t)n))
			return 0;
		if (!n)
			return 1;
		at += n;
	}
}

/* 1: they hold the same, 0: they do not, or -errno. Neither is a directory. */
static int same_content(int upper, int lower, const char *name, const struct stat *up,
			const struct stat *low)
{
	char a[PATH_MAX], b[PATH_MAX];
	auto_fd x = -1, y = -1;
	ssize_t n, m;

	if ((up->st_mode & S_IFMT) != (low->st_mode & S_IFMT))
		return 0;
	if (S_ISLNK(up->st_mode)) {
		n = readlinkat(upper, name, a, sizeof(a));
		m = readlinkat(lower, name, b, sizeof(b));
		return n >= 0 && n == m && !memcmp(a, b, (size_t)n);
	}
	if (!S_ISREG(up->st_mode) || up->st_size != low->st_size)
		return !S_ISREG(up->st_mode);
	x = cow_open_name(upper, name, O_RDONLY);
	y = cow_open_name(lower, name, O_RDONLY);
	return x < 0 ? x : y < 0 ? y : cow_same(x, y);
}

static int walk_dir(struct walk *w, int upper, int lower);

static int walk_subdir(struct walk *w, int upper, int lower, const char *name,
		       const struct stat *up, const struct stat *low)
{
	bool merged = low && S_ISDIR(low->st_mode);
	auto_fd u = cow_open_name(upper, name, O_RDONLY | O_DIRECTORY);
	auto_fd l = merged ? cow_open_name(lower, name, O_RDONLY | O_DIRECTORY) : -1;
	int rc = u < 0 ? failed(w, u) : merged && l < 0 ? failed(w, l) : too_deep(w);

	if (!rc && !merged)
		rc = add(w, COW_ADDED, 0, up->st_mode, NULL);
	else if (!rc && (up->st_mode & 01777) != (low->st_mode & 01777))
		rc = add(w, COW_MODE, low->st_mode, up->st_mode, NULL);
	w->depth++;
	if (!rc)
		rc = walk_dir(w, u, l);
	w->depth--;
	return rc;
}

static int note_names(struct walk *w, int upper, const char *name, const struct stat *up,
		      const struct stat *low, bool same)
{
	unsigned long long ino = 0, size;
	long long sec;
	unsigned nsec;
	auto_fd fd = S_ISREG(up->st_mode) && up->st_nlink > 1 ?
		     cow_open_name(upper, name, O_RDONLY) : -1;
	bool home;

	if (fd < 0)
		return 0;
	home = low && origin(fd, &ino, &sec, &nsec, &size) && ino == low->st_ino;
	if (cow_link_note(w->l, up->st_ino, w->path, home,
			  same && (up->st_mode & 01777) == (low->st_mode & 01777)))
		return err_say(w->e, -ENOMEM, "more than %zu names of files with several are more "
			       "than this program can handle at once", w->l->n_linked);
	return 0;
}

static int walk_file(struct walk *w, int upper, int lower, const char *name,
		     const struct stat *up, const struct stat *low)
{
	int same = low ? same_content(upper, lower, name, up, low) : 0;

	int rc = same < 0 ? failed(w, same) : note_names(w, upper, name, up, low, same);

	if (rc)
		return rc;
	if (same && (S_ISLNK(up->st_mode) || (up->st_mode & 01777) == (low->st_mode & 01777)))
		return 0;
	return add(w, !low ? COW_ADDED : same ? COW_MODE : COW_CHANGED, low ? low->st_mode : 0,
		   up->st_mode, NULL);
}

static int walk_entry(struct walk *w, int upper, int lower, const char *name)
{
	struct statx when;
	struct stat up, low;
	bool below = lower >= 0 && !fstatat(lower, name, &low, AT_SYMLINK_NOFOLLOW);
	int rc = 0;

	if (statx(upper, name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_BTIME, &when) ||
	    fstatat(upper, name, &up, AT_SYMLINK_NOFOLLOW))
		return errno == ENOENT ? 0 : failed(w, -errno);
	if (below && (cow_is_whiteout(&up) || S_ISDIR(up.st_mode) != S_ISDIR(low.st_mode))) {
		/* (A whiteout's own time is when it was made: nothing ever changes one.) */
		rc = walk_deleted(w, lower, name, cow_is_whiteout(&up) ? &when.stx_mtime :
				  when.stx_mask & STATX_BTIME ? &when.stx_btime : &when.stx_ctime);
		below = false;
	}
	if (rc || cow_is_whiteout(&up))
		return rc;
	if (S_ISDIR(up.st_mode))
		return walk_subdir(w, upper, lower, name, &up, below ? &low : NULL);
	return walk_file(w, upper, lower, name, &up, below ? &low : NULL);
}

/* An opaque directory hides all of the lower one that it does not have itself. */
static int walk_opaque(struct walk *w, int upper, int lower)
{
	struct names names = { 0 };
	struct statx when;
	struct stat st;
	int rc = names_add(&names, lower) || statx(upper, "", AT_EMPTY_PATH, STATX_BTIME |
						   STATX_CTIME, &when) ? failed(w, -errno) : 0;

	names_sort(&names);
	for (size_t i = 0; !rc && i < names.n; i++) {
		size_t n = enter(w, names.v[i]);

		if (fstatat(upper, names.v[i], &st, AT_SYMLINK_NOFOLLOW))
			rc = walk_deleted(w, lower, names.v[i], when.stx_mask & STATX_BTIME ?
					  &when.stx_btime : &when.stx_ctime);
		w->path[n] = '\0';
	}
	names_free(&names);
	return rc;
}

static int walk_dir(struct walk *w, int upper, int lower)
{
	struct names names = { 0 };
	char yes;
	int rc = names_add(&names, upper) ? failed(w, -errno) : 0;

	if (!rc && lower >= 0 && fgetxattr(upper, UPPER_OPAQUE, &yes, 1) == 1)
		rc = walk_opaque(w, upper, lower);
	names_sort(&names);
	for (size_t i = 0; !rc && i < names.n; i++) {
		size_t n = enter(w, names.v[i]);

		rc = walk_entry(w, upper, lower, names.v[i]);
		w->path[n] = '\0';
	}
	names_free(&names);
	return rc;
}

/* When all deletions are known, so that moves can be told from what the host deleted. */
static void find_conflicts(int upper, int lower, struct cow_list *l)
{
	if (l->n_hidden)
		qsort(l->hidden, l->n_hidden, sizeof(*l->hidden), compare_ino);
	for (size_t i = 0; i < l->n; i++) {
		struct cow_change *c = &l->v[i];
		const char *name;
		auto_fd u = c->kind == COW_DELETED ? -1 : cow_open_parent(upper, c->path, &name);
		auto_fd d = u < 0 ? -1 : cow_open_parent(lower, c->path, &name);

		if (u >= 0)
			c->conflict = cow_conflict(u, d, name, l);
	}
}

int cow_scan(int upper, int lower, struct cow_list *l, struct err *e)
{
	struct walk w = { .l = l, .e = e };
	int rc;

	*l = (struct cow_list){ 0 };
	rc = walk_dir(&w, upper, lower);
	cow_link_sort(l);
	if (!rc)
		find_conflicts(upper, lower, l);
	return rc;
}
