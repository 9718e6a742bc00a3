/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fail.so - to be preloaded: lets the Nth of the calls below fail as it does when there is
 * no memory, no descriptor or no process left; N is FAIL_AT in the environment. Then it says
 * `injected NAME` on stderr. Calls are counted from main() on, in all threads.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t n);

static long at = -1, calls;
static __thread bool exempt;

static bool fails_really(const char *name)
{
	char line[64] = "injected ";

	if (__atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED) != at)
		return false;
	strcat(strcat(line, name), "\n");
	return syscall(SYS_write, 2, line, strlen(line)) > 0;
}

static bool fails(const char *name)
{
	return at >= 0 && !exempt && fails_really(name);
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
	const char *n = getenv("FAIL_AT");

	at = n ? atol(n) : -1;
}

#define FAIL(name, error, value) do { \
	if (fails(name)) { \
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

/* A full disk: to files alone. */
ssize_t write(int fd, const void *buf, size_t n)
{
	ssize_t (*real)(int, const void *, size_t) = next("write");
	struct stat st;

	if (at >= 0 && !exempt && !fstat(fd, &st) && S_ISREG(st.st_mode)) {
		if (fails_really("write")) {
			errno = ENOSPC;
			return -1;
		}
	}
	return real(fd, buf, n);
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

	if (fails("pthread_create"))
		return EAGAIN;
	return real(t, a, f, arg);
}
