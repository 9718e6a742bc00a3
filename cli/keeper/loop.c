/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop.c - what a keeper waits for while its sandbox runs: requests, the
 * monitor's pipes and end, signals, and points in time.
 *
 * --idle-timeout counts from the end of the last command, each of which holds a connection
 * of this keeper; when it is over, the guest is asked whether detached or background
 * processes run. A connection is of the same user, as its folder is nobody else's to enter.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "cli/cli.h"
#include "cli/store/event.h"
#include "cli/keeper/work.h"
#include "cli/keeper/priv.h"
#include "cli/base/sigs.h"
#include "cli/base/term.h"

#define NS_PER_S	1000000000ull
#define NS_PER_MS	1000000ull
#define GRACE_NS	(10 * NS_PER_S)

/* ---- connections -------------------------------------------------------- */

static bool take_connection(struct keeper *k)
{
	int fd = accept4(k->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return false;
	if (k->n_conns == KEEPER_CONNS_MAX)
		close(fd);
	else
		k->conns[k->n_conns++] = (struct keeper_conn){ .fd = fd };
	return true;
}

int keeper_listen(struct keeper *k, struct err *e)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	auto_fd fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* Not beside the monitor's sockets: those are within reach of the monitor. */
	int n = snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/" KEEPER_SOCKET, k->m.dir.path);

	if (n < 0 || (size_t)n >= sizeof(sa.sun_path))
		return err_say(e, -ENAMETOOLONG, "the path of the keeper's socket is too long");
	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) || listen(fd, 64))
		return err_set(e, -errno, "listen at %s", sa.sun_path);
	while (k->listener >= 0 && take_connection(k))
		;
	fd_cleanup(&k->listener);
	k->listener = take_fd(&fd);
	return 0;
}

static void drop(struct keeper *k, size_t i)
{
	if (k->conns[i].hold)
		k->idle_since = term_now_ns();
	if (k->work->conn == k->conns[i].fd)
		k->work->conn = -1;
	keeper_drop_later(&k->conns[i]);
	close(k->conns[i].fd);
	k->conns[i] = k->conns[--k->n_conns];
}

void keeper_hang_up(struct keeper *k)
{
	while (k->n_conns)
		drop(k, k->n_conns - 1);
	if (k->listener >= 0)
		close(k->listener);
	if (k->sigfd >= 0)
		close(k->sigfd);
	k->listener = k->sigfd = -1;
}

/* ---- time ---------------------------------------------------------------- */

static bool held(const struct keeper *k)
{
	for (size_t i = 0; i < k->n_conns; i++)
		if (k->conns[i].hold)
			return true;
	return false;
}

static void check_idle(struct keeper *k, uint64_t now)
{
	if (!k->conf.idle_ns || k->stopping || now < k->idle_since + k->conf.idle_ns)
		return;
	if (held(k) || keeper_busy(k))
		k->idle_since = term_now_ns();
	else
		keeper_stop(k, GRACE_NS, "it was idle for the time of --idle-timeout");
}

static void check_times(struct keeper *k)
{
	uint64_t now = term_now_ns();

	check_idle(k, now);
	if (k->ttl_at && !k->stopping && now >= k->ttl_at)
		keeper_stop(k, GRACE_NS, "its --ttl was over");
	if (k->stopping && k->m.mon.pidfd >= 0 && term_now_ns() >= k->kill_at) {
		k->m.mon.killed = true;
		kill(k->m.mon.pid, SIGKILL);	/* not reaped yet, so the number is its own */
		k->kill_at = term_now_ns() + NS_PER_S;
	}
}

static void nearer(uint64_t *at, uint64_t other)
{
	if (other && other < *at)
		*at = other;
}

/* For poll(2). */
static int time_left(const struct keeper *k)
{
	uint64_t now = term_now_ns(), at = now + 3600 * NS_PER_S;

	if (k->stopping)
		nearer(&at, k->kill_at);
	else
		nearer(&at, k->ttl_at);
	if (k->conf.idle_ns && !k->stopping)
		nearer(&at, k->idle_since + k->conf.idle_ns);
	if (k->jobs && k->jobs_at > now)
		nearer(&at, k->jobs_at);
	return at <= now ? 0 : (int)((at - now + NS_PER_MS - 1) / NS_PER_MS);
}

/* ---- the loop ------------------------------------------------------------ */

static void take_signals(struct keeper *k)
{
	int signo;

	while ((signo = sigs_next(k->sigfd)))
		if (signo == SIGTERM || signo == SIGINT)
			keeper_stop(k, GRACE_NS, "its keeper was told to stop by a signal");
}

/* Without its folders a sandbox is no use: the guest would hang on them. */
static void server_ended(struct keeper *k)
{
	struct err e = { 0 };

	if (!fsd_ended(&k->m.shared.fsd) || k->broken)
		return;
	/* It ends well when the monitor's end of their socket is closed: the machine is ending. */
	if (k->stopping || !k->m.shared.fsd.wstatus)
		return;
	fsd_explain(&k->m.shared.fsd, "while it ran", &e);
	keeper_stop(k, 0, e.msg);
	k->broken = true;
}

/* Of one that waits for an answer only the end is of interest. */
static short events_of(const struct keeper *k, const struct keeper_conn *c)
{
	return c->later || c->fd == k->work->conn ? 0 : POLLIN;
}

static void end_job(struct keeper *k)
{
	keeper_work_end(k);
	server_ended(k);		/* the thread at work may have been the first to see it */
	keeper_take_later(k);
}

enum { P_LISTEN, P_SIGNAL, P_END, P_SERVER, P_LOG, P_STATUS, P_JOB, P_JOBS,
       P_CONNS };

void keeper_loop(struct keeper *k)
{
	uint64_t now = term_now_ns();
	struct monitor *mon = &k->m.mon;

	k->idle_since = now;
	k->ttl_at = k->conf.ttl_ns ? now + k->conf.ttl_ns : 0;
	while (mon->pidfd >= 0) {
		struct pollfd p[P_CONNS + KEEPER_CONNS_MAX] = {
			[P_LISTEN] = { k->listener, POLLIN, 0 },
			[P_SIGNAL] = { k->sigfd, POLLIN, 0 },
			[P_END] = { mon->pidfd, POLLIN, 0 },
			[P_SERVER] = { k->work->at_work ? -1 : k->m.shared.fsd.pidfd, POLLIN, 0 },
			[P_LOG] = { mon->log_fd, POLLIN, 0 },
			[P_STATUS] = { mon->status_fd, POLLIN, 0 },
			[P_JOBS] = { keeper_jobs_fd(k), POLLIN, 0 },
			[P_JOB] = { k->work->at_work ? k->work->done : -1, POLLIN, 0 },
		};
		size_t n = k->n_conns;

		for (size_t i = 0; i < n; i++)
			p[P_CONNS + i] = (struct pollfd){ k->conns[i].fd,
							    events_of(k, &k->conns[i]), 0 };
		if (poll(p, P_CONNS + n, time_left(k)) < 0 && errno != EINTR)
			BUG_ON(errno != ENOMEM);
		monitor_read(mon);
		if (p[P_END].revents && monitor_ended(mon, 0))
			return;
		take_signals(k);
		if (p[P_SERVER].revents)
			server_ended(k);
		if (p[P_JOBS].revents)
			keeper_jobs_read(k);
		/* From the last one, as the place of one that is dropped is filled from there. */
		for (size_t i = n; i-- > 0;)
			if (p[P_CONNS + i].revents &&
			    (!p[P_CONNS + i].events || !keeper_take(k, &k->conns[i])))
				drop(k, i);
		if (p[P_JOB].revents)
			end_job(k);
		if (p[P_LISTEN].revents)
			take_connection(k);
		check_times(k);
	}
}
