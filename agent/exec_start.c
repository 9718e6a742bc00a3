// SPDX-License-Identifier: Apache-2.0
/*
 * exec_start.c - from an EXEC message to a running process.
 *
 * Everything that was asked for and cannot be done is refused before the process
 * exists, with an ERROR: an unknown user, a missing folder, a limit without its
 * controller. A command that cannot be executed is no ERROR but an EXIT with 126 or
 * 127 and a sentence, as a shell would have it.
 *
 * The strings of argv and envp stay where they were received; only arrays of
 * pointers are made, and freed as soon as the process runs.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "agent/cgroup.h"
#include "agent/exec.h"
#include "agent/spawn.h"
#include "agent/user.h"

#ifndef TIOCGPTPEER
#define TIOCGPTPEER 0x5441
#endif

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define EXTRA_ENV 4

/* All that the start needs and the running command does not. */
struct start {
	struct conn *c;
	const struct proto_hdr *h;
	struct proto_exec req;
	const char **argv, **envp;	/* one allocation */
	struct user user;
	bool as_user;
	int ours[3], theirs[3];		/* stdin, stdout, stderr; theirs may repeat */
	int cgroup_fd;
	char home[sizeof("HOME=") + 256], name[sizeof("USER=") + 64];
	char why[PROTO_MSG_MAX];
};

static uint64_t features;
static const char *self_path;
static int null_fd = -1;

void exec_init(uint64_t f, const char *self)
{
	features = f;
	self_path = self;
	null_fd = -1;
}

static int __attribute__((format(printf, 3, 4)))
fail(struct start *s, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(s->why, sizeof(s->why), fmt, ap);
	va_end(ap);
	return -code;
}

/* ---- request ----------------------------------------------------------- */

static int check_limits(struct start *s)
{
	const struct proto_exec *r = &s->req;

	if (r->memory_max && !(features & PROTO_F_MEMORY))
		return fail(s, ENOTSUP, "the guest cannot limit memory");
	if (r->pids_max && !(features & PROTO_F_PIDS))
		return fail(s, ENOTSUP, "the guest cannot limit the number of processes");
	if (r->cpu_milli && !(features & PROTO_F_CPU))
		return fail(s, ENOTSUP, "the guest cannot limit CPU time");
	return 0;
}

static int find_user(struct start *s)
{
	const char *why;
	int rc;

	s->as_user = s->req.user || s->req.group;
	if (!s->as_user) {
		memcpy(s->user.home, "/root", 6);
		memcpy(s->user.name, "root", 5);
		return 0;
	}
	rc = user_lookup("/etc/passwd", "/etc/group", s->req.user, s->req.group, &s->user, &why);
	if (rc < 0)
		return fail(s, -rc, "user %s%s%s: %s", s->req.user ? s->req.user : "root",
			    s->req.group ? ":" : "", s->req.group ? s->req.group : "", why);
	return 0;
}

static const char *env_get(const struct start *s, const char *name, size_t len)
{
	for (size_t i = s->req.envc; i-- > 0;)
		if (strncmp(s->envp[i], name, len) == 0)
			return s->envp[i] + len;
	return NULL;
}

static int make_vectors(struct start *s, const uint8_t *payload)
{
	size_t n = s->req.argc + 1 + s->req.envc + EXTRA_ENV + 1, k;

	s->argv = malloc(n * sizeof(*s->argv));
	if (!s->argv)
		return fail(s, ENOMEM, "the agent is out of memory");
	s->envp = s->argv + s->req.argc + 1;
	proto_exec_vectors(payload, s->h->len, s->argv, s->envp);
	if (s->req.flags & PROTO_EXEC_CLEAN_ENV)
		return 0;
	k = s->req.envc;
	snprintf(s->home, sizeof(s->home), "HOME=%s", s->user.home);
	snprintf(s->name, sizeof(s->name), "USER=%s", s->user.name);
	if (!env_get(s, "PATH=", 5))
		s->envp[k++] = "PATH=" DEFAULT_PATH;
	if (!env_get(s, "HOME=", 5))
		s->envp[k++] = s->home;
	if (s->user.name[0] && !env_get(s, "USER=", 5))
		s->envp[k++] = s->name;
	if ((s->req.flags & PROTO_EXEC_TTY) && !env_get(s, "TERM=", 5))
		s->envp[k++] = "TERM=xterm";
	s->envp[k] = NULL;
	return 0;
}

/* ---- descriptors ------------------------------------------------------- */

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static int open_null(struct start *s)
{
	if (null_fd < 0)
		null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	return null_fd < 0 ? fail(s, errno, "open /dev/null: %s", strerror(errno)) : null_fd;
}

/* One pipe; the agent's end does not block. */
static int open_pipe(struct start *s, int i)
{
	int p[2];

	if (pipe2(p, O_CLOEXEC) < 0)
		return fail(s, errno, "pipe: %s", strerror(errno));
	s->ours[i] = p[i == 0];
	s->theirs[i] = p[i != 0];
	if (fcntl(s->ours[i], F_SETFL, O_NONBLOCK) < 0)
		return fail(s, errno, "pipe: %s", strerror(errno));
	/* /dev/stdout opens the pipe anew, and that takes its owner's right. */
	if (s->as_user && fchown(s->theirs[i], s->user.uid, s->user.gid) < 0)
		return fail(s, errno, "hand over a pipe: %s", strerror(errno));
	return 0;
}

static int open_pipes(struct start *s)
{
	int rc = 0;

	if (s->req.flags & PROTO_EXEC_STDIN)
		rc = open_pipe(s, 0);
	else if ((rc = open_null(s)) >= 0)
		s->theirs[0] = rc;
	for (int i = 1; i < 3 && rc >= 0; i++)
		rc = open_pipe(s, i);
	return rc < 0 ? rc : 0;
}

static int open_pty(struct start *s)
{
	struct winsize ws = { s->req.rows, s->req.cols, 0, 0 };
	int master, slave, zero = 0;

	master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	if (master < 0)
		return fail(s, errno, "open /dev/ptmx: %s", strerror(errno));
	s->ours[1] = master;
	if (ioctl(master, TIOCSPTLCK, &zero) < 0)
		return fail(s, errno, "unlock the terminal: %s", strerror(errno));
	slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0)
		return fail(s, errno, "open the terminal: %s", strerror(errno));
	s->theirs[0] = slave;
	s->theirs[1] = slave;
	s->theirs[2] = slave;
	if (ioctl(master, TIOCSWINSZ, &ws) < 0)
		return fail(s, errno, "size the terminal: %s", strerror(errno));
	if (s->as_user && (fchown(slave, s->user.uid, (gid_t)-1) < 0 || fchmod(slave, 0620) < 0))
		return fail(s, errno, "hand over the terminal: %s", strerror(errno));
	return 0;
}

/* Close the command's ends, each once, but not the shared /dev/null. */
static void close_theirs(struct start *s)
{
	if (s->theirs[0] == null_fd)
		s->theirs[0] = -1;
	if (s->req.flags & PROTO_EXEC_TTY)
		s->theirs[1] = s->theirs[2] = -1;
	for (int i = 0; i < 3; i++)
		close_fd(&s->theirs[i]);
}

/* ---- process ----------------------------------------------------------- */

/* The command could not be executed: 126 or 127, and a sentence. */
static void not_started(struct start *s, int err)
{
	struct proto_exit res = { .code = 126, .result = PROTO_R_NOT_STARTED };
	const char *cmd = s->argv[0], *what = strerror(err);

	if (err == ENOENT || err == ENOTDIR) {
		res.code = 127;
		what = strchr(cmd, '/') ? "no such file, or its interpreter is missing" :
					  "command not found";
	} else if (err == EACCES) {
		what = "not executable (permission denied)";
	} else if (err == ENOEXEC) {
		what = "not a program for this machine, and no #! line";
	}
	snprintf(res.msg, sizeof(res.msg), "%.300s: %s", cmd, what);
	exec_send_exit(s->c, s->h->tag, &res);
}

static int stage_error(struct start *s, enum spawn_stage stage, int err)
{
	switch (stage) {
	case SPAWN_OK:
	case SPAWN_EXEC:
		return 0;
	case SPAWN_CLONE:
		return fail(s, err, "start a process: %s", strerror(err));
	case SPAWN_SETUP:
		return fail(s, err, "prepare the process: %s", strerror(err));
	case SPAWN_USER:
		return fail(s, err, "become user %u: %s", s->user.uid, strerror(err));
	case SPAWN_CWD:
		return fail(s, err, "working directory %.300s: %s", s->req.cwd, strerror(err));
	}
	return 0;
}

/* 0 with x->pid set; 1 when EXIT was sent instead; -errno. */
static int launch(struct start *s, struct exec *x)
{
	const char *path = env_get(s, "PATH=", 5);
	struct spawn sp = {
		.path = path ? path : DEFAULT_PATH,
		.cwd = s->req.cwd ? s->req.cwd : "/",
		.user = s->as_user ? &s->user : NULL,
		.fd = { s->theirs[0], s->theirs[1], s->theirs[2] },
		.tty = s->req.flags & PROTO_EXEC_TTY,
		.cgroup_fd = s->cgroup_fd,
	};
	enum spawn_stage stage;
	pid_t pid;

	/* execve() takes no const, and changes nothing. */
	memcpy(&sp.argv, &s->argv, sizeof(sp.argv));
	memcpy(&sp.envp, &s->envp, sizeof(sp.envp));
	pid = spawn(&sp, &stage);
	if (pid < 0 && stage == SPAWN_EXEC && x->helper)
		return fail(s, -pid, "run the agent's program: %s", strerror(-pid));
	if (pid < 0 && stage == SPAWN_EXEC) {
		not_started(s, -pid);
		return 1;
	}
	if (pid < 0)
		return stage_error(s, stage, -pid);
	x->pid = pid;
	x->sid = pid;
	return 0;
}

static void send_started(const struct exec *x, uint16_t tag)
{
	const struct proto_job j = {
		.id = x->id, .pid = (uint64_t)x->pid, .flags = x->kept ? PROTO_JOB_KEPT : 0,
	};
	struct proto_wr *w = conn_msg();

	proto_wr_job(w, PROTO_STARTED, tag, &j);
	conn_send_msg(x->c, w);
}

static int make_cgroup(struct start *s, struct exec *x)
{
	struct cgroup_limits l = {
		.memory_max = s->req.memory_max,
		.pids_max = s->req.pids_max,
		.cpu_milli = s->req.cpu_milli,
	};

	if (!(features & PROTO_F_CGROUP))
		return 0;
	s->cgroup_fd = cgroup_new(x->id, &l);
	if (s->cgroup_fd < 0)
		return fail(s, -s->cgroup_fd, "make a cgroup: %s", strerror(-s->cgroup_fd));
	x->cgroup = true;
	return 0;
}

/* What people see of it in a list. */
static void name_it(struct exec *x, const char **argv)
{
	size_t n = 0;

	for (; *argv && n < sizeof(x->command); argv++)
		n += (size_t)snprintf(x->command + n, sizeof(x->command) - n, "%s%.*s",
				      n ? " " : "", (int)sizeof(x->command), *argv);
}

/* With the request decoded and argv and envp made: make it run. */
static int start(struct start *s, bool helper)
{
	struct exec *x = exec_new(s->c, s->h);
	int rc;

	if (!x)
		return fail(s, EAGAIN, "too many commands run in this sandbox");
	x->flags = s->req.flags;
	x->helper = helper;
	x->kept = s->req.flags & PROTO_EXEC_KEEP;
	name_it(x, s->argv);
	rc = s->req.flags & PROTO_EXEC_TTY ? open_pty(s) : open_pipes(s);
	if (rc == 0)
		rc = make_cgroup(s, x);
	if (rc == 0)
		rc = launch(s, x);
	if (rc == 0) {
		if (!helper)
			send_started(x, s->h->tag);
		exec_launched(x, s->ours, s->req.timeout_ns, s->req.max_output);
		for (int i = 0; i < 3; i++)
			s->ours[i] = -1;
		if (x->kept)
			exec_let_go(x);
		return 0;
	}
	if (x->cgroup)
		(void)cgroup_remove(x->id);
	exec_free(x);
	return rc < 0 ? rc : 0;
}

static void init(struct start *s, struct conn *c, const struct proto_hdr *h)
{
	memset(s, 0, sizeof(*s));
	s->c = c;
	s->h = h;
	s->cgroup_fd = -1;
	for (int i = 0; i < 3; i++)
		s->ours[i] = s->theirs[i] = -1;
}

static void finish(struct start *s, int rc)
{
	if (rc < 0)
		conn_error(s->c, s->h, -rc, s->why);
	close_theirs(s);
	for (int i = 0; i < 3; i++)
		close_fd(&s->ours[i]);
	close_fd(&s->cgroup_fd);
}

void exec_request(struct conn *c, const struct proto_hdr *h, const uint8_t *payload)
{
	struct start s;
	const char *why;
	int rc;

	init(&s, c, h);
	if (proto_exec_read(payload, h->len, &s.req, &why) < 0)
		rc = fail(&s, EINVAL, "EXEC: %s", why);
	else if ((rc = check_limits(&s)) == 0 && (rc = find_user(&s)) == 0 &&
		 (rc = make_vectors(&s, payload)) == 0)
		rc = start(&s, false);
	finish(&s, rc);
	free(s.argv);
}

void exec_helper(struct conn *c, const struct proto_hdr *h, const char **argv, bool input)
{
	const char *envp[] = { NULL };
	struct start s;

	init(&s, c, h);
	argv[0] = self_path;
	s.argv = argv;
	s.envp = envp;
	s.req.flags = PROTO_EXEC_KILL_TREE | (input ? PROTO_EXEC_STDIN : 0);
	s.req.max_output = UINT64_MAX;
	finish(&s, start(&s, true));
}
