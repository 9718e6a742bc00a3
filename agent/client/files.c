// SPDX-License-Identifier: Apache-2.0
/*
 * files.c - control and file requests: one message, perhaps a stream, one
 * answer.
 */
#include <errno.h>
#include <string.h>

#include "agent/client/priv.h"

#define SMALL 1024u

/* Begin a request with room for `n` bytes of attributes. */
static int begin(struct client *c, struct proto_wr *w, uint16_t type, size_t n,
		 struct client_err *e)
{
	int rc = client_begin(c, type, e);

	if (rc < 0)
		return rc;
	client_msg(c, w, n + SMALL);
	proto_wr_begin(w, type, c->tag);
	return 0;
}

static int finish(struct client *c, struct proto_wr *w, int timeout_ms, struct client_err *e)
{
	if (client_queue(c, w) < 0) {
		c->busy = false;
		return client_err_set(e, EMSGSIZE, "the request is too long");
	}
	return client_run(c, NULL, 0, client_deadline(timeout_ms), e);
}

static int begin_path(struct client *c, struct proto_wr *w, uint16_t type, const char *path,
		      uint32_t flags, struct client_err *e)
{
	int rc;

	if (strlen(path) >= PROTO_PATH_MAX)
		return client_err_set(e, ENAMETOOLONG, "the path is longer than %u bytes",
				      PROTO_PATH_MAX - 1);
	rc = begin(c, w, type, 2 * PROTO_PATH_MAX, e);
	if (rc < 0)
		return rc;
	proto_wr_str(w, PROTO_K_PATH, path);
	if (flags)
		proto_wr_num(w, PROTO_K_FLAGS, flags);
	return 0;
}

/* ---- control ----------------------------------------------------------- */

int client_ping(struct client *c, int timeout_ms, struct client_err *e)
{
	struct proto_wr w;
	int rc = begin(c, &w, PROTO_PING, 0, e);

	return rc < 0 ? rc : finish(c, &w, timeout_ms, e);
}

int client_resume(struct client *c, const struct client_resume *r, int timeout_ms,
		  struct client_err *e)
{
	struct proto_wr w;
	int rc = begin(c, &w, PROTO_RESUME, r->seed_len, e);

	if (rc < 0)
		return rc;
	if (r->time_ns)
		proto_wr_num(&w, PROTO_K_TIME_NS, r->time_ns);
	if (r->seed)
		proto_wr_attr(&w, PROTO_K_SEED, r->seed, r->seed_len);
	if (r->hostname)
		proto_wr_str(&w, PROTO_K_HOSTNAME, r->hostname);
	if (r->machine_id)
		proto_wr_str(&w, PROTO_K_MACHINE_ID, r->machine_id);
	if (r->mac)
		proto_wr_attr(&w, PROTO_K_MAC, r->mac, 6);
	return finish(c, &w, timeout_ms, e);
}

int client_poweroff(struct client *c, bool reboot, int timeout_ms, struct client_err *e)
{
	struct proto_wr w;
	int rc = begin(c, &w, reboot ? PROTO_REBOOT : PROTO_POWEROFF, 0, e);

	return rc < 0 ? rc : finish(c, &w, timeout_ms, e);
}

int client_root(struct client *c, const struct client_root *r, int timeout_ms,
		struct client_err *e)
{
	struct proto_wr w;
	size_t len = 0;
	int rc;

	for (size_t i = 0; i < r->n_tmpfs; i++)
		len += strlen(r->tmpfs[i]) + 32;
	len += r->workdir ? strlen(r->workdir) : 0;
	rc = begin(c, &w, PROTO_ROOT, len, e);
	if (rc < 0)
		return rc;
	if (r->type)
		proto_wr_str(&w, PROTO_K_ROOT_TYPE, r->type);
	proto_wr_num(&w, PROTO_K_ROOT_UPPER, r->upper);
	if (r->flags)
		proto_wr_num(&w, PROTO_K_ROOT_FLAGS, r->flags);
	if (r->size)
		proto_wr_num(&w, PROTO_K_ROOT_SIZE, r->size);
	if (r->workdir)
		proto_wr_str(&w, PROTO_K_ROOT_WORKDIR, r->workdir);
	for (size_t i = 0; i < r->n_tmpfs; i++)
		proto_wr_str(&w, PROTO_K_TMPFS, r->tmpfs[i]);
	return finish(c, &w, timeout_ms, e);
}

int client_mount(struct client *c, const struct client_share *s, size_t n, int timeout_ms,
		 struct client_err *e)
{
	struct proto_wr w;
	size_t len = 0;
	int rc;

	for (size_t i = 0; i < n; i++)
		len += strlen(s[i].path) + 64;
	rc = begin(c, &w, PROTO_MOUNT, len, e);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < n; i++) {
		proto_wr_num(&w, PROTO_K_SHARE, s[i].id);
		proto_wr_str(&w, PROTO_K_PATH, s[i].path);
		if (s[i].read_only)
			proto_wr_num(&w, PROTO_K_FLAGS, PROTO_SHARE_RO);
	}
	return finish(c, &w, timeout_ms, e);
}

/* ---- files ------------------------------------------------------------- */

int client_put(struct client *c, int fd, const char *path, uint32_t mode, uint32_t flags,
	       int timeout_ms, struct client_err *e)
{
	struct proto_wr w;
	int rc = begin_path(c, &w, PROTO_PUT, path, flags, e);

	if (rc < 0)
		return rc;
	proto_wr_num(&w, PROTO_K_MODE, mode);
	c->in_fd = fd;
	return finish(c, &w, timeout_ms, e);
}

int client_get(struct client *c, const char *path, int fd, struct client_stat *st,
	       int timeout_ms, struct client_err *e)
{
	struct proto_wr w;
	int rc = begin_path(c, &w, PROTO_GET, path, 0, e);

	if (rc < 0)
		return rc;
	client_out_attach(&c->out[0], fd);
	rc = finish(c, &w, timeout_ms, e);
	if (rc == 0 && st)
		*st = c->stat;
	return rc;
}

int client_stat(struct client *c, const char *path, uint32_t flags, struct client_stat *st,
		int timeout_ms, struct client_err *e)
{
	struct proto_wr w;
	int rc = begin_path(c, &w, PROTO_STAT, path, flags, e);

	if (rc == 0)
		rc = finish(c, &w, timeout_ms, e);
	if (rc == 0)
		*st = c->stat;
	return rc;
}

int client_list(struct client *c, const char *path,
		void (*each)(const struct client_stat *st, void *arg), void *arg,
		int timeout_ms, struct client_err *e)
{
	struct proto_wr w;
	int rc = begin_path(c, &w, PROTO_LIST, path, 0, e);

	if (rc < 0)
		return rc;
	c->each = each;
	c->each_arg = arg;
	return finish(c, &w, timeout_ms, e);
}

int client_mkdir(struct client *c, const char *path, uint32_t mode, uint32_t flags,
		 int timeout_ms, struct client_err *e)
{
	struct proto_wr w;
	int rc = begin_path(c, &w, PROTO_MKDIR, path, flags, e);

	if (rc < 0)
		return rc;
	proto_wr_num(&w, PROTO_K_MODE, mode);
	return finish(c, &w, timeout_ms, e);
}

int client_remove(struct client *c, const char *path, uint32_t flags, int timeout_ms,
		  struct client_err *e)
{
	struct proto_wr w;
	int rc = begin_path(c, &w, PROTO_REMOVE, path, flags, e);

	return rc < 0 ? rc : finish(c, &w, timeout_ms, e);
}

int client_rename(struct client *c, const char *from, const char *to, int timeout_ms,
		  struct client_err *e)
{
	struct proto_wr w;
	int rc = begin_path(c, &w, PROTO_RENAME, from, 0, e);

	if (rc < 0)
		return rc;
	proto_wr_str(&w, PROTO_K_PATH2, to);
	return finish(c, &w, timeout_ms, e);
}

int client_tar_in(struct client *c, int fd, const char *path, uint32_t flags, int timeout_ms,
		  struct client_err *e)
{
	struct proto_wr w;
	int rc = begin_path(c, &w, PROTO_TAR_IN, path, flags, e);

	if (rc < 0)
		return rc;
	c->in_fd = fd;
	return finish(c, &w, timeout_ms, e);
}

int client_tar_out(struct client *c, const char *path, int fd, uint32_t flags, int timeout_ms,
		   struct client_err *e)
{
	struct proto_wr w;
	int rc = begin_path(c, &w, PROTO_TAR_OUT, path, flags, e);

	if (rc < 0)
		return rc;
	client_out_attach(&c->out[0], fd);
	return finish(c, &w, timeout_ms, e);
}

int client_umount(struct client *c, const char *path, int timeout_ms, struct client_err *e)
{
	struct proto_wr w;
	int rc = begin_path(c, &w, PROTO_UMOUNT, path, 0, e);

	return rc < 0 ? rc : finish(c, &w, timeout_ms, e);
}
