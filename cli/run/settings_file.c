/* SPDX-License-Identifier: Apache-2.0 */
/*
 * settings_file.c - the person's configuration file, and what of it holds here.
 */
#include <fcntl.h>
#include "cli/base/host.h"
#include "cli/run/settings.h"

#define FILE_MAX (256u << 10)

int settings_path(struct place *p, struct err *e)
{
	const char *own = getenv("SANDBOX_CONFIG");
	size_t n;
	int rc;

	if (own && *own) {
		if (strlen(own) >= sizeof(p->path))
			return err_say(e, -ENAMETOOLONG, "SANDBOX_CONFIG is too long");
		memcpy(p->path, own, strlen(own) + 1);
		return 0;
	}
	rc = places_config(p, e);
	n = strlen(p->path);
	if (!rc && n + sizeof("/config") > sizeof(p->path))
		return err_say(e, -ENAMETOOLONG, "the configuration folder's path is too long");
	if (!rc)
		memcpy(p->path + n, "/config", sizeof("/config"));
	return rc;
}

int settings_load(struct settings *s, struct place *p, struct err *e)
{
	auto_mem char *text = malloc(FILE_MAX);
	int rc = settings_path(p, e);
	ssize_t n;

	if (rc || !text)
		return rc ? rc : err_set(e, -ENOMEM, "settings");
	n = host_read(p->path, text, FILE_MAX);
	if (n == -ENOENT || n == -ENOTDIR)
		return 0;
	if (n < 0)
		return err_set(e, (int)n, "read the configuration %s", p->path);
	if ((size_t)n == FILE_MAX - 1)
		return err_say(e, -EFBIG, "the configuration %s is too large", p->path);
	return settings_parse(s, text, p->path, e);
}

/* True if @cwd is the project's folder or below it. */
static bool applies(const char *section, const char *cwd)
{
	const char *dir = section + strlen("project ");
	size_t n = strlen(dir);

	if (strncmp(section, "project ", 8) != 0)
		return false;
	while (n > 1 && dir[n - 1] == '/')
		n--;
	return !strncmp(cwd, dir, n) && (!cwd[n] || cwd[n] == '/' || n == 1);
}

/* As settings_set(), but a sentence about it can name the line. */
static int set_line(struct settings *s, const struct setting *x)
{
	int rc = settings_set(s, "", x->key, x->value);

	if (!rc && *x->value)
		s->v[s->n - 1].line = x->line;
	return rc;
}

int settings_defaults(struct settings *s, struct err *e)
{
	struct settings file = { 0 };
	struct place p;
	auto_mem char *cwd = getcwd(NULL, 0);
	int rc = settings_load(&file, &p, e), bad = 0;

	for (size_t i = 0; !rc && !bad && i < file.n; i++)
		if (!strcmp(file.v[i].section, "defaults"))
			bad = set_line(s, &file.v[i]);
	for (size_t i = 0; !rc && !bad && cwd && i < file.n; i++)
		if (applies(file.v[i].section, cwd))
			bad = set_line(s, &file.v[i]);
	settings_free(&file);
	return rc ? rc : bad ? err_set(e, bad, "settings") : 0;
}
