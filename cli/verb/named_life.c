/* SPDX-License-Identifier: Apache-2.0 */
/*
 * named_life.c - starting, stopping and removing, for whichever verb asks.
 *
 * All of them are about what shall be the case, not about what to do: a sandbox that
 * runs is started, one that does not run is stopped. Whoever reads a state for a moment
 * may hold the lock for that moment, so a lock that is taken is only believed after
 * a while, unless the state says who has it.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include "cli/store/autostart.h"
#include "cli/verb/named.h"
#include "cli/base/term.h"

#define NS_PER_S	1000000000ull
#define NS_PER_MS	1000000ull
#define ASK_MS		30000
#define LOCK_NS		(3 * NS_PER_S)
#define LOCK_STEP_MS	5
#define END_SLACK_NS	(15 * NS_PER_S)

/* Lock, unless it runs or starts: then -EALREADY, with *s. */
static int lock_or_state(struct store_box *b, struct store_state *s, struct err *e)
{
	uint64_t until = term_now_ns() + LOCK_NS;

	for (;;) {
		int rc = store_lock(b, e);

		if (rc != -EBUSY)
			return rc;
		rc = store_state(b, s, e);
		if (rc)
			return rc;
		if (s->life == STORE_RUNNING || s->life == STORE_STARTING)
			return -EALREADY;
		if (term_now_ns() > until)
			return err_say(e, -EBUSY, "another command is at work on sandbox '%s'; try "
				       "again when it has ended", b->name);
		poll(NULL, 0, LOCK_STEP_MS);
	}
}

static int named_lock(struct store_box *b, struct err *e)
{
	struct store_state s = { 0 };
	int rc = lock_or_state(b, &s, e);

	if (rc == -EALREADY)
		return err_say(e, -EBUSY, "sandbox '%s' is %s; stop it with 'sandbox stop %s'",
			       b->name, store_life_name(s.life), b->name);
	return rc;
}

/* Another command starts it: wait for what comes of that. 0 when it runs. */
static int wait_started(struct store_box *b, struct store_state *s, int sigfd, struct err *e)
{
	uint64_t since = term_now_ns();

	for (;;) {
		struct pollfd p = { sigfd, POLLIN, 0 };
		int rc = store_state(b, s, e), signo;

		if (rc || s->life != STORE_STARTING)
			break;
		if (poll(&p, 1, 50) > 0 && (signo = machine_signal(sigfd)))
			return signo;
		term_progress("another command starts the sandbox", since);
	}
	term_progress_end();
	if (s->life == STORE_RUNNING)
		return 0;
	return e->code ? e->code : err_say(e, -EIO, "sandbox '%s' was being started by another "
					   "command, and is %s now: %.150s", b->name,
					   store_life_name(s->life), s->reason);
}

/*
 * It runs, but its end has begun, as it says, or as it seems where nobody answers any more:
 * that is believed for a while.
 */
static bool is_ending(const struct store_state *s, uint64_t since)
{
	struct err ignored = { 0 };
	auto_fd conn = keeper_connect(s, &ignored);
	int rc = conn < 0 ? conn : keeper_ask(conn, "hold", NULL, NULL, 0, ASK_MS, NULL, &ignored);

	return rc == -ESHUTDOWN || (rc && term_now_ns() - since < END_SLACK_NS);
}

/* As lock_or_state(), after the end of what is being stopped; or a signal's number. */
static int lock_after_stop(struct store_box *b, struct store_state *s, int sigfd, struct err *e)
{
	uint64_t since = term_now_ns();
	int rc;

	while ((rc = lock_or_state(b, s, e)) == -EALREADY && s->life == STORE_RUNNING &&
	       is_ending(s, since)) {
		struct pollfd p = { sigfd, POLLIN, 0 };

		if (poll(&p, 1, 50) > 0 && (rc = machine_signal(sigfd)))
			break;
		term_progress("another command stops the sandbox", since);
	}
	term_progress_end();
	return rc;
}

int named_start(const char *name, int sigfd, bool *was, struct err *e)
{
	struct store_state s;
	struct store_box b;
	int rc = store_open(&b, name, e);

	*was = false;
	if (!rc)
		rc = lock_after_stop(&b, &s, sigfd, e);
	if (rc == -EALREADY) {
		*was = true;
		rc = wait_started(&b, &s, sigfd, e);
	} else if (!rc) {
		rc = keeper_start(&b, sigfd, e);
	}
	store_close(&b);
	return rc;
}

/* ---- stopping ------------------------------------------------------------ */

/* The keeper does not answer any more. Its number is its own as long as the lock is held. */
static int end_keeper(struct store_box *b, const struct store_state *s, int signo, struct err *e)
{
	struct store_state again;
	auto_fd pidfd = s->keeper > 0 ? (int)syscall(SYS_pidfd_open, s->keeper, 0) : -1;
	int rc = store_state(b, &again, e);

	if (rc || pidfd < 0 || again.keeper != s->keeper ||
	    (again.life != STORE_RUNNING && again.life != STORE_STARTING))
		return rc;
	if (syscall(SYS_pidfd_send_signal, pidfd, signo, NULL, 0) && errno != ESRCH)
		return err_set(e, -errno, "end the keeper of sandbox '%s'", b->name);
	return 0;
}

/* Until it is neither running nor starting. -ETIMEDOUT without a sentence. */
static int wait_stopped(struct store_box *b, struct store_state *s, int conn, uint64_t ns,
			struct err *e)
{
	uint64_t since = term_now_ns(), until = since + ns;

	for (;;) {
		/* Its end is the end of the connection; without one the state is looked at. */
		struct pollfd p = { conn, POLLIN, 0 };
		uint64_t now = term_now_ns();
		int rc;

		if (now < until && poll(&p, 1, conn >= 0 ? 1000 : 20) > 0)
			conn = -1;
		rc = store_state(b, s, e);
		if (rc || (s->life != STORE_RUNNING && s->life != STORE_STARTING))
			break;
		if (now >= until)
			return -ETIMEDOUT;
		term_progress("stopping the sandbox", since);
	}
	term_progress_end();
	return e->code;
}

static int stop_running(struct store_box *b, struct store_state *s, uint64_t grace_ns,
			const char *reason, struct err *e)
{
	json_t *args = json_pack("{s:I, s:s}", "grace_ns", (json_int_t)grace_ns, "reason", reason);
	auto_fd conn = keeper_connect(s, e);
	int rc;

	if (conn < 0) {
		json_decref(args);
		rc = end_keeper(b, s, SIGTERM, e);
	} else {
		rc = keeper_ask(conn, "stop", args, NULL, 0, ASK_MS, NULL, e);
	}
	e->code = 0;	/* what matters is whether it ends */
	rc = wait_stopped(b, s, conn, grace_ns + END_SLACK_NS, e);
	if (rc != -ETIMEDOUT)
		return rc;
	rc = end_keeper(b, s, SIGKILL, e);
	if (!rc)
		rc = wait_stopped(b, s, -1, END_SLACK_NS, e);
	return rc == -ETIMEDOUT ? err_say(e, rc, "sandbox '%s' does not end; its keeper is process "
					  "%d", b->name, (int)s->keeper) : rc;
}

int named_stop(const char *name, uint64_t grace_ns, const char *reason, bool *was, struct err *e)
{
	struct store_state s;
	struct store_box b;
	int rc = store_open(&b, name, e);

	*was = false;
	if (!rc)
		rc = store_state(&b, &s, e);
	if (!rc && s.life == STORE_STARTING) {
		rc = end_keeper(&b, &s, SIGTERM, e);
		if (!rc)
			rc = wait_stopped(&b, &s, -1, END_SLACK_NS, e);
	} else if (!rc && s.life == STORE_RUNNING) {
		rc = stop_running(&b, &s, grace_ns, reason, e);
	} else {
		*was = !rc;
	}
	store_close(&b);
	return rc;
}

int named_remove(const char *name, bool force, uint64_t grace_ns, struct err *e)
{
	struct store_state s = { 0 };
	struct store_box b;
	bool was;
	int rc = store_open(&b, name, e);

	if (!rc)
		rc = lock_or_state(&b, &s, e);
	if (rc == -EALREADY && !force) {
		rc = err_say(e, -EBUSY, "sandbox '%s' is %s; stop it first, or remove it all the "
			     "same with --force", name, store_life_name(s.life));
	} else if (rc == -EALREADY) {
		rc = named_stop(name, grace_ns, "it was removed", &was, e);
		if (!rc)
			rc = named_lock(&b, e);
	}
	if (!rc)
		rc = autostart_set(name, false, e);
	if (!rc)
		rc = store_remove(&b, e);
	store_close(&b);
	return rc;
}
