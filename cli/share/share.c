/* SPDX-License-Identifier: Apache-2.0 */
/*
 * share.c - one -v after the other becomes a list that holds nothing doubtful.
 *
 * The folder is named by its real path from here on: it is what the guards look at
 * and what the server gets, so no link can change between the two. A path with a
 * colon cannot be written; the sentence about the part before it says so.
 */
#include <limits.h>
#include <sys/stat.h>
#include "cli/share/guard.h"
#include "cli/share/share.h"

static const char *const mode_names[] = {
	[SHARE_RW] = "rw", [SHARE_RO] = "ro", [SHARE_COW] = "cow",
};
static const char *const cache_names[] = {
	[SHARE_CACHE_AUTO] = "auto", [SHARE_CACHE_NONE] = "none", [SHARE_CACHE_ALWAYS] = "always",
};

const char *share_mode_name(enum share_mode m)
{
	return mode_names[m];
}

const char *share_cache_name(enum share_cache c)
{
	return cache_names[c];
}

static bool one_option(const char *word, size_t len, struct share *s)
{
	static const char cache[] = "cache=";

	for (size_t i = 0; i < ARRAY_LEN(mode_names); i++)
		if (strlen(mode_names[i]) == len && !memcmp(word, mode_names[i], len)) {
			s->mode = (enum share_mode)i;
			return true;
		}
	if (len < sizeof(cache) || memcmp(word, cache, sizeof(cache) - 1))
		return false;
	word += sizeof(cache) - 1;
	len -= sizeof(cache) - 1;
	for (size_t i = 0; i < ARRAY_LEN(cache_names); i++)
		if (strlen(cache_names[i]) == len && !memcmp(word, cache_names[i], len)) {
			s->cache = (enum share_cache)i;
			return true;
		}
	return false;
}

static int options(const char *p, struct share *s, struct err *e)
{
	unsigned modes = 0;

	for (;; p++) {
		size_t n = strcspn(p, ",");
		enum share_mode was = s->mode;

		if (!one_option(p, n, s))
			return err_say(e, -EINVAL, "'%.*s' is neither ro, rw, cow, "
				       "cache=none|auto|always nor an absolute path in the guest",
				       (int)(n < 80 ? n : 80), p);
		if (strncmp(p, "cache=", 6) && modes++ && s->mode != was)
			return err_say(e, -EINVAL, "it cannot be both %s and %s; leave one out",
				       mode_names[was], mode_names[s->mode]);
		p += n;
		if (!*p)
			return 0;
	}
}

static int source(const char *text, size_t len, struct share *s, struct err *e)
{
	auto_mem char *name = strndup(text, len);
	struct stat st;

	if (!name || !*name)
		return err_say(e, -EINVAL, "there is no folder before the colon; write it as in "
			       "-v .:/work");
	s->src = realpath(name, NULL);
	if (!s->src && errno == ENOENT)
		return err_say(e, -ENOENT, "there is no folder %.100s here; make it first "
			       "(a name with a colon in it cannot be shared)", name);
	if (!s->src)
		return err_set(e, -errno, "%.100s", name);
	if (stat(s->src, &st))
		return err_set(e, -errno, "%.100s", s->src);
	if (!S_ISDIR(st.st_mode))
		return err_say(e, -ENOTDIR, "%.100s is no folder, and only folders can be shared; "
			       "share the one that it is in", s->src);
	if (access(s->src, R_OK | X_OK))
		return err_set(e, -errno, "%.100s cannot be read", s->src);
	return 0;
}

/* Slashes made single; "." and ".." are refused rather than guessed. */
static int target(const char *text, size_t len, struct share *s, struct err *e)
{
	static const char *const kept[] = { "/proc", "/sys", "/dev", "/run" };
	char *out = malloc(len + 2), *o = out;

	s->dst = out;
	if (!out)
		return err_set(e, -ENOMEM, "share");
	for (size_t i = 0, n; i < len; i += n) {
		i += strspn(text + i, "/");
		n = strcspn(text + i, "/:");
		if (i >= len || !n)
			break;
		if ((n == 1 && text[i] == '.') || (n == 2 && !memcmp(text + i, "..", 2)))
			return err_say(e, -EINVAL, "the place in the guest, %.*s, has a '.' or '..' "
				       "in it; write it without", (int)len, text);
		*o++ = '/';
		memcpy(o, text + i, n);
		o += n;
	}
	*o = '\0';
	if (o == out)
		return err_say(e, -EINVAL, "a folder cannot take the place of the guest's /; name "
			       "one below it, as in :/work");
	if (o - out >= (int)PROTO_PATH_MAX)
		return err_say(e, -ENAMETOOLONG, "the place in the guest is too long");
	for (size_t i = 0; i < ARRAY_LEN(kept); i++)
		if (guard_inside(out, kept[i]))
			return err_say(e, -EINVAL, "the guest needs its own %s; share the folder "
				       "elsewhere, as in :/work", kept[i]);
	return 0;
}

static int parse(const char *text, struct share *s, struct err *e)
{
	size_t n = strcspn(text, ":"), m;
	const char *rest = text + n;
	int rc = source(text, n, s, e);

	if (!rc && *rest && rest[1] == '/') {
		m = strcspn(++rest, ":");
		rc = target(rest, m, s, e);
		rest += m;
	} else if (!rc && s->src) {
		rc = target(s->src, strlen(s->src), s, e);
	}
	return !rc && *rest ? options(rest + 1, s, e) : rc;
}

static unsigned free_id(const struct shares *s)
{
	uint64_t taken = 0;

	_Static_assert(PROTO_SHARES_MAX == 64, "one bit for each");
	for (size_t i = 0; i < s->n; i++)
		taken |= 1ull << s->v[i].id;
	return (unsigned)__builtin_ctzll(~taken);
}

static void release(struct share *s)
{
	free(s->src);
	free(s->dst);
	*s = (struct share){ 0 };
}

int shares_add(struct shares *s, const char *text, struct err *e)
{
	struct share one = { 0 };
	size_t at = 0;
	int rc = parse(text, &one, e);

	if (!rc && s->n == ARRAY_LEN(s->v))
		rc = err_say(e, -E2BIG, "a sandbox shares at most %u folders", PROTO_SHARES_MAX);
	if (!rc && shares_at(s, one.dst))
		rc = err_say(e, -EEXIST, "two folders cannot both be at %.100s in the guest",
			     one.dst);
	if (rc) {
		release(&one);
		return rc;
	}
	one.id = free_id(s);
	while (at < s->n && strcmp(s->v[at].dst, one.dst) < 0)
		at++;
	memmove(&s->v[at + 1], &s->v[at], (s->n - at) * sizeof(s->v[0]));
	s->v[at] = one;
	s->n++;
	return 0;
}

int shares_guard(const struct shares *s, struct err *e)
{
	for (size_t i = 0; i < s->n; i++) {
		int rc = guard_check_here(s->v[i].src, e);

		if (rc)
			return rc;
		for (size_t k = 0; k < i; k++)
			if (guard_inside(s->v[i].src, s->v[k].src) ||
			    guard_inside(s->v[k].src, s->v[i].src))
				return err_say(e, -EPERM, "%.80s and %.80s overlap, so one file "
					       "would be shared in two ways; share one of them, or "
					       "add --yes", s->v[k].src, s->v[i].src);
	}
	return 0;
}

const char *shares_workdir(const struct shares *s, char *buf, size_t len)
{
	auto_mem char *cwd = getcwd(NULL, 0);
	const struct share *best = NULL;

	for (size_t i = 0; cwd && i < s->n; i++)
		if (guard_inside(cwd, s->v[i].src) &&
		    (!best || strlen(s->v[i].src) > strlen(best->src)))
			best = &s->v[i];
	if (!best)
		return NULL;
	if ((size_t)snprintf(buf, len, "%s%s", best->dst,
			     cwd + (best->src[1] ? strlen(best->src) : 0)) >= len)
		return NULL;
	return buf;
}

struct share *shares_at(struct shares *s, const char *dst)
{
	for (size_t i = 0; i < s->n; i++)
		if (!strcmp(s->v[i].dst, dst))
			return &s->v[i];
	return NULL;
}

struct share *shares_of(struct shares *s, const char *src)
{
	for (size_t i = 0; i < s->n; i++)
		if (!strcmp(s->v[i].src, src))
			return &s->v[i];
	return NULL;
}

void shares_drop(struct shares *s, struct share *one)
{
	size_t at = (size_t)(one - s->v);

	release(one);
	s->n--;
	memmove(one, one + 1, (s->n - at) * sizeof(*one));
}

void shares_free(struct shares *s)
{
	for (size_t i = 0; i < s->n; i++)
		release(&s->v[i]);
	s->n = 0;
}

char *share_text(const struct share *s)
{
	char *text;

	if (asprintf(&text, "%s:%s:%s,cache=%s", s->src, s->dst, share_mode_name(s->mode),
		     share_cache_name(s->cache)) < 0)
		return NULL;
	return text;
}
