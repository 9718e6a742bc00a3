/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proto.h - the wire protocol between the agent in the guest and its clients.
 *
 * docs/protocol.md is the specification; this header holds its numbers,
 * proto.c and proto_exec.c the only code that encodes or decodes a message. Nothing here does
 * I/O, allocates, or keeps state: every function works on a buffer that the
 * caller owns, and is safe on any bytes whatever.
 *
 * A message is an 8-byte header (length, type, tag) and a payload. Integers are
 * little-endian. A payload is either raw bytes (DATA), a few fixed fields
 * (HELLO, CREDIT, SIGNAL, WINCH) or a list of attributes (everything else).
 */
#ifndef AGENT_PROTO_H
#define AGENT_PROTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROTO_AGENT_PORT	52u	/* vsock port on which the agent listens */
#define PROTO_READY_PORT	53u	/* vsock port of the host that READY is sent to */
#define PROTO_HOST_CID		2u
#define PROTO_FS_TAG		"sandbox"	/* of the virtio file system with all shares */

#define PROTO_MAGIC		0x31584253u	/* "SBX1" as bytes on the wire */
#define PROTO_VERSION_MIN	1u
#define PROTO_VERSION_MAX	1u

#define PROTO_HDR_LEN		8u
#define PROTO_PAYLOAD_MAX	65536u		/* every message but EXEC */
#define PROTO_EXEC_MAX		1048576u	/* EXEC: argv and environment */
#define PROTO_STDIN_WINDOW	65536u		/* first credit of stream 0, to the client */
#define PROTO_OUT_WINDOW	262144u		/* first credit of streams 1 and 2, to the agent */
#define PROTO_CREDIT_MAX	0x40000000u	/* outstanding credit never exceeds this */
#define PROTO_NAME_MAX		256u		/* user, group, hostname: with NUL */
#define PROTO_PATH_MAX		4096u		/* with NUL */
#define PROTO_TMPFS_MAX		16u	/* tmpfs of one ROOT */
#define PROTO_SHARES_MAX	64u	/* shared folders at once */
#define PROTO_MSG_MAX		512u		/* sentence of an ERROR or EXIT, with NUL */

/* Message types. The direction is c (client), a (agent) or b (both). */
enum proto_type {
	PROTO_HELLO	= 0x01,	/* b  fixed fields, see struct proto_hello */
	PROTO_READY	= 0x02,	/* a  as HELLO, on READY_PORT */
	PROTO_ERROR	= 0x03,	/* a  CODE MESSAGE TYPE; ends the request with that tag */
	PROTO_PING	= 0x04,	/* c  up to 64 bytes */
	PROTO_PONG	= 0x05,	/* a  the same bytes */
	PROTO_DONE	= 0x06,	/* a  a request without other result has succeeded */

	PROTO_EXEC	= 0x10,	/* c  attributes; at most one per connection */
	PROTO_STARTED	= 0x11,	/* a  PID EXEC_ID */
	PROTO_SIGNAL	= 0x12,	/* c  u32 signal, u32 enum proto_scope */
	PROTO_WINCH	= 0x13,	/* c  u16 rows, columns, x pixels, y pixels */
	PROTO_EXIT	= 0x14,	/* a  attributes; the last message of an execution */

	PROTO_DATA	= 0x20,	/* b  raw bytes of stream `tag`, 1..PROTO_PAYLOAD_MAX */
	PROTO_EOF	= 0x21,	/* b  the sender has no more data for stream `tag` */
	PROTO_CREDIT	= 0x22,	/* b  u32: the sender takes that many bytes more */
	PROTO_STOP	= 0x23,	/* b  the sender takes no more data of stream `tag` */

	PROTO_PUT	= 0x30,	/* c  PATH MODE [UID GID MTIME_NS FLAGS]; then DATA 0, EOF 0 */
	PROTO_GET	= 0x31,	/* c  PATH; answered by ENTRY, DATA 1, EOF 1, DONE */
	PROTO_LIST	= 0x32,	/* c  PATH; answered by ENTRY..., DONE */
	PROTO_STAT	= 0x33,	/* c  PATH [FLAGS]; answered by ENTRY, DONE */
	PROTO_MKDIR	= 0x34,	/* c  PATH MODE [UID GID FLAGS] */
	PROTO_REMOVE	= 0x35,	/* c  PATH [FLAGS] */
	PROTO_RENAME	= 0x36,	/* c  PATH PATH2 */
	PROTO_TAR_IN	= 0x37,	/* c  PATH [FLAGS UID GID]; then DATA 0, EOF 0 */
	PROTO_TAR_OUT	= 0x38,	/* c  PATH [FLAGS]; answered by DATA 1, EOF 1, DONE */
	PROTO_ENTRY	= 0x39,	/* a  NAME MODE SIZE UID GID MTIME_NS [PATH2 = link target] */

	PROTO_RESUME	= 0x50,	/* c  [TIME_NS SEED HOSTNAME MACHINE_ID MAC] */
	PROTO_POWEROFF	= 0x51,	/* c  */
	PROTO_REBOOT	= 0x52,	/* c  */

	PROTO_EXEC_LIST	= 0x60,	/* c  answered by EXEC_INFO..., DONE */
	PROTO_ATTACH	= 0x61,	/* c  EXEC_ID [FLAGS ROWS COLS]; goes on as EXEC does */
	PROTO_DETACH	= 0x62,	/* c  leave the execution running; answered by DONE or EXIT */
	PROTO_EXEC_INFO	= 0x63,	/* a  attributes, see struct proto_job */
	PROTO_EXEC_WAIT	= 0x64,	/* c  EXEC_ID; answered by EXIT when it has ended */
	PROTO_EXEC_SIGNAL = 0x65, /* c  EXEC_ID SIGNAL SCOPE */
	PROTO_EXEC_WATCH = 0x66, /* c  DONE, then EXEC_INFO of each kept execution that ends */

	PROTO_ROOT	= 0x70,	/* c  [ROOT_TYPE ROOT_UPPER ROOT_FLAGS ROOT_SIZE ROOT_WORKDIR]
				 *    TMPFS... */
	PROTO_MOUNT	= 0x78,	/* c  (SHARE PATH [FLAGS])..., 1 to PROTO_SHARES_MAX times */
	PROTO_UMOUNT	= 0x79,	/* c  PATH */
};

enum proto_stream { PROTO_STDIN = 0, PROTO_STDOUT = 1, PROTO_STDERR = 2, PROTO_STREAMS = 3 };

/* Whom a SIGNAL reaches. */
enum proto_scope {
	PROTO_SCOPE_PROCESS = 0,	/* the command's first process */
	PROTO_SCOPE_GROUP   = 1,	/* its process group (PTY: the foreground group) */
	PROTO_SCOPE_TREE    = 2,	/* every process in the command's cgroup */
};

/* Attribute keys; one name space for all messages. n = u64, s = string, b = bytes. */
enum proto_key {
	PROTO_K_CODE = 1,	/* n  errno value of Linux */
	PROTO_K_MESSAGE,	/* s  one sentence */
	PROTO_K_TYPE,		/* n  type of the message that was refused */

	PROTO_K_ARG = 0x10,	/* s  repeated, in order */
	PROTO_K_ENV,		/* s  repeated, NAME=value */
	PROTO_K_CWD,		/* s */
	PROTO_K_USER,		/* s  name or number */
	PROTO_K_GROUP,		/* s  name or number */
	PROTO_K_TIMEOUT_NS,	/* n  0 or absent: none */
	PROTO_K_MAX_OUTPUT,	/* n  bytes per stream; absent: no limit */
	PROTO_K_MEMORY_MAX,	/* n  bytes */
	PROTO_K_PIDS_MAX,	/* n */
	PROTO_K_CPU_MILLI,	/* n  thousandths of one CPU */
	PROTO_K_FLAGS,		/* n  enum proto_exec_flag or enum proto_file_flag */
	PROTO_K_ROWS,		/* n  1..65535 with PROTO_EXEC_TTY */
	PROTO_K_COLS,		/* n */

	PROTO_K_PID = 0x30,	/* n */
	PROTO_K_EXEC_ID,	/* n  unique while the agent lives */
	PROTO_K_EXIT_CODE,	/* n  0..255; absent when a signal ended it */
	PROTO_K_SIGNAL,		/* n */
	PROTO_K_RESULT,		/* n  enum proto_result bits */
	PROTO_K_WALL_NS,	/* n  start of the command to its end */
	PROTO_K_USER_NS,	/* n  CPU time of the command and of what it waited for */
	PROTO_K_SYS_NS,		/* n */
	PROTO_K_MEM_PEAK,	/* n  bytes */
	PROTO_K_OUT_BYTES,	/* n  what the command wrote, sent or not */
	PROTO_K_ERR_BYTES,	/* n */
	PROTO_K_OOM_KILLS,	/* n  processes of the command that the OOM killer ended */

	PROTO_K_PATH = 0x50,	/* s */
	PROTO_K_PATH2,		/* s */
	PROTO_K_NAME,		/* s  last component */
	PROTO_K_MODE,		/* n  st_mode */
	PROTO_K_SIZE,		/* n */
	PROTO_K_UID,		/* n */
	PROTO_K_GID,		/* n */
	PROTO_K_MTIME_NS,	/* n  since 1970 */

	PROTO_K_TIME_NS = 0x70,	/* n  wall clock, since 1970 */
	PROTO_K_SEED,		/* b  16..512 bytes of entropy, credited in full */
	PROTO_K_HOSTNAME,	/* s */
	PROTO_K_MACHINE_ID,	/* s  32 hexadecimal digits */
	PROTO_K_MAC,		/* b  6 bytes, for the first Ethernet interface */

	PROTO_K_JOB_FLAGS = 0x100,	/* n  enum proto_job_flag */
	PROTO_K_COMMAND,	/* s  the words of a command, for people; cut */
	PROTO_K_DROPPED_OUT,	/* n  bytes that are not kept any more */
	PROTO_K_DROPPED_ERR,	/* n */
	PROTO_K_SCOPE,		/* n  enum proto_scope */

	PROTO_K_ROOT_TYPE = 0x140,	/* s  file system of the image on the first disk */
	PROTO_K_ROOT_UPPER,	/* n  enum proto_root_upper */
	PROTO_K_ROOT_SIZE,	/* n  bytes of a tmpfs over the image; absent: as the kernel does */
	PROTO_K_TMPFS,		/* s  "SIZE:PATH", repeated; SIZE 0: the kernel's default */
	PROTO_K_ROOT_WORKDIR,	/* s  folder to be made where the image lacks it */
	PROTO_K_ROOT_FLAGS,	/* n  enum proto_root_flag */

	PROTO_K_SHARE = 0x180,	/* n  number of a shared folder; what follows belongs to it */
};

#define PROTO_ATTR_LEN	8u	/* u16 key, u16 flags, u32 length */
#define PROTO_ATTR_MUST	1u	/* flag: refuse the message if the key is not known */

enum proto_exec_flag {
	PROTO_EXEC_TTY	     = 1u << 0,	/* a PTY; its output is stream 1 */
	PROTO_EXEC_STDIN     = 1u << 1,	/* stream 0 is used; otherwise stdin is /dev/null */
	PROTO_EXEC_KILL_TREE = 1u << 2,	/* when the first process ends, end all of them */
	PROTO_EXEC_CLEAN_ENV = 1u << 3,	/* add no PATH, HOME, ... of its own */
	PROTO_EXEC_KEEP	     = 1u << 4,	/* it and its newest output outlive the connection */
};
#define PROTO_EXEC_FLAGS 31u	/* all of them */

enum proto_attach_flag {
	PROTO_ATTACH_REPLAY = 1u << 0,	/* all that is kept, not only what nobody has seen */
	PROTO_ATTACH_TAKE   = 1u << 1,	/* from a client that has it now, which gets DONE */
};

enum proto_job_flag {
	PROTO_JOB_TTY	     = 1u << 0,
	PROTO_JOB_STDIN	     = 1u << 1,	/* it reads what an attached client sends */
	PROTO_JOB_KEPT	     = 1u << 2,	/* it outlives its client: ATTACH is possible */
	PROTO_JOB_ATTACHED   = 1u << 3,	/* a client has it */
	PROTO_JOB_RUNNING    = 1u << 4,	/* the first process lives */
	PROTO_JOB_BACKGROUND = 1u << 5,	/* it does not, but others that it started do */
};

enum proto_file_flag {
	PROTO_FILE_PARENTS   = 1u << 0,	/* MKDIR, PUT: make missing parents; MKDIR: may exist */
	PROTO_FILE_RECURSIVE = 1u << 1,	/* REMOVE */
	PROTO_FILE_FORCE     = 1u << 2,	/* REMOVE: a missing file is no error */
	PROTO_FILE_NOFOLLOW  = 1u << 3,	/* STAT: of the link itself */
	PROTO_FILE_OWNER     = 1u << 4,	/* TAR_IN: owners from the archive */
	PROTO_FILE_CONTENTS  = 1u << 5,	/* TAR_OUT: what is in the folder, without its name */
	PROTO_FILE_SPARSE    = 1u << 6,	/* TAR_OUT: holes may be left out, in GNU's format 1.0 */
};

/* Where what is written to the root goes. */
enum proto_root_upper {
	PROTO_ROOT_TMPFS = 0,
	PROTO_ROOT_DISK	 = 1,	/* ext4 on the second disk, over the image */
	PROTO_ROOT_NONE	 = 2,	/* nothing can be written */
	PROTO_ROOT_WHOLE = 3,	/* the ext4 on the second disk is the root; no image is under it */
};

enum proto_root_flag {
	PROTO_ROOT_DISCARD = 1u << 0,	/* the second disk is told what it need not keep */
};

enum proto_share_flag {
	PROTO_SHARE_RO = 1u << 0,	/* MOUNT: read-only */
};

enum proto_result {
	PROTO_R_TIMED_OUT     = 1u << 0,
	PROTO_R_OOM	      = 1u << 1,	/* the OOM killer ended the first process */
	PROTO_R_TRUNC_STDOUT  = 1u << 2,
	PROTO_R_TRUNC_STDERR  = 1u << 3,
	PROTO_R_NOT_STARTED   = 1u << 4,	/* EXIT_CODE is 126 or 127, MESSAGE says why */
	PROTO_R_LEFT_RUNNING  = 1u << 5,	/* background processes live on */
};

/* What the agent can do; in HELLO and READY. */
enum proto_feature {
	PROTO_F_CGROUP	= 1u << 0,	/* own cgroup per command, tree kill is exact */
	PROTO_F_MEMORY	= 1u << 1,	/* MEMORY_MAX, MEM_PEAK of the tree, OOM told apart */
	PROTO_F_PIDS	= 1u << 2,	/* PIDS_MAX */
	PROTO_F_CPU	= 1u << 3,	/* CPU_MILLI */
	PROTO_F_FILES	= 1u << 4,	/* PUT .. RENAME */
	PROTO_F_TAR	= 1u << 5,	/* TAR_IN, TAR_OUT */
	PROTO_F_INIT	= 1u << 6,	/* runs as PID 1: RESUME, POWEROFF, REBOOT */
	PROTO_F_JOBS	= 1u << 7,	/* EXEC_LIST .. EXEC_WATCH */
	PROTO_F_ROOT	= 1u << 9,	/* ROOT */
	PROTO_F_SHARES	= 1u << 10,	/* MOUNT, UMOUNT */
	PROTO_F_SPARSE	= 1u << 11,	/* TAR_IN and TAR_OUT of sparse files */
	PROTO_F_WHOLE	= 1u << 12,	/* ROOT: PROTO_ROOT_WHOLE */
};

struct proto_hdr {
	uint32_t len;	/* payload bytes that follow */
	uint16_t type;
	uint16_t tag;	/* DATA, EOF, CREDIT, STOP: stream; else the request's, echoed */
};

/* HELLO and READY. A client's HELLO ends after `features`. */
struct proto_hello {
	uint16_t min, max;	/* versions; in an answer both are the chosen one */
	uint64_t features;	/* enum proto_feature bits */
	uint64_t boot_ns;	/* CLOCK_BOOTTIME when the agent was ready */
	uint32_t stdin_window;
};

struct proto_attr {
	uint16_t key, flags;
	uint32_t len;
	const uint8_t *val;	/* into the payload */
};

/* ---- reading: a cursor that cannot leave its buffer -------------------- */

struct proto_rd {
	const uint8_t *p;
	size_t left;
	bool bad;	/* sticky: something was asked for that is not there */
};

void proto_rd_init(struct proto_rd *r, const void *buf, size_t len);
/* 0 and `bad` when too few bytes are left. */
uint16_t proto_rd_u16(struct proto_rd *r);
uint32_t proto_rd_u32(struct proto_rd *r);
uint64_t proto_rd_u64(struct proto_rd *r);
/* Next attribute: true and *a, or false at the end; look at r->bad then. */
bool proto_rd_attr(struct proto_rd *r, struct proto_attr *a);

/* Value of a number attribute (exactly 8 bytes): 0 or -EBADMSG. */
int proto_attr_u64(const struct proto_attr *a, uint64_t *out);
/* String attribute: a NUL at the end and nowhere else; `max` counts it. NULL when not so. */
const char *proto_attr_str(const struct proto_attr *a, size_t max);
/*
 * Bytes of the character of UTF-8 at the start of @text, which ends with a NUL; 0 if there is none,
 * or none that may be shown to a person: a control character, also of the second set (U+0080 to
 * U+009F), or one that changes the direction of writing.
 */
size_t proto_char(const char *text);
/* For a person's terminal, and for JSON: each byte of what is no such character becomes a '?'. */
void proto_tame(char *text);
/* A string attribute, tamed, copied to `text` (max bytes). */
int proto_attr_text(const struct proto_attr *a, char *text, size_t max);

/* Header at the start of buf (at least PROTO_HDR_LEN bytes). No check of the values. */
void proto_hdr_read(const void *buf, struct proto_hdr *h);
/* Largest payload that a message of this type may have. */
uint32_t proto_type_max(uint16_t type);
/* Name for messages to people; "message 0x.." values get "unknown". */
const char *proto_type_name(uint16_t type);

/*
 * HELLO or READY payload. `answer`: it comes from the agent and is longer.
 * 0, -EBADMSG (too short, wrong magic, min > max).
 */
int proto_hello_read(const void *payload, size_t len, bool answer, struct proto_hello *h);

/* ---- writing: into a fixed buffer, overflow is sticky ------------------ */

struct proto_wr {
	uint8_t *buf;
	size_t cap, len;
	size_t start;	/* offset of the open message's header */
	bool bad;
};

void proto_wr_init(struct proto_wr *w, void *buf, size_t cap);
void proto_wr_begin(struct proto_wr *w, uint16_t type, uint16_t tag);
void proto_wr_raw(struct proto_wr *w, const void *p, size_t n);
void proto_wr_u16(struct proto_wr *w, uint16_t v);
void proto_wr_u32(struct proto_wr *w, uint32_t v);
void proto_wr_u64(struct proto_wr *w, uint64_t v);
void proto_wr_attr(struct proto_wr *w, uint16_t key, const void *p, size_t n);
void proto_wr_num(struct proto_wr *w, uint16_t key, uint64_t v);
void proto_wr_str(struct proto_wr *w, uint16_t key, const char *s);
/*
 * Close the message: its whole size in bytes, or -EMSGSIZE when it did not
 * fit or is larger than its type allows; then the buffer holds no part of it.
 */
int proto_wr_end(struct proto_wr *w);
void proto_wr_hello(struct proto_wr *w, uint16_t type, bool answer, const struct proto_hello *h);

/* ---- EXEC and EXIT ----------------------------------------------------- */

struct proto_exec {
	size_t argc, envc;
	const char *cwd, *user, *group;	/* NULL when absent; into the payload */
	uint64_t timeout_ns;		/* 0: none */
	uint64_t max_output;		/* UINT64_MAX: none */
	uint64_t memory_max, pids_max;	/* 0: none */
	uint64_t cpu_milli;		/* 0: none */
	uint64_t flags;
	uint16_t rows, cols;
};

/*
 * Check and decode an EXEC payload. Counts argv and envp, which the second
 * call stores (argc + 1 and envc + 1 pointers into the payload, NULL last).
 * 0, or -EBADMSG with a reason in *why (static, never NULL then).
 */
int proto_exec_read(const void *payload, size_t len, struct proto_exec *x, const char **why);
void proto_exec_vectors(const void *payload, size_t len, const char **argv, const char **envp);

struct proto_exit {
	int code;		/* -1 when a signal ended it */
	int signal;		/* 0 when it exited */
	uint32_t result;	/* enum proto_result bits */
	uint64_t wall_ns, user_ns, sys_ns, mem_peak, out_bytes, err_bytes, oom_kills;
	char msg[PROTO_MSG_MAX];
};

void proto_wr_exit(struct proto_wr *w, uint16_t tag, const struct proto_exit *x);
int proto_exit_read(const void *payload, size_t len, struct proto_exit *x);

/* STARTED and EXEC_INFO: an execution as others see it. */
#define PROTO_COMMAND_MAX 256u	/* with NUL */

struct proto_job {
	uint64_t id, pid, flags;	/* flags: enum proto_job_flag */
	uint64_t dropped[2];		/* bytes of stdout and stderr that are gone */
	const char *command;		/* EXEC_INFO; NULL in STARTED */
	struct proto_exit res;		/* EXEC_INFO: code, signal, result, wall_ns, bytes */
	char text[PROTO_COMMAND_MAX];	/* reading: where command points */
};

void proto_wr_job(struct proto_wr *w, uint16_t type, uint16_t tag, const struct proto_job *j);
int proto_job_read(const void *payload, size_t len, struct proto_job *j);

/* ERROR: code is a positive errno value. */
void proto_wr_error(struct proto_wr *w, uint16_t tag, uint16_t about, int code, const char *msg);
int proto_error_read(const void *payload, size_t len, int *code, uint16_t *about,
		     char msg[static PROTO_MSG_MAX]);
#endif
