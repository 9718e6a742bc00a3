/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exec.h - an execution: one command, its streams, its cgroup, its end.
 *
 * exec_start.c turns an EXEC message into a running process, exec_io.c moves its
 * bytes, exec.c reports its end, jobs.c is about those that outlive their client.
 */
#ifndef AGENT_EXEC_H
#define AGENT_EXEC_H

#include <sys/resource.h>
#include <sys/types.h>

#include "agent/conn.h"
#include "agent/ring.h"

#define EXEC_MAX 160u	/* executions, those that only have background processes included */

struct exec;

/* A stream that the command writes: stdout, stderr, or the PTY's master side. */
struct exec_out {
	struct watch w;
	struct exec *x;
	bool ready;	/* a read may give something */
	bool ended;	/* nothing more will be sent */
	bool hup;
	uint64_t left;	/* of max_output */
	uint64_t bytes;	/* read so far */
	uint64_t drain;	/* after the command's end: what is still read */
	struct ring ring;	/* of a kept execution: its newest bytes */
	uint64_t seen;		/* position in it up to which a client has them */
	bool mute;		/* the client that is attached takes no more of it */
};

/* The write side of the command's stdin, and what waits for it. */
struct exec_in {
	struct watch w;
	bool writable, eof, closed;
	uint8_t *buf;	/* PROTO_STDIN_WINDOW bytes, or NULL */
	uint32_t off, len;
};

struct exec {
	struct exec *next;
	struct conn *c;		/* NULL when the client is gone or has its EXIT */
	unsigned int id;
	pid_t pid;		/* also its session and process group; 0 when it has ended */
	pid_t sid;
	uint64_t flags;
	bool helper;		/* a part of the agent: ends in DONE or ERROR, not EXIT */
	bool cgroup;		/* it has a cgroup of its own that still exists */
	bool killed;		/* the tree was killed: EXIT waits until it is gone */
	bool patience_ended;
	bool kept;		/* it outlives its client; see jobs.h */
	bool over;		/* the end was told; of a kept one the record stays */
	bool lives;		/* over, but background processes are left */
	unsigned int turn;
	uint64_t start_ns;
	struct timer timer;	/* the timeout; after a kill, the patience */
	struct work work;	/* a kept one without client reads its output by itself */
	struct exec_in in;
	struct exec_out out[2];
	struct proto_exit res;
	char command[PROTO_COMMAND_MAX];	/* its words, for people */
};

/*
 * Set up once: the features from cgroup_setup(), and the agent's own program, which is
 * run again for slow file requests.
 */
void exec_init(uint64_t features, const char *self);
/* Serve an EXEC message. Answers with STARTED, EXIT (not started) or ERROR. */
void exec_request(struct conn *c, const struct proto_hdr *h, const uint8_t *payload);
/*
 * Run the agent's program with these arguments (argv[0] is filled in) to serve the
 * request h: stream 0 is its stdin if `input`, its stdout is stream 1. It exits with 0,
 * or with an errno value and a sentence on stderr; the client gets DONE or ERROR.
 */
void exec_helper(struct conn *c, const struct proto_hdr *h, const char **argv, bool input);
/* A child of the agent was reaped. */
void exec_reaped(pid_t pid, int status, const struct rusage *ru);
/* After reaping: look whether killed or left trees are gone. */
void exec_sweep(void);
/* The newest one, then by ->next; NULL: none. */
struct exec *exec_first(void);
/* A connection follows it from now on, as the answer to request h. */
void exec_follow(struct exec *x, struct conn *c, const struct proto_hdr *h);
/* It runs on as a kept one, without its client. */
void exec_let_go(struct exec *x);
/* The same, and the client is told by DONE. */
void exec_leave(struct exec *x);
/* 0, or -ESRCH when there is nothing left that the signal could reach. */
int exec_kill(struct exec *x, int signo, enum proto_scope scope);
/* SIGKILL to every command; before power off. */
void exec_kill_all(void);

/* ---- between exec.c and exec_io.c ---- */
void exec_data(struct conn *c, const uint8_t *p, size_t n);
void exec_eof(struct conn *c);
void exec_stop(struct conn *c, unsigned int stream);
void exec_in_event(struct watch *w, uint32_t events);
void exec_out_event(struct watch *w, uint32_t events);
/* Another client's input comes: what waits of the last one's is dropped. */
void exec_in_forget(struct exec *x);
/* No more input: what waits is dropped. */
void exec_in_close(struct exec *x);
/* Read and send what there is, credit for and room for. */
void exec_out_pump(struct exec_out *o);
void exec_out_close(struct exec_out *o);
/* How much may be read now; *drop when it is not for the client. */
size_t exec_out_room(const struct exec_out *o, bool *drop);
/* Send what the ring has and the client has not, as far as there is room and credit. */
void exec_out_replay(struct exec_out *o);
/* Whether there is more of that. */
bool exec_out_behind(const struct exec_out *o);

/* ---- between exec_start.c and exec.c ---- */
struct exec *exec_new(struct conn *c, const struct proto_hdr *h);
void exec_free(struct exec *x);
/* The process runs: register its descriptors (taken over) and go. */
void exec_launched(struct exec *x, const int fd[3], uint64_t timeout_ns, uint64_t max_output);
void exec_send_exit(struct conn *c, uint16_t tag, const struct proto_exit *res);
#endif
