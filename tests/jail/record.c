/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record [ARG...] - be sandbox-vmm or, by the name `record-fsd`, sandbox-fsd, with
 * somebody who writes down which system calls its threads make once they are sealed.
 *
 * It lies in O/tests/jail/ and executes O/sandbox-vmm. Before, it forks a tracer, lets itself be
 * seized, and installs a filter that stops for the tracer at each call; filters add up, so
 * what the monitor's own forbids ends it still. Calls without which no machine runs
 * (KVM_RUN, io_uring_enter) and no request is served (those of `served`) are let through
 * at full speed. Each call that is new
 * becomes a line of O/tests/jail/calls: CLASS NUMBER VALUE, where VALUE is the argument that
 * tells what ioctl, madvise and socket are asked for. Operations of the monitor's ring are told
 * by tell.so; their lines are `ring NAME`.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/io_uring.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/jail/tell.h"

#define THREADS	64
#define SEEN	512

/* <sys/ptrace.h> and <linux/ptrace.h> do not go together. */
struct syscall_info {
	uint8_t op, pad[3];
	uint32_t arch;
	uint64_t ip, sp, nr, args[6];
	uint32_t ret_data;
};
#define GET_SYSCALL_INFO 0x420e

static struct { pid_t tid; bool sealed; } threads[THREADS];
static struct { bool vcpu; uint64_t nr, value; } seen[SEEN];
static unsigned nthreads, nseen;
static bool server;			/* sandbox-fsd, whose threads are all of one class */

/* Without these a file server does nothing at all; tests/jail/calls.py knows them, too. */
static const uint32_t served[] = {
	SYS_recvfrom, SYS_sendto, SYS_futex, SYS_openat2, SYS_close, SYS_statx,
};

#define RULE(...)
#define RING(class, op) { op, #op },
static const struct { unsigned op; const char *name; } ring[] = {
#include <jail_rules.h>
};

static void put(int out, const char *line, int n)
{
	if (write(out, line, (size_t)n) != n)	/* O_APPEND: many write at once */
		_exit(1);
}

static void record_ring(int out, uint64_t told)
{
	char line[80];

	for (unsigned i = 0; i < sizeof(ring) / sizeof(ring[0]); i++)
		if (told == TELL + ring[i].op)
			put(out, line, snprintf(line, sizeof(line), "ring %s\n", ring[i].name));
}

static void record(int out, bool vcpu, const struct syscall_info *s)
{
	uint64_t value = s->nr == SYS_ioctl ? s->args[1] : s->nr == SYS_madvise ? s->args[2] :
			 s->nr == SYS_socket ? s->args[0] :
			 s->nr == SYS_fcntl && server ? s->args[1] : 0;
	char line[80];
	int n;

	for (unsigned i = 0; i < nseen; i++)
		if (seen[i].vcpu == vcpu && seen[i].nr == s->nr && seen[i].value == value)
			return;
	if (nseen == SEEN)
		return;
	seen[nseen].vcpu = vcpu;
	seen[nseen].nr = s->nr;
	seen[nseen++].value = value;
	n = snprintf(line, sizeof(line), "%s %llu %llu\n", server ? "fs" : vcpu ? "vcpu" : "loop",
		     (unsigned long long)s->nr, (unsigned long long)value);
	put(out, line, n);
}

static bool *sealed(pid_t tid)
{
	for (unsigned i = 0; i < nthreads; i++)
		if (threads[i].tid == tid)
			return &threads[i].sealed;
	if (nthreads == THREADS)
		return NULL;
	threads[nthreads].tid = tid;
	return &threads[nthreads++].sealed;
}

static void on_call(int out, pid_t leader, pid_t tid)
{
	struct syscall_info s = { 0 };
	bool *is = sealed(tid);

	if (!is || ptrace(GET_SYSCALL_INFO, tid, sizeof(s), &s) < 0)
		return;
	if (s.nr == SYS_write && (int)s.args[0] == -1 && !server)
		record_ring(out, s.args[2]);
	else if (*is)
		record(out, tid != leader, &s);
	else if (s.nr == SYS_seccomp && s.args[0] == SECCOMP_SET_MODE_FILTER)
		*is = true;
}

static void trace(int out, pid_t leader)
{
	int status;
	pid_t tid;

	while ((tid = waitpid(-1, &status, __WALL)) > 0 || errno == EINTR) {
		int event = status >> 16, sig = WSTOPSIG(status);

		if (tid <= 0 || !WIFSTOPPED(status)) {
			if (tid == leader)
				return;
			continue;
		}
		if (event == PTRACE_EVENT_SECCOMP)
			on_call(out, leader, tid);
		if (event == PTRACE_EVENT_STOP && (sig == SIGSTOP || sig == SIGTSTP))
			ptrace(PTRACE_LISTEN, tid, 0, 0);
		else
			ptrace(PTRACE_CONT, tid, 0, event ? 0 : sig);
	}
}

static void tracer(const char *folder, pid_t leader, int ready)
{
	char path[4200];
	int out;

	snprintf(path, sizeof(path), "%s/calls", folder);
	out = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
	if (out < 0 || ptrace(PTRACE_SEIZE, leader, 0,
			      PTRACE_O_TRACESECCOMP | PTRACE_O_TRACECLONE) ||
	    write(ready, "", 1) != 1)
		_exit(1);
	out = dup2(out, 0);
	syscall(SYS_close_range, 1, ~0u, 0);	/* pipes end with the monitor, not with us */
	trace(out, leader);
	_exit(0);
}

static int install(struct sock_filter *code, size_t n)
{
	struct sock_fprog prog = { (unsigned short)n, code };

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	       syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog) ? -1 : 0;
}

static int stop_at_server_calls(void)
{
	enum { N = sizeof(served) / sizeof(served[0]) };
	struct sock_filter code[N + 3] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	};

	for (unsigned char i = 0; i < N; i++)
		code[i + 1] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, served[i],
							   (uint8_t)(N - i), 0);
	code[N + 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE);
	code[N + 2] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	return install(code, N + 3);
}

static int stop_at_calls(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_enter, 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, KVM_RUN, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE),
	};

	return install(code, sizeof(code) / sizeof(code[0]));
}

static void set_first(const char *name, const char *value)
{
	const char *more = getenv(name);
	char all[8500];

	snprintf(all, sizeof(all), "%s%s%s", value, more ? ":" : "", more ? more : "");
	setenv(name, all, 1);
}

/* Before what somebody else has preloaded; by its name, as a path ends at a space there. */
static void preload(const char *folder)
{
	set_first("LD_LIBRARY_PATH", folder);
	set_first("LD_PRELOAD", "tell.so");
}

int main(int argc, char **argv)
{
	char folder[4096], vmm[4200], c;
	ssize_t n = readlink("/proc/self/exe", folder, sizeof(folder) - 1);
	int ready[2];
	pid_t pid;

	server = argc && strlen(argv[0]) > 4 && !strcmp(argv[0] + strlen(argv[0]) - 4, "-fsd");
	if (n <= 0 || pipe2(ready, O_CLOEXEC))
		return 1;
	folder[n] = '\0';
	*strrchr(folder, '/') = '\0';
	snprintf(vmm, sizeof(vmm), "%s/../../%s", folder, server ? "sandbox-fsd" : "sandbox-vmm");
	pid = fork();
	if (!pid)
		tracer(folder, getppid(), ready[1]);
	close(ready[1]);
	prctl(PR_SET_PTRACER, pid);
	/* Where tracing is forbidden the machine runs all the same; what it calls is not known. */
	if (read(ready[0], &c, 1) == 1 &&
	    (server ? stop_at_server_calls() : stop_at_calls()))
		return 1;
	close(ready[0]);
	argv[0] = vmm;
	if (!server)
		preload(folder);
	execv(vmm, argv);
	perror(vmm);
	return 1;
}
