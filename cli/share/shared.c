/* SPDX-License-Identifier: Apache-2.0 */
/* shared.c - server, changes and mounts of shared folders, put together. */
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

int shared_start(struct shared *s, const struct shares *list, int cow_dir,
		 const uint32_t owner[2], const char *jail, int vm_fd[2], struct err *e)
{
	int rc;

	*s = (struct shared)SHARED_NONE;
	if (cow_dir)
		s->cow_dir = cow_dir;
	memcpy(s->owner, owner, sizeof(s->owner));
	rc = fsd_start(&s->fsd, jail, vm_fd, e);
	if (rc)
		return rc;
	for (size_t i = 0; !rc && i < list->n; i++)
		rc = tell(s, &list->v[i], e);
	/* Nothing is attached to a machine without a name. */
	if (!rc && !cow_dir)
		rc = fsd_lock(&s->fsd, e);
	if (!rc)
		return 0;
	close(vm_fd[0]);
	close(vm_fd[1]);
	return rc;
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

int shared_mount(const struct shares *list, struct client *c, struct err *e)
{
	struct client_share m[PROTO_SHARES_MAX];
	struct client_err ce = { 0 };
	int rc = 0;

	for (size_t i = 0; !rc && i < list->n;) {
		size_t n = 0, bytes = 0;

		for (; i < list->n && (!n || bytes < BATCH_BYTES); i++) {
			bytes += strlen(list->v[i].dst);
			m[n++] = in_guest(&list->v[i]);
		}
		rc = client_mount(c, m, n, MOUNT_MS, &ce);
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
}
