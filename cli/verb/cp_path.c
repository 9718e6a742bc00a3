/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cp_path.c - the rules that people know from `docker cp`: a target that is a folder
 * takes the source in under its own name, any other is the new name; `/.` at the end of
 * a source means its contents.
 */
#include <libgen.h>
#include "cli/verb/cp_path.h"

int cp_path_parse(struct cp_path *p, const char *word, struct err *e)
{
	size_t colon = strcspn(word, ":/"), n;
	const char *path = word;
	int rc;

	*p = (struct cp_path){ .stream = !strcmp(word, "-") };
	if (p->stream)
		return 0;
	if (word[colon] == ':') {
		if (colon >= sizeof(p->box))
			colon = sizeof(p->box) - 1;
		memcpy(p->box, word, colon);
		rc = store_name_check(p->box, e);
		if (rc)
			return err_wrap(e, "'%.100s' (a file here is ./%.60s)", word, word);
		p->guest = true;
		path = strchr(word, ':') + 1;
	}
	if (!*path && !p->guest)
		return err_say(e, -EINVAL, "a path is empty");
	n = (size_t)snprintf(p->path, sizeof(p->path), "%s%s", p->guest && *path != '/' ? "/" : "",
			     path);
	if (n >= sizeof(p->path))
		return err_say(e, -ENAMETOOLONG, "'%.60s...' is too long", word);
	if (n >= 2 && !strcmp(p->path + n - 2, "/.")) {
		p->contents = true;
		p->path[--n] = '\0';
	} else if (!strcmp(p->path, ".")) {
		p->contents = true;
	}
	while (n > 1 && p->path[n - 1] == '/') {
		p->folder = true;
		p->path[--n] = '\0';
	}
	p->folder |= !strcmp(p->path, "/");
	return 0;
}

const char *cp_path_last(const struct cp_path *p)
{
	const char *slash = strrchr(p->path, '/');

	return slash ? slash + 1 : p->path;
}

static int put(char *to, size_t len, const char *from, struct err *e)
{
	if ((size_t)snprintf(to, len, "%s", from) >= len)
		return err_say(e, -ENAMETOOLONG, "'%.60s...' is too long", from);
	return 0;
}

int cp_path_target(const struct cp_path *from, const struct cp_path *to, bool from_is_dir,
		   bool exists, bool is_dir, char *dir, size_t dir_len, char *name,
		   size_t name_len, struct err *e)
{
	const char *last = cp_path_last(from);
	char copy[sizeof(to->path)];
	int rc;

	*name = '\0';
	if (exists && !is_dir && (from_is_dir || to->folder || to->contents))
		return err_say(e, -ENOTDIR, "%.150s is no folder", to->path);
	if (from->contents || !*last || !strcmp(last, "."))
		return put(dir, dir_len, to->path, e);
	if (!strcmp(last, ".."))
		return err_say(e, -EINVAL, "'%.100s' has no name of its own; say %.100s/. for what is "
			       "in it", from->path, from->path);
	if (exists && is_dir) {
		rc = put(dir, dir_len, to->path, e);
		return rc ? rc : put(name, name_len, last, e);
	}
	if (to->folder && !from_is_dir)
		return err_say(e, -ENOTDIR, "there is no folder %.150s", to->path);
	memcpy(copy, to->path, sizeof(copy));
	rc = put(dir, dir_len, dirname(copy), e);
	return rc ? rc : put(name, name_len, cp_path_last(to), e);
}
