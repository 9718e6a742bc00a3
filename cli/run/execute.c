/* SPDX-License-Identifier: Apache-2.0 */
/*
 * execute.c - a command of the guest as if it were one of this shell's.
 *
 * While it runs, one loop (client_exec_run) waits for the streams and for what is
 * given to it here as watches: signals, a timer that ends the wait for a machine whose
 * agent does not keep --timeout, and what the caller adds.
 *
 * Signals. Until the command has started, any of them ends the wait. Then those
 * that a terminal sends, and SIGTERM, go to the command's process group, the others
 * to its first process; the wait ends when the command does. Somebody who sends
 * SIGINT or SIGTERM three times within ten seconds means it: then it ends at once.
 */
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/timerfd.h>
#include "cli/cli.h"
#include "cli/run/execute.h"
#include "cli/base/parse.h"
#include "cli/base/secret.h"
#include "cli/base/sigs.h"
#include "cli/base/term.h"

#define NS_PER_S	1000000000ull
#define TIMEOUT_GRACE	(30 * NS_PER_S)	/* for the agent to end the command and say so */
#define INSIST_NS	(10 * NS_PER_S)

/* ---- watches ----------------------------------------------------------- */

static bool insists(struct execution *x, int signo)
{
	uint64_t now = term_now_ns();

	if (signo != SIGINT && signo != SIGTERM)
		return false;
	memmove(&x->insist[1], &x->insist[0], 2 * sizeof(x->insist[0]));
	x->insist[0] = now;
	return x->insist[2] && now - x->insist[2] < INSIST_NS;
}

static void resized(struct execution *x, struct client *c)
{
	uint16_t rows, cols;

	if (!term_size(STDIN_FILENO, &rows, &cols))
		return;
	if (x->record)
		record_resize(x->record, rows, cols);
	if (client_winch(c, rows, cols))
		return;	/* the queue is full; the next change tries again */
}

static int one_signal(struct execution *x, struct client *c, int signo)
{
	bool group = signo == SIGINT || signo == SIGQUIT || signo == SIGHUP || signo == SIGTERM;

	if (signo == SIGWINCH) {
		resized(x, c);
		return 0;
	}
	if (signo == SIGTSTP) {
		term_suspend();
		resized(x, c);
		return 0;
	}
	/* Who only follows it ends that, and not the command, which is not of his making. */
	if (!client_started(c) || x->follow || insists(x, signo)) {
		x->ended_by = signo;
		return -EINTR;
	}
	/* -EAGAIN: the agent takes nothing any more; the third one gets through. */
	(void)client_signal(c, signo, group ? PROTO_SCOPE_GROUP : PROTO_SCOPE_PROCESS);
	return 0;
}

static int on_signal(struct client *c, short revents, void *arg)
{
	struct execution *x = arg;
	int signo, rc = 0;

	(void)revents;
	while (!rc && (signo = sigs_next(x->sigfd)))
		rc = one_signal(x, c, signo);
	return rc;
}

static int on_timer(struct client *c, short revents, void *arg)
{
	(void)c;
	(void)revents;
	((struct execution *)arg)->too_late = true;
	return -ETIMEDOUT;
}

/* ---- the command ------------------------------------------------------- */

static void on_output(void *arg, unsigned int stream, const uint8_t *p, size_t n)
{
	record_output(arg, stream, p, n);
}

static void fill_exec(const struct execution *x, struct client_exec *cx)
{
	const struct run_conf *c = x->conf;
	bool attach = x->follow ? x->feed :
				  c->interactive || c->tty || !isatty(STDIN_FILENO);
	bool leave = x->leavable && c->tty && c->keys.n;

	*cx = (struct client_exec){
		.argv = (const char *const *)c->argv, .envp = (const char *const *)x->env.v,
		.cwd = c->workdir, .user = c->user, .group = c->group,
		.timeout_ns = c->timeout_ns, .limit_output = c->limit_output,
		.max_output = c->max_output, .pids_max = c->pids, .tty = c->tty,
		.fd = { attach ? STDIN_FILENO : -1, STDOUT_FILENO, STDERR_FILENO },
		.leave = leave ? &c->keys : NULL,
		.tap = x->record ? on_output : NULL, .tap_arg = x->record,
	};
	if (c->detach) {
		cx->keep = true;
		cx->keep_stdin = c->interactive;
		for (int i = 0; i < 3; i++)
			cx->fd[i] = -1;
	} else if (c->json) {
		cx->fd[1] = x->capture[0];
		cx->fd[2] = x->capture[1];
	}
	if (c->tty)
		(void)term_size(STDIN_FILENO, &cx->rows, &cx->cols);
}

/* What client_exec_run() did not like: the sentence, and the exit status that belongs to it. */
static int failed(struct execution *x, int rc, const struct client_err *ce)
{
	if (x->ended_by && x->follow) {
		x->left = true;
		x->id = x->follow;
	}
	if (x->ended_by)
		return 128 + x->ended_by;
	if (x->too_late && x->wait) {
		x->left = true;
		err_say(&x->e, rc, "it runs on after the time of --timeout");
		return CLI_TIMEOUT;
	}
	if (x->too_late) {
		x->res.timed_out = true;
		err_say(&x->e, rc, "the guest did not end the command in time, so %s",
			x->late ? x->late : "the wait for it was ended");
		return CLI_TIMEOUT;
	}
	if (rc == -ECONNRESET && x->explain && x->explain(x->arg, &x->e))
		return CLI_SANDBOX;
	err_say(&x->e, rc, "%.250s", ce->msg);
	return CLI_SANDBOX;
}

static int finished(struct execution *x, const struct client_result *cr)
{
	struct result *res = &x->res;

	x->id = cr->id;
	x->pid = cr->pid;
	x->left = cr->left;
	x->dropped = cr->dropped[0] + cr->dropped[1];
	if (cr->left)
		return CLI_OK;
	res->executed = !cr->not_started;
	res->exec_ns = cr->wall_ns;
	res->signal = cr->signal;
	res->timed_out = cr->timed_out;
	res->oom = cr->oom;
	res->trunc_stdout = cr->trunc_stdout;
	res->trunc_stderr = cr->trunc_stderr;
	res->peak_memory = cr->mem_peak;
	if (cr->not_started)
		err_say(&x->e, -ENOEXEC, "%.250s", cr->msg);
	return client_result_status(cr);
}

static int start_timer(struct execution *x)
{
	/* What is only waited for has no limit of its own: the time is that of the wait. */
	uint64_t ns = x->conf->timeout_ns, grace = x->wait ? 0 : TIMEOUT_GRACE;
	struct itimerspec t = { 0 };

	if (!ns || __builtin_add_overflow(ns, grace, &ns))
		return 0;
	t.it_value.tv_sec = (time_t)(ns / NS_PER_S);
	t.it_value.tv_nsec = (long)(ns % NS_PER_S);
	x->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (x->timer < 0 || timerfd_settime(x->timer, 0, &t, NULL))
		return err_set(&x->e, -errno, "set a timer");
	return 0;
}

static int execute(struct execution *x)
{
	struct client_result cr = { 0 };
	struct client_err ce = { 0 };
	struct client_exec cx;
	int rc;

	execution_watch(x, x->sigfd, on_signal, x);
	execution_watch(x, x->timer, on_timer, x);
	fill_exec(x, &cx);
	if (x->conf->tty && !x->conf->detach) {
		rc = term_raw(STDIN_FILENO);
		if (rc) {
			err_set(&x->e, rc, "put the terminal into raw mode");
			return CLI_SANDBOX;
		}
	}
	if (x->wait)
		rc = client_wait(x->client, x->follow, x->watch, x->n_watch, &cr, &ce);
	else if (x->follow)
		rc = client_attach_run(x->client, x->follow, x->follow_flags, &cx, x->watch,
				       x->n_watch, &cr, &ce);
	else
		rc = client_exec_run(x->client, &cx, x->watch, x->n_watch, &cr, &ce);
	term_restore();
	return rc ? failed(x, rc, &ce) : finished(x, &cr);
}

/* ---- around it --------------------------------------------------------- */

int execution_begin(struct execution *x, const char *verb, const struct run_conf *c)
{
	x->conf = c;
	x->verb = verb;
	x->sigfd = sigs_open(c->tty, &x->e);
	if (x->sigfd < 0)
		return x->sigfd;
	for (int i = 0; i < 2 && c->json; i++) {
		x->capture[i] = memfd_create(i ? "stderr" : "stdout", MFD_CLOEXEC);
		if (x->capture[i] < 0)
			return err_set(&x->e, -errno, "keep the output");
	}
	return 0;
}

struct client_watch *execution_watch(struct execution *x, int fd,
				     int (*ready)(struct client *c, short revents, void *arg),
				     void *arg)
{
	struct client_watch *w = &x->watch[x->n_watch++];

	BUG_ON(x->n_watch > CLIENT_WATCH_MAX);
	*w = (struct client_watch){ fd, POLLIN, ready, arg };
	return w;
}

int execution_run(struct execution *x, struct client *client)
{
	int rc = 0;

	x->client = client;
	for (size_t i = 0; !rc && i < x->conf->env.n; i++)
		rc = env_add(&x->env, x->conf->env.v[i], &x->e);
	if (!rc)
		rc = run_conf_secrets(x->conf, &x->env, &x->e);
	return rc || start_timer(x) ? CLI_SANDBOX : execute(x);
}

/* Things that the person would otherwise have to guess from a number. */
void execution_remark(const struct execution *x)
{
	const struct result *res = &x->res;
	char size[32];

	if (x->e.msg[0])
		cli_say("%s", x->e.msg);
	else if (res->timed_out)
		cli_say("the command was ended by --timeout after %.3g s",
			(double)x->conf->timeout_ns / (double)NS_PER_S);
	if (res->oom)
		cli_say("the command was killed because the guest's %s of memory were used up; see "
			"--memory", parse_size_text(x->conf->memory, size));
	if ((res->trunc_stdout || res->trunc_stderr) && !x->conf->json)
		cli_say("%s%s%s was cut after %llu bytes (--max-output)",
			res->trunc_stdout ? "stdout" : "",
			res->trunc_stdout && res->trunc_stderr ? " and " : "",
			res->trunc_stderr ? "stderr" : "", (unsigned long long)x->conf->max_output);
}

/* The machine-readable results. A result that cannot be written is a failure. */
int execution_report(struct execution *x, int status)
{
	int rc = 0;

	x->res.status = status;
	x->res.error = x->e.msg[0] ? x->e.msg : NULL;
	if (x->conf->status_fd >= 0)
		rc = result_write(&x->res, x->conf->status_fd, -1, -1);
	if (x->conf->json && !rc)
		rc = result_write(&x->res, STDOUT_FILENO, x->capture[0], x->capture[1]);
	if (!rc)
		return status;
	cli_say("the result could not be written: %s", strerror(-rc));
	return CLI_SANDBOX;
}

void execution_end(struct execution *x)
{
	const int fds[] = { x->sigfd, x->timer, x->capture[0], x->capture[1] };

	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	secret_free(&x->env);
	*x = (struct execution)EXECUTION_NONE;
}
