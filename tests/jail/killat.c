/* SPDX-License-Identifier: Apache-2.0 */
/*
 * killat [-e EVERY] [-n N] CMD... - run CMD, and kill a process that comes of it at an exact step.
 *
 * A step is a system call that changes a file: it makes, names, removes, sizes or writes one, or
 * has it on disk. All processes that CMD starts are traced from their birth, so that it does not
 * matter what they forbid later or whose child they become; a filter stops them at these calls
 * alone. Of calls in a row that are the same one on the same descriptor only the first, the
 * second and then each EVERYth (64) are steps: thousands of pages are written like that.
 *
 * Commands come on stdin: `arm N` counts from here on and kills the process that comes to step
 * N with SIGKILL before it does it (0: nobody), `arm N all` kills all of them, `end` says how
 * many there were, `left` how many processes there are. -n is `arm N` before CMD begins. On
 * stdout:
 *
 *	started 0		CMD itself has ended, with 0; or `failed STATUS` as of wait(2)
 *	step N PROGRAM CALL	one that was made
 *	killed N PROGRAM CALL	one that was not
 *	end N			there were N
 *	left N			processes that live
 *
 * It ends at the end of stdin, and kills what is left then.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define GET_SYSCALL_INFO 0x420e
#define FICLONE_CALL	0x40049409u

/* <sys/ptrace.h> and <linux/ptrace.h> do not go together. */
struct syscall_info {
	uint8_t op, pad[3];
	uint32_t arch;
	uint64_t ip, sp, nr, args[6];
	uint32_t ret_data;
};

static const struct { uint32_t nr; const char *name; bool on_fd; } calls[] = {
	{ SYS_openat, "openat", false },	/* if it may make a file */
	{ SYS_ioctl, "ficlone", true },		/* if it is that one */
	{ SYS_write, "write", true },		/* if it is to a file */
	{ SYS_mkdirat, "mkdirat", false }, { SYS_mkdir, "mkdir", false },
	{ SYS_mknodat, "mknodat", false }, { SYS_linkat, "linkat", false },
	{ SYS_symlinkat, "symlinkat", false }, { SYS_renameat, "renameat", false },
	{ SYS_renameat2, "renameat2", false }, { SYS_rename, "rename", false },
	{ SYS_unlinkat, "unlinkat", false }, { SYS_unlink, "unlink", false },
	{ SYS_rmdir, "rmdir", false }, { SYS_ftruncate, "ftruncate", true },
	{ SYS_pwrite64, "pwrite64", true }, { SYS_copy_file_range, "copy_file_range", true },
	{ SYS_fallocate, "fallocate", true }, { SYS_fsync, "fsync", true },
	{ SYS_fdatasync, "fdatasync", true }, { SYS_syncfs, "syncfs", true },
	{ SYS_fchmod, "fchmod", true }, { SYS_fchmodat, "fchmodat", false },
	{ SYS_fchown, "fchown", true }, { SYS_fchownat, "fchownat", false },
	{ SYS_utimensat, "utimensat", false }, { SYS_fsetxattr, "fsetxattr", true },
};
#define CALLS (sizeof(calls) / sizeof(calls[0]))

static struct {
	bool armed, all;
	unsigned long target, n, every;
	/* The last call, and how many there were of it in a row. */
	pid_t pid;
	uint64_t nr, fd;
	unsigned long row;
} s = { .every = 64 };
static pid_t first;
static pid_t seen[4096];	/* every process there was, of which some may live */
static size_t nseen;

static int install(void)
{
	struct sock_filter code[CALLS + 7];
	size_t n = 0;
	struct sock_fprog prog = { .filter = code };

#define NR	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))
#define ARG(i)	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[i]))
#define PUT(x)	code[n++] = (struct sock_filter)x
	PUT(NR);
	PUT(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 2));
	PUT(ARG(2));
	PUT(BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, O_CREAT | O_TRUNC, CALLS + 2, CALLS + 1));
	PUT(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 2));
	PUT(ARG(1));
	PUT(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, FICLONE_CALL, CALLS - 1, CALLS - 2));
	for (size_t i = 2; i < CALLS; i++)
		PUT(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, calls[i].nr, (uint8_t)(CALLS - i), 0));
	PUT(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
	PUT(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE));
	prog.len = (unsigned short)n;
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	       syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog) ? -1 : 0;
}

/* The process that the thread belongs to, and its name. */
static pid_t process_of(pid_t tid, char name[static 20])
{
	char path[40], line[100];
	int pid = tid;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)tid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		sscanf(line, "Tgid: %d", &pid);
	if (f)
		fclose(f);
	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	f = fopen(path, "re");
	if (!f || fscanf(f, "%19s", name) != 1)
		strcpy(name, "?");
	if (f)
		fclose(f);
	return pid;
}

/* Pipes, sockets and eventfds are no files; nor is what cannot be looked at: a jailed one's. */
static bool is_file(pid_t pid, uint64_t fd)
{
	char path[60], to[8] = "";

	snprintf(path, sizeof(path), "/proc/%d/fd/%llu", (int)pid, (unsigned long long)fd);
	return readlink(path, to, sizeof(to)) > 0 && *to == '/' && memcmp(to, "/dev/", 5) != 0;
}

static void kill_all(void)
{
	for (size_t i = 0; i < nseen; i++)
		kill(seen[i], SIGKILL);
}

static void on_call(pid_t tid)
{
	struct syscall_info c = { 0 };
	char name[20];
	size_t i = 0;
	pid_t pid;
	bool same;

	if (!s.armed || ptrace(GET_SYSCALL_INFO, tid, sizeof(c), &c) < 0)
		return;
	while (i < CALLS && calls[i].nr != c.nr)
		i++;
	pid = process_of(tid, name);
	if (i == CALLS || (c.nr == SYS_write && !is_file(pid, c.args[0])))
		return;
	same = pid == s.pid && c.nr == s.nr && calls[i].on_fd && c.args[0] == s.fd;
	s.row = same ? s.row + 1 : 0;
	s.pid = pid;
	s.nr = c.nr;
	s.fd = c.args[0];
	if (s.row > 1 && s.row % s.every)
		return;
	s.n++;
	printf("%s %lu %s %s\n", s.n == s.target ? "killed" : "step", s.n, name, calls[i].name);
	if (s.n != s.target)
		return;
	s.armed = false;
	if (s.all)
		kill_all();
	else
		kill(pid, SIGKILL);
}

static void note(pid_t tid)
{
	char name[20];
	pid_t pid = process_of(tid, name);

	for (size_t i = 0; i < nseen; i++)
		if (seen[i] == pid)
			return;
	if (nseen < sizeof(seen) / sizeof(seen[0]))
		seen[nseen++] = pid;
}

static void forget(pid_t pid)
{
	for (size_t i = 0; i < nseen; i++)
		if (seen[i] == pid)
			seen[i] = seen[--nseen];
}

static void on_stop(pid_t tid, int status)
{
	int event = status >> 16, sig = WSTOPSIG(status);

	if (!WIFSTOPPED(status)) {
		forget(tid);
		if (tid == first && WIFEXITED(status) && !WEXITSTATUS(status))
			puts("started 0");
		else if (tid == first)
			printf("failed %d\n", status);
		return;
	}
	if (event == PTRACE_EVENT_SECCOMP)
		on_call(tid);
	if (event == PTRACE_EVENT_STOP)
		note(tid);
	if (event == PTRACE_EVENT_STOP && (sig == SIGSTOP || sig == SIGTSTP))
		ptrace(PTRACE_LISTEN, tid, 0, 0);
	else
		ptrace(PTRACE_CONT, tid, 0, event ? 0 : sig);
}

static void on_command(char *line)
{
	char word[8] = "";

	if (sscanf(line, "arm %lu %7s", &s.target, word) >= 1) {
		s.armed = true;
		s.all = !strcmp(word, "all");
		s.n = s.row = 0;
		s.pid = 0;
		puts("armed");
	} else if (!strncmp(line, "left", 4)) {
		printf("left %zu\n", nseen);
	} else {
		printf("end %lu\n", s.n);
		s.armed = false;
	}
}

/* False at the end of stdin. One command at a time, answered before the next one comes. */
static bool commands(void)
{
	char line[64];
	ssize_t n = read(0, line, sizeof(line) - 1);

	if (n <= 0)
		return false;
	line[n] = '\0';
	on_command(line);
	return true;
}

static void child(char **argv, int go, const sigset_t *mask)
{
	char c;

	sigprocmask(SIG_SETMASK, mask, NULL);
	/* Nobody who outlives CMD holds our own streams open. */
	if (read(go, &c, 1) != 1 || dup2(open("/dev/null", O_RDWR | O_CLOEXEC), 0) < 0 ||
	    dup2(0, 1) < 0 || install())
		_exit(125);
	execvp(argv[0], argv);
	_exit(127);
}

int main(int argc, char **argv)
{
	const long options = PTRACE_O_TRACESECCOMP | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK |
			     PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;
	struct pollfd p[2] = { { .fd = 0, .events = POLLIN }, { .events = POLLIN } };
	sigset_t mask, old;
	int go[2], status;
	pid_t tid;

	for (; argc > 3 && *argv[1] == '-'; argv += 2, argc -= 2) {
		if (!strcmp(argv[1], "-e"))
			s.every = strtoul(argv[2], NULL, 10);
		else
			s.target = strtoul(argv[2], NULL, 10);
		s.armed |= argv[1][1] == 'n';
	}
	if (argc < 2 || !s.every || pipe2(go, O_CLOEXEC))
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	sigemptyset(&mask);
	sigaddset(&mask, SIGCHLD);
	sigprocmask(SIG_BLOCK, &mask, &old);
	p[1].fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	first = fork();
	if (!first)
		child(argv + 1, go[0], &old);
	if (first < 0 || p[1].fd < 0 || ptrace(PTRACE_SEIZE, first, 0, options) ||
	    write(go[1], "", 1) != 1)
		return 1;
	seen[nseen++] = first;
	for (;;) {
		struct signalfd_siginfo si;

		while ((tid = waitpid(-1, &status, __WALL | WNOHANG)) > 0)
			on_stop(tid, status);
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return 1;
		while (read(p[1].fd, &si, sizeof(si)) > 0)
			continue;
		if (p[0].revents && !commands())
			break;
	}
	kill_all();
	return 0;
}
