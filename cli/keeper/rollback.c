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
#include <sys/stat.h>
#include "cli/base/rmtree.h"
#include "cli/keeper/priv.h"
#include "cli/run/launch.h"
#include "cli/share/saved.h"
#include "cli/share/upper.h"
#include "cli/store/event.h"
#include "cli/store/snapinfo.h"

#define COW_NEW "cow.new"	/* copies of the snapshot's changes, in the sandbox's folder */
#define COW_OLD "cow.old"	/* the present ones, until it runs */

struct rollback {
	struct keeper *k;
	const char *dir;	/* the snapshot's folder */
	struct run_conf c;	/* the keeper's, but for what comes from there */
	struct shares was;	/* in the snapshot */
	int cow_new, cow_old;
	struct err *e;
};

/* ---- before anything is lost ---- */

static int look(struct rollback *b)
{
	const struct run_conf *c = &b->k->conf;
	char image[80];
	struct snap_info i;
	int rc = snap_info(c->vmm_at.path, b->dir, true, &i, b->e);

	if (rc)
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

static int make_folder(int at, const char *name)
{
	int rc = rmtree(at, name);

	if (!rc && mkdirat(at, name, 0700))
		rc = -errno;
	return rc ? rc : openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static int copy_changes(struct rollback *b)
{
	auto_fd dir = open(b->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc = dir < 0 ? err_set(b->e, -errno, "open the snapshot") :
			   saved_read(dir, &b->was, b->e);

	if (rc)
		return rc;
	saved_match(&b->was, &b->c.shares);
	b->cow_new = make_folder(b->k->box.dir, COW_NEW);
	b->cow_old = make_folder(b->k->box.dir, COW_OLD);
	if (b->cow_new < 0 || b->cow_old < 0)
		return err_set(b->e, b->cow_new < 0 ? b->cow_new : b->cow_old,
			       "make a folder for changes");
	return saved_read_cow(dir, b->cow_new, &b->c.shares, b->e);
}

/* ---- names ---- */

/* Each known share's changes from one folder to another one. */
static int move_changes(const struct rollback *b, int from, int to)
{
	char name[UPPER_NAME_MAX];
	int rc = 0;

	for (size_t i = 0; i < b->c.shares.n; i++) {
		const struct share *s = &b->c.shares.v[i];

		upper_name(s->dst, name);
		if (s->known && s->mode == SHARE_COW && renameat(from, name, to, name) &&
		    errno != ENOENT)
			rc = -errno;
	}
	return rc;
}

static int exchange(struct rollback *b)
{
	int rc = move_changes(b, b->k->conf.cow_dir, b->cow_old);

	if (!rc)
		rc = move_changes(b, b->cow_new, b->k->conf.cow_dir);
	return rc ? err_set(b->e, rc, "exchange what was changed in shares") : 0;
}

/* It does not run: what it had is what it has. */
static void put_back(struct rollback *b)
{
	if (b->cow_old < 0)
		return;
	(void)!move_changes(b, b->k->conf.cow_dir, b->cow_new);
	(void)!move_changes(b, b->cow_old, b->k->conf.cow_dir);
}

/* ---- the machine ---- */

static int start(struct rollback *b)
{
	struct keeper *k = b->k;
	struct err *e = b->e;
	int rc = launch(&k->m, &b->c, k->box.name, true, k->sigfd, e);

	if (rc > 0)
		rc = err_say(e, -EINTR, "it was interrupted");
	if (!rc)
		rc = rootfs_settle(&b->c.root, e);
	if (rc)
		return rc;
	client_close(k->m.client);
	k->m.client = NULL;
	close(k->listener);
	k->listener = -1;
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
	rc = exchange(b);
	if (!rc)
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
	put_back(b);
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
	struct rollback b = { .k = k, .dir = dir ? dir : "", .c = k->conf, .cow_new = -1,
			      .cow_old = -1, .e = e };
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
	fd_cleanup(&b.cow_new);
	fd_cleanup(&b.cow_old);
	shares_free(&b.was);
	(void)!rmtree(k->box.dir, COW_NEW);
	(void)!rmtree(k->box.dir, COW_OLD);
	(void)!rmtree(k->box.dir, "disk.new");
	return rc;
}
