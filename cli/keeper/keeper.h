/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keeper.h - the process that a running named sandbox belongs to, and how other
 * commands ask it for things.
 *
 * `sandbox start` starts a keeper (this program again, in a session of its own) and
 * goes; the keeper is the parent of the monitor, holds the lock of the sandbox's
 * folder, ends it after --ttl and --idle-timeout, and notes how it ended. It is one
 * thread: a loop over the monitor's pipes, timers, and a socket `control` (Unix,
 * SOCK_SEQPACKET, in the runtime folder that the state file names).
 *
 * A request is one packet of JSON, {"do": NAME, ...}, perhaps with descriptors; the
 * answer is one packet {"ok": true, ...} or {"error": SENTENCE, "code": errno}. A verb
 * that needs the running sandbox adds a row to the table in calls.c, with a
 * function that is called in the keeper:
 *
 *	{ "snapshot", keeper_serve_snapshot },
 *
 * and calls keeper_ask() in its own process. What does not need the keeper should not go
 * through it: commands and copies connect to the agent by themselves (box_client()).
 */
#ifndef CLI_KEEPER_KEEPER_H
#define CLI_KEEPER_KEEPER_H
#include <jansson.h>
#include "cli/machine/machine.h"
#include "cli/run/conf.h"
#include "cli/run/settings.h"
#include "cli/store/store.h"

#define SNAPSHOT_FOLDER "snapshots"	/* in a sandbox's own folder */
#define KEEPER_PACKET_MAX	65536u	/* bytes of JSON in a request or an answer */
#define KEEPER_CONNS_MAX	256u	/* commands that run attached, and those that ask */
#define KEEPER_FDS_MAX		8u	/* descriptors that a request can carry */

/* The keeper's own view of its sandbox. */
struct keeper {
	struct store_box box;		/* locked */
	struct store_state state;
	struct run_conf conf;		/* what it was started with */
	struct machine m;		/* m.client is NULL; see keeper_client() */
	int sigfd;
	bool broken;			/* the server of its folders ended; state.reason says how */
	bool stopping;			/* asked to end; state.reason says why */
	/* Of jobs.c: */
	struct client *jobs;		/* tells of the end of detached commands; NULL: not yet */
	uint64_t jobs_at;		/* CLOCK_MONOTONIC: not listened to before that */
	uint64_t last_of;		/* the sandbox ends with this one; 0: with none */
	bool remove;			/* and is removed */
	unsigned deaf;			/* times that the guest did not answer */
	uint64_t kill_at;		/* CLOCK_MONOTONIC, when stopping: patience ends */
	/* Private to loop.c. */
	int listener;
	struct keeper_conn {
		int fd;
		bool hold;
		struct keeper_req *later;	/* waits for the end of the work under way */
	} conns[KEEPER_CONNS_MAX];
	size_t n_conns;
	uint64_t ttl_at, idle_since;
	struct keeper_work *work;		/* work.h */
};

/* One request as its function gets it. */
struct keeper_req {
	json_t *args;			/* the whole packet */
	int conn;			/* where it came from */
	int fds[KEEPER_FDS_MAX];	/* closed afterwards, unless taken (-1) */
	size_t n_fds;
	json_t *answer;			/* an object to add to; sent with "ok" */
	bool *hold;			/* set: a command runs as long as the connection lives */
};

/*
 * Serve a request; 0 or -errno with a sentence. The keeper does nothing else meanwhile,
 * so it must end within a bounded time. What takes longer is work of its own (work.h).
 */
typedef int (*keeper_serve_fn)(struct keeper *k, struct keeper_req *r, struct err *e);
struct keeper_call {
	const char *name;
	keeper_serve_fn serve;
	bool alone;		/* not while other work is under way: until then it waits */
};

/* ---- in the keeper ---- */

extern const struct keeper_call keeper_calls[];		/* calls.c; ends with a NULL name */
/* A new connection to the agent; the caller closes it. NULL with a sentence. */
struct client *keeper_client(struct keeper *k, struct err *e);
/* Begin the end: ask the guest (@grace_ns > 0), kill it when that time is over. */
void keeper_stop(struct keeper *k, uint64_t grace_ns, const char *reason);
/* The internal verb `_keep`. */
int keeper_main(int argc, char **argv);

/* ---- in other commands ---- */

/*
 * Start a keeper for the locked sandbox, which takes the lock over, and wait until the
 * agent is ready. @sigfd: a signal ends the wait and the start. 0; the signal's number;
 * or -errno with the keeper's sentence.
 */
int keeper_start(struct store_box *b, int sigfd, struct err *e) must_check;
/* A connection to the keeper of a running sandbox, or -errno (-ECONNREFUSED: none runs). */
int keeper_connect(const struct store_state *s, struct err *e) must_check;
/*
 * The same, once a rollback that is under way has ended, for as long as the connection lives
 * not idle; *s is read again.
 */
int keeper_hold(struct store_box *b, struct store_state *s, struct err *e) must_check;
/*
 * Ask for @name with @args (taken over; NULL: none) and descriptors. *answer (may be
 * NULL) is to be released with json_decref(). 0 or -errno with the keeper's sentence.
 */
int keeper_ask(int conn, const char *name, json_t *args, const int *fds, size_t n_fds,
	       int timeout_ms, json_t **answer, struct err *e) must_check;
/*
 * The same by name: open, look whether it runs (-ESRCH with a sentence), connect when no rollback
 * is in the way, ask.
 */
int keeper_ask_box(const char *box, const char *name, json_t *args, const int *fds,
		   size_t n_fds, int timeout_ms, json_t **answer, struct err *e) must_check;
/* Open a sandbox that runs; in any case store_close() afterwards. -ESRCH with a sentence. */
int box_running(struct store_box *b, struct store_state *s, const char *name,
		struct err *e) must_check;
/* What a start would use: its config, and the section [sandbox NAME] over it. */
int keeper_settings(struct store_box *b, struct settings *s, struct err *e) must_check;
/* A connection to the agent of a running sandbox. NULL with a sentence. */
struct client *box_client(const struct store_state *s, struct err *e);
#endif
