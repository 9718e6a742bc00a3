/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keeper.c - the keeper's life: take the sandbox over, start its machine, tell the
 * command that waits, wait for the end, write it down.
 *
 * It was given two descriptors: the sandbox's folder, locked, and a pipe on which it
 * says `pid N`, then `ok` or `error CODE SENTENCE`. Whatever ends it, the lock goes
 * with it, and the monitor (PDEATHSIG, and a pidfd that it watches), so nobody has
 * to clean up but for the state file, whose "running" the next reader corrects.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>
#include "cli/cli.h"
#include "cli/store/autostart.h"
#include "cli/store/event.h"
#include "cli/keeper/work.h"
#include "cli/keeper/priv.h"
#include "cli/keeper/swap.h"
#include "cli/run/launch.h"
#include "cli/base/sigs.h"
#include "cli/base/term.h"
#include "cli/base/text.h"

#define NS_PER_S	1000000000ull
#define AGENT_MS	10000

static void report(int fd, const char *fmt, ...) printf_like(2, 3);
static void report(int fd, const char *fmt, ...)
{
	char line[600];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (n > 0 && write(fd, line, strnlen(line, sizeof(line))) < 0)
		return;	/* who waited has gone; the sandbox starts all the same */
}

static uint64_t realtime(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

/* ---- configuration ----------------------------------------------------- */

int keeper_settings(struct store_box *b, struct settings *s, struct err *e)
{
	struct settings file = { 0 };
	auto_mem char *text = store_read(b, "config", e);
	char section[STORE_NAME_MAX + 16];
	struct place p;
	int rc = text ? settings_parse(s, text, "its config", e) : e->code;

	if (!rc)
		rc = settings_load(&file, &p, e);
	snprintf(section, sizeof(section), "sandbox %s", b->name);
	if (!rc && settings_merge(s, "", &file, section))
		rc = err_set(e, -ENOMEM, "settings");
	settings_free(&file);
	return rc;
}

/* What is changed in cow shares stays with the sandbox. */
static int changes_dir(struct keeper *k, struct err *e)
{
	if (mkdirat(k->box.dir, "cow", 0700) && errno != EEXIST)
		return err_set(e, -errno, "make a folder for changes in shared folders");
	k->conf.cow_dir = openat(k->box.dir, "cow", O_RDONLY | O_DIRECTORY | O_NOFOLLOW |
				 O_CLOEXEC);
	k->conf.always_shares = true;
	return k->conf.cow_dir < 0 ? err_set(e, -errno, "open the folder for changes") : 0;
}

static bool has_disk(const struct keeper *k)
{
	return !faccessat(k->box.dir, "disk", F_OK, AT_SYMLINK_NOFOLLOW);
}

/*
 * A saved machine has its tmpfs mounted. They are for later, when a fork has a disk of its own:
 * that is newer than the one that it began with, and no other's memory, so a template is what
 * it goes on from.
 */
static void choose_memory(struct keeper *k)
{
	if (!k->conf.from)
		return;
	if (k->conf.root.disk && has_disk(k)) {
		k->conf.from = NULL;
		k->conf.from_at.path[0] = '\0';
	} else {
		rootfs_no_tmpfs(&k->conf.root);
	}
}

static int configure(struct keeper *k, struct settings *s, struct err *e)
{
	auto_mem char *text = NULL;
	int rc = swap_settle(k->box.dir);

	run_conf_init(&k->conf);
	rc = rc ? err_set(e, rc, "finish a rollback that was killed") :
		  keeper_settings(&k->box, s, e);
	if (!rc)
		rc = settings_apply(s, "", NULL, &k->conf, "its config", e);
	choose_memory(k);
	if (!rc)
		rc = run_conf_check(&k->conf, e);
	if (!rc)
		rc = changes_dir(k, e);
	k->conf.root.disk_dir = k->box.dir;
	if (!rc && k->conf.root.disk && has_disk(k))	/* its size is the snapshot's */
		k->conf.from_at.path[0] = '\0';
	text = rc ? NULL : settings_text(s);
	if (!rc)
		rc = text ? store_write(&k->box, "running", text, strlen(text), e) :
			    err_set(e, -ENOMEM, "settings");
	return rc;
}

/* ---- the agent --------------------------------------------------------- */

struct client *keeper_client(struct keeper *k, struct err *e)
{
	struct client_err ce = { 0 };
	struct client *c = client_open(k->m.dir.vsock, PROTO_AGENT_PORT, AGENT_MS, &ce);

	if (!c)
		err_say(e, ce.code ? -ce.code : -EIO, "connect to the guest's agent: %.200s",
			ce.msg);
	return c;
}

void keeper_stop(struct keeper *k, uint64_t grace_ns, const char *reason)
{
	struct client_err ce = { 0 };
	struct err e = { 0 };
	struct client *c;

	if (!k->stopping)
		snprintf(k->state.reason, sizeof(k->state.reason), "%s", reason);
	k->stopping = true;
	c = grace_ns ? keeper_client(k, &e) : NULL;
	if (c && client_poweroff(c, false, AGENT_MS, &ce) < 0)
		cli_say("ask the guest to power off: %s", ce.msg);
	client_close(c);
	k->kill_at = term_now_ns() + (c ? grace_ns : 0);
}

/* ---- the end ----------------------------------------------------------- */

/* How it ended, for the state file. */
static void epitaph(struct keeper *k)
{
	struct store_state *s = &k->state;
	const struct monitor *mon = &k->m.mon;
	struct err e = { 0 };

	s->life = STORE_STOPPED;
	if (k->stopping && !k->broken)
		return;
	if (k->broken) {
		s->life = STORE_CRASHED;
		return;
	}
	monitor_explain(mon, "while it ran", &e);
	if (!strcmp(mon->end, "poweroff"))
		snprintf(s->reason, sizeof(s->reason), "the guest powered itself off");
	else if (!strcmp(mon->end, "reset"))
		snprintf(s->reason, sizeof(s->reason), "the guest restarted itself, which ends it");
	else
		s->life = STORE_CRASHED;
	if (s->life == STORE_CRASHED)
		snprintf(s->reason, sizeof(s->reason), "%s", e.msg);
}

static void note_end(struct keeper *k)
{
	struct store_state *s = &k->state;
	struct err e = { 0 };

	s->ended_ns = realtime();
	s->runtime[0] = '\0';
	if (store_write(&k->box, "console", k->m.mon.tail, k->m.mon.tail_len, &e) ||
	    store_state_write(&k->box, s, &e))
		cli_say("%s", e.msg);
	event_write(&k->box, s->life == STORE_CRASHED ? "crashed" : "stopped",
		    json_pack("{s:o}", "reason", text_json(s->reason)));
}

/* ---- the start --------------------------------------------------------- */

static int begin(struct keeper *k, struct settings *s, struct err *e)
{
	struct err quiet = { 0 };
	int rc = configure(k, s, e);

	if (rc)
		return rc;
	k->state.life = STORE_STARTING;
	k->state.keeper = getpid();
	k->state.started_ns = realtime();
	k->state.ended_ns = 0;
	k->state.reason[0] = k->state.runtime[0] = '\0';
	/* Whoever wrote the setting may have been killed before the unit was there, or gone. */
	if (autostart_set(k->box.name, k->conf.autostart, &quiet))
		cli_say("%s", quiet.msg);
	rc = store_state_write(&k->box, &k->state, e);
	if (!rc)
		rc = launch(&k->m, &k->conf, k->box.name, true, k->sigfd, e);
	if (rc > 0)
		rc = err_say(e, -EINTR, "the start was interrupted");
	if (!rc)
		rc = rootfs_settle(&k->conf.root, e);
	if (rc)
		return rc;
	client_close(k->m.client);
	k->m.client = NULL;
	rc = keeper_listen(k, e);
	if (rc)
		return rc;
	snprintf(k->state.runtime, sizeof(k->state.runtime), "%s", k->m.dir.path);
	k->state.life = STORE_RUNNING;
	k->state.vmm = k->m.mon.pid;
	k->state.ready_ns = k->m.ready_ns;
	k->state.restored = !k->conf.cold;
	rc = store_state_write(&k->box, &k->state, e);
	/* While the guest answered nobody looked; later it would be a stop of what had started. */
	if (!rc && machine_signal(k->sigfd))
		rc = err_say(e, -EINTR, "the start was interrupted");
	return rc;
}

/* It did not start: as if it had not been tried, but for the reason. */
static void note_failure(struct keeper *k, enum store_life was, const struct err *why)
{
	struct err e = { 0 };

	k->state.life = was == STORE_CREATED ? STORE_CREATED : STORE_STOPPED;
	k->state.ended_ns = realtime();
	k->state.runtime[0] = '\0';
	snprintf(k->state.reason, sizeof(k->state.reason), "it could not be started: %s", why->msg);
	if (store_state_write(&k->box, &k->state, &e))
		cli_say("%s", e.msg);
	if (k->m.mon.tail_len &&
	    store_write(&k->box, "console", k->m.mon.tail, k->m.mon.tail_len, &e))
		cli_say("%s", e.msg);
	event_write(&k->box, "start-failed", json_pack("{s:o}", "reason", text_json(why->msg)));
}

static int take_over(struct keeper *k, const char *name, int dir, struct err *e)
{
	int rc = store_open(&k->box, name, e);

	if (rc)
		return rc;
	/* The lock came with the descriptor; another open of the folder would not have it. */
	close(k->box.dir);
	k->box.dir = dir;
	k->box.locked = true;
	rc = store_state(&k->box, &k->state, e);
	if (!rc)
		k->sigfd = sigs_open(false, e);
	return rc ? rc : k->sigfd < 0 ? k->sigfd : 0;
}

int keeper_main(int argc, char **argv)
{
	struct keeper_work work = { .done = -1, .conn = -1 };
	struct keeper k = { .box = STORE_BOX_NONE, .m = MACHINE_NONE, .sigfd = -1, .listener = -1,
			    .work = &work };
	struct settings s = { 0 };
	struct err e = { 0 };
	enum store_life was;
	int rc, out = KEEPER_REPORT_FD;

	if (argc != 2 || fcntl(KEEPER_DIR_FD, F_SETFD, FD_CLOEXEC) ||
	    fcntl(out, F_SETFD, FD_CLOEXEC)) {
		cli_say("_keep is for 'sandbox start' alone");
		return CLI_USAGE;
	}
	report(out, "pid %d\n", (int)getpid());
	rc = take_over(&k, argv[1], KEEPER_DIR_FD, &e);
	was = k.state.life;
	if (!rc) {
		event_write(&k.box, "start", json_pack("{s:i}", "keeper", (int)getpid()));
		rc = begin(&k, &s, &e);
	}
	if (rc) {
		machine_stop(&k.m);
		if (k.sigfd >= 0)
			note_failure(&k, was, &e);
		report(out, "error %d %s\n", -rc, e.msg);
		return CLI_FAILED;
	}
	event_write(&k.box, "running", json_pack("{s:I, s:b}", "ready_ms",
						 (json_int_t)(k.m.ready_ns / 1000000), "restored",
						 k.state.restored));
	report(out, "ok\n");
	close(out);
	if (k.conf.from)
		keeper_jobs_inherited(&k);
	keeper_loop(&k);
	keeper_work_end(&k);
	epitaph(&k);
	client_close(k.jobs);
	machine_stop(&k.m);
	note_end(&k);
	if (k.remove && store_remove(&k.box, &e))
		cli_say("%s", e.msg);
	store_close(&k.box);
	keeper_hang_up(&k);
	settings_free(&s);
	run_conf_free(&k.conf);
	return CLI_OK;
}
