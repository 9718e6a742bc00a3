/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spawn.c - clone3(2), because fork(2) gives neither a namespace nor a pidfd.
 *
 * Without root a pid namespace needs a user namespace around it; in it the ids
 * are what they were, so that the program can open what its user may open. Between
 * clone3 and exec only system calls are made, as in a child of fork.
 *
 * The person's environment, in which keys and tokens may be, stays here: it would be in the
 * memory of a program that a guest attacks.
 */
#include <dirent.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include "cli/base/spawn.h"

/* PF_IO_WORKER, PF_USER_WORKER: threads that are never in user space. */
#define WORKER_FLAGS	(0x10u | 0x4000u)

extern char **environ;

/* ---- the environment ---- */

/* What the loader and the run-time libraries ask for: how a program runs, not for whom. */
static bool is_passed(const char *var)
{
	static const char end[] = "SAN_OPTIONS";
	size_t n = strcspn(var, "=");

	return !strncmp(var, "LD_", 3) || !strncmp(var, "MALLOC_", 7) ||
	       !strncmp(var, "GLIBC_TUNABLES=", 15) ||
	       (n >= sizeof(end) - 1 && !memcmp(var + n - (sizeof(end) - 1), end, sizeof(end) - 1));
}

char **spawn_env(struct err *e)
{
	/* A program that the person has named instead of ours is given what that may need. */
	bool all = getenv("SANDBOX_VMM") || getenv("SANDBOX_FSD");
	char *none = NULL, **own = environ ? environ : &none, **env;
	size_t n = 0, k = 0;

	while (own[n])
		n++;
	env = calloc(n + 1, sizeof(*env));
	for (size_t i = 0; env && i < n; i++)
		if (all || is_passed(own[i]))
			env[k++] = own[i];
	if (!env)
		err_set(e, -ENOMEM, "environment");
	return env;
}

/* ---- starting ---- */

/* Prepared before, as the child may not format anything. */
struct child {
	const struct spawn *s;
	char **env;
	int fd[SPAWN_FDS_MAX];		/* above all that are wanted */
	int self;			/* pidfd of the parent */
	bool map;			/* it is in a user namespace of its own */
	char uid[32], gid[32];
};

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	/* Without ids the program cannot make a namespace of its own, and says so. */
	if (fd >= 0) {
		(void)!write(fd, text, strlen(text));
		close(fd);
	}
}

static void run_child(const struct child *c)
{
	const struct spawn *s = c->s;
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	struct pollfd parent = { .fd = c->self, .events = POLLIN };
	sigset_t none;

	/* A limit that cannot be had is told by whoever looks (bounds_has). */
	for (unsigned i = 0; i < s->ndoors; i++)
		(void)!write(s->door[i], "0", 1);
	setsid();
	/* getppid() is 0 in a pid namespace: the pidfd tells whether the parent is still there. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || poll(&parent, 1, 0))
		_exit(1);
	if (c->map) {
		put("/proc/self/setgroups", "deny");
		put("/proc/self/uid_map", c->uid);
		put("/proc/self/gid_map", c->gid);
	}
	sigaction(SIGPIPE, &dfl, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	for (unsigned i = 0; i < s->nfd; i++)
		if (c->fd[i] < 0)
			close((int)i);
		else if (dup2(c->fd[i], (int)i) < 0)
			_exit(1);
	syscall(SYS_close_range, s->nfd, ~0u, 0);
	execve(s->argv[0], s->argv, c->env);
	if (s->lost && write(s->lost_fd, s->lost, strlen(s->lost)) < 0)
		_exit(1);
	_exit(1);
}

static pid_t clone_one(struct child *c, uint64_t flags, int *pidfd)
{
	struct clone_args a = {
		.flags = CLONE_PIDFD | flags, .pidfd = (uintptr_t)pidfd, .exit_signal = SIGCHLD,
	};
	pid_t pid;

	c->map = flags & CLONE_NEWUSER;
	pid = (pid_t)syscall(SYS_clone3, &a, sizeof(a));
	if (pid == 0)
		run_child(c);
	return pid < 0 ? -errno : pid;
}

/* Containers' filters refuse clone3 as if it were unknown. */
static pid_t fork_one(struct child *c, int *pidfd)
{
	pid_t pid = fork();

	if (pid == 0)
		run_child(c);
	if (pid < 0)
		return -errno;
	*pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (*pidfd >= 0)
		return pid;
	kill(pid, SIGKILL);
	return -ENOSYS;
}

static pid_t start(struct child *c, int *pidfd)
{
	pid_t pid = -EPERM;

	if (!c->s->no_namespace && !geteuid())
		pid = clone_one(c, CLONE_NEWPID, pidfd);
	if (!c->s->no_namespace && pid < 0)
		pid = clone_one(c, CLONE_NEWUSER | CLONE_NEWPID, pidfd);
	if (pid < 0)
		pid = clone_one(c, 0, pidfd);
	return pid == -ENOSYS ? fork_one(c, pidfd) : pid;
}

static void drop(struct child *c)
{
	for (unsigned i = 0; i < SPAWN_FDS_MAX; i++)
		fd_cleanup(&c->fd[i]);
	fd_cleanup(&c->self);
	free(c->env);
}

pid_t spawn_start(const struct spawn *s, int *pidfd, struct err *e)
{
	struct child c = { .s = s };
	pid_t pid;

	for (unsigned i = 0; i < SPAWN_FDS_MAX; i++)
		c.fd[i] = -1;
	c.env = spawn_env(e);
	if (!c.env)
		return e->code;
	c.self = (int)syscall(SYS_pidfd_open, getpid(), 0);
	pid = c.self < 0 ? -errno : 0;
	for (unsigned i = 0; !pid && i < s->nfd; i++) {
		if (s->fd[i] == -1)
			continue;
		c.fd[i] = fcntl(s->fd[i] == SPAWN_PARENT ? c.self : s->fd[i], F_DUPFD_CLOEXEC,
				(int)s->nfd);
		pid = c.fd[i] < 0 ? -errno : 0;
	}
	if (pid) {
		err_set(e, pid, "descriptors for %s", s->argv[0]);
		drop(&c);
		return pid;
	}
	snprintf(c.uid, sizeof(c.uid), "%u %u 1", geteuid(), geteuid());
	snprintf(c.gid, sizeof(c.gid), "%u %u 1", getegid(), getegid());
	pid = start(&c, pidfd);
	drop(&c);
	return pid < 0 ? err_set(e, pid, "start %s", s->argv[0]) : pid;
}

/* ---- looking ---- */

static ssize_t slurp(int dir, const char *path, char *buf, size_t len)
{
	auto_fd fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, len - 1);

	buf[n < 0 ? 0 : n] = '\0';
	return n;
}

/* Why nobody could look: for want of something, or because it may not be looked at. */
static int unseen(void)
{
	return errno == EMFILE || errno == ENFILE || errno == ENOMEM ? -errno : -EPERM;
}

/* Field 9 of stat, after the name in parentheses: threads that only the kernel runs. */
static bool is_worker(int dir, const char *tid)
{
	char path[64], text[512];
	const char *close_paren;
	unsigned flags;

	snprintf(path, sizeof(path), "%.20s/stat", tid);
	if (slurp(dir, path, text, sizeof(text)) <= 0)
		return false;
	close_paren = strrchr(text, ')');
	return close_paren && sscanf(close_paren, ") %*c %*d %*d %*d %*d %*d %u", &flags) == 1 &&
	       (flags & WORKER_FLAGS);
}

static bool caps_within(const char *text, const char *line, uint64_t caps)
{
	const char *p = strstr(text, line);
	unsigned long long has;

	return p && sscanf(p + strlen(line), "%llx", &has) == 1 && !(has & ~caps);
}

static int verify_thread(int dir, const char *tid, uint64_t caps, struct err *e)
{
	static const struct { const char *line, *what; } want[] = {
		{ "\nSeccomp:\t2\n", "a seccomp filter" },
		{ "\nNoNewPrivs:\t1\n", "no_new_privs" },
	};
	static const char *const sets[] = { "\nCapPrm:\t", "\nCapEff:\t" };
	char path[64], text[4096];

	snprintf(path, sizeof(path), "%.20s/status", tid);
	if (slurp(dir, path, text, sizeof(text)) <= 0)	/* it may have ended meanwhile */
		return errno == ENOENT || errno == ESRCH ? 0 : err_set(e, unseen(), "%s", path);
	for (size_t i = 0; i < ARRAY_LEN(want); i++)
		if (!strstr(text, want[i].line))
			return err_say(e, -EPERM, "thread %s is without %s, although it said "
				       "otherwise", tid, want[i].what);
	for (size_t i = 0; i < ARRAY_LEN(sets); i++)
		if (!caps_within(text, sets[i], caps))
			return err_say(e, -EPERM, "thread %s has capabilities, although it said "
				       "otherwise", tid);
	return 0;
}

int spawn_verify(pid_t pid, uint64_t caps, struct err *e)
{
	char path[64];
	DIR *d;
	int rc = 0;
	unsigned seen = 0;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	d = opendir(path);
	if (!d)
		return err_set(e, unseen(), "look at process %d", (int)pid);
	for (const struct dirent *de; !rc && (de = readdir(d));)
		if (de->d_name[0] != '.' && !is_worker(dirfd(d), de->d_name)) {
			rc = verify_thread(dirfd(d), de->d_name, caps, e);
			seen++;
		}
	closedir(d);
	if (!rc && !seen)
		rc = err_say(e, -EPERM, "process %d shows no thread", (int)pid);
	return rc ? err_wrap(e, "the jail of process %d", (int)pid) : 0;
}
