/* SPDX-License-Identifier: Apache-2.0 */
/*
 * run.c - `sandbox run`: check everything, start a machine, run one command in
 * it, tear down, and exit as the command did.
 *
 * While the command runs, execute.c also waits for what belongs to the machine: the
 * monitor's end and its pipes.
 */
#include <poll.h>
#include "cli/cli.h"
#include "cli/run/execute.h"
#include "cli/run/launch.h"
#include "cli/verb/named.h"
#include "cli/run/limits.h"
#include "cli/verb/record.h"
#include "cli/run/settings.h"

#define EXPLAIN_MS	5000		/* a panic is told 3 s after it happened */

struct run {
	struct run_conf conf;
	struct settings set;		/* the person's defaults */
	struct machine m;
	struct execution x;
	char server[FSD_WALLS_MAX];	/* its walls, for the report */
	bool gone;			/* the monitor ended */
};

/* ---- the machine, while a command runs in it ---------------------------- */

static int on_monitor_end(struct client *c, short revents, void *arg)
{
	struct run *r = arg;

	(void)c;
	(void)revents;
	if (!monitor_ended(&r->m.mon, 0))
		return 0;
	r->gone = true;
	return -ECONNRESET;
}

/* Without its files a command would go on in a world that is wrong: it ends with the machine. */
static int on_server_end(struct client *c, short revents, void *arg)
{
	struct run *r = arg;

	(void)c;
	(void)revents;
	r->gone = true;
	return -ECONNRESET;
}

/* The monitor's pipes; at its end a pipe is no longer watched. */
struct pipes { struct monitor *mon; struct client_watch *log, *status; };

static int on_pipe(struct client *c, short revents, void *arg)
{
	struct pipes *p = arg;

	(void)c;
	(void)revents;
	monitor_read(p->mon);
	p->log->fd = p->mon->log_fd;
	p->status->fd = p->mon->status_fd;
	return 0;
}

static bool explain(void *arg, struct err *e)
{
	struct run *r = arg;

	return machine_explain(&r->m, "while the command ran", r->gone ? 0 : EXPLAIN_MS, e);
}

/* ---- all of it ---------------------------------------------------------- */

static int start_and_execute(struct run *r)
{
	struct monitor *mon = &r->m.mon;
	struct record rec = RECORD_NONE;
	struct pipes pipes = { .mon = mon };
	int rc = launch(&r->m, &r->conf, NULL, false, r->x.sigfd, &r->x.e);

	r->x.res.booted = r->m.ready && r->conf.cold;
	r->x.res.restored = r->m.ready && !r->conf.cold;
	r->x.res.ready_ns = r->m.ready_ns;
	r->x.res.jail = r->conf.jail;
	r->x.res.walls = mon->walls;
	r->x.res.limits = machine_limits(&r->m);
	r->x.res.server = fsd_walls(&r->m.shared.fsd, r->server, sizeof(r->server));
	if (rc > 0) {
		r->x.ended_by = rc;
		return 128 + rc;
	}
	if (rc)
		return CLI_SANDBOX;
	r->x.late = "the machine was stopped";
	r->x.explain = explain;
	r->x.arg = r;
	execution_watch(&r->x, mon->pidfd, on_monitor_end, r);
	execution_watch(&r->x, r->m.shared.fsd.pidfd, on_server_end, r);
	pipes.log = execution_watch(&r->x, mon->log_fd, on_pipe, &pipes);
	pipes.status = execution_watch(&r->x, mon->status_fd, on_pipe, &pipes);
	if (r->conf.record && recording_begin(&rec, &r->x, NULL, &r->x.e))
		return CLI_SANDBOX;
	rc = execution_run(&r->x, r->m.client);
	recording_end(&rec, rc);
	return rc;
}

static int run_all(struct run *r)
{
	int status = CLI_SANDBOX;

	if (!strcmp(r->conf.jail, "none"))
		cli_say("--jail=none: what runs the machine has all rights of this user");
	if (!execution_begin(&r->x, "run", &r->conf))
		status = start_and_execute(r);
	machine_stop(&r->m);
	execution_remark(&r->x);
	if (status == CLI_SANDBOX && r->m.mon.end[0])
		machine_show_log(&r->m);
	return execution_report(&r->x, status);
}

/*
 * The flags. What is about sandboxes that are kept may stand in the person's defaults, but
 * is not asked for in vain.
 */
static int parse_flags(struct run *r, const struct verb *v, int argc, char **argv,
		       struct opt_end *end, struct err *e)
{
	struct run_conf *c = &r->conf;
	int rc;

	c->idle_ns = c->ttl_ns = 0;
	c->autostart = false;
	rc = opt_parse(v->table, v->name, argc, argv, 1, c, end, e);
	if (rc || end->help || c->name || c->keep || c->detach)
		return rc;
	if (!c->idle_ns && !c->ttl_ns && !c->autostart)
		return 0;
	return err_say(e, -EINVAL, "--%s is for a sandbox that is kept; give it a name with --name, or "
		       "--keep%s", c->autostart ? "autostart" : c->ttl_ns ? "ttl" : "idle-timeout",
		       c->autostart ? "" : ", or use --timeout for the command");
}

/* The command line. 0, or -errno with a sentence; *done: --help was answered. */
static int parse(struct run *r, const struct verb *v, int argc, char **argv, bool *done)
{
	struct opt_end end;
	struct err *e = &r->x.e;
	int rc = settings_defaults(&r->set, e);

	if (!rc)
		rc = settings_apply(&r->set, "", NULL, &r->conf, "the configuration", e);
	if (!rc)
		rc = parse_flags(r, v, argc, argv, &end, e);
	if (rc)
		return rc;
	if (end.help) {
		cli_verb_help(v, stdout);
		*done = true;
		return 0;
	}
	rc = run_words(&r->conf, argc, argv, &end, e);
	if (rc < 0)
		return rc;
	if (r->conf.name || r->conf.keep || r->conf.detach)
		return 0;
	rc = run_conf_check(&r->conf, e);
	return rc ? rc : limits_disk(&r->conf, false, e);
}

static int run_main(const struct verb *v, int argc, char **argv)
{
	struct run r = { .m = MACHINE_NONE, .x = EXECUTION_NONE };
	bool done = false;
	int status;

	run_conf_init(&r.conf);
	r.x.conf = &r.conf;
	if (parse(&r, v, argc, argv, &done)) {
		execution_remark(&r.x);
		status = execution_report(&r.x, CLI_SANDBOX);
	} else if (done) {
		status = fflush(stdout) ? CLI_SANDBOX : CLI_OK;
	} else if (r.conf.name || r.conf.keep || r.conf.detach) {
		status = run_named(v, argc, argv);
	} else {
		status = run_all(&r);
	}
	execution_end(&r.x);
	run_conf_free(&r.conf);
	settings_free(&r.set);
	return status;
}

const struct verb verb_run = {
	.name = "run", .args = "[IMAGE] [--] CMD [ARG...]",
	.summary = "Run a command in a fresh microVM, then remove it; with --name, keep it running",
	.example = "  sandbox run -- uname -a\n"
		   "  tar c src | sandbox run --timeout 5m -m 512M -- sh -c 'tar x && ls src'\n"
		   "  sandbox run -t -- sh\n"
		   "  sandbox run -v .:cow -- make test\n"
		   "  sandbox run --name web -- sh -c 'echo hello >/tmp/file'\n"
		   "  sandbox run --disk 8G python -- python3 -m venv /venv\n\n"
		   "The word before a -- is an image; without the -- it is the command.\n",
	.table = run_opts, .command = true, .main = run_main,
};
