/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jobs.c - what the keeper knows of commands that run in its sandbox without anybody who
 * waits for them: it notes their end, does not take a sandbox in which they run for idle,
 * and ends one that was made for such a command alone.
 *
 * The first detached command makes it open a connection on which the agent tells of ends.
 * What the agent says is the guest's word; it is noted, and nothing else depends on it but
 * the end of the guest itself. A guest that tells of ends all the time is not listened to
 * for a while: it has to wait then, as the agent's channel has bounds.
 */
#include "cli/base/term.h"
#include "cli/base/text.h"
#include "cli/cli.h"
#include "cli/keeper/priv.h"
#include "cli/store/event.h"

#define ASK_MS		25000	/* less than who asks the keeper waits */
#define GRACE_NS	10000000000ull
#define NOTE_NS		1000000ull	/* that each end which is noted takes at least */
#define DEAF_MAX	3	/* times that the guest may not answer whether it is busy */

/* ---- ends ----------------------------------------------------------------- */

static void note(const struct proto_job *j, void *arg)
{
	struct keeper *k = arg;
	const struct proto_exit *x = &j->res;

	event_write(&k->box, "exit", json_pack("{s:I, s:i, s:I, s:b, s:b, s:b, s:o}",
		"id", (json_int_t)j->id,
		"status", x->result & PROTO_R_TIMED_OUT ? 124 :
			  x->signal ? 128 + x->signal : x->code,
		"exec_ms", (json_int_t)(x->wall_ns / 1000000),
		"timed_out", (int)!!(x->result & PROTO_R_TIMED_OUT),
		"oom", (int)!!(x->result & PROTO_R_OOM),
		"truncated", (int)!!(x->result & (PROTO_R_TRUNC_STDOUT | PROTO_R_TRUNC_STDERR)),
		"command", text_json(j->command)));
	k->jobs_at += NOTE_NS;
	k->idle_since = term_now_ns();
	if (k->last_of && j->id == k->last_of && !k->stopping)
		keeper_stop(k, GRACE_NS, "the command that it was made for has ended");
}

/* One that ended before anybody watched. */
static void note_ended(const struct proto_job *j, void *arg)
{
	if ((j->flags & PROTO_JOB_KEPT) && !(j->flags & PROTO_JOB_RUNNING))
		note(j, arg);
}

static void forget(struct keeper *k)
{
	client_close(k->jobs);
	k->jobs = NULL;
}

/* Begin to watch. @missed: note what has ended already. */
static int watch(struct keeper *k, bool missed, struct err *e)
{
	struct client_err ce = { 0 };
	struct client *c;

	if (k->jobs)
		return 0;
	k->jobs = keeper_client(k, e);
	if (!k->jobs)
		return e->code;
	if (client_watch_jobs(k->jobs, ASK_MS, &ce) < 0) {
		forget(k);
		return err_say(e, -ce.code, "watch the commands of sandbox '%s': %.200s",
			       k->box.name, ce.msg);
	}
	c = missed ? keeper_client(k, e) : NULL;
	if (c && client_jobs(c, note_ended, k, ASK_MS, &ce) < 0)
		cli_say("list the commands: %s", ce.msg);
	client_close(c);
	return 0;
}

int keeper_jobs_fd(const struct keeper *k)
{
	return k->jobs && term_now_ns() >= k->jobs_at ? client_fd(k->jobs) : -1;
}

void keeper_jobs_read(struct keeper *k)
{
	struct client_err ce = { 0 };
	struct err e = { 0 };

	k->jobs_at = term_now_ns();
	if (client_events(k->jobs, note, k, &ce) == 0)
		return;
	/* The machine was put back to another time, or it ends. */
	forget(k);
	if (!k->stopping && watch(k, false, &e))
		cli_say("%s", e.msg);
}

void keeper_jobs_inherited(struct keeper *k)
{
	struct err e = { 0 };

	if (watch(k, false, &e))
		cli_say("%s", e.msg);
}

int keeper_serve_watch(struct keeper *k, struct keeper_req *r, struct err *e)
{
	(void)r;
	return watch(k, true, e);
}

/* ---- the last one --------------------------------------------------------- */

struct sought { uint64_t id; bool runs; };

static void seek(const struct proto_job *j, void *arg)
{
	struct sought *s = arg;

	s->runs |= j->id == s->id && (j->flags & PROTO_JOB_RUNNING);
}

int keeper_serve_until(struct keeper *k, struct keeper_req *r, struct err *e)
{
	struct sought s = {
		.id = (uint64_t)json_integer_value(json_object_get(r->args, "id")),
	};
	struct client_err ce = { 0 };
	struct client *c = s.id && k->jobs ? keeper_client(k, e) : NULL;
	int rc = c ? client_jobs(c, seek, &s, ASK_MS, &ce) : -EINVAL;

	client_close(c);
	if (rc)
		return err_say(e, rc, "until: %.200s", c ? ce.msg : "it needs a watched command");
	k->last_of = s.id;
	k->remove = true;
	if (!s.runs)
		keeper_stop(k, GRACE_NS, "the command that it was made for has ended");
	return 0;
}

/* ---- idle? ---------------------------------------------------------------- */

static void look(const struct proto_job *j, void *arg)
{
	bool *busy = arg;

	*busy |= j->flags & (PROTO_JOB_RUNNING | PROTO_JOB_BACKGROUND);
}

bool keeper_busy(struct keeper *k)
{
	struct client_err ce = { 0 };
	struct err e = { 0 };
	struct client *c = keeper_client(k, &e);
	bool busy = false;
	int rc = c ? client_jobs(c, look, &busy, ASK_MS, &ce) : e.code;

	client_close(c);
	/* A host so busy that the guest cannot answer is no reason to end its work; once. */
	k->deaf = rc ? k->deaf + 1 : 0;
	return rc ? k->deaf < DEAF_MAX : busy;
}
