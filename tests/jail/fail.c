/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fail.so - to be preloaded: lets the Nth of the calls below fail as it does when there is
 * no memory, no descriptor, no process or no room on a disk left; N is FAIL_AT in the
 * environment. Then it says `injected NAME` on stderr. Calls are counted from main() on, in all
 * threads.
 *
 * Or FAIL_FILE names a file (struct order) through which several processes are told, at any
 * time, which of all their calls fails, and in which what failed is noted: it stays mapped
 * behind the walls of a jail.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/timerfd.h>
#include <sys/signalfd.h>
#include <sys/inotify.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t n);

/* Past libc, and past the calls below. */
static long syscall_now(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
	long rc;

	__asm__ volatile("syscall" : "=a"(rc)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return rc;
}

struct order {
	int64_t at;			/* which call fails; 0: none */
	int64_t calls;			/* until now */
	int64_t lasting;		/* calls that fail with the same error fail from then on */
	int32_t error, unused;		/* why it failed: errno */
	char name[32];			/* what failed */
};

static long at = -1, calls;
static struct order *order;
static __thread bool exempt;

static bool fails_really(const char *name)
{
	char line[64] = "injected ";

	if (__atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED) != at)
		return false;
	strcat(strcat(line, name), "\n");
	return syscall_now(SYS_write, 2, (long)line, (long)strlen(line), 0, 0, 0) > 0;
}

static bool ordered(const char *name, int error)
{
	int64_t n, when = __atomic_load_n(&order->at, __ATOMIC_SEQ_CST);

	if (!when)
		return false;
	n = __atomic_add_fetch(&order->calls, 1, __ATOMIC_SEQ_CST);
	if (n != when)
		return n > when && order->lasting && order->error == error;
	order->error = error;
	strcpy(order->name, name);
	return true;
}

static bool fails(const char *name, int error)
{
	if (exempt)
		return false;
	return order ? ordered(name, error) : at >= 0 && fails_really(name);
}

static void *next(const char *name)
{
	void *p = dlsym(RTLD_NEXT, name);

	if (!p)
		abort();
	return p;
}

__attribute__((constructor)) static void begin(void)
{
	const char *n = getenv("FAIL_AT"), *file = getenv("FAIL_FILE");
	int fd = file ? (int)syscall_now(SYS_openat, AT_FDCWD, (long)file, O_RDWR | O_CLOEXEC, 0,
					 0, 0) : -1;

	if (fd >= 0) {
		long p = syscall_now(SYS_mmap, 0, sizeof(*order), PROT_READ | PROT_WRITE,
				     MAP_SHARED, fd, 0);

		order = p < 0 && p > -4096 ? NULL : (struct order *)p;
		close(fd);
	}
	at = n ? atol(n) : -1;
}

#define FAIL(name, error, value) do { \
	if (fails(name, error)) { \
		errno = (error); \
		return (value); \
	} } while (0)

void *malloc(size_t n)
{
	FAIL("malloc", ENOMEM, NULL);
	return __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
	FAIL("calloc", ENOMEM, NULL);
	return __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
	FAIL("realloc", ENOMEM, NULL);
	return __libc_realloc(p, n);
}

void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	void *(*real)(void *, size_t, int, int, int, off_t) = next("mmap");

	FAIL("mmap", ENOMEM, MAP_FAILED);
	return real(addr, len, prot, flags, fd, off);
}

/* libc's own look-up of users crashes without memory (glibc 2.36): it fails as a whole. */
struct passwd *getpwuid(uid_t uid)
{
	struct passwd *(*real)(uid_t) = next("getpwuid"), *p;

	FAIL("getpwuid", ENOMEM, NULL);
	exempt = true;
	p = real(uid);
	exempt = false;
	return p;
}

int open(const char *path, int flags, ...)
{
	int (*real)(const char *, int, ...) = next("open");
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = va_arg(ap, mode_t);
	va_end(ap);
	FAIL("open", EMFILE, -1);
	return real(path, flags, mode);
}

int openat(int dir, const char *path, int flags, ...)
{
	int (*real)(int, const char *, int, ...) = next("openat");
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = va_arg(ap, mode_t);
	va_end(ap);
	FAIL("openat", EMFILE, -1);
	return real(dir, path, flags, mode);
}

/* Of those that take an argument, it is one that fits into a register. */
int fcntl(int fd, int what, ...)
{
	int (*real)(int, int, ...) = next("fcntl");
	va_list ap;
	long arg;

	va_start(ap, what);
	arg = va_arg(ap, long);
	va_end(ap);
	if (what == F_DUPFD_CLOEXEC || what == F_DUPFD)
		FAIL("fcntl", EMFILE, -1);
	return real(fd, what, arg);
}

int epoll_create1(int flags)
{
	int (*real)(int) = next("epoll_create1");

	FAIL("epoll_create1", EMFILE, -1);
	return real(flags);
}

int timerfd_create(int clock, int flags)
{
	int (*real)(int, int) = next("timerfd_create");

	FAIL("timerfd_create", EMFILE, -1);
	return real(clock, flags);
}

int signalfd(int fd, const sigset_t *set, int flags)
{
	int (*real)(int, const sigset_t *, int) = next("signalfd");

	FAIL("signalfd", EMFILE, -1);
	return real(fd, set, flags);
}

int inotify_init1(int flags)
{
	int (*real)(int) = next("inotify_init1");

	FAIL("inotify_init1", EMFILE, -1);
	return real(flags);
}

int accept4(int fd, struct sockaddr *sa, socklen_t *n, int flags)
{
	int (*real)(int, struct sockaddr *, socklen_t *, int) = next("accept4");

	FAIL("accept4", EMFILE, -1);
	return real(fd, sa, n, flags);
}

int socket(int family, int type, int protocol)
{
	int (*real)(int, int, int) = next("socket");

	FAIL("socket", EMFILE, -1);
	return real(family, type, protocol);
}

int socketpair(int family, int type, int protocol, int fd[2])
{
	int (*real)(int, int, int, int *) = next("socketpair");

	FAIL("socketpair", EMFILE, -1);
	return real(family, type, protocol, fd);
}

int pipe2(int fd[2], int flags)
{
	int (*real)(int *, int) = next("pipe2");

	FAIL("pipe2", EMFILE, -1);
	return real(fd, flags);
}

int eventfd(unsigned n, int flags)
{
	int (*real)(unsigned, int) = next("eventfd");

	FAIL("eventfd", EMFILE, -1);
	return real(n, flags);
}

int memfd_create(const char *name, unsigned flags)
{
	int (*real)(const char *, unsigned) = next("memfd_create");

	FAIL("memfd_create", ENFILE, -1);
	return real(name, flags);
}

int ftruncate(int fd, off_t len)
{
	int (*real)(int, off_t) = next("ftruncate");

	FAIL("ftruncate", ENOSPC, -1);
	return real(fd, len);
}

/* A full disk: to files alone. Behind a filter nobody can look, and only pwrite() is for files. */
static bool is_file(int fd)
{
	struct stat st;

	return !strcmp(program_invocation_short_name, "sandbox") && !fstat(fd, &st) &&
	       S_ISREG(st.st_mode);
}

ssize_t write(int fd, const void *buf, size_t n)
{
	ssize_t (*real)(int, const void *, size_t) = next("write");

	if ((order || at >= 0) && !exempt && is_file(fd))
		FAIL("write", ENOSPC, -1);
	return real(fd, buf, n);
}

ssize_t pwrite(int fd, const void *buf, size_t n, off_t off)
{
	ssize_t (*real)(int, const void *, size_t, off_t) = next("pwrite");
	static unsigned row;

	/* Of the thousands that a machine's memory takes, some. */
	if (row++ % 64 == 0)
		FAIL("pwrite", ENOSPC, -1);
	return real(fd, buf, n, off);
}

ssize_t pwritev2(int fd, const struct iovec *v, int n, off_t off, int flags)
{
	ssize_t (*real)(int, const struct iovec *, int, off_t, int) = next("pwritev2");

	FAIL("pwritev2", ENOSPC, -1);
	return real(fd, v, n, off, flags);
}

ssize_t copy_file_range(int in, off_t *in_off, int out, off_t *out_off, size_t n, unsigned flags)
{
	ssize_t (*real)(int, off_t *, int, off_t *, size_t, unsigned) = next("copy_file_range");

	FAIL("copy_file_range", ENOSPC, -1);
	return real(in, in_off, out, out_off, n, flags);
}

int fsync(int fd)
{
	int (*real)(int) = next("fsync");

	FAIL("fsync", EIO, -1);
	return real(fd);
}

int linkat(int olddir, const char *old, int newdir, const char *new, int flags)
{
	int (*real)(int, const char *, int, const char *, int) = next("linkat");

	FAIL("linkat", ENOSPC, -1);
	return real(olddir, old, newdir, new, flags);
}

int mkdir(const char *path, mode_t mode)
{
	int (*real)(const char *, mode_t) = next("mkdir");

	FAIL("mkdir", ENOSPC, -1);
	return real(path, mode);
}

int mkdirat(int dirfd, const char *path, mode_t mode)
{
	int (*real)(int, const char *, mode_t) = next("mkdirat");

	FAIL("mkdirat", ENOSPC, -1);
	return real(dirfd, path, mode);
}

int renameat(int olddir, const char *old, int newdir, const char *new)
{
	int (*real)(int, const char *, int, const char *) = next("renameat");

	FAIL("renameat", ENOSPC, -1);
	return real(olddir, old, newdir, new);
}

int pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*f)(void *), void *arg)
{
	int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) =
		next("pthread_create");

	if (fails("pthread_create", EAGAIN))
		return EAGAIN;
	return real(t, a, f, arg);
}

pid_t fork(void)
{
	pid_t (*real)(void) = next("fork");

	FAIL("fork", EAGAIN, -1);
	return real();
}

/* Calls that libc has no function for. */
static const struct { long nr; const char *name; int error; } raw[] = {
	{ SYS_clone3, "clone3", EAGAIN },
	{ SYS_pidfd_open, "pidfd_open", EMFILE },
	{ SYS_openat2, "openat2", EMFILE },
	{ SYS_open_tree, "open_tree", EMFILE },
	{ SYS_io_uring_setup, "io_uring_setup", ENOMEM },
};

long syscall(long nr, ...)
{
	long a[6], rc;
	va_list ap;

	va_start(ap, nr);
	for (unsigned i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	for (unsigned i = 0; i < sizeof(raw) / sizeof(raw[0]); i++)
		if (raw[i].nr == nr)
			FAIL(raw[i].name, raw[i].error, -1);
	rc = syscall_now(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
	if (rc < 0 && rc > -4096) {
		errno = (int)-rc;
		return -1;
	}
	return rc;
}
