/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/fs/req.h"

const void *cursor_take(struct cursor *c, size_t len)
{
	const void *p = c->p;

	if (len > c->left)
		return NULL;
	c->p += len;
	c->left -= len;
	return p;
}

int cursor_get(struct cursor *c, void *dst, size_t len)
{
	const void *p = cursor_take(c, len);

	if (!p)
		return -EINVAL;
	memcpy(dst, p, len);
	return 0;
}

int cursor_get_grown(struct cursor *c, void *dst, size_t min, size_t len)
{
	memset(dst, 0, len);
	return cursor_get(c, dst, c->left < len ? min : len);
}

const char *cursor_string(struct cursor *c, size_t max)
{
	const uint8_t *end = c->left ? memchr(c->p, 0, c->left) : NULL;

	if (!end || end == c->p || (size_t)(end - c->p) > max)
		return NULL;
	return cursor_take(c, (size_t)(end - c->p) + 1);
}

int cursor_name(struct cursor *c, const char **name)
{
	const uint8_t *end = c->left ? memchr(c->p, 0, c->left) : NULL;
	const char *s;

	if (!end || end == c->p)
		return -EINVAL;
	if ((size_t)(end - c->p) > FS_NAME_MAX)
		return -ENAMETOOLONG;
	s = cursor_take(c, (size_t)(end - c->p) + 1);
	if (!s || strchr(s, '/') || !strcmp(s, ".") || !strcmp(s, ".."))
		return -EINVAL;
	*name = s;
	return 0;
}

int req_put(struct req *r, const void *p, size_t len)
{
	if (len > r->room - r->len)
		return -ERANGE;
	if (!len)
		return 0;	/* there may be no buffer at all */
	memcpy(r->out + r->len, p, len);
	r->len += len;
	return 0;
}
