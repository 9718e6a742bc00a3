// SPDX-License-Identifier: Apache-2.0
/*
 * user.c - names of users and groups.
 *
 * The image may have any libc, or none, so its name service modules cannot be
 * loaded; the two files are what every image has. They are read line by line
 * through a small buffer. A line that is too long for it cannot be trusted to
 * end where it seems to, and is skipped whole.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "agent/user.h"

#define LINE_LEN 2048

struct lines {
	int fd;
	size_t at, len;
	bool skip;	/* in the rest of a line that was too long */
	char buf[LINE_LEN + 1];
};

static int lines_open(struct lines *l, const char *path)
{
	l->at = 0;
	l->len = 0;
	l->skip = false;
	l->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	return l->fd < 0 ? -errno : 0;
}

/* The next line, without its newline, or NULL. Valid until the next call. */
static char *lines_next(struct lines *l)
{
	for (;;) {
		char *line = l->buf + l->at, *nl = memchr(line, '\n', l->len - l->at);
		bool skip = l->skip;
		ssize_t n;

		if (nl) {
			*nl = 0;
			l->at = (size_t)(nl - l->buf) + 1;
			l->skip = false;
			if (!skip)
				return line;
			continue;
		}
		memmove(l->buf, line, l->len - l->at);
		l->len -= l->at;
		l->at = 0;
		if (l->len == LINE_LEN) {
			l->len = 0;
			l->skip = true;
		}
		n = read(l->fd, l->buf + l->len, LINE_LEN - l->len);
		if (n > 0) {
			l->len += (size_t)n;
			continue;
		}
		if (!l->len || l->skip)
			return NULL;
		l->buf[l->len] = 0;	/* the last line has no newline */
		l->len = 0;
		return l->buf;
	}
}

/* Split at colons, in place: true when there are at least `n` fields. */
static bool fields(char *line, char **f, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		f[i] = line;
		line = strchr(line, ':');
		if (!line)
			return i + 1 == n;
		*line++ = 0;
	}
	return true;
}

/* Decimal, all of it, and not (uid_t)-1, which means "no change" to setresuid(). */
static bool number(const char *s, uint32_t *out)
{
	uint64_t v = 0;

	if (!*s)
		return false;
	for (; *s; s++) {
		if (*s < '0' || *s > '9')
			return false;
		v = v * 10 + (uint64_t)(*s - '0');
		if (v >= UINT32_MAX)
			return false;
	}
	*out = (uint32_t)v;
	return true;
}

static void copy(char *dst, size_t cap, const char *src)
{
	size_t n = strlen(src);

	if (n >= cap)
		n = 0;	/* a cut-off path is another path */
	memcpy(dst, src, n);
	dst[n] = 0;
}

/* Fill *u from the line of passwd whose name (or else whose number) is `who`. */
static int find_user(const char *path, const char *who, struct user *u)
{
	struct lines l;
	bool numeric = number(who, &u->uid);
	uint32_t uid, gid;
	char *line, *f[7];
	int rc = numeric ? 0 : -ENOENT;

	if (lines_open(&l, path) < 0)
		return rc;
	while ((line = lines_next(&l))) {
		if (!fields(line, f, 7) || !*f[0] || !number(f[2], &uid) || !number(f[3], &gid))
			continue;
		if (strcmp(f[0], who) != 0 && (!numeric || uid != u->uid))
			continue;
		u->uid = uid;
		u->gid = gid;
		copy(u->name, sizeof(u->name), f[0]);
		copy(u->home, sizeof(u->home), f[5]);
		rc = 0;
		break;
	}
	close(l.fd);
	return rc;
}

static bool is_member(char *list, const char *name)
{
	char *save = NULL;

	for (char *m = strtok_r(list, ",", &save); m; m = strtok_r(NULL, ",", &save))
		if (strcmp(m, name) == 0)
			return true;
	return false;
}

/*
 * Resolve `grp` to u->gid; without one, collect the groups that list the user. Who names a
 * group gets that one and no other, as in a container.
 */
static int find_groups(const char *path, const char *grp, struct user *u)
{
	struct lines l;
	char *line, *f[4];
	uint32_t gid, own = 0;
	bool found = !grp || number(grp, &own);

	if (lines_open(&l, path) == 0) {
		while ((line = lines_next(&l))) {
			if (!fields(line, f, 4) || !*f[0] || !number(f[2], &gid))
				continue;
			if (grp && !found && strcmp(f[0], grp) == 0) {
				own = gid;
				found = true;
			}
			if (!grp && u->name[0] && u->n_groups < USER_GROUPS_MAX &&
			    is_member(f[3], u->name))
				u->groups[u->n_groups++] = gid;
		}
		close(l.fd);
	}
	if (grp && found)
		u->gid = own;
	return found ? 0 : -ENOENT;
}

int user_lookup(const char *passwd, const char *group, const char *user, const char *grp,
		struct user *out, const char **why)
{
	memset(out, 0, sizeof(*out));
	*why = NULL;
	if (find_user(passwd, user ? user : "0", out) < 0) {
		*why = "no such user in the guest";
		return -ENOENT;
	}
	if (!out->home[0])
		memcpy(out->home, "/", 2);
	if ((user || grp) && find_groups(group, grp, out) < 0) {
		*why = "no such group in the guest";
		return -ENOENT;
	}
	return 0;
}
