/* SPDX-License-Identifier: Apache-2.0 */
/* shared.c - server, changes and mounts of shared folders, put together. */
#include <fcntl.h>
#include "cli/share/saved.h"
#include "cli/share/shared.h"

#define MOUNT_MS	60000
#define BATCH_BYTES	32768u	/* of paths in one message to the agent */

static int tell(struct shared *s, const struct share *one, struct err *e)
{
	auto_fd upper = -1;

	if (one->mode == SHARE_COW) {
		int rc = s->cow_dir < 0 && s->temp.dir < 0 ? upper_temp_make(&s->temp, e) : 0;

		if (rc)
			return rc;
		upper = upper_open(s->cow_dir < 0 ? s->temp.dir : s->cow_dir, one, e);
		if (upper < 0)
			return upper;
	}
	return fsd_share(&s->fsd, one, upper, s->owner, e);
}

int shared_look(struct shared *s, struct shares *list, int from, struct err *e)
{
	static struct shares none;
	int rc;

	*s = (struct shared)SHARED_NONE;
	rc = from < 0 ? 0 : saved_read(from, &s->was, e);
	if (!rc)
		saved_match(&s->was, list ? list : &none);
	return rc;
}

/* What the guest had changed, and what it knows. */
static int restore_changes(struct shared *s, const struct shares *list, int from, struct err *e)
{
	bool any = false;
	int rc = 0;

	for (size_t i = 0; i < list->n; i++)
		any |= list->v[i].known && list->v[i].mode == SHARE_COW;
	if (!any)
		return 0;
	if (s->cow_dir < 0)
		rc = upper_temp_make(&s->temp, e);
	return rc ? rc : saved_read_cow(from, s->cow_dir < 0 ? s->temp.dir : s->cow_dir, list, e);
}

static int restore_server(struct shared *s, int from, struct err *e)
{
	auto_fd state = from < 0 ? -1 : openat(from, SAVED_STATE, O_RDONLY | O_NOFOLLOW |
					       O_CLOEXEC);

	if (state < 0)
		return from < 0 || errno == ENOENT ? 0 :
						     err_set(e, -errno, "open the state of shares");
	return fsd_ask(&s->fsd, "restore", state, e);
}

int shared_start(struct shared *s, const struct shares *list, int cow_dir,
		 const uint32_t owner[2], const char *jail, int from, int vm_fd[2],
		 struct err *e)
{
	int rc;

	if (cow_dir)
		s->cow_dir = cow_dir;
	memcpy(s->owner, owner, sizeof(s->owner));
	rc = restore_changes(s, list, from, e);
	if (!rc)
		rc = fsd_start(&s->fsd, jail, vm_fd, e);
	if (rc)
		return rc;
	for (size_t i = 0; !rc && i < list->n; i++)
		rc = tell(s, &list->v[i], e);
	if (!rc)
		rc = restore_server(s, from, e);
	/* Nothing is attached to a machine without a name. */
	if (!rc && !cow_dir)
		rc = fsd_lock(&s->fsd, e);
	if (!rc)
		return 0;
	close(vm_fd[0]);
	close(vm_fd[1]);
	return rc;
}

int shared_save(struct shared *s, const struct shares *list, int dir, struct err *e)
{
	auto_fd state = openat(dir, SAVED_STATE, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int rc = state < 0 ? err_set(e, -errno, "make the file for the state of shares") :
			     fsd_ask(&s->fsd, "save", state, e);

	return rc ? rc : saved_write_cow(dir, s->cow_dir < 0 ? s->temp.dir : s->cow_dir, list, e);
}

static int failed(int rc, const struct client_err *ce, struct err *e)
{
	return err_say(e, rc, "in the guest: %.200s", ce->msg);
}

static struct client_share in_guest(const struct share *s)
{
	return (struct client_share){ .id = s->id, .path = s->dst,
				      .read_only = s->mode == SHARE_RO };
}

/* Those inside of others come first. */
static int unmount_others(const struct shares *was, struct client *c, struct client_err *ce)
{
	int rc = 0;

	for (size_t i = was->n; !rc && i-- > 0;)
		if (was->v[i].mounted)
			rc = client_umount(c, was->v[i].dst, MOUNT_MS, ce);
	return rc;
}

int shared_mount(const struct shared *s, const struct shares *list, struct client *c,
		 struct err *e)
{
	struct client_share m[PROTO_SHARES_MAX];
	struct client_err ce = { 0 };
	int rc = unmount_others(&s->was, c, &ce);

	for (size_t i = 0; !rc && list && i < list->n;) {
		size_t n = 0, bytes = 0;

		for (; i < list->n && (!n || bytes < BATCH_BYTES); i++) {
			if (list->v[i].mounted)
				continue;
			bytes += strlen(list->v[i].dst);
			m[n++] = in_guest(&list->v[i]);
		}
		rc = n ? client_mount(c, m, n, MOUNT_MS, &ce) : 0;
	}
	return rc ? failed(rc, &ce, e) : 0;
}

int shared_attach(struct shared *s, const struct share *one, struct client *c, struct err *e)
{
	const struct client_share m = in_guest(one);
	struct client_err ce = { 0 };
	struct err undo;
	int rc = tell(s, one, e);

	if (rc)
		return rc;
	rc = client_mount(c, &m, 1, MOUNT_MS, &ce);
	if (!rc)
		return 0;
	(void)!fsd_unshare(&s->fsd, one->id, &undo);
	return failed(rc, &ce, e);
}

int shared_detach(struct shared *s, const struct share *one, struct client *c, struct err *e)
{
	struct client_err ce = { 0 };
	int rc = client_umount(c, one->dst, MOUNT_MS, &ce);
	int served = fsd_unshare(&s->fsd, one->id, e);

	/* Whatever the guest says, what it could do with the folder is over. */
	return served ? served : rc ? failed(rc, &ce, e) : 0;
}

void shared_stop(struct shared *s)
{
	fsd_stop(&s->fsd);
	upper_temp_remove(&s->temp);
	shares_free(&s->was);
}
