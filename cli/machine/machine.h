/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine.h - a running guest with a connection to its agent: runtime folder,
 * monitor, readiness, connection. Main thread only.
 */
#ifndef CLI_MACHINE_MACHINE_H
#define CLI_MACHINE_MACHINE_H
#include "agent/client/client.h"
#include "cli/machine/monitor.h"
#include "cli/machine/rundir.h"
#include "cli/share/shared.h"
#include "cli/machine/snapdir.h"

struct machine {
	struct rundir dir;	/* gone from disk once connected, unless keep_sockets */
	struct monitor mon;
	struct shared shared;	/* with c->shares */
	struct client *client;
	struct snapdir_base origin;	/* what it was restored from */
	uint64_t ready_ns;	/* start of the monitor to an agent that answers */
	bool ready;
};

#define MACHINE_NONE { .dir = RUNDIR_NONE, .mon = MONITOR_NONE, .shared = SHARED_NONE }

/*
 * Start the machine, by a boot or from @c->restore, and connect to its agent;
 * @c->vsock is filled in here. A restored guest has been told the time and been
 * given entropy and a machine id of its own, and all of @c->shares are mounted, before
 * this returns.
 * @sigfd: a signal that arrives meanwhile ends the wait. 0; the signal's number;
 * or -errno with a sentence. In every case machine_stop() comes afterwards.
 */
int machine_start(struct machine *m, struct monitor_conf *c, int sigfd, struct err *e) must_check;
/*
 * The connection broke, or the monitor ended: put a sentence with the cause into
 * *e, if the monitor tells one within @timeout_ms. Returns false when it does not.
 */
bool machine_explain(struct machine *m, const char *when, int timeout_ms, struct err *e);
/* What of all its processes is limited, as in "memory pids"; "" for nothing. Once it runs. */
const char *machine_limits(const struct machine *m) must_check;
/* Quote the end of the guest's log on stderr, unless it was shown as it came. */
void machine_show_log(const struct machine *m);
/* The next signal of @sigfd that means an end, or 0: stops and resizes are dealt with. */
int machine_signal(int sigfd);
/* End it, and leave nothing behind. */
void machine_stop(struct machine *m);
#endif
