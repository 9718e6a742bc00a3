/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attach.c - what attaching a folder to a sandbox means for its list of folders and for
 * its config, whether it runs or not.
 */
#include "cli/keeper/attach.h"
#include "cli/share/guard.h"
#include "cli/run/settings.h"

int attach_config(const struct store_box *b, const char *file, const char *old, const char *new,
		  struct err *e)
{
	auto_fd lock = store_config_lock(b, e);
	auto_mem char *text = lock < 0 ? NULL : store_read(b, file, e);
	auto_mem char *changed = NULL;
	struct settings s = { 0 };
	int rc = text ? settings_parse(&s, text, file, e) : e->code;

	for (size_t i = 0; !rc && old && i < s.n; i++) {
		struct setting *x = &s.v[i];

		/* A line that is known by another section or key is not ours to touch. */
		if (*x->section || strcmp(x->key, "volume") || strcmp(x->value, old))
			continue;
		free(x->section);
		free(x->key);
		free(x->value);
		memmove(x, x + 1, (s.n - i - 1) * sizeof(*x));
		s.n--;
		break;
	}
	if (!rc && new && settings_set(&s, "", "volume", new))
		rc = err_set(e, -ENOMEM, "config");
	changed = rc ? NULL : settings_text(&s);
	if (!rc)
		rc = changed ? store_write(b, file, changed, strlen(changed), e) :
			       err_set(e, -ENOMEM, "config");
	settings_free(&s);
	return rc;
}

/* The share that @text asks for may be there, or something else may be in its way. */
int attach_look(struct shares *s, const char *name, const struct share *want, bool *there,
		struct err *e)
{
	const struct share *at = shares_at(s, want->dst), *of = shares_of(s, want->src);

	*there = at && !strcmp(at->src, want->src) && at->mode == want->mode &&
		 at->cache == want->cache;
	if (*there)
		return 0;
	if (at && !strcmp(at->src, want->src))
		return err_say(e, -EEXIST, "%.80s is shared as %s,cache=%s, not as asked; detach it "
			       "first: 'sandbox detach --vm %s %.60s'", at->src,
			       share_mode_name(at->mode), share_cache_name(at->cache), name,
			       at->src);
	if (at)
		return err_say(e, -EEXIST, "%.60s in the guest is the host's %.60s; detach that "
			       "first, or attach elsewhere as in SRC:DST", at->dst, at->src);
	if (of)
		return err_say(e, -EEXIST, "%.80s is shared at %.60s already; detach it first: "
			       "'sandbox detach --vm %s %.60s'", of->src, of->dst, name, of->src);
	return 0;
}

int attach_overlaps(const struct shares *s, const struct share *one, struct err *e)
{
	for (size_t i = 0; i < s->n; i++)
		if (&s->v[i] != one && (guard_inside(s->v[i].src, one->src) ||
					guard_inside(one->src, s->v[i].src)))
			return err_say(e, -EPERM, "%.80s and %.80s overlap, so one file would be "
				       "shared in two ways; detach one of them, or add --yes",
				       one->src, s->v[i].src);
	return 0;
}

/* The folders in its config, as far as they are there. */
static void of_config(const struct settings *set, struct shares *s)
{
	struct err none;

	for (size_t i = 0; i < set->n; i++)
		if (!*set->v[i].section && !strcmp(set->v[i].key, "volume"))
			(void)!shares_add(s, set->v[i].value, &none);
}

int attach_stopped(struct store_box *b, const char *text, bool yes, struct err *e)
{
	auto_mem char *config = store_read(b, "config", e);
	struct settings set = { 0 };
	struct shares s = { 0 }, want = { 0 };
	bool there = false;
	int rc = config ? settings_parse(&set, config, "config", e) : e->code;

	if (!rc)
		rc = shares_add(&want, text, e);
	if (!rc)
		of_config(&set, &s);
	if (!rc)
		rc = attach_look(&s, b->name, &want.v[0], &there, e);
	if (!rc && !there && !yes)
		rc = attach_overlaps(&s, &want.v[0], e);
	if (!rc && !there)
		rc = attach_config(b, "config", NULL, text, e);
	shares_free(&s);
	shares_free(&want);
	settings_free(&set);
	return rc;
}

/* As text, because the folder may be gone by now. */
static bool is_about(const char *volume, const char *path)
{
	size_t n = strlen(path);
	const char *colon = strchr(volume, ':');

	if (!strncmp(volume, path, n) && (volume[n] == ':' || !volume[n]))
		return true;
	return colon && !strncmp(colon + 1, path, n) && (colon[1 + n] == ':' || !colon[1 + n]);
}

int detach_stopped(struct store_box *b, const char *path, bool *there, struct err *e)
{
	auto_mem char *config = store_read(b, "config", e);
	struct settings set = { 0 };
	int rc = config ? settings_parse(&set, config, "config", e) : e->code;

	*there = false;
	for (size_t i = 0; !rc && !*there && i < set.n; i++) {
		const struct setting *x = &set.v[i];

		*there = !*x->section && !strcmp(x->key, "volume") && is_about(x->value, path);
		if (*there)
			rc = attach_config(b, "config", x->value, NULL, e);
	}
	settings_free(&set);
	return rc;
}
