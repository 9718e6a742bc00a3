/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snapshot.c - the keeper's part of snapshots. It is the monitor's parent and has
 * its control socket, so only it can have the machine saved. The thread that waits for that
 * has the control socket and the server of shares for itself meanwhile.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include "cli/cli.h"
#include "cli/store/event.h"
#include "cli/keeper/work.h"
#include "cli/keeper/priv.h"
#include "cli/machine/snapdir.h"
#include "cli/store/snapinfo.h"

static const char *text_of(const struct keeper_req *r, const char *key)
{
	const char *s = json_string_value(json_object_get(r->args, key));

	return s ? s : "";
}

/* A name of a snapshot, or of a fork's (snapshot_ask.c), which no person can give. */
static int check_name(const char *name, struct err *e)
{
	if (snapdir_reserved(name))
		return err_say(e, -EINVAL, "'%.80s' is no name for a snapshot: those of unfinished "
			       "ones begin like that", name);
	return snap_name_check(name[0] == '.' ? name + 1 : name, e);
}

/* All that the thread needs. */
struct saving {
	struct snapdir_what what;
	int parent, disk;
	char name[STORE_NAME_MAX + 1];
	struct monitor_saved saved;
};

static int work(void *arg, struct err *e)
{
	struct saving *s = arg;

	return snapdir_save(&s->what, s->parent, s->name, &s->saved, e);
}

static void release(struct saving *s)
{
	fd_cleanup(&s->parent);
	fd_cleanup(&s->disk);
	free(s);
}

static int ended(struct keeper *k, void *arg, int rc, json_t *answer, struct err *e)
{
	struct saving *s = arg;
	const struct monitor_saved *m = &s->saved;

	if (!rc && json_object_update_new(answer, json_pack("{s:I,s:I,s:i,s:I,s:s}", "pause_ns",
		(json_int_t)m->pause_ns, "total_ns", (json_int_t)m->total_ns, "rounds",
		(int)m->rounds, "pages", (json_int_t)m->pages, "kind", m->diff ? "diff" : "full")))
		rc = err_set(e, -ENOMEM, "snapshot");
	if (!rc)
		event_write(&k->box, "snapshot", json_pack("{s:s, s:I}", "name", s->name,
			    "pause_ns", (json_int_t)m->pause_ns));
	release(s);
	return rc;
}

static int prepare(struct keeper *k, struct saving *s, const char *name, struct err *e)
{
	snprintf(s->name, sizeof(s->name), "%s", name);
	(void)mkdirat(k->box.dir, SNAPSHOT_FOLDER, 0700);
	s->parent = openat(k->box.dir, SNAPSHOT_FOLDER, O_RDONLY | O_DIRECTORY | O_NOFOLLOW |
			   O_CLOEXEC);
	if (s->parent < 0)
		return err_set(e, -errno, "open the folder of snapshots");
	if (k->conf.root.disk)
		s->disk = openat(k->box.dir, "disk", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (k->conf.root.disk && s->disk < 0)
		return err_set(e, -errno, "open the sandbox's disk");
	s->what = (struct snapdir_what){
		.control_fd = k->m.mon.control_fd, .base = &k->m.origin,
		.image = k->conf.root.ref ? k->conf.root.image.id : NULL,
		.shared = &k->m.shared, .shares = &k->conf.shares, .disk = s->disk,
		.brief = !strncmp(name, SNAPDIR_FORK, strlen(SNAPDIR_FORK)),
	};
	snapdir_sweep(s->parent);	/* only this process writes into it */
	return 0;
}

int keeper_serve_snapshot(struct keeper *k, struct keeper_req *r, struct err *e)
{
	const char *name = text_of(r, "name");
	struct saving *s;
	int rc = check_name(name, e);

	if (rc)
		return rc;
	s = calloc(1, sizeof(*s));
	if (!s)
		return err_set(e, -ENOMEM, "snapshot");
	s->parent = s->disk = -1;
	k->work->work = work;
	k->work->end = ended;
	k->work->arg = s;
	rc = prepare(k, s, name, e);
	if (!rc)
		rc = keeper_work_start(k, r, e);
	if (rc)
		release(s);
	return rc ? rc : KEEPER_LATER;
}
