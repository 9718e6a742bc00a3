// SPDX-License-Identifier: Apache-2.0
/*
 * share.c - folders of the host, at the places where commands look for them.
 *
 * All shares are one virtio file system, whose root has a folder for each. It is
 * mounted once, with the first share, at a place of the agent's own; each share is a
 * bind mount from there. So shares come and go while the guest runs, and a share
 * that the host has taken away leaves no trace but its mount point.
 *
 * What is mounted read-only is so on the host's side as well; the flag here gives
 * programs the error that they expect (EROFS).
 *
 * Everything is done at once, in the agent's loop: the host's server answers, or is
 * gone and the device answers in its place.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/files.h"
#include "agent/share.h"

#define SHARES_AT "/run/sandbox-shares"
#define FLAGS	  (MS_NOSUID | MS_NODEV)

static bool is_init;

void share_init(bool init)
{
	is_init = init;
}

/* ---- decoding ---------------------------------------------------------- */

static const char *one_attr(const struct proto_attr *a, struct share_req *r, int *n)
{
	struct share_req *now = *n ? &r[*n - 1] : NULL;
	uint64_t v;

	if (a->key == PROTO_K_SHARE) {
		if (now && !now->path)
			return "a share without a path";
		if (*n == PROTO_SHARES_MAX)
			return "too many shares";
		if (proto_attr_u64(a, &v) < 0 || v >= PROTO_SHARES_MAX)
			return "bad number of a share";
		r[(*n)++] = (struct share_req){ .id = (uint32_t)v };
		return NULL;
	}
	if (a->key != PROTO_K_PATH && a->key != PROTO_K_FLAGS)
		return a->flags & PROTO_ATTR_MUST ? "unknown attribute" : NULL;
	if (!now)
		return "an attribute before the share that it belongs to";
	if (a->key == PROTO_K_FLAGS) {
		if (proto_attr_u64(a, &v) < 0 || v > PROTO_SHARE_RO)
			return "bad flags";
		now->read_only = v & PROTO_SHARE_RO;
		return NULL;
	}
	now->path = proto_attr_str(a, PROTO_PATH_MAX);
	if (!now->path || *now->path != '/' || !now->path[strspn(now->path, "/")])
		return "the path is not absolute, or it is /";
	return NULL;
}

int share_decode(const void *payload, size_t len, struct share_req r[static PROTO_SHARES_MAX],
		 const char **why)
{
	struct proto_attr a;
	struct proto_rd rd;
	int n = 0;

	*why = NULL;
	proto_rd_init(&rd, payload, len);
	while (!*why && proto_rd_attr(&rd, &a))
		*why = one_attr(&a, r, &n);
	if (!*why && rd.bad)
		*why = "truncated attribute";
	if (!*why && (!n || !r[n - 1].path))
		*why = n ? "a share without a path" : "no share";
	return *why ? -EBADMSG : n;
}

/* ---- mounting ---------------------------------------------------------- */

static int mount_all(void)
{
	if (mkdir(SHARES_AT, 0700) < 0 && errno != EEXIST)
		return -errno;
	if (mount(PROTO_FS_TAG, SHARES_AT, "virtiofs", FLAGS, NULL) < 0 && errno != EBUSY)
		return -errno;
	return 0;
}

/* The folder to mount on. A root that was asked to be read-only gets it all the same. */
static int make_place(const char *path)
{
	int rc = files_make_parents(path, 0755, true);

	if (rc != -EROFS || mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND, NULL) < 0)
		return rc;
	rc = files_make_parents(path, 0755, true);
	if (mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) < 0)
		return -errno;
	return rc;
}

static int mount_one(const struct share_req *r)
{
	char from[64];
	int rc = make_place(r->path);

	if (rc < 0)
		return rc;
	snprintf(from, sizeof(from), SHARES_AT "/%u", r->id);
	if (mount(from, r->path, NULL, MS_BIND, NULL) < 0)
		return -errno;
	if (!r->read_only ||
	    mount(NULL, r->path, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | FLAGS, NULL) == 0)
		return 0;
	rc = -errno;
	(void)umount2(r->path, MNT_DETACH);
	return rc;
}

static void failed(struct conn *c, const struct proto_hdr *h, const char *path, int rc)
{
	char msg[PROTO_MSG_MAX];

	snprintf(msg, sizeof(msg), "%s %.400s: %s", h->type == PROTO_MOUNT ? "mount" : "unmount",
		 path, strerror(-rc));
	conn_error(c, h, -rc, msg);
}

static void mount_shares(struct conn *c, const struct proto_hdr *h, const uint8_t *payload)
{
	static struct share_req r[PROTO_SHARES_MAX];
	const char *why;
	int n = share_decode(payload, h->len, r, &why), rc;

	if (n < 0) {
		conn_error(c, h, EINVAL, why);
		return;
	}
	rc = mount_all();
	if (rc < 0) {
		failed(c, h, "the shared folders", rc);
		return;
	}
	for (int i = 0; i < n; i++) {
		rc = mount_one(&r[i]);
		if (rc < 0) {
			failed(c, h, r[i].path, rc);
			return;
		}
	}
	conn_send_empty(c, PROTO_DONE, h->tag);
}

/* What is in use is taken away as well: on the host's side the share goes in any case. */
static void unmount_share(struct conn *c, const struct proto_hdr *h, const uint8_t *payload)
{
	struct file_req r;
	const char *why;

	if (files_decode(h, payload, &r, &why) < 0)
		conn_error(c, h, EINVAL, why);
	else if (umount2(r.path, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && errno != EINVAL)
		failed(c, h, r.path, -errno);
	else
		conn_send_empty(c, PROTO_DONE, h->tag);
}

void share_request(struct conn *c, const struct proto_hdr *h, const uint8_t *payload)
{
	if (!is_init)
		conn_error(c, h, EPERM, "the agent is not the init of a guest");
	else if (h->type == PROTO_MOUNT)
		mount_shares(c, h, payload);
	else
		unmount_share(c, h, payload);
}
