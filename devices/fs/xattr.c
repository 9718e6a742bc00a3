/* SPDX-License-Identifier: Apache-2.0 */
/*
 * xattr.c - extended attributes: "user.", without those that are ours (upper.h).
 *
 * The others mean something to the host's kernel (security., trusted., system.), so they
 * are as if the file system did not have them.
 */
#include <linux/limits.h>
#include "devices/fs/attr.h"
#include "devices/fs/tree.h"

static bool allowed(const char *key)
{
	return !strncmp(key, "user.", 5) && strncmp(key, UPPER_XATTR, strlen(UPPER_XATTR)) != 0;
}

static int take_key(struct req *r, const char **key)
{
	*key = cursor_string(&r->in, XATTR_NAME_MAX);
	if (!*key)
		return -ERANGE;
	return allowed(*key) ? 0 : -EOPNOTSUPP;
}

int op_setxattr(struct req *r)
{
	struct fuse_setxattr_in in;
	struct place p;
	const char *key;
	const void *value;
	int rc = cursor_get(&r->in, &in, FUSE_COMPAT_SETXATTR_IN_SIZE);

	if (!rc)
		rc = take_key(r, &key);
	if (rc)
		return rc;
	if (in.size > XATTR_SIZE_MAX)
		return -E2BIG;
	value = cursor_take(&r->in, in.size);
	if (!value)
		return -EINVAL;
	rc = tree_raise(r->fs, r->node, true);
	if (!rc)
		rc = place_get(r->fs, r->node, &p);
	if (rc)
		return rc;
	rc = xa_set(p.fd, p.dir.fd, p.name, key, value, in.size, (int)in.flags);
	place_put(r->fs, &p);
	return rc;
}

/* The reply to a question for a size, or @len bytes at @buf, which are the answer. */
static int reply_sized(struct req *r, uint32_t size, const void *buf, size_t len)
{
	struct fuse_getxattr_out out = { .size = (uint32_t)len };

	if (!size)
		return req_put(r, &out, sizeof(out));
	return len > size ? -ERANGE : req_put(r, buf, len);
}

int op_getxattr(struct req *r)
{
	struct fuse_getxattr_in in;
	auto_mem void *value = NULL;
	struct place p;
	const char *key;
	ssize_t n;
	int rc = cursor_get(&r->in, &in, sizeof(in));

	if (!rc)
		rc = take_key(r, &key);
	if (!rc && !r->share)
		rc = -ENODATA;
	if (rc)
		return rc;
	value = malloc(XATTR_SIZE_MAX);
	if (!value)
		return -ENOMEM;
	rc = place_get(r->fs, r->node, &p);
	if (rc)
		return rc;
	n = xa_get(p.fd, p.dir.fd, p.name, key, value, XATTR_SIZE_MAX);
	place_put(r->fs, &p);
	return n < 0 ? (int)n : reply_sized(r, in.size, value, (size_t)n);
}

int op_listxattr(struct req *r)
{
	struct fuse_getxattr_in in;
	auto_mem char *list = NULL;
	struct place p;
	ssize_t n;
	size_t len = 0;
	int rc = cursor_get(&r->in, &in, sizeof(in));

	if (rc)
		return rc;
	if (!r->share)
		return reply_sized(r, in.size, "", 0);
	list = malloc(XATTR_LIST_MAX);
	if (!list)
		return -ENOMEM;
	rc = place_get(r->fs, r->node, &p);
	if (rc)
		return rc;
	n = xa_list(p.fd, p.dir.fd, p.name, list, XATTR_LIST_MAX);
	place_put(r->fs, &p);
	if (n < 0)
		return (int)n;
	for (char *key = list, *next; key < list + n; key = next) {
		size_t one = strlen(key) + 1;

		next = key + one;
		if (!allowed(key))
			continue;
		memmove(list + len, key, one);
		len += one;
	}
	return reply_sized(r, in.size, list, len);
}

int op_removexattr(struct req *r)
{
	struct place p;
	const char *key;
	int rc = take_key(r, &key);

	if (!rc)
		rc = tree_raise(r->fs, r->node, true);
	if (!rc)
		rc = place_get(r->fs, r->node, &p);
	if (rc)
		return rc;
	rc = xa_remove(p.fd, p.dir.fd, p.name, key);
	place_put(r->fs, &p);
	return rc;
}
