/* SPDX-License-Identifier: Apache-2.0 */
/*
 * monitor.h - the sandbox-vmm process of one machine: started, listened to, and
 * ended.
 *
 * It cannot outlive this process (PDEATHSIG, and a pidfd that it watches), is in
 * a session of its own (so a terminal's Ctrl-C does not reach it), and gets no
 * descriptor but its three standard ones, the status pipe and that pidfd.
 */
#ifndef CLI_MACHINE_MONITOR_H
#define CLI_MACHINE_MONITOR_H
#include <sys/types.h>
#include "cli/machine/rootfs.h"
#include "cli/share/share.h"
#include "cli/machine/bounds.h"
#include "vmm/base.h"

#define MONITOR_TAIL_MAX 8192u

struct monitor_conf {
	const char *vmm, *kernel, *initrd, *vsock;
	const char *restore;		/* snapshot folder; then kernel and initrd are not used */
	const char *progress;		/* what the person waits for; NULL: the guest's start */
	uint64_t memory;		/* bytes */
	unsigned cpus;
	unsigned cpu_milli;		/* CPU time, in thousandths of a CPU; 0: no limit */
	unsigned boot_timeout_s;
	const char *jail;		/* auto (or NULL), strict, none: sandbox-vmm --jail */
	bool console;			/* copy the guest's console to our stderr */
	bool control;			/* with a socket for monitor_snapshot() */
	int server[2];			/* of fsd_start(), or zeroes */
	/* NULL: no disks. Its open image and disk are those of the machine. */
	struct rootfs *root;
	bool root_bare;			/* only the image, for a template */
	bool root_done;			/* the guest that is restored has set its root up */
	/* For machine_start() alone: */
	struct shares *shares;		/* NULL: no server for them either */
	int cow_dir;			/* for their changes; 0: they go with the machine */
	uint32_t owner[2];		/* whom in the guest this user's files belong to */
	const char *hostname;		/* of the guest; NULL: the image's own */
	bool identity;			/* a guest that boots, too, is told what clones are told */
	bool keep_sockets;		/* the runtime folder stays until machine_stop() */
};

struct monitor {
	pid_t pid;
	int pidfd;		/* readable when it has ended; -1: there is none */
	int status_fd;		/* life-cycle lines; -1 at their end. O_NONBLOCK */
	int control_fd;		/* of monitor_conf.control; else -1 */
	int log_fd;		/* its stderr, with the guest's console; likewise */
	bool console;
	int wstatus;		/* of waitid, once pidfd is -1 */
	bool killed;		/* by us */
	bool running;		/* the `run` line has come: its sockets listen, the guest runs */
	char walls[192];	/* of the `jail` line: those that stand, and -NAME; "" without */
	struct bounds group;	/* limits on all that it does */
	char end[16];		/* word of the `end` line; "" so far */
	char why[400];		/* its text */
	char line[512];		/* of the status pipe, not yet complete */
	size_t line_len;
	char tail[MONITOR_TAIL_MAX];	/* the newest bytes of log_fd */
	size_t tail_len;
};

#define MONITOR_NONE { .pidfd = -1, .status_fd = -1, .control_fd = -1, .log_fd = -1 }

/* 0 or -errno with a sentence. That the program could not be executed comes as an end line. */
int monitor_start(struct monitor *m, const struct monitor_conf *c, struct err *e) must_check;
/*
 * Once it runs: is it in the jail that it told of, and, for "strict", are all walls
 * there? Nothing is to be handed to a guest before. 0; -EPERM with a sentence.
 */
int monitor_verify(const struct monitor *m, const char *jail, struct err *e) must_check;
/* What of it is limited, as in "memory pids"; "" for nothing. Once it runs. */
const char *monitor_limits(const struct monitor *m) must_check;
/* Does that wall stand (vmm/jail.h has the words)? */
bool monitor_wall(const struct monitor *m, const char *name) must_check;
/* Take what the pipes hold; never waits. */
void monitor_read(struct monitor *m);
/*
 * True when it has ended, and then it is reaped and its pipes are read to the
 * end. Waits at most @timeout_ms for that, reading the pipes meanwhile.
 */
bool monitor_ended(struct monitor *m, int timeout_ms);
#define MONITOR_FILES 3u	/* of a snapshot: state, memory, sums; see vmm/snapshot.h */

struct monitor_saved {
	uint64_t pause_ns, total_ns, pages;	/* pages written */
	unsigned rounds;
	bool diff;		/* only what differs from what the machine was restored from */
};

struct monitor_save {
	int control_fd;		/* the monitor's */
	struct monitor *pump;	/* whose pipes are read meanwhile; NULL: another thread does that */
	bool diff;		/* a snapshot of differences will do */
	int timeout_ms;
	/* If not NULL: called while the machine stands still with nothing in flight. */
	int (*still)(void *arg, struct err *e);
	void *arg;
};

/*
 * Have the machine saved to three files, open for writing and empty; it goes on
 * meanwhile. out->diff (@out may be NULL) tells whether it became a snapshot of differences.
 * 0, -ETIMEDOUT, what the monitor said, or what still() returned. Without pump: any thread.
 */
int monitor_snapshot(const struct monitor_save *s, const int files[MONITOR_FILES],
		     struct monitor_saved *out, struct err *e) must_check;
/* Kill it if it lives, reap it, close everything. Nothing happens to MONITOR_NONE. */
void monitor_stop(struct monitor *m);
/* A sentence on how it ended; @when is "before it was ready" or "while ...". */
void monitor_explain(const struct monitor *m, const char *when, struct err *e);
/*
 * The last lines of the log as text that is safe for a terminal: each line
 * begins with "  | ". Returns @buf; "" when there is nothing.
 */
const char *monitor_tail(const struct monitor *m, unsigned lines, char *buf, size_t len);
#endif
