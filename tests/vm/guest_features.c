// SPDX-License-Identifier: Apache-2.0
/*
 * Runs inside the guest as root and tries what guest/kernel.config promises to programs.
 *
 * One line per feature: "ok NAME", or "FAIL NAME: why".  Exit status 0 only if all are ok.  Names
 * as arguments run only those.  Each feature is tried in a child, so that what it changes
 * (namespaces, filters, limits) ends with it, and one that hangs is killed after 60 seconds.  A
 * guest whose kernel is emulated takes milliseconds per system call, so each does the least that
 * shows the feature at work.  Static, no library but libc: `gcc -static` or `musl-gcc -static`.
 */
#include "tests/vm/guest_features.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/io_uring.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <mqueue.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

void features_fail(const char *fmt, ...)
{
	char why[200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	printf("%s (errno %d, %s)\n", why, errno, strerror(errno));
	fflush(stdout);
	_exit(1);
}

ssize_t features_slurp(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n, have = 0;

	if (fd < 0)
		return -1;
	while ((size_t)have < size - 1 && (n = read(fd, buf + have, size - 1 - (size_t)have)) > 0)
		have += n;
	close(fd);
	buf[have] = 0;
	return have;
}

void features_spit(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		features_fail("writing '%s' to %s", text, path);
	close(fd);
}

void features_own_mounts(void)
{
	NEED(unshare(CLONE_NEWNS) == 0);
	NEED(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	NEED(mkdir(FEATURES_BASE, 0700) == 0 || errno == EEXIST);
	NEED(mount("tmpfs", FEATURES_BASE, "tmpfs", 0, "size=4m") == 0);
}

void features_own_net(void)
{
	struct ifreq ifr = { .ifr_name = "lo" };
	int fd;

	NEED(unshare(CLONE_NEWNET) == 0);
	NEED((fd = socket(AF_INET, SOCK_DGRAM, 0)) >= 0);
	ifr.ifr_flags = IFF_UP;
	NEED(ioctl(fd, SIOCSIFFLAGS, &ifr) == 0);
	close(fd);
}

static _Thread_local int tls_value = 1;

static void *thread_body(void *arg)
{
	tls_value = 2;
	__atomic_add_fetch((int *)arg, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

static void try_threads(void)
{
	pthread_t t[3];
	int n = 0;

	for (int i = 0; i < 3; i++)
		NEED(pthread_create(&t[i], NULL, thread_body, &n) == 0);
	for (int i = 0; i < 3; i++)
		NEED(pthread_join(t[i], NULL) == 0);
	NEED(n == 3 && tls_value == 1);
}

static void try_event_fds(void)
{
	int ep = epoll_create1(0), ev = eventfd(0, 0), tfd = timerfd_create(CLOCK_MONOTONIC, 0);
	struct itimerspec soon = { .it_value.tv_nsec = 1000000 };
	struct epoll_event e = { .events = EPOLLIN };
	struct signalfd_siginfo si;
	sigset_t set;
	uint64_t n = 7;
	int sfd;

	NEED(ep >= 0 && ev >= 0 && tfd >= 0);
	NEED(epoll_ctl(ep, EPOLL_CTL_ADD, ev, &e) == 0);
	NEED(epoll_wait(ep, &e, 1, 0) == 0);
	NEED(write(ev, &n, 8) == 8);
	NEED(epoll_wait(ep, &e, 1, 0) == 1);
	NEED(timerfd_settime(tfd, 0, &soon, NULL) == 0);
	NEED(read(tfd, &n, 8) == 8 && n >= 1);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	NEED(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
	NEED((sfd = signalfd(-1, &set, 0)) >= 0);
	NEED(kill(getpid(), SIGUSR1) == 0);
	NEED(read(sfd, &si, sizeof(si)) == sizeof(si) && si.ssi_signo == SIGUSR1);
}

static void try_io_uring(void)
{
	struct io_uring_params p = { 0 };
	struct io_uring_sqe *sqes;
	unsigned char *ring;
	int fd = (int)syscall(SYS_io_uring_setup, 2, &p);
	uint32_t tail;

	NEED(fd >= 0);
	NEED(p.features & IORING_FEAT_SINGLE_MMAP);
	ring = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, IORING_OFF_SQ_RING);
	NEED(ring != MAP_FAILED);
	sqes = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)IORING_OFF_SQES);
	NEED((void *)sqes != MAP_FAILED);
	memset(sqes, 0, sizeof(*sqes));
	sqes[0].opcode = IORING_OP_NOP;
	sqes[0].user_data = 42;
	*(uint32_t *)(void *)(ring + p.sq_off.array) = 0;
	tail = *(uint32_t *)(void *)(ring + p.sq_off.tail) + 1;
	__atomic_store_n((uint32_t *)(void *)(ring + p.sq_off.tail), tail, __ATOMIC_RELEASE);
	NEED(syscall(SYS_io_uring_enter, fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) == 1);
	NEED(((struct io_uring_cqe *)(void *)(ring + p.cq_off.cqes))->user_data == 42);
}

static void try_pty(void)
{
	struct winsize ws = { .ws_row = 40, .ws_col = 100 }, got = { 0 };
	int m = posix_openpt(O_RDWR | O_NOCTTY), s;
	char buf[8] = "", name[40];
	unsigned int n;

	NEED(m >= 0);
	NEED(unlockpt(m) == 0 && ioctl(m, TIOCGPTN, &n) == 0);
	snprintf(name, sizeof(name), "/dev/pts/%u", n);
	NEED(setsid() > 0);
	NEED((s = open(name, O_RDWR)) >= 0);
	NEED(ioctl(m, TIOCSWINSZ, &ws) == 0 && ioctl(s, TIOCGWINSZ, &got) == 0);
	NEED(got.ws_row == 40 && got.ws_col == 100);
	NEED(write(m, "hi\n", 3) == 3);
	NEED(read(s, buf, sizeof(buf)) == 3 && !memcmp(buf, "hi\n", 3));
}

static void try_namespaces(void)
{
	char buf[64];
	int st;
	pid_t pid;

	NEED(unshare(CLONE_NEWUSER) == 0);
	features_spit("/proc/self/setgroups", "deny");
	features_spit("/proc/self/uid_map", "0 0 1");
	NEED(unshare(CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET) == 0);
	NEED(unshare(CLONE_NEWCGROUP) == 0);
	NEED(sethostname("inner", 5) == 0);
	NEED(gethostname(buf, sizeof(buf)) == 0 && !strcmp(buf, "inner"));
	NEED((pid = fork()) >= 0);
	if (!pid)
		_exit(getpid() == 1 ? 0 : 1);
	NEED(waitpid(pid, &st, 0) == pid && st == 0);
	NEED(access("/proc/self/ns/time", F_OK) == 0);
}

static void try_seccomp(void)
{
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EXDEV),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { .len = sizeof(f) / sizeof(f[0]), .filter = f };

	NEED(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	NEED(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) == 0);
	errno = 0;
	NEED(syscall(SYS_getppid) == -1 && errno == EXDEV);
}

static void try_landlock(void)
{
	NEED(syscall(SYS_landlock_create_ruleset, NULL, 0, 1) >= 1);
}

/* Stops at a call's entry and exit, with number and result where a debugger looks for them. */
static void try_ptrace(void)
{
	struct user_regs_struct r;
	pid_t pid = fork();
	int st;

	NEED(pid >= 0);
	if (!pid) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		syscall(SYS_getppid);
		_exit(7);
	}
	NEED(waitpid(pid, &st, 0) == pid && WIFSTOPPED(st));
	NEED(ptrace(PTRACE_SETOPTIONS, pid, NULL, (void *)PTRACE_O_TRACESYSGOOD) == 0);
	do {
		NEED(ptrace(PTRACE_SYSCALL, pid, NULL, NULL) == 0);
		NEED(waitpid(pid, &st, 0) == pid && WIFSTOPPED(st));
		NEED(ptrace(PTRACE_GETREGS, pid, NULL, &r) == 0);
	} while (WSTOPSIG(st) != (SIGTRAP | 0x80) || r.orig_rax != SYS_getppid);
	NEED((long long)r.rax == -ENOSYS && r.rip == r.rcx && (r.cs & 3) == 3);
	NEED(ptrace(PTRACE_SYSCALL, pid, NULL, NULL) == 0);
	NEED(waitpid(pid, &st, 0) == pid && WSTOPSIG(st) == (SIGTRAP | 0x80));
	NEED(ptrace(PTRACE_GETREGS, pid, NULL, &r) == 0);
	NEED((pid_t)r.rax == getpid() && r.orig_rax == SYS_getppid);
	NEED(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) == 0);
	NEED(waitpid(pid, &st, 0) == pid && WSTOPSIG(st) == SIGTRAP);
	NEED(ptrace(PTRACE_CONT, pid, NULL, NULL) == 0);
	NEED(waitpid(pid, &st, 0) == pid && WIFEXITED(st) && WEXITSTATUS(st) == 7);
}

static volatile sig_atomic_t signals_seen;

static void on_signal(int sig)
{
	(void)sig;
	signals_seen++;
}

/* A read that a signal interrupts goes on with SA_RESTART, and ends in EINTR without. */
static void restart_with(int flags, bool restarts)
{
	struct itimerspec soon = { .it_value.tv_nsec = 30000000 };
	struct sigaction sa = { .sa_handler = on_signal, .sa_flags = flags };
	struct sigevent ev = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM };
	int p[2], ev_fd = timerfd_create(CLOCK_MONOTONIC, 0);
	timer_t t;
	char c = 0;
	pid_t pid;

	signals_seen = 0;
	NEED(ev_fd >= 0 && pipe(p) == 0);
	NEED(sigaction(SIGALRM, &sa, NULL) == 0);
	NEED(timer_create(CLOCK_MONOTONIC, &ev, &t) == 0);
	NEED((pid = fork()) >= 0);
	if (!pid) {
		usleep(300000);
		_exit(write(p[1], "x", 1) == 1 ? 0 : 1);
	}
	NEED(timer_settime(t, 0, &soon, NULL) == 0);
	errno = 0;
	if (restarts)
		NEED(read(p[0], &c, 1) == 1 && c == 'x');
	else
		NEED(read(p[0], &c, 1) == -1 && errno == EINTR);
	NEED(signals_seen == 1);
	NEED(waitpid(pid, NULL, 0) == pid);
}

static void try_signals(void)
{
	restart_with(SA_RESTART, true);
	restart_with(0, false);
}

static void try_fault_signal(void)
{
	pid_t pid = fork();
	int st;

	NEED(pid >= 0);
	if (!pid) {
		volatile char *none;

		none = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		*none = 1;
		_exit(0);
	}
	NEED(waitpid(pid, &st, 0) == pid && WIFSIGNALED(st) && WTERMSIG(st) == SIGSEGV);
}

static void try_script(void)
{
	char *argv[] = { (char[]){ FEATURES_BASE "/s" }, NULL };
	char self[PATH_MAX] = "", text[PATH_MAX + 40];
	pid_t pid;
	int st, fd;

	features_own_mounts();
	NEED(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
	snprintf(text, sizeof(text), "#!%s --as-interpreter\n", self);
	features_spit(FEATURES_BASE "/s", text);
	NEED(chmod(FEATURES_BASE "/s", 0700) == 0);
	NEED((pid = fork()) >= 0);
	if (!pid) {
		execv(argv[0], argv);
		_exit(1);
	}
	NEED(waitpid(pid, &st, 0) == pid && WIFEXITED(st) && WEXITSTATUS(st) == 33);
	NEED((fd = (int)syscall(SYS_pidfd_open, getpid(), 0)) >= 0);
}

static void try_memfd(void)
{
	int fd = memfd_create("x", MFD_ALLOW_SEALING | MFD_CLOEXEC);

	NEED(fd >= 0 && ftruncate(fd, 4096) == 0);
	NEED(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW) == 0);
	NEED(ftruncate(fd, 8192) == -1 && errno == EPERM);
}

static void try_userfaultfd(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);

	NEED(fd >= 0 && ioctl(fd, UFFDIO_API, &api) == 0);
}

static void try_sysv_ipc(void)
{
	int id = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600), sem;
	struct sembuf up = { .sem_op = 1 };
	char *p;

	NEED(id >= 0);
	NEED((p = shmat(id, NULL, 0)) != (void *)-1);
	p[0] = 1;
	NEED(shmctl(id, IPC_RMID, NULL) == 0);
	NEED((sem = semget(IPC_PRIVATE, 1, IPC_CREAT | 0600)) >= 0);
	NEED(semop(sem, &up, 1) == 0 && semctl(sem, 0, IPC_RMID) == 0);
}

static void try_posix_mq(void)
{
	struct mq_attr at = { .mq_maxmsg = 1, .mq_msgsize = 8 };
	mqd_t q = mq_open("/guest_features", O_RDWR | O_CREAT, 0600, &at);
	char buf[8];

	NEED(q != (mqd_t)-1);
	NEED(mq_unlink("/guest_features") == 0);
	NEED(mq_send(q, "m", 1, 0) == 0 && mq_receive(q, buf, sizeof(buf), NULL) == 1);
}

static void try_process_vm(void)
{
	char from[4] = "abc", to[4] = "";
	struct iovec l = { to, 4 }, r = { from, 4 };

	NEED(process_vm_readv(getpid(), &l, 1, &r, 1, 0) == 4 && !strcmp(to, "abc"));
}

static void try_misc_calls(void)
{
	struct timespec t;
	char buf[16];

	NEED(syscall(SYS_getrandom, buf, sizeof(buf), 0) == sizeof(buf));
	NEED(syscall(SYS_membarrier, 0, 0, 0) > 0);
	NEED(syscall(SYS_kcmp, getpid(), getpid(), 2, 0, 0) == 0);
	NEED(clock_gettime(CLOCK_REALTIME, &t) == 0);
	NEED(clock_getres(CLOCK_MONOTONIC, &t) == 0 && t.tv_sec == 0 && t.tv_nsec == 1);
	NEED(access("/proc/self/maps", R_OK) == 0 && access("/sys/kernel", R_OK) == 0);
	NEED(access("/dev/null", W_OK) == 0 && access("/proc/sys/kernel/hostname", R_OK) == 0);
}

static const struct feature features_kernel[] = {
	{ "threads", try_threads },
	{ "event-fds", try_event_fds },
	{ "io_uring", try_io_uring },
	{ "pty", try_pty },
	{ "namespaces", try_namespaces },
	{ "seccomp", try_seccomp },
	{ "landlock", try_landlock },
	{ "ptrace", try_ptrace },
	{ "signals", try_signals },
	{ "fault-signal", try_fault_signal },
	{ "script", try_script },
	{ "memfd", try_memfd },
	{ "userfaultfd", try_userfaultfd },
	{ "sysv-ipc", try_sysv_ipc },
	{ "posix-mq", try_posix_mq },
	{ "process-vm", try_process_vm },
	{ "misc-calls", try_misc_calls },
	{ 0 },
};

/* Runs one feature in a child and prints its line; true if it is ok. */
static bool feature_run(const struct feature *f)
{
	char why[256];
	ssize_t n, have = 0;
	int p[2], st = 0;
	pid_t pid;

	if (pipe2(p, O_CLOEXEC) != 0 || (pid = fork()) < 0) {
		printf("FAIL %s: no child process (%s)\n", f->name, strerror(errno));
		return false;
	}
	if (!pid) {
		dup2(p[1], STDOUT_FILENO);
		alarm(60);
		f->try();
		_exit(0);
	}
	close(p[1]);
	waitpid(pid, &st, 0);
	fcntl(p[0], F_SETFL, O_NONBLOCK);
	while (have < (ssize_t)sizeof(why) - 1 &&
	       (n = read(p[0], why + have, sizeof(why) - 1 - (size_t)have)) > 0)
		have += n;
	close(p[0]);
	why[have] = 0;
	why[strcspn(why, "\n")] = 0;
	if (!st)
		printf("ok %s\n", f->name);
	else if (WIFSIGNALED(st))
		printf("FAIL %s: signal %d%s\n", f->name, WTERMSIG(st),
		       WTERMSIG(st) == SIGALRM ? ", it hung" : "");
	else
		printf("FAIL %s: %s\n", f->name, why);
	fflush(stdout);
	return !st;
}

int main(int argc, char **argv)
{
	const struct feature *const all[] = { features_kernel, features_io };
	int bad = 0, ran = 0;

	if (argc > 1 && !strcmp(argv[1], "--as-interpreter"))
		return 33;
	for (int i = 0; i < 2; i++) {
		for (const struct feature *f = all[i]; f->name; f++) {
			bool wanted = argc < 2;

			for (int k = 1; k < argc; k++)
				wanted |= !strcmp(argv[k], f->name);
			if (!wanted)
				continue;
			ran++;
			bad += !feature_run(f);
		}
	}
	printf("%d features, %d failed, %ld CPUs\n", ran, bad, sysconf(_SC_NPROCESSORS_ONLN));
	return bad || !ran;
}
