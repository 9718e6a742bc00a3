/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine.c - from nothing to a guest that takes commands.
 *
 * The socket for READY listens before the monitor starts, so the guest's first
 * word cannot be missed and nothing is polled. As soon as the connection to the
 * agent stands, the sockets' names are removed, unless others shall connect too: from
 * then on even a SIGKILL of this process leaves nothing on disk, and the kernel ends
 * the monitor.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/random.h>
#include <time.h>
#include "cli/cli.h"
#include "cli/machine/machine.h"
#include "cli/base/sigs.h"
#include "cli/base/term.h"

#define NS_PER_MS	1000000u
#define READY_MS	30000	/* for the few bytes of READY, once the guest connects */
#define CONNECT_MS	180000	/* for the agent's answer, once it said that it is ready */
#define BOOT_SLACK_S	30	/* the monitor's own limit comes first, and tells more */
#define LOG_LINES	20
#define NS_PER_S	1000000000ull
#define SEED_LEN	64u	/* bytes of entropy for a restored guest */

/* A client error is longer than a set-up error. */
static int from_client(const struct client_err *ce, struct err *e, const char *what)
{
	return err_say(e, ce->code > 0 ? -ce->code : -EIO, "%s: %.200s", what, ce->msg);
}

int machine_signal(int sigfd)
{
	int signo;

	while ((signo = sigs_next(sigfd)))
		if (signo == SIGTSTP)
			kill(getpid(), SIGSTOP);
		else if (signo != SIGWINCH)
			return signo;
	return 0;
}

/* What has to happen before the agent can be called: READY of a boot, `run` of a restore. */
static bool came(const struct machine *m, int listen_fd)
{
	struct pollfd p = { .fd = listen_fd, .events = POLLIN };

	return listen_fd < 0 ? m->mon.running : poll(&p, 1, 0) == 1;
}

static int wait_for(struct machine *m, int listen_fd, int sigfd, const struct monitor_conf *c,
		    struct err *e)
{
	const char *what = c->progress ? c->progress : "starting the guest";
	uint64_t started = term_now_ns(), limit_s = c->boot_timeout_s + BOOT_SLACK_S;

	while (!came(m, listen_fd)) {
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
			return err_say(e, -ETIMEDOUT, "the guest was not ready within %llu seconds",
				       (unsigned long long)limit_s);
		if (poll(p, ARRAY_LEN(p), tick) < 0 && errno != EINTR)
			return err_set(e, -errno, "wait for the guest");
		monitor_read(&m->mon);
		signo = machine_signal(sigfd);
		if (signo)
			return signo;
		if (p[1].revents && monitor_ended(&m->mon, 0)) {
			monitor_explain(&m->mon, "before it was ready", e);
			return e->code;
		}
		if (!m->mon.console)
			term_progress(what, started);
	}
	return 0;
}

static int hear_ready(int listen_fd, struct err *e)
{
	struct client_ready ready;
	struct client_err ce = { 0 };

	if (client_ready_accept(listen_fd, READY_MS, &ready, &ce) < 0)
		return from_client(&ce, e, "the guest's word that it is ready was no good");
	return 0;
}

static int call_agent(struct machine *m, struct err *e)
{
	struct client_err ce = { 0 };
	int rc;

	m->client = client_open(m->dir.vsock, PROTO_AGENT_PORT, CONNECT_MS, &ce);
	if (m->client)
		return 0;
	rc = from_client(&ce, e, "connect to the guest's agent");
	return machine_explain(m, "before it was ready", 0, e) ? e->code : rc;
}

/* What a template's clones must not share (threat-model.md 17): time, entropy, identity. */
static int tell_identity(struct machine *m, const struct monitor_conf *c, struct err *e)
{
	unsigned char random[SEED_LEN + 16];
	char id[33];
	struct timespec now;
	struct client_err ce = { 0 };
	struct client_resume r = { .hostname = c->hostname };

	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return err_set(e, -EIO, "getrandom");
	for (unsigned i = 0; i < 16; i++)
		snprintf(id + 2 * i, 3, "%02x", random[SEED_LEN + i]);
	clock_gettime(CLOCK_REALTIME, &now);
	if (c->restore || c->identity) {
		r.seed = random;
		r.seed_len = SEED_LEN;
		r.machine_id = id;
		r.time_ns = (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
	}
	if (client_resume(m->client, &r, CONNECT_MS, &ce) < 0)
		return from_client(&ce, e, "tell the guest its name and the time");
	return 0;
}

/* With the server of its shared folders, if it may have any. */
static int start_monitor(struct machine *m, struct monitor_conf *c, struct err *e)
{
	auto_fd from = c->restore ? open(c->restore, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	int rc = c->restore && from < 0 ? err_set(e, -errno, "open the snapshot %.200s",
						  c->restore) : 0;

	if (!rc)
		rc = shared_look(&m->shared, c->shares, from, e);
	if (rc)
		return rc;
	if (!c->shares)
		return monitor_start(&m->mon, c, e);
	rc = shared_start(&m->shared, c->shares, c->cow_dir, c->owner, c->jail, from,
			  c->server, e);
	if (rc)
		return rc;
	rc = monitor_start(&m->mon, c, e);
	if (!rc)
		bounds_enter(&m->mon.group, m->shared.fsd.pid);
	close(c->server[0]);
	close(c->server[1]);
	c->server[0] = c->server[1] = 0;
	return rc;
}

static int set_root(struct machine *m, const struct monitor_conf *c, struct err *e)
{
	return c->root && !c->root_done ?
		rootfs_apply(c->root, m->client, c->root_bare, c->restore, e) : 0;
}

int machine_start(struct machine *m, struct monitor_conf *c, int sigfd, struct err *e)
{
	uint64_t started = term_now_ns();
	struct client_err ce = { 0 };
	auto_fd listen_fd = -1;
	bool last;
	int rc;

	*m = (struct machine)MACHINE_NONE;
	rc = rundir_make(&m->dir, e);
	if (rc)
		return rc;
	c->vsock = m->dir.vsock;
	if (!c->restore) {
		listen_fd = client_ready_listen(m->dir.vsock, &ce);
		if (listen_fd < 0)
			return from_client(&ce, e, "listen for the guest");
	}
	rc = start_monitor(m, c, e);
	if (!rc)
		rc = wait_for(m, listen_fd, sigfd, c, e);
	if (!rc)
		rc = monitor_verify(&m->mon, c->jail, e);
	if (!rc && listen_fd >= 0)
		rc = hear_ready(listen_fd, e);
	if (!rc)
		rc = call_agent(m, e);
	/* Its identity is written to the root: to the one that stays, and before that is closed. */
	last = c->root && c->root->read_only;
	if (!rc && !last)
		rc = set_root(m, c, e);
	if (!rc && (c->restore || c->hostname || c->identity))
		rc = tell_identity(m, c, e);
	if (!rc && last)
		rc = set_root(m, c, e);
	if (!rc)
		rc = shared_mount(&m->shared, c->shares, m->client, e);
	m->ready = !rc;
	m->ready_ns = term_now_ns() - started;
	term_progress_end();
	if (rc || !c->keep_sockets)
		rundir_remove(&m->dir);
	return rc;
}

bool machine_explain(struct machine *m, const char *when, int timeout_ms, struct err *e)
{
	if (m->shared.fsd.pid && fsd_ended(&m->shared.fsd)) {
		fsd_explain(&m->shared.fsd, when, e);
		return true;
	}
	if (!monitor_ended(&m->mon, timeout_ms))
		return false;
	monitor_explain(&m->mon, when, e);
	return true;
}

const char *machine_limits(const struct machine *m)
{
	const struct fsd *f = &m->shared.fsd;

	return f->pidfd < 0 || bounds_has(&m->mon.group, f->pid) ? monitor_limits(&m->mon) : "";
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
	shared_stop(&m->shared);
	bounds_remove(&m->mon.group);	/* the server was in it, too */
	rundir_remove(&m->dir);
}
