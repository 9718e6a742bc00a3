/* SPDX-License-Identifier: Apache-2.0 */
/*
 * walls.h - private to tests/jail/: what the parent puts out to be reached, and the
 * acts that try to reach it.
 */
#ifndef TESTS_JAIL_WALLS_H
#define TESTS_JAIL_WALLS_H
#include <fcntl.h>
#include <signal.h>
#include <sys/types.h>
#include "vmm/jail.h"

#define NSPACES 5

/*
 * Without walls; behind all of the monitor's but the filter; behind each filter of its threads;
 * behind all of the file server's but the filter; behind its filter, too.
 */
enum mode { MODE_FREE, MODE_WALLS, MODE_LOOP, MODE_VCPU, MODE_SERVER, MODE_FS, NMODES };

/* Descriptors of the child. */
enum { KEPT_FD = 4, LEAK_FD, SHARE_FD, READ_ONLY_FD };

struct world {
	char folder[64];	/* `secret`, a listening socket `sock`, `out`: a link to a file */
	int tcp, udp, shm;	/* ports on 127.0.0.1; a key of shared memory */
	int target;		/* a process of ours */
	/* the parent's */
	int tcp_fd, udp_fd, unix_fd, shm_id;
	int share[3];		/* the folder; as a mount of its own; the same, read-only */
	/* the child's */
	uint64_t ns_before[NSPACES], ns_after[NSPACES];
	long keys_before;	/* number of its session keyring; -1: this host has none */
	uint32_t walls;
	bool missing;
	int fd;			/* for an act, from before the filter */
};

/* Besides errno numbers and 0 for "it works". */
#define DIES		(-1)	/* SIGSYS */
#define SKIP		(-2)	/* not tried */
#define NEEDS_ROOT	(-3)	/* 0, tried only as root */

struct act {
	const char *name;
	void (*prepare)(struct world *w);	/* before the filter */
	int (*run)(struct world *w);		/* 0, or -1 with errno */
	int want[NMODES];
};

extern const struct act acts[];

void world_open(struct world *w);
void world_close(struct world *w);
void world_text(const struct world *w, char *buf, size_t len);
void world_parse(struct world *w, const char *text);
/* The filter of the mode, on the calling thread. */
void seal(enum mode mode);
/* Inode numbers of this process's namespaces: user mnt ipc uts net. */
const uint64_t *spaces(void);
/* Try every system call there is behind the filter @cls; print those that came back. */
int every_call(const char *cls);
#endif
