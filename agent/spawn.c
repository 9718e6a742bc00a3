// SPDX-License-Identifier: Apache-2.0
/*
 * spawn.c - clone3() with CLONE_VM and CLONE_VFORK.
 *
 * A fork copies page tables and then takes faults; on a host that emulates the
 * guest's kernel that is a third of a second. So the child borrows the agent's memory
 * and runs on a stack of its own, while the agent sleeps until the child has called
 * execve() or has ended. Rules for child_main() and what it calls follow from that:
 * system calls only, no allocation, no libc function that keeps state (the set*id()
 * wrappers do), write nothing but its own frame and struct child. No signal handler
 * can run, because there are none and all signals are blocked until just before
 * execve().
 *
 * An error comes back through struct child, so there is no error pipe. CLONE_INTO_CGROUP
 * puts the child into its cgroup with no moment outside of it; it also saves
 * the migration, which waits for an RCU grace period.
 *
 * The C library's clone() knows no CLONE_INTO_CGROUP and clone3() has no wrapper, hence
 * the assembly: the child must not return into a frame that the parent still needs.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/spawn.h"

/* The child's frames never return, which would look like a mistake to a sanitizer. */
#define IN_CHILD __attribute__((noinline, no_sanitize_address, no_sanitize_thread))

#define STACK_LEN 65536
#define NAME_LEN  4096

struct child {
	const struct spawn *s;
	enum spawn_stage stage;	/* written by the child, read when it is gone */
	int err;
	sigset_t none;
	char name[NAME_LEN];	/* PATH element + '/' + argv[0] */
};

/* Only the top page or two is ever touched. */
static char stack[STACK_LEN] __attribute__((aligned(64)));
static struct child child;

static long clone_call(struct clone_args *ca, size_t len, void (*fn)(struct child *),
		       struct child *arg)
{
#if defined(__x86_64__)
	long ret = SYS_clone3;
	register void (*r12)(struct child *) __asm__("r12") = fn;
	register struct child *r13 __asm__("r13") = arg;

	__asm__ volatile("syscall\n\t"
			 "test %%rax, %%rax\n\t"
			 "jnz 1f\n\t"
			 "xor %%ebp, %%ebp\n\t"
			 "mov %%r13, %%rdi\n\t"
			 "call *%%r12\n\t"
			 "ud2\n"
			 "1:"
			 : "+a"(ret)
			 : "D"(ca), "S"(len), "r"(r12), "r"(r13)
			 : "rcx", "r11", "memory");
	return ret;
#elif defined(__aarch64__)
	register long x8 __asm__("x8") = SYS_clone3;
	register long x0 __asm__("x0") = (long)ca;
	register size_t x1 __asm__("x1") = len;
	register void (*x9)(struct child *) __asm__("x9") = fn;
	register struct child *x10 __asm__("x10") = arg;

	__asm__ volatile("svc #0\n\t"
			 "cbnz x0, 1f\n\t"
			 "mov x29, #0\n\t"
			 "mov x0, x10\n\t"
			 "blr x9\n\t"
			 "brk #1\n"
			 "1:"
			 : "+r"(x0)
			 : "r"(x1), "r"(x8), "r"(x9), "r"(x10)
			 : "memory", "cc");
	return x0;
#else
#error "spawn.c: no clone3 call for this architecture"
#endif
}

IN_CHILD static int set_user(const struct user *u)
{
	if (syscall(SYS_setgroups, u->n_groups, u->groups) < 0 ||
	    syscall(SYS_setresgid, u->gid, u->gid, u->gid) < 0 ||
	    syscall(SYS_setresuid, u->uid, u->uid, u->uid) < 0)
		return -1;
	return 0;
}

IN_CHILD static int setup(struct child *c)
{
	const struct spawn *s = c->s;

	c->stage = SPAWN_SETUP;
	if (setsid() < 0)
		return -1;
	for (int i = 0; i < 3; i++)
		if (dup2(s->fd[i], i) < 0)
			return -1;
	if (s->tty && ioctl(0, TIOCSCTTY, 0) < 0)
		return -1;
	c->stage = SPAWN_USER;
	if (s->user && set_user(s->user) < 0)
		return -1;
	c->stage = SPAWN_CWD;
	if (chdir(s->cwd) < 0)
		return -1;
	c->stage = SPAWN_EXEC;
	return sigprocmask(SIG_SETMASK, &c->none, NULL);
}

/* execve() along PATH, as execvp() does it; returns only with errno set. */
IN_CHILD static void exec_path(struct child *c)
{
	const struct spawn *s = c->s;
	size_t name_len = strlen(s->argv[0]), n;
	const char *p = s->path, *end;
	int err = ENOENT;

	if (!name_len || strchr(s->argv[0], '/')) {
		execve(s->argv[0], s->argv, s->envp);
		return;
	}
	for (;; p = end + 1) {
		end = strchrnul(p, ':');
		n = (size_t)(end - p);
		if (n + name_len + 2 <= sizeof(c->name)) {
			memcpy(c->name, p, n);
			if (n)
				c->name[n++] = '/';
			memcpy(c->name + n, s->argv[0], name_len + 1);
			execve(c->name, s->argv, s->envp);
			if (errno == EACCES)
				err = EACCES;
			else if (errno != ENOENT && errno != ENOTDIR && errno != ELOOP)
				return;
		}
		if (!*end)
			break;
	}
	errno = err;
}

IN_CHILD static void child_main(struct child *c)
{
	if (setup(c) == 0)
		exec_path(c);
	c->err = errno;
	/* Not _exit(): a sanitizer would look at the stack that the parent has. */
	for (;;)
		syscall(SYS_exit, 127);
}

pid_t spawn(const struct spawn *s, enum spawn_stage *stage)
{
	struct clone_args ca = {
		.flags = CLONE_VM | CLONE_VFORK,
		.exit_signal = SIGCHLD,
		.stack = (uintptr_t)stack,
		.stack_size = sizeof(stack),
	};
	long pid;

	child.s = s;
	child.stage = SPAWN_CLONE;
	child.err = 0;
	sigemptyset(&child.none);
	if (s->cgroup_fd >= 0) {
		ca.flags |= CLONE_INTO_CGROUP;
		ca.cgroup = (uint64_t)s->cgroup_fd;
	}
	pid = clone_call(&ca, sizeof(ca), child_main, &child);
	*stage = child.stage;
	if (pid < 0)
		return (pid_t)pid;
	if (child.err) {
		while (waitpid((pid_t)pid, NULL, 0) < 0 && errno == EINTR)
			;
		return -child.err;
	}
	*stage = SPAWN_OK;
	return (pid_t)pid;
}
