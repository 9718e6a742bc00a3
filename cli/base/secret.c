/* SPDX-License-Identifier: Apache-2.0 */
/*
 * secret.c - references, and their values at the last moment.
 */
#include <limits.h>
#include "cli/base/host.h"
#include "cli/base/secret.h"

#define VALUE_MAX 65536u

int secret_add(struct env *refs, const char *text, struct err *e)
{
	size_t n = strcspn(text, "=");
	const char *from = text + n;
	char full[PATH_MAX + 600], path[PATH_MAX];

	if (n > 255)
		return err_say(e, -EINVAL, "the name of the secret is too long");
	if (!*from) {
		snprintf(full, sizeof(full), "%s=env:%s", text, text);
		return env_add(refs, full, e);
	}
	if (!strncmp(from, "=env:", 5) && from[5])
		return env_add(refs, text, e);
	if (strncmp(from, "=file:", 6) || !from[6])
		/* What stands there may be the value: it is not repeated. */
		return err_say(e, -EINVAL, "%.*s: a value cannot be given on the command line, where "
			       "others can read it; say %.*s=env:VARIABLE or %.*s=file:PATH",
			       (int)n, text, (int)n, text, (int)n, text);
	if (!realpath(from + 6, path))
		return err_set(e, -errno, "%s", from + 6);
	snprintf(full, sizeof(full), "%.*s=file:%s", (int)n, text, path);
	return env_add(refs, full, e);
}

/* The value of one reference into buf. */
static int value_of(const char *name, size_t n, const char *from, char *buf, size_t len,
		    struct err *e)
{
	const char *host;
	ssize_t got;

	if (!strncmp(from, "env:", 4)) {
		host = getenv(from + 4);
		if (!host)
			return err_say(e, -ENOENT, "the secret %.*s is to come from the variable %s, "
				       "which is not set here", (int)n, name, from + 4);
		if (strlen(host) >= len)
			return err_say(e, -E2BIG, "the secret %.*s is too long", (int)n, name);
		memcpy(buf, host, strlen(host) + 1);
		return 0;
	}
	got = host_read(from + 5, buf, len);
	if (got < 0)
		return err_set(e, (int)got, "read the secret %.*s from %s", (int)n, name, from + 5);
	if ((size_t)got == len - 1)
		return err_say(e, -E2BIG, "the secret %.*s is too long", (int)n, name);
	if (memchr(buf, '\0', (size_t)got))
		return err_say(e, -EINVAL, "the secret %.*s has a zero byte in it", (int)n, name);
	if (got && buf[got - 1] == '\n')
		buf[got - 1] = '\0';
	return 0;
}

int secret_resolve(const struct env *refs, struct env *env, struct err *e)
{
	auto_mem char *buf = malloc(VALUE_MAX + 256 + 2);
	int rc = buf ? 0 : err_set(e, -ENOMEM, "secrets");

	for (size_t i = 0; !rc && i < refs->n; i++) {
		size_t n = strcspn(refs->v[i], "=");

		memcpy(buf, refs->v[i], n + 1);
		rc = value_of(refs->v[i], n, refs->v[i] + n + 1, buf + n + 1, VALUE_MAX, e);
		if (!rc)
			rc = env_add(env, buf, e);
	}
	if (buf)
		explicit_bzero(buf, VALUE_MAX + 256 + 2);
	return rc;
}

void secret_free(struct env *env)
{
	for (size_t i = 0; i < env->n; i++)
		explicit_bzero(env->v[i], strlen(env->v[i]));
	env_free(env);
}
