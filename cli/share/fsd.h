/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fsd.h - the sandbox-fsd process of one machine, which serves its shared folders
 * (devices/fs/wire.h): started, told what to share, and ended.
 *
 * It cannot outlive this process or the monitor, is in a session of its own, and
 * gets no descriptor but what it needs. Main thread only.
 */
#ifndef CLI_SHARE_FSD_H
#define CLI_SHARE_FSD_H
#include <sys/types.h>
#include "cli/share/share.h"

#define FSD_WALLS_MAX 192u

enum fsd_wall { FSD_UNTRIED, FSD_STANDS, FSD_MISSING };

struct fsd {
	pid_t pid;
	int pidfd;		/* readable when it has ended; -1: there is none */
	int control;
	int log_fd;		/* its stderr. O_NONBLOCK on both ends: it never waits for us */
	int wstatus;		/* once pidfd is -1 */
	bool strict;		/* --jail=strict: a wall that is missing is an error */
	bool none;
	char walls[FSD_WALLS_MAX - 24];	/* as monitor.walls, told by itself */
	enum fsd_wall enclosed, locked;	/* every share is a mount of its own; Landlock */
};

#define FSD_NONE { .pidfd = -1, .control = -1, .log_fd = -1 }

/*
 * Start it, serving nothing yet, and look at its jail (@jail as for sandbox-vmm; NULL is
 * auto) before it is given anything. vm_fd: the window and the socket for the monitor's
 * device, close-on-exec, the caller's. 0 or -errno with a sentence.
 */
int fsd_start(struct fsd *f, const char *jail, int vm_fd[2], struct err *e) must_check;
/*
 * Serve @s under its number, as a mount of its own where the host lets us. @upper: the
 * folder for the changes of a cow share, else -1; owner: whom in the guest this user's
 * files belong to. The sentence is the server's.
 */
int fsd_share(struct fsd *f, const struct share *s, int upper, const uint32_t owner[2],
	      struct err *e) must_check;
/* No longer; what is open in it fails with ESTALE. */
int fsd_unshare(struct fsd *f, unsigned id, struct err *e) must_check;
/* All of its walls in words, as monitor.walls. Returns @buf; "" behind --jail=none. */
const char *fsd_walls(const struct fsd *f, char *buf, size_t len);
/* No other share will come: it can lock itself to those that it has. */
int fsd_lock(struct fsd *f, struct err *e) must_check;
/* A request in words, perhaps with a descriptor (else -1), as for save and restore. */
int fsd_ask(struct fsd *f, const char *words, int fd, struct err *e) must_check;
/* True when it has ended, and then it is reaped. Does not wait. */
bool fsd_ended(struct fsd *f);
/* A sentence on how it ended. */
void fsd_explain(const struct fsd *f, const char *when, struct err *e);
/* Kill it if it lives, reap it, close everything. Nothing happens to FSD_NONE. */
void fsd_stop(struct fsd *f);
#endif
