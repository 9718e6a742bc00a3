/* SPDX-License-Identifier: Apache-2.0 */
/*
 * run.c - `sandbox run`: check everything, start a machine, run one command in
 * it, tear down, and exit as the command did.
 *
 * While the command runs, one loop (client_exec_run) waits for the streams and
 * for what is given to it here as watches: signals, the monitor's end, its
 * pipes, and a timer that ends a machine whose agent does not keep --timeout.
 *
 * Signals. Until the command has started, any of them ends the run. Then those
 * that a terminal sends, and SIGTERM, go to the command's process group, the others
 * to its first process; the run ends when the command does. Somebody who sends
 * SIGINT or SIGTERM three times within ten seconds means it: then the machine
 * ends at once.
 */
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/timerfd.h>
#include "cli/cli.h"
#include "cli/launch.h"
#include "cli/parse.h"
#include "cli/result.h"
#include "cli/run.h"
#include "cli/sigs.h"
#include "cli/term.h"

#define NS_PER_S	1000000000ull
#define TIMEOUT_GRACE	(30 * NS_PER_S)	/* for the agent to end the command and say so */
#define INSIST_COUNT	3u
#define INSIST_NS	(10 * NS_PER_S)
#define EXPLAIN_MS	5000		/* a panic is told 3 s after it happened */

struct run {
	struct run_conf conf;
	struct machine m;
	struct result res;
	struct err e;
	int sigfd, timer;
	int capture[2];			/* --json: memfds for stdout and stderr; or -1 */
	int ended_by;			/* signal that ended the run; 0: none */
	bool too_late;			/* the agent did not keep --timeout */
	bool gone;			/* the monitor ended */
	uint64_t insist[INSIST_COUNT];	/* when SIGINT and SIGTERM came, newest first */
};

/* ---- watches ----------------------------------------------------------- */

static bool insists(struct run *r, int signo)
{
	uint64_t now = term_now_ns();

	if (signo != SIGINT && signo != SIGTERM)
		return false;
	memmove(&r->insist[1], &r->insist[0], (INSIST_COUNT - 1) * sizeof(r->insist[0]));
	r->insist[0] = now;
	return r->insist[INSIST_COUNT - 1] && now - r->insist[INSIST_COUNT - 1] < INSIST_NS;
}

static void resized(struct client *c)
{
	uint16_t rows, cols;

	if (term_size(STDIN_FILENO, &rows, &cols) && client_winch(c, rows, cols))
		return;	/* the queue is full; the next change tries again */
}

static int one_signal(struct run *r, struct client *c, int signo)
{
	bool group = signo == SIGINT || signo == SIGQUIT || signo == SIGHUP || signo == SIGTERM;

	if (signo == SIGWINCH) {
		resized(c);
		return 0;
	}
	if (signo == SIGTSTP) {
		term_suspend();
		resized(c);
		return 0;
	}
	if (!client_started(c) || insists(r, signo)) {
		r->ended_by = signo;
		return -EINTR;
	}
	/* -EAGAIN: the agent takes nothing any more; the third one gets through. */
	(void)client_signal(c, signo, group ? PROTO_SCOPE_GROUP : PROTO_SCOPE_PROCESS);
	return 0;
}

static int on_signal(struct client *c, short revents, void *arg)
{
	struct run *r = arg;
	int signo, rc = 0;

	(void)revents;
	while (!rc && (signo = sigs_next(r->sigfd)))
		rc = one_signal(r, c, signo);
	return rc;
}

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

static int on_timer(struct client *c, short revents, void *arg)
{
	(void)c;
	(void)revents;
	((struct run *)arg)->too_late = true;
	return -ETIMEDOUT;
}

/* The monitor's pipes; at its end a pipe is no longer watched. */
struct log_arg { struct monitor *mon; struct client_watch *log, *status; };

static int on_pipe(struct client *c, short revents, void *arg)
{
	struct log_arg *a = arg;

	(void)c;
	(void)revents;
	monitor_read(a->mon);
	a->log->fd = a->mon->log_fd;
	a->status->fd = a->mon->status_fd;
	return 0;
}

/* ---- the command ------------------------------------------------------- */

static void fill_exec(const struct run *r, struct client_exec *x)
{
	const struct run_conf *c = &r->conf;
	bool attach = c->interactive || c->tty || !isatty(STDIN_FILENO);

	*x = (struct client_exec){
		.argv = (const char *const *)c->argv, .envp = (const char *const *)c->env.v,
		.cwd = c->workdir, .user = c->user, .group = c->group,
		.timeout_ns = c->timeout_ns, .limit_output = c->limit_output,
		.max_output = c->max_output, .pids_max = c->pids, .tty = c->tty,
		.fd = { attach ? STDIN_FILENO : -1, STDOUT_FILENO, STDERR_FILENO },
	};
	if (c->json) {
		x->fd[1] = r->capture[0];
		x->fd[2] = r->capture[1];
	}
	if (c->tty)
		(void)term_size(STDIN_FILENO, &x->rows, &x->cols);
}

/* What client_exec_run() did not like: the sentence, and the exit status that belongs to it. */
static int failed(struct run *r, int rc, const struct client_err *ce)
{
	if (r->ended_by)
		return 128 + r->ended_by;
	if (r->too_late) {
		r->res.timed_out = true;
		err_say(&r->e, rc, "the guest did not end the command in time, so the machine was "
			"stopped");
		return CLI_TIMEOUT;
	}
	if (rc == -ECONNRESET && machine_explain(&r->m, "while the command ran",
						 r->gone ? 0 : EXPLAIN_MS, &r->e))
		return CLI_SANDBOX;
	err_say(&r->e, rc, "%.250s", ce->msg);
	return CLI_SANDBOX;
}

static int finished(struct run *r, const struct client_result *cr)
{
	struct result *res = &r->res;

	res->executed = !cr->not_started;
	res->exec_ns = cr->wall_ns;
	res->signal = cr->signal;
	res->timed_out = cr->timed_out;
	res->oom = cr->oom;
	res->trunc_stdout = cr->trunc_stdout;
	res->trunc_stderr = cr->trunc_stderr;
	res->peak_memory = cr->mem_peak;
	if (cr->not_started)
		err_say(&r->e, -ENOEXEC, "%.250s", cr->msg);
	return client_result_status(cr);
}

static int execute(struct run *r)
{
	struct client_result cr = { 0 };
	struct client_err ce = { 0 };
	struct log_arg pipes = { .mon = &r->m.mon };
	struct client_watch w[] = {
		{ r->sigfd, POLLIN, on_signal, r },
		{ r->m.mon.pidfd, POLLIN, on_monitor_end, r },
		{ r->timer, POLLIN, on_timer, r },
		{ r->m.mon.log_fd, POLLIN, on_pipe, &pipes },
		{ r->m.mon.status_fd, POLLIN, on_pipe, &pipes },
	};
	struct client_exec x;
	int rc;

	pipes.log = &w[3];
	pipes.status = &w[4];
	fill_exec(r, &x);
	if (r->conf.tty) {
		rc = term_raw(STDIN_FILENO);
		if (rc) {
			err_set(&r->e, rc, "put the terminal into raw mode");
			return CLI_SANDBOX;
		}
	}
	rc = client_exec_run(r->m.client, &x, w, ARRAY_LEN(w), &cr, &ce);
	term_restore();
	return rc ? failed(r, rc, &ce) : finished(r, &cr);
}

/* ---- around it --------------------------------------------------------- */

static int start_timer(struct run *r)
{
	uint64_t ns = r->conf.timeout_ns;
	struct itimerspec t = { 0 };

	if (!ns || __builtin_add_overflow(ns, TIMEOUT_GRACE, &ns))
		return 0;
	t.it_value.tv_sec = (time_t)(ns / NS_PER_S);
	t.it_value.tv_nsec = (long)(ns % NS_PER_S);
	r->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (r->timer < 0 || timerfd_settime(r->timer, 0, &t, NULL))
		return err_set(&r->e, -errno, "set a timer");
	return 0;
}

static int prepare(struct run *r)
{
	r->sigfd = sigs_open(r->conf.tty, &r->e);
	if (r->sigfd < 0)
		return r->sigfd;
	for (int i = 0; i < 2 && r->conf.json; i++) {
		r->capture[i] = memfd_create(i ? "stderr" : "stdout", MFD_CLOEXEC);
		if (r->capture[i] < 0)
			return err_set(&r->e, -errno, "keep the output");
	}
	return 0;
}

static int start_and_execute(struct run *r)
{
	int rc = launch(&r->m, &r->conf, NULL, false, r->sigfd, &r->e);

	r->res.booted = r->m.ready && r->conf.cold;
	r->res.restored = r->m.ready && !r->conf.cold;
	r->res.ready_ns = r->m.ready_ns;
	if (rc > 0) {
		r->ended_by = rc;
		return 128 + rc;
	}
	if (rc || start_timer(r))
		return CLI_SANDBOX;
	return execute(r);
}

/* Things that the person would otherwise have to guess from a number. */
static void remark(const struct run *r)
{
	const struct result *res = &r->res;
	char size[32];

	if (r->e.msg[0])
		cli_say("%s", r->e.msg);
	else if (res->timed_out)
		cli_say("the command was ended by --timeout after %.3g s",
			(double)r->conf.timeout_ns / (double)NS_PER_S);
	if (res->oom)
		cli_say("the command was killed because the guest's %s of memory were used up; see "
			"--memory", parse_size_text(r->conf.memory, size));
	if ((res->trunc_stdout || res->trunc_stderr) && !r->conf.json)
		cli_say("%s%s%s was cut after %llu bytes (--max-output)",
			res->trunc_stdout ? "stdout" : "",
			res->trunc_stdout && res->trunc_stderr ? " and " : "",
			res->trunc_stderr ? "stderr" : "", (unsigned long long)r->conf.max_output);
}

/* The machine-readable results. A result that cannot be written is a failure. */
static int report(struct run *r, int status)
{
	int rc = 0;

	r->res.status = status;
	r->res.error = r->e.msg[0] ? r->e.msg : NULL;
	if (r->conf.status_fd >= 0)
		rc = result_write(&r->res, r->conf.status_fd, -1, -1);
	if (r->conf.json && !rc)
		rc = result_write(&r->res, STDOUT_FILENO, r->capture[0], r->capture[1]);
	if (!rc)
		return status;
	cli_say("the result could not be written: %s", strerror(-rc));
	return CLI_SANDBOX;
}

static int run_all(struct run *r)
{
	bool guest_talks;
	int status = CLI_SANDBOX;

	if (!prepare(r))
		status = start_and_execute(r);
	machine_stop(&r->m);
	remark(r);
	guest_talks = status == CLI_SANDBOX && r->m.mon.end[0];
	if (guest_talks)
		machine_show_log(&r->m);
	return report(r, status);
}

/* The command line. 0, or -errno with a sentence; *done: --help was answered. */
static int parse(struct run *r, const struct verb *v, int argc, char **argv, bool *done)
{
	struct opt_end end;
	int rc = opt_parse(v->table, v->name, argc, argv, 1, &r->conf, &end, &r->e);

	if (rc)
		return rc;
	if (end.help) {
		cli_verb_help(v, stdout);
		*done = true;
		return 0;
	}
	if (end.words == argc)
		return err_say(&r->e, -EINVAL, "there is no command; give one, as in 'sandbox run -- "
			       "uname -a'");
	if (!end.dashes && end.words + 1 < argc && !strcmp(argv[end.words + 1], "--"))
		return err_say(&r->e, -ENOTSUP, "'%.100s' before the -- would name an image, and "
			       "images are not in this version of sandbox; leave it out",
			       argv[end.words]);
	r->conf.argv = argv + end.words;
	return run_conf_check(&r->conf, &r->e);
}

static int run_main(const struct verb *v, int argc, char **argv)
{
	struct run r = {
		.m = MACHINE_NONE, .sigfd = -1, .timer = -1, .capture = { -1, -1 },
	};
	int fds[4], status;
	bool done = false;

	run_conf_init(&r.conf);
	if (parse(&r, v, argc, argv, &done)) {
		remark(&r);
		status = report(&r, CLI_SANDBOX);
	} else if (done) {
		status = fflush(stdout) ? CLI_SANDBOX : CLI_OK;
	} else {
		status = run_all(&r);
	}
	memcpy(fds, (int[]){ r.sigfd, r.timer, r.capture[0], r.capture[1] }, sizeof(fds));
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	run_conf_free(&r.conf);
	return status;
}

const struct verb verb_run = {
	.name = "run", .args = "[--] CMD [ARG...]",
	.summary = "Run a command in a fresh microVM, then remove it",
	.example = "  sandbox run -- uname -a\n"
		   "  tar c src | sandbox run --timeout 5m -m 512M -- sh -c 'tar x && ls src'\n"
		   "  sandbox run -t -- sh\n",
	.table = run_opts, .command = true, .main = run_main,
};
