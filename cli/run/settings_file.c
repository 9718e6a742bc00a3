/* SPDX-License-Identifier: Apache-2.0 */
/*
 * settings_file.c - the person's configuration file, and what of it holds here.
 */
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include "cli/base/host.h"
#include "cli/run/settings.h"
#include "cli/run/settings_edit.h"
#include "cli/store/store.h"

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

char *settings_read(struct place *p, struct err *e)
{
	char *text = settings_path(p, e) ? NULL : malloc(FILE_MAX);
	ssize_t n;

	if (!text) {
		if (!e->code)
			err_set(e, -ENOMEM, "settings");
		return NULL;
	}
	n = host_read(p->path, text, FILE_MAX);
	if (n == -ENOENT || n == -ENOTDIR) {
		text[0] = '\0';
		n = 0;
	}
	if (n >= 0 && (size_t)n < FILE_MAX - 1)
		return text;
	free(text);
	if (n < 0)
		err_set(e, (int)n, "read the configuration %s", p->path);
	else
		err_say(e, -EFBIG, "the configuration %s is too large", p->path);
	return NULL;
}

int settings_load(struct settings *s, struct place *p, struct err *e)
{
	auto_mem char *text = settings_read(p, e);

	return text ? settings_parse(s, text, p->path, e) : e->code;
}

/* The folder and the name of the file itself, where links lead to. The folder, open, or -errno. */
static int open_folder(const struct place *p, char name[static 256], struct err *e)
{
	auto_mem char *real = realpath(p->path, NULL);
	struct place dir;
	char *slash;
	int fd;

	if (snprintf(dir.path, sizeof(dir.path), "%s", real ? real : p->path) >=
	    (int)sizeof(dir.path))
		return err_set(e, -ENAMETOOLONG, "the configuration");
	slash = strrchr(dir.path, '/');
	if (slash == dir.path || (slash && strlen(slash) > 255))
		return err_say(e, -EINVAL, "the configuration cannot be %s", dir.path);
	snprintf(name, 256, "%.255s", slash ? slash + 1 : dir.path);
	if (slash)
		*slash = '\0';
	/* ~/.config and what is in it, on a new account */
	for (char *s = dir.path + 1; slash && (s = strchr(s, '/')); s++) {
		*s = '\0';
		(void)mkdir(dir.path, 0700);
		*s = '/';
	}
	if (slash)
		(void)mkdir(dir.path, 0700);
	fd = open(slash ? dir.path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? err_set(e, -errno, "open the folder %s", dir.path) : fd;
}

static int check_each(const char *text, const char *section, const struct settings *more,
		      const char *where, struct err *e)
{
	struct settings s = { 0 };
	int rc = settings_parse(&s, text, where, e);

	for (size_t i = 0; !rc && i < more->n; i++) {
		struct run_conf c;

		run_conf_init(&c);
		rc = settings_apply(&s, section, more->v[i].key, &c, where, e);
		run_conf_free(&c);
	}
	settings_free(&s);
	return rc;
}

int settings_change(const char *section, const struct settings *more, bool dry_run,
		    struct place *p, struct err *e)
{
	char name[256];
	int rc = settings_path(p, e);
	auto_fd dir = rc ? -1 : open_folder(p, name, e);
	char *text;

	if (dir < 0)
		return rc ? rc : dir;
	if (flock(dir, LOCK_EX))
		return err_set(e, -errno, "lock the folder of the configuration %s", p->path);
	text = settings_read(p, e);
	if (!text)
		return e->code;
	rc = check_each(text, section, &(struct settings){ 0 }, p->path, e);
	for (size_t i = 0; !rc && i < more->n; i++) {
		char *next = settings_edit(text, section, more->v[i].key, more->v[i].value);

		free(text);
		text = next;
		rc = text ? 0 : err_set(e, -ENOMEM, "settings");
	}
	if (!rc)
		rc = check_each(text, section, more, p->path, e);
	if (!rc && !dry_run)
		rc = store_replace(dir, name, text, strlen(text), e);
	free(text);
	return rc;
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
