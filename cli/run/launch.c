/* SPDX-License-Identifier: Apache-2.0 */
/*
 * launch.c - restore a template, or boot.
 *
 * A template that does not work here any more (the host was restarted, KVM or the
 * monitor is another one) is made anew, once.
 */
#include <fcntl.h>
#include "cli/run/launch.h"
#include "cli/run/limits.h"
#include "cli/base/parse.h"
#include "cli/machine/template.h"

#define BOOT_TIMEOUT_S	900u		/* a boot takes 45 s where guest kernels are emulated */

/* @m->origin is the folder, if its memory is the same file before and after. */
static int from_folder(struct machine *m, struct monitor_conf *mc, const char *dir, int sigfd,
		       struct err *e)
{
	struct snapdir_base origin;
	int rc;

	snapdir_base_note(&origin, dir);
	mc->restore = dir;
	rc = machine_start(m, mc, sigfd, e);
	mc->restore = NULL;
	if (!rc && snapdir_base_same(&origin))
		m->origin = origin;
	return rc;
}

static int from_template(struct machine *m, struct monitor_conf *mc, int sigfd, struct err *e)
{
	struct place dir;
	int rc;

	for (int again = 1;; again--) {
		rc = template_get(mc, sigfd, &dir, e);
		if (rc)
			return rc;
		rc = from_folder(m, mc, dir.path, sigfd, e);
		if (rc >= 0 || !again || m->mon.running || !m->mon.pid)
			return rc;
		machine_stop(m);
		template_drop(&dir);
	}
}

/* Names are the guest's: only with a number files belong to whom the command runs as. */
static void set_owner(struct monitor_conf *mc, const struct run_conf *c)
{
	struct err none;
	uint64_t uid, gid;

	if (!c->user || parse_number(c->user, 0, UINT32_MAX - 1, &uid, &none))
		return;
	if (!c->group || parse_number(c->group, 0, UINT32_MAX - 1, &gid, &none))
		gid = uid;
	mc->owner[0] = (uint32_t)uid;
	mc->owner[1] = (uint32_t)gid;
}

int launch_disk(struct run_conf *c, struct err *e)
{
	auto_fd dir = c->from_at.path[0] ? open(c->from_at.path, O_RDONLY | O_DIRECTORY |
						O_CLOEXEC) : -1;
	auto_fd disk = dir < 0 ? -1 : openat(dir, SNAPDIR_DISK, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	return rootfs_disk(&c->root, disk, e);
}

int launch(struct machine *m, struct run_conf *c, const char *name, bool keep_sockets,
	   int sigfd, struct err *e)
{
	struct monitor_conf mc = {
		.vmm = c->vmm_at.path, .kernel = c->kernel_at.path, .initrd = c->initrd_at.path,
		.memory = c->memory, .cpus = c->cpus, .cpu_milli = c->cpu_milli,
		.boot_timeout_s = BOOT_TIMEOUT_S,
		.console = c->console, .jail = c->jail, .control = name,
		.hostname = name, .keep_sockets = keep_sockets,
		.shares = c->shares.n || c->always_shares ? &c->shares : NULL,
		.cow_dir = c->cow_dir, .root = &c->root,
	};
	int rc = limits_pin(c, e);

	if (!rc)
		rc = launch_disk(c, e);

	if (rc) {
		*m = (struct machine)MACHINE_NONE;
		return rc;
	}
	set_owner(&mc, c);
	if (c->from_at.path[0]) {
		mc.root_done = true;
		return from_folder(m, &mc, c->from_at.path, sigfd, e);
	}
	return c->cold ? machine_start(m, &mc, sigfd, e) : from_template(m, &mc, sigfd, e);
}
