/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine.c - from nothing to a guest that takes commands.
 *
 * The socket for READY listens before the monitor starts, so the guest's first
 * word cannot be missed and nothing is polled. As soon as the connection to the
 * agent stands, the sockets' names are removed: from then on even a SIGKILL of
 * this process leaves nothing on disk, and the kernel ends the monitor.
 */
#include <poll.h>
#include <signal.h>
#include "cli/cli.h"
#include "cli/machine.h"
#include "cli/sigs.h"
#include "cli/term.h"

#define NS_PER_MS	1000000u
#define READY_MS	30000	/* for the few bytes of READY, once the guest connects */
#define CONNECT_MS	60000	/* for the agent's answer, once it said that it is ready */
#define BOOT_SLACK_S	30	/* the monitor's own limit comes first, and tells more */
#define LOG_LINES	20

/* A client error is longer than a set-up error. */
static int from_client(const struct client_err *ce, struct err *e, const char *what)
{
	return err_say(e, ce->code > 0 ? -ce->code : -EIO, "%s: %.200s", what, ce->msg);
}

static int take_ready(struct machine *m, int listen_fd, uint64_t started, struct err *e)
{
	struct client_ready ready;
	struct client_err ce = { 0 };

	if (client_ready_accept(listen_fd, READY_MS, &ready, &ce) < 0)
		return from_client(&ce, e, "the guest's word that it is ready was no good");
	m->boot_ns = term_now_ns() - started;
	m->ready = true;
	return 0;
}

/* As machine_start(), from the monitor's start to READY. */
static int wait_ready(struct machine *m, int listen_fd, int sigfd, unsigned limit_s, struct err *e)
{
	uint64_t started = term_now_ns();

	for (;;) {
		struct pollfd p[] = {
			{ .fd = listen_fd, .events = POLLIN },
			{ .fd = m->mon.pidfd, .events = POLLIN },
			{ .fd = sigfd, .events = POLLIN },
			{ .fd = m->mon.log_fd, .events = POLLIN },
			{ .fd = m->mon.status_fd, .events = POLLIN },
		};
		uint64_t ns = term_now_ns() - started;
		int signo, tick = 1000 - (int)(ns / NS_PER_MS % 1000);

		if (ns / NS_PER_MS / 1000 > limit_s)
			return err_say(e, -ETIMEDOUT, "the guest was not ready within %u seconds",
				       limit_s);
		if (poll(p, ARRAY_LEN(p), tick) < 0 && errno != EINTR)
			return err_set(e, -errno, "wait for the guest");
		monitor_read(&m->mon);
		while ((signo = sigs_next(sigfd)))
			if (signo == SIGTSTP)
				kill(getpid(), SIGSTOP);
			else if (signo != SIGWINCH)
				return signo;
		if (p[0].revents)
			return take_ready(m, listen_fd, started, e);
		if (p[1].revents && monitor_ended(&m->mon, 0)) {
			monitor_explain(&m->mon, "before it was ready", e);
			return e->code;
		}
		if (!m->mon.console)
			term_progress("starting the guest", started);
	}
}

int machine_start(struct machine *m, struct monitor_conf *c, int sigfd, struct err *e)
{
	struct client_err ce = { 0 };
	auto_fd listen_fd = -1;
	int rc;

	*m = (struct machine)MACHINE_NONE;
	rc = rundir_make(&m->dir, e);
	if (rc)
		return rc;
	c->vsock = m->dir.vsock;
	listen_fd = client_ready_listen(m->dir.vsock, &ce);
	if (listen_fd < 0)
		return from_client(&ce, e, "listen for the guest");
	rc = monitor_start(&m->mon, c, e);
	if (!rc)
		rc = wait_ready(m, listen_fd, sigfd, c->boot_timeout_s + BOOT_SLACK_S, e);
	if (!rc) {
		m->client = client_open(m->dir.vsock, PROTO_AGENT_PORT, CONNECT_MS, &ce);
		if (!m->client) {
			rc = from_client(&ce, e, "connect to the guest's agent");
			if (machine_explain(m, "before it was ready", 0, e))
				rc = e->code;
		}
	}
	term_progress_end();
	rundir_remove(&m->dir);
	return rc;
}

bool machine_explain(struct machine *m, const char *when, int timeout_ms, struct err *e)
{
	if (!monitor_ended(&m->mon, timeout_ms))
		return false;
	monitor_explain(&m->mon, when, e);
	return true;
}

void machine_show_log(const struct machine *m)
{
	char text[4096];

	if (m->mon.console || !*monitor_tail(&m->mon, LOG_LINES, text, sizeof(text)))
		return;
	cli_say("the guest's last words were:");
	if (write(STDERR_FILENO, text, strlen(text)) < 0)
		return;	/* as in cli_say() */
}

void machine_stop(struct machine *m)
{
	client_close(m->client);
	m->client = NULL;
	monitor_stop(&m->mon);
	rundir_remove(&m->dir);
}
