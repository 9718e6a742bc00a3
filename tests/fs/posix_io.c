/* SPDX-License-Identifier: Apache-2.0 */
/* posix_io.c - what is done with open files. */
#include <limits.h>
#include <linux/falloc.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <sys/un.h>
#include <sys/wait.h>
#include "tests/fs/posix.h"

static void reading(void)
{
	int fd = (int)OK(open("f", O_RDONLY));
	char buf[16] = "";

	TRUE(read(fd, buf, 2) == 2 && !memcmp(buf, "da", 2));
	TRUE(lseek(fd, 0, SEEK_CUR) == 2 && lseek(fd, -1, SEEK_END) == 3);
	TRUE(read(fd, buf, 9) == 1 && *buf == 'a' && read(fd, buf, 9) == 0);
	TRUE(pread(fd, buf, 9, 1) == 3 && !memcmp(buf, "ata", 3));
	TRUE(pread(fd, buf, 9, 100) == 0);
	FAILS(EINVAL, lseek(fd, -1, SEEK_SET));
	FAILS(EBADF, write(fd, "x", 1));
	FAILS(EINVAL, ftruncate(fd, 0));
	OK(close(fd));
	fd = (int)OK(open("d", O_RDONLY));
	FAILS(EISDIR, read(fd, buf, 1));
	OK(close(fd));
}

static void writing(void)
{
	int fd = (int)OK(open("f", O_WRONLY | O_TRUNC)), more;
	char buf[16];

	TRUE(posix_stat("f").st_size == 0);
	TRUE(write(fd, "hello", 5) == 5 && pwrite(fd, "J", 1, 0) == 1);
	TRUE(!strcmp(posix_text("f"), "Jello"));
	FAILS(EBADF, read(fd, buf, 1));
	TRUE(pwrite(fd, "far", 3, 10000) == 3 && posix_stat("f").st_size == 10003);
	more = (int)OK(open("f", O_RDWR | O_APPEND));
	TRUE(lseek(more, 0, SEEK_SET) == 0 && write(more, "end", 3) == 3);
	TRUE(posix_stat("f").st_size == 10006);
	TRUE(pread(more, buf, 9, 10000) == 6 && !memcmp(buf, "farend", 6));
	TRUE(pread(more, buf, 1, 5000) == 1 && !*buf);
	OK(close(more));
	OK(fsync(fd));
	OK(fdatasync(fd));
	OK(close(fd));
	fd = (int)OK(open("g", O_RDWR));
	TRUE(write(fd, "", 0) == 0 && posix_stat("g").st_size == 5);
	OK(close(fd));
}

static void sizes(void)
{
	struct rlimit r = { 10000, RLIM_INFINITY };
	int fd;

	OK(truncate("f", 2));
	TRUE(!strcmp(posix_text("f"), "da"));
	OK(truncate("f", 4));
	TRUE(posix_stat("f").st_size == 4 && !strcmp(posix_text("f"), "da"));
	FAILS(EINVAL, truncate("f", -1));
	FAILS(EISDIR, truncate("d", 0));
	fd = (int)OK(open("f", O_RDWR));
	OK(ftruncate(fd, 1l << 40));
	TRUE(posix_stat("f").st_size == 1l << 40 && posix_stat("f").st_blocks < 100);
	OK(ftruncate(fd, 0));
	signal(SIGXFSZ, SIG_IGN);
	OK(setrlimit(RLIMIT_FSIZE, &r));
	FAILS(EFBIG, ftruncate(fd, 10001));
	TRUE(pwrite(fd, "abcdef", 6, 9997) == 3);
	FAILS(EFBIG, pwrite(fd, "x", 1, 10000));
	OK(close(fd));
}

static void space(void)
{
	int fd = (int)OK(open("f", O_RDWR));
	char buf[8];

	OK(posix_fallocate(fd, 0, 20000) ? -1 : 0);
	TRUE(posix_stat("f").st_size == 20000);
	OK(pwrite(fd, "data", 4, 4096));
	OK(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 100000));
	TRUE(posix_stat("f").st_size == 20000);
	OK(fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 4096, 4096));
	TRUE(pread(fd, buf, 4, 4096) == 4 && !memcmp(buf, "\0\0\0\0", 4));
	OK(pwrite(fd, "data", 4, 4096));
	OK(fallocate(fd, FALLOC_FL_ZERO_RANGE, 4098, 100));
	TRUE(pread(fd, buf, 4, 4096) == 4 && !memcmp(buf, "da\0\0", 4));
	FAILS(EINVAL, fallocate(fd, 0, -1, 10));
	FAILS(EINVAL, fallocate(fd, 0, 0, 0));
	OK(close(fd));
	fd = (int)OK(open("f", O_RDONLY));
	FAILS(EBADF, fallocate(fd, 0, 0, 10));
	OK(close(fd));
}

static void copying(void)
{
	int in = (int)OK(open("f", O_RDONLY)), out = (int)OK(open("g", O_RDWR));
	off_t from = 1, to = 3;

	TRUE(copy_file_range(in, &from, out, &to, 2, 0) == 2 && from == 3 && to == 5);
	TRUE(!strcmp(posix_text("g"), "othat"));
	TRUE(copy_file_range(in, NULL, out, NULL, 100, 0) == 4);
	TRUE(!strcmp(posix_text("g"), "datat"));
	TRUE(copy_file_range(in, NULL, out, NULL, 100, 0) == 0);
	FAILS(EBADF, copy_file_range(out, NULL, in, NULL, 1, 0));
	OK(close(in));
	OK(close(out));
}

static void holes(void)
{
	int fd = (int)OK(open("n", O_CREAT | O_RDWR, 0644));

	OK(pwrite(fd, "x", 1, 1 << 20));
	OK(fsync(fd));
	TRUE(lseek(fd, 0, SEEK_DATA) <= 1 << 20 && lseek(fd, 0, SEEK_HOLE) <= (1 << 20) + 1);
	FAILS(ENXIO, lseek(fd, (1 << 20) + 1, SEEK_DATA));
	FAILS(ENXIO, lseek(fd, -1, SEEK_HOLE));
	OK(close(fd));
}

static void mapping(void)
{
	int fd = (int)OK(open("f", O_RDWR));
	char *shared, *private;

	OK(ftruncate(fd, 8192));
	shared = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	private = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	TRUE(shared != MAP_FAILED && private != MAP_FAILED);
	if (shared == MAP_FAILED || private == MAP_FAILED)
		return;
	TRUE(!memcmp(shared, "data", 4));
	memcpy(shared + 5000, "mapped", 6);
	OK(msync(shared, 8192, MS_SYNC));
	memcpy(private, "mine", 4);
	OK(close(fd));
	fd = (int)OK(open("f", O_RDWR));
	TRUE(!strcmp(posix_text("f"), "data"));
	TRUE(pwrite(fd, "DATA", 4, 0) == 4 && !memcmp(shared, "DATA", 4));
	TRUE(!memcmp(private, "mine", 4));
	OK(munmap(private, 8192));
	memcpy(shared, "last", 4);
	OK(munmap(shared, 8192));
	TRUE(!strcmp(posix_text("f"), "last"));
	TRUE(lseek(fd, 5000, SEEK_SET) == 5000);
	OK(close(fd));
}

static void mapping_read(void)
{
	int fd = (int)OK(open("f", O_RDONLY));
	char *p = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);

	TRUE(p != MAP_FAILED && !memcmp(p, "data\0", 5));
	FAILS(EACCES, (long)mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
	OK(close(fd));
}

/* A file without a name is one as long as it is open. */
static void nameless(void)
{
	int fd = (int)OK(open("f", O_RDWR)), tmp;
	struct stat st;
	char buf[8];

	OK(unlink("f"));
	OK(fstat(fd, &st));
	TRUE(st.st_nlink == 0 && st.st_size == 4);
	TRUE(pwrite(fd, "D", 1, 0) == 1 && pread(fd, buf, 4, 0) == 4 && !memcmp(buf, "Data", 4));
	OK(ftruncate(fd, 100));
	OK(fchmod(fd, 0600));
	OK(fsync(fd));
	OK(close(fd));
	tmp = (int)OK(open("d", O_TMPFILE | O_RDWR, 0640));
	OK(write(tmp, "hidden", 6));
	OK(fstat(tmp, &st));
	TRUE(st.st_nlink == 0 && (st.st_mode & 07777) == 0640);
	OK(rmdir("d"));
	OK(close(tmp));
	FAILS(EISDIR, open("open", O_CREAT | O_RDWR, 0644));
}

/* ---- locks ---- */

static int lock(int fd, int cmd, short type, off_t at, off_t len)
{
	struct flock l = { .l_type = type, .l_whence = SEEK_SET, .l_start = at, .l_len = len };

	return fcntl(fd, cmd, &l);
}

static int in_child(int (*code)(void))
{
	pid_t pid = fork();

	if (!pid)
		_exit(code());
	return posix_wait(pid);
}

static int others_lock(void)
{
	int fd = open("f", O_RDWR);
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 10 };

	if (lock(fd, F_SETLK, F_WRLCK, 0, 10) != -1 || (errno != EAGAIN && errno != EACCES))
		return 1;
	if (lock(fd, F_SETLK, F_WRLCK, 10, 10))
		return 2;
	/* (Whose it is a file server cannot tell.) */
	if (fcntl(fd, F_GETLK, &l) || l.l_type != F_WRLCK || l.l_start || l.l_len != 10)
		return 3;
	return flock(fd, LOCK_EX | LOCK_NB) ? 0 : 4;
}

static int others_lock_now(void)
{
	int fd = open("f", O_RDWR);

	return lock(fd, F_SETLK, F_WRLCK, 0, 0) || flock(fd, LOCK_EX | LOCK_NB);
}

static void locks(void)
{
	int fd = (int)OK(open("f", O_RDWR)), held = (int)OK(open("f", O_RDWR)), third;

	OK(lock(fd, F_SETLK, F_WRLCK, 0, 10));
	OK(flock(held, LOCK_EX));
	TRUE(in_child(others_lock) == 0);
	third = (int)OK(open("f", O_RDWR));
	FAILS(EWOULDBLOCK, flock(third, LOCK_SH | LOCK_NB));
	FAILS(EAGAIN, lock(third, F_OFD_SETLK, F_WRLCK, 0, 1));
	OK(lock(third, F_OFD_SETLK, F_WRLCK, 100, 1));
	OK(close(third));	/* and with it all of this process's POSIX locks */
	OK(flock(held, LOCK_UN));
	TRUE(in_child(others_lock_now) == 0);
	OK(close(held));
	OK(close(fd));
	fd = (int)OK(open("g", O_RDONLY));
	FAILS(EBADF, lock(fd, F_SETLK, F_WRLCK, 0, 1));
	OK(lock(fd, F_SETLK, F_RDLCK, 0, 1));
	OK(close(fd));
}

/* ---- programs, pipes, sockets ---- */

static int run_x(void)
{
	close(1);
	if (open("out", O_CREAT | O_WRONLY | O_TRUNC, 0644) != 1)
		return 99;
	execl("./x", "x", "well", (char *)NULL);
	return 98;
}

static int run_f(void)
{
	execl("./f", "f", (char *)NULL);
	return errno == EACCES ? 0 : 1;
}

static void programs(void)
{
	TRUE(in_child(run_x) == 0);
	TRUE(!strcmp(posix_text("out"), "ran well\n"));
	TRUE(in_child(run_f) == 0);
}

static int write_pipe(void)
{
	int fd = open("p", O_WRONLY);

	return write(fd, "piped", 5) != 5;
}

static void pipes(void)
{
	pid_t pid = fork();
	char buf[8] = "";
	int fd;

	if (!pid)
		_exit(write_pipe());
	fd = (int)OK(open("p", O_RDONLY));
	TRUE(read(fd, buf, 5) == 5 && !memcmp(buf, "piped", 5) && read(fd, buf, 5) == 0);
	OK(close(fd));
	TRUE(posix_wait(pid) == 0);
}

static void sockets(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX, .sun_path = "sock" };
	int s = (int)OK(socket(AF_UNIX, SOCK_STREAM, 0));
	int c = (int)OK(socket(AF_UNIX, SOCK_STREAM, 0));

	OK(bind(s, (struct sockaddr *)&a, sizeof(a)));
	TRUE(S_ISSOCK(posix_stat("sock").st_mode));
	OK(listen(s, 1));
	OK(connect(c, (struct sockaddr *)&a, sizeof(a)));
	FAILS(ENXIO, open("sock", O_RDONLY));
	OK(close(s));
	OK(close(c));
	s = (int)OK(socket(AF_UNIX, SOCK_STREAM, 0));
	FAILS(EADDRINUSE, bind(s, (struct sockaddr *)&a, sizeof(a)));
	OK(close(s));
	OK(unlink("sock"));
}

const struct posix_case posix_io[] = {
	{ "reading", reading, READS },
	{ "writing", writing, 0 },
	{ "sizes", sizes, 0 },
	{ "space", space, 0 },
	{ "copying", copying, 0 },
	{ "holes", holes, 0 },
	{ "mapping", mapping, 0 },
	{ "mapping, reading", mapping_read, READS },
	{ "nameless files", nameless, 0 },
	{ "locks", locks, 0 },
	{ "programs", programs, 0 },
	{ "pipes", pipes, 0 },
	{ "sockets", sockets, 0 },
	{ NULL, NULL, 0 },
};
