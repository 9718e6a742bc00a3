/* SPDX-License-Identifier: Apache-2.0 */
/*
 * env.c - environment variables, by the rules that users of containers know: no
 * quoting, no expansion; everything after the first `=` is the value, spaces and
 * quotes included. A bare name copies the host's variable.
 */
#include <ctype.h>
#include "cli/base/env.h"

static size_t name_len(const char *text)
{
	return strcspn(text, "=");
}

static char **find(const struct env *env, const char *text, size_t len)
{
	for (size_t i = 0; i < env->n; i++)
		if (name_len(env->v[i]) == len && !memcmp(env->v[i], text, len))
			return &env->v[i];
	return NULL;
}

bool env_has(const struct env *env, const char *name)
{
	return find(env, name, strlen(name));
}

/* Takes @text over, in every case. */
static int put(struct env *env, char *text, struct err *e)
{
	char **at, **grown;

	if (!text)
		return err_set(e, -ENOMEM, "environment");
	at = find(env, text, name_len(text));
	if (at) {
		free(*at);
		*at = text;
		return 0;
	}
	grown = realloc(env->v, (env->n + 2) * sizeof(*grown));
	if (!grown) {
		free(text);
		return err_set(e, -ENOMEM, "environment");
	}
	env->v = grown;
	env->v[env->n++] = text;
	env->v[env->n] = NULL;
	return 0;
}

int env_add(struct env *env, const char *text, struct err *e)
{
	size_t len = name_len(text);
	const char *host;
	char *made;

	if (!len)
		return err_say(e, -EINVAL, "'%s' has no name before the '='", text);
	for (size_t i = 0; i < len; i++)
		if (isspace((unsigned char)text[i]))
			return err_say(e, -EINVAL, "the name '%.*s' has a space in it", (int)len,
				       text);
	if (text[len] == '=')
		return put(env, strdup(text), e);
	host = getenv(text);
	if (!host)
		return 0;
	if (asprintf(&made, "%s=%s", text, host) < 0)
		made = NULL;
	return put(env, made, e);
}

int env_add_file(struct env *env, const char *path, struct err *e)
{
	FILE *f = fopen(path, "re");
	char *line = NULL;
	size_t cap = 0, nr = 0;
	ssize_t len;
	int rc = 0;

	if (!f)
		return err_set(e, -errno, "open %s", path);
	while (!rc && (len = getline(&line, &cap, f)) >= 0) {
		char *p = line;

		if (!nr++ && !strncmp(p, "\xef\xbb\xbf", 3))
			p += 3;
		if (memchr(line, '\0', (size_t)len)) {
			rc = err_say(e, -EINVAL, "%s line %zu has a zero byte in it", path, nr);
			break;
		}
		while (len > p - line && (line[len - 1] == '\n' || line[len - 1] == '\r'))
			line[--len] = '\0';
		while (isspace((unsigned char)*p))
			p++;
		if (!*p || *p == '#')
			continue;
		rc = env_add(env, p, e);
		if (rc)
			err_wrap(e, "%s line %zu", path, nr);
	}
	if (!rc && ferror(f))
		rc = err_set(e, -errno, "read %s", path);
	free(line);
	fclose(f);
	return rc;
}

void env_free(struct env *env)
{
	for (size_t i = 0; i < env->n; i++)
		free(env->v[i]);
	free(env->v);
	*env = (struct env){ 0 };
}
