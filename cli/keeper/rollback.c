/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rollback.c - the machine as it was saved, in place of the one that runs.
 *
 * All that can fail for want of something comes first: the snapshot is verified, and what
 * the sandbox shall have of it (a disk, changes in shares) is copied beside what it has.
 * Then the machine ends, and names are changed. If the saved machine does not start, the
 * sandbox has ended, with what it had on disk.
 */
#include <fcntl.h>
#include "cli/keeper/priv.h"
#include "cli/keeper/swap.h"
#include "cli/machine/snapdir.h"
#include "cli/machine/snapsum.h"
#include "cli/run/launch.h"
#include "cli/share/saved.h"
#include "cli/store/event.h"
#include "cli/store/snapinfo.h"

struct rollback {
	struct keeper *k;
	const char *dir;	/* the snapshot's folder */
	struct run_conf c;	/* the keeper's, but for what comes from there */
	struct shares was;	/* in the snapshot */
	int held;		/* its folder, locked: nobody removes it meanwhile */
	struct err *e;
};

/* ---- before anything is lost ---- */

static int look(struct rollback *b)
{
	const struct run_conf *c = &b->k->conf;
	char image[80];
	struct snap_info i;
	int rc;

	b->held = snapdir_hold(b->dir);
	rc = snap_info(c->vmm_at.path, b->dir, true, &i, b->e);
	if (!rc)
		rc = snapsum_check(b->dir, true, b->e);
	if (rc < 0)
		return rc;
	if (i.memory != c->memory || i.cpus != c->cpus)
		return err_say(b->e, -EINVAL, "the snapshot is of a machine of another size");
	if (strcmp(snap_image(b->dir, image) ? image : "",
		   c->root.ref ? c->root.image.id : "") != 0)
		return err_say(b->e, -EINVAL, "the snapshot is of a machine with another image as "
			       "root");
	if (!i.disk != !c->root.disk)
		return err_say(b->e, -EINVAL, "the snapshot is of a machine with%s a disk",
			       i.disk ? "" : "out");
	return 0;
}

static int copy_changes(struct rollback *b)
{
	auto_fd dir = open(b->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), cow = -1;
	int rc = dir < 0 ? err_set(b->e, -errno, "open the snapshot") :
			   saved_read(dir, &b->was, b->e);

	if (rc)
		return rc;
	saved_match(&b->was, &b->c.shares);
	cow = swap_prepare(b->k->box.dir);
	if (cow < 0)
		return err_set(b->e, cow, "make a folder for changes");
	return saved_read_cow(dir, cow, &b->c.shares, b->e);
}

/* ---- the machine ---- */

static int start(struct rollback *b)
{
	struct keeper *k = b->k;
	struct err *e = b->e;
	int rc = launch(&k->m, &b->c, k->box.name, true, k->sigfd, e);

	if (rc > 0)
		rc = err_say(e, -EINTR, "it was interrupted");
	if (rc)
		return rc;
	rc = swap_commit(k->box.dir);
	if (rc)
		return err_set(e, rc, "give the sandbox what was saved");
	rc = rootfs_settle(&b->c.root, e);
	if (rc)
		return rc;
	client_close(k->m.client);
	k->m.client = NULL;
	rc = keeper_listen(k, e);
	if (rc)
		return rc;
	snprintf(k->state.runtime, sizeof(k->state.runtime), "%s", k->m.dir.path);
	k->state.vmm = k->m.mon.pid;
	k->state.ready_ns = k->m.ready_ns;
	return store_state_write(&k->box, &k->state, e);
}

static int change_over(struct rollback *b)
{
	struct keeper *k = b->k;
	struct store_state ended;
	struct err none;
	int rc;

	machine_stop(&k->m);
	rc = swap_exchange(k->box.dir, &b->c.shares);
	if (rc)
		err_set(b->e, rc, "exchange what was changed in shares");
	else
		rc = start(b);
	if (!rc) {
		fd_cleanup(&k->conf.root.disk_fd);
		k->conf.root.disk_fd = b->c.root.disk_fd;
		k->conf.shares = b->c.shares;		/* other numbers */
		keeper_jobs_inherited(k);
		event_write(&k->box, "rollback", json_pack("{s:s}", "from", b->dir));
		return 0;
	}
	err_wrap(b->e, "rollback");
	machine_stop(&k->m);
	(void)!swap_settle(k->box.dir);
	k->stopping = true;
	snprintf(k->state.reason, sizeof(k->state.reason), "%s", b->e->msg);
	/* Who hears of it may start the sandbox at once, and must not find it running. */
	ended = k->state;
	ended.life = STORE_STOPPED;
	(void)!store_state_write(&k->box, &ended, &none);
	return rc;
}

int keeper_serve_rollback(struct keeper *k, struct keeper_req *r, struct err *e)
{
	const char *dir = json_string_value(json_object_get(r->args, "dir"));
	struct rollback b = { .k = k, .dir = dir ? dir : "", .c = k->conf, .held = -1,
			      .e = e };
	int rc = look(&b);

	snprintf(b.c.from_at.path, sizeof(b.c.from_at.path), "%s", b.dir);
	b.c.root.disk_fd = -1;
	if (!rc)
		rc = copy_changes(&b);
	if (!rc)
		rc = launch_disk(&b.c, e);
	if (!rc)
		rc = change_over(&b);
	if (rc)
		fd_cleanup(&b.c.root.disk_fd);
	shares_free(&b.was);
	fd_cleanup(&b.held);
	(void)!swap_settle(k->box.dir);
	return rc;
}
