/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snapshot.c - the keeper's part of snapshots. It is the monitor's parent and has
 * its control socket, so only it can have the machine saved.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include "cli/cli.h"
#include "cli/store/event.h"
#include "cli/keeper/priv.h"
#include "cli/run/launch.h"
#include "cli/machine/snapdir.h"
#include "cli/store/snapinfo.h"

static const char *text_of(const struct keeper_req *r, const char *key)
{
	const char *s = json_string_value(json_object_get(r->args, key));

	return s ? s : "";
}

/*
 * A file server has state of its own and a disk its content, which belong to the same
 * moment as memory; neither is saved yet.
 */
static int savable(const struct keeper *k, const char *what, struct err *e)
{
	if (k->conf.shares.n)
		return err_say(e, -ENOTSUP, "sandbox '%s' has shared folders, and %s of such is not "
			       "in this version", k->box.name, what);
	if (k->conf.root.disk)
		return err_say(e, -ENOTSUP, "sandbox '%s' has a disk of its own, and %s of such is "
			       "not in this version", k->box.name, what);
	return 0;
}

/* A name of a snapshot, or of a fork's (snapshot_fork.c), which no person can give. */
static int check_name(const char *name, struct err *e)
{
	return snap_name_check(name[0] == '.' ? name + 1 : name, e);
}

int keeper_serve_snapshot(struct keeper *k, struct keeper_req *r, struct err *e)
{
	const char *name = text_of(r, "name");
	struct monitor_saved saved;
	auto_fd parent = -1;
	int rc = check_name(name, e);

	if (!rc)
		rc = savable(k, "a snapshot", e);
	if (rc)
		return rc;
	(void)mkdirat(k->box.dir, SNAPSHOT_FOLDER, 0700);
	parent = openat(k->box.dir, SNAPSHOT_FOLDER, O_RDONLY | O_DIRECTORY | O_NOFOLLOW |
			O_CLOEXEC);
	if (parent < 0)
		return err_set(e, -errno, "open the folder of snapshots");
	snapdir_sweep(parent);		/* only this process writes into it */
	rc = snapdir_save(&k->m.mon, parent, name, &k->m.origin,
			  k->conf.root.ref ? k->conf.root.image.id : NULL, &saved, e);
	if (rc)
		return rc;
	if (json_object_update_new(r->answer, json_pack("{s:I,s:I,s:i,s:I,s:s}", "pause_ns",
		(json_int_t)saved.pause_ns, "total_ns", (json_int_t)saved.total_ns, "rounds",
		(int)saved.rounds, "pages", (json_int_t)saved.pages, "kind",
		saved.diff ? "diff" : "full")))
		return err_set(e, -ENOMEM, "snapshot");
	event_write(&k->box, "snapshot", json_pack("{s:s, s:I}", "name", name, "pause_ns",
						   (json_int_t)saved.pause_ns));
	return 0;
}

/* The machine of @dir instead of the one that was stopped. */
static int launch_again(struct keeper *k, const char *dir, struct err *e)
{
	struct run_conf c = k->conf;	/* what it points to stays the keeper's */
	int rc;

	snprintf(c.from_at.path, sizeof(c.from_at.path), "%s", dir);
	rc = launch(&k->m, &c, k->box.name, true, k->sigfd, e);
	if (rc > 0)
		rc = err_say(e, -EINTR, "it was interrupted");
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

int keeper_serve_rollback(struct keeper *k, struct keeper_req *r, struct err *e)
{
	const char *dir = text_of(r, "dir");
	char image[80];
	struct snap_info i;
	int rc = savable(k, "a rollback", e);

	/* Before anything is lost: can it be restored, and is it whole? */
	if (!rc)
		rc = snap_info(k->conf.vmm_at.path, dir, true, &i, e);
	if (!rc && (i.memory != k->conf.memory || i.cpus != k->conf.cpus))
		rc = err_say(e, -EINVAL, "the snapshot is of a machine of another size");
	if (!rc && strcmp(snap_image(dir, image) ? image : "",
			  k->conf.root.ref ? k->conf.root.image.id : "") != 0)
		rc = err_say(e, -EINVAL, "the snapshot is of a machine with another image as root");
	if (rc)
		return rc;
	machine_stop(&k->m);
	rc = launch_again(k, dir, e);
	if (rc) {
		err_wrap(e, "rollback");
		machine_stop(&k->m);
		k->stopping = true;
		snprintf(k->state.reason, sizeof(k->state.reason), "%s", e->msg);
		return rc;
	}
	event_write(&k->box, "rollback", json_pack("{s:s}", "from", dir));
	return 0;
}
