/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client.h - the host side of the agent protocol.
 *
 * A struct client is one connection, and so one execution or any number of file
 * and control requests, one after the other. It depends on libc only, starts no
 * thread, installs no signal handler, and never writes to stderr.
 *
 * Everything here is for one thread at a time per client. Times are milliseconds
 * of CLOCK_MONOTONIC; a timeout of -1 means none. Functions that return int give
 * 0 (or what is stated) or -errno, and then *e holds a sentence; e may be NULL.
 * The peer is not trusted: whatever it sends, memory use is bounded (about
 * 600 KiB per client) and no call runs past its timeout.
 *
 * SIGPIPE: sockets are written with MSG_NOSIGNAL, but the caller's stdout and
 * stderr are written with write(2); ignore SIGPIPE in a program that uses
 * client_exec_run().
 */
#ifndef AGENT_CLIENT_H
#define AGENT_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "agent/proto.h"

struct client;

struct client_err {
	int code;	/* positive errno value */
	char msg[512];
};

/* ---- readiness --------------------------------------------------------- */

struct client_ready {
	unsigned int version;
	uint64_t features;	/* enum proto_feature bits */
	uint64_t boot_ns;	/* CLOCK_BOOTTIME of the guest when the agent was ready */
};

/*
 * Listen on `<vsock_path>_53` (mode 0600), before the monitor starts. The
 * descriptor (close-on-exec) becomes readable when the agent reports; the caller
 * owns it and unlinks the path.
 */
int client_ready_listen(const char *vsock_path, struct client_err *e);
/* Accept one connection and read READY from it. -ETIMEDOUT, -EBADMSG, ... */
int client_ready_accept(int listen_fd, int timeout_ms, struct client_ready *out,
			struct client_err *e);

/* ---- connection -------------------------------------------------------- */

/*
 * Connect to the agent: to the Unix socket at `path`, then `CONNECT <port>` and
 * `OK <port>` of the hybrid convention. With port 0 there is no CONNECT: the
 * socket is the agent's own (`agent --listen-unix`). HELLO travels with the first
 * request, which saves a round trip: an agent that is none is noticed there.
 * NULL on error.
 */
struct client *client_open(const char *path, uint32_t port, int timeout_ms,
			   struct client_err *e);
/* The same on a connected stream socket, which the client owns from then on, even on error. */
struct client *client_open_fd(int fd, int timeout_ms, struct client_err *e);
void client_close(struct client *c);	/* NULL is fine. A running command is killed. */
/* enum proto_feature bits; 0 before the first answer (client_ping() makes one). */
uint64_t client_features(const struct client *c);
/* Likewise, the version of the protocol that the agent chose. */
unsigned client_version(const struct client *c);

/* ---- executions -------------------------------------------------------- */

/* Keys that, typed one after the other, mean to leave. n = 0: none. */
#define CLIENT_KEYS_MAX 8u
struct client_keys {
	uint8_t seq[CLIENT_KEYS_MAX], n;
	uint8_t have;		/* so many were typed; begins with 0 */
};
/*
 * Pass typed bytes on: in[0..n) to out, which has CLIENT_KEYS_MAX bytes more room and may
 * begin that much before `in` in one buffer. True when the keys are complete; what came
 * after them is dropped.
 */
bool client_keys_pass(struct client_keys *k, const uint8_t *in, size_t n, uint8_t *out,
		      size_t *n_out);

struct client_exec {
	const char *const *argv;	/* NULL at the end; at least one */
	const char *const *envp;	/* "K=V", NULL at the end; may be NULL */
	const char *cwd;		/* NULL: "/" */
	const char *user, *group;	/* name or number; NULL: root, the user's group */
	uint64_t timeout_ns;		/* 0: none */
	bool limit_output;		/* with max_output, which may be 0 */
	uint64_t max_output;		/* bytes per stream; head kept */
	uint64_t memory_max, pids_max;	/* 0: none of its own */
	uint32_t cpu_milli;		/* thousandths of a CPU; 0: none */
	uint16_t rows, cols;		/* with tty; 0: 24 x 80 */
	bool tty;
	bool kill_tree;			/* end background processes with the first one */
	bool clean_env;			/* no PATH, HOME, ... from the agent */
	/*
	 * Kept: return as soon as it runs, with res->left; it outlives the connection, and the
	 * guest keeps its newest output. keep_stdin: with a stdin that clients feed which attach.
	 */
	bool keep, keep_stdin;
	const struct client_keys *leave;	/* NULL: none; they cause client_leave() */
	/* Sees what streams 1 and 2 bring, before it is written. NULL: none. */
	void (*tap)(void *arg, unsigned int stream, const uint8_t *p, size_t n);
	void *tap_arg;
	/*
	 * The command's stdin, stdout, stderr; -1: nothing to read, or discard.
	 * Any kind of file, in blocking mode or not; their flags are not changed.
	 * With tty, stderr is not used, and a terminal's raw mode is the caller's affair.
	 */
	int fd[3];
};

struct client_result {
	int code;		/* 0..255, -1 when a signal ended the command */
	int signal;		/* 0 when it exited */
	bool timed_out;		/* the timeout killed it */
	bool oom;		/* the guest's OOM killer killed it */
	bool not_started;	/* code is 126 or 127, and msg says why */
	bool trunc_stdout, trunc_stderr;
	bool left_running;	/* background processes live on in the guest */
	bool left;		/* it runs on as a kept one; only id, pid and dropped are set */
	uint64_t id, pid;	/* in the guest */
	uint64_t dropped[2];	/* attached: bytes of the streams that are not kept any more */
	uint64_t wall_ns, user_ns, sys_ns;
	uint64_t mem_peak;	/* bytes of the command's process tree; 0: not known */
	uint64_t out_bytes, err_bytes;	/* what the command wrote */
	uint64_t oom_kills;	/* processes of the command that the OOM killer ended */
	char msg[PROTO_MSG_MAX];
};

/* Another descriptor to watch while a command runs (signalfd, timerfd, pidfd, ...). */
struct client_watch {
	int fd;		/* -1: skipped; the callback may set it so */
	short events;	/* as for poll(2) */
	/* 0 to go on; negative: client_exec_run() returns that at once. */
	int (*ready)(struct client *c, short revents, void *arg);
	void *arg;
};

#define CLIENT_WATCH_MAX 8

/*
 * Run one command to its end: copy stdin, stdout and stderr, byte for byte and
 * with flow control, and serve the watches. Returns 0 with *res filled when the
 * agent reported the command's end (not started, killed and timed out
 * included) and all of its output was written; otherwise -errno:
 *   what the agent answered (-EINVAL, -ENOENT for a user or folder, -ENOTSUP for
 *   a limit that it cannot enforce, ...), -ECONNRESET when the connection ended,
 *   -EPROTO when the agent broke the protocol, or what a watch returned.
 * stdin is read only as far as the guest takes it. When stdout or stderr is
 * closed by its reader, the command's next write to it fails with EPIPE.
 * A client can run one command; close it afterwards.
 */
int client_exec_run(struct client *c, const struct client_exec *x, struct client_watch *watch,
		    size_t n_watch, struct client_result *res, struct client_err *e);

/*
 * Attach to a kept execution: as client_exec_run() from the moment it runs, with x->fd,
 * tty, rows, cols, leave and tap. flags: enum proto_attach_flag. -ENOENT, -EPERM (not a
 * kept one), -EBUSY (another client has it). Closing the client leaves it running; when
 * the reader of stdout goes, the run returns with res->left.
 */
int client_attach_run(struct client *c, uint64_t id, uint32_t flags, const struct client_exec *x,
		      struct client_watch *watch, size_t n_watch, struct client_result *res,
		      struct client_err *e);
/* Wait for the end of an execution. */
int client_wait(struct client *c, uint64_t id, struct client_watch *watch, size_t n_watch,
		struct client_result *res, struct client_err *e);
/*
 * From a watch callback: leave the command running, as a kept one. The run returns with
 * res->left, unless the command ends at that moment.
 */
void client_leave(struct client *c);

/* What the agent says of an execution; valid in the callback. */
typedef void (*client_job_fn)(const struct proto_job *j, void *arg);
/* All that run, and the kept ones that have ended; in no order. */
int client_jobs(struct client *c, client_job_fn each, void *arg, int timeout_ms,
		struct client_err *e);
/* -ENOENT, or -ESRCH when it has ended. */
int client_job_signal(struct client *c, uint64_t id, int signo, enum proto_scope scope,
		      int timeout_ms, struct client_err *e);
/*
 * From now on the agent tells when a kept execution ends. The connection serves nothing
 * else; when client_fd() becomes readable, client_events() hands out what came. -errno:
 * the connection is broken.
 */
int client_watch_jobs(struct client *c, int timeout_ms, struct client_err *e);
int client_fd(const struct client *c);
int client_events(struct client *c, client_job_fn each, void *arg, struct client_err *e);

/* Exit status as a shell (and docs/cli) has it: 124, 126, 127, 128+signal or the code. */
int client_result_status(const struct client_result *res);

/* From a watch callback: queue a message for the command. -EINVAL, -EAGAIN (queue full). */
int client_signal(struct client *c, int signo, enum proto_scope scope);
int client_winch(struct client *c, uint16_t rows, uint16_t cols);
/* True once STARTED has arrived. */
bool client_started(const struct client *c);

/* ---- control ----------------------------------------------------------- */

int client_ping(struct client *c, int timeout_ms, struct client_err *e);

/* After a restore, before anything else runs. Absent parts: 0 or NULL. */
struct client_resume {
	uint64_t time_ns;		/* wall clock, CLOCK_REALTIME */
	const void *seed;		/* entropy, 16..512 bytes */
	size_t seed_len;
	const char *hostname;
	const char *machine_id;		/* 32 hexadecimal digits */
	const uint8_t *mac;		/* 6 bytes */
};
int client_resume(struct client *c, const struct client_resume *r, int timeout_ms,
		  struct client_err *e);
/* The agent answers, then syncs and powers off (or reboots). */
int client_poweroff(struct client *c, bool reboot, int timeout_ms, struct client_err *e);

/* The root file system, before anything runs in it; see docs/protocol.md. */
struct client_root {
	const char *type;		/* of the image; NULL: the built-in root */
	enum proto_root_upper upper;
	uint64_t flags;			/* enum proto_root_flag */
	uint64_t size;			/* of a tmpfs as upper; 0: the kernel's default */
	const char *workdir;		/* folder to make in it; NULL: none */
	const char *const *tmpfs;	/* "SIZE:PATH" */
	size_t n_tmpfs;			/* up to PROTO_TMPFS_MAX */
};
int client_root(struct client *c, const struct client_root *r, int timeout_ms,
		struct client_err *e);

/* A folder that the file server offers as number `id`, to appear at `path`. */
struct client_share { uint32_t id; const char *path; bool read_only; };
/* Mount 1 to PROTO_SHARES_MAX of them, in that order. On failure some may be mounted. */
int client_mount(struct client *c, const struct client_share *s, size_t n, int timeout_ms,
		 struct client_err *e);
/* What is mounted at `path` goes, even if it is in use; nothing there is no error. */
int client_umount(struct client *c, const char *path, int timeout_ms, struct client_err *e);

/* ---- files ------------------------------------------------------------- */

struct client_stat {
	uint32_t mode;		/* st_mode */
	uint32_t uid, gid;
	uint64_t size;
	int64_t mtime_ns;
	const char *name;	/* valid in the callback, or NULL from client_stat() */
	const char *target;	/* of a symbolic link, likewise */
};

/* Copy fd to `path` in the guest, atomically. flags: enum proto_file_flag. */
int client_put(struct client *c, int fd, const char *path, uint32_t mode, uint32_t flags,
	       int timeout_ms, struct client_err *e);
/* Copy a file of the guest to fd; *st may be NULL. */
int client_get(struct client *c, const char *path, int fd, struct client_stat *st,
	       int timeout_ms, struct client_err *e);
int client_stat(struct client *c, const char *path, uint32_t flags, struct client_stat *st,
		int timeout_ms, struct client_err *e);
/* Entries come in the order of the folder, without "." and "..". */
int client_list(struct client *c, const char *path,
		void (*each)(const struct client_stat *st, void *arg), void *arg,
		int timeout_ms, struct client_err *e);
int client_mkdir(struct client *c, const char *path, uint32_t mode, uint32_t flags,
		 int timeout_ms, struct client_err *e);
int client_remove(struct client *c, const char *path, uint32_t flags, int timeout_ms,
		  struct client_err *e);
int client_rename(struct client *c, const char *from, const char *to, int timeout_ms,
		  struct client_err *e);
/* Unpack a tar stream from fd under `path`; pack `path` as a tar stream to fd. */
int client_tar_in(struct client *c, int fd, const char *path, uint32_t flags, int timeout_ms,
		  struct client_err *e);
int client_tar_out(struct client *c, const char *path, int fd, uint32_t flags, int timeout_ms,
		   struct client_err *e);
#endif
