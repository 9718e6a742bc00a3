/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dev_mount.c - a FUSE mount on the host, for --mount. Nothing of this runs in a jail.
 */
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include "devices/fs/transport.h"

#define OPTIONS "default_permissions"

static int by_mount(const char *dir)
{
	auto_fd fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	char options[160];

	if (fd < 0)
		return -errno;
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=%u,group_id=%u,allow_other,"
		 OPTIONS ",max_read=%u", fd, getuid(), getgid(), FS_DATA_MAX);
	if (mount("sandbox", dir, "fuse.sandbox", MS_NOSUID | MS_NODEV, options))
		return -errno;
	return take_fd(&fd);
}

static pid_t helper(const char *dir, int sock)
{
	char fd[16];
	pid_t pid = fork();

	if (pid)
		return pid;
	snprintf(fd, sizeof(fd), "%d", sock);
	if (fcntl(sock, F_SETFD, 0) || setenv("_FUSE_COMMFD", fd, 1))
		_exit(127);
	execlp("fusermount3", "fusermount3", "-o", OPTIONS ",nosuid,nodev,fsname=sandbox,subtype="
	       "sandbox,max_read=1048576", "--", dir, (char *)NULL);
	_exit(127);
}

/* An ordinary user's way: a program with the right to mount hands the descriptor over. */
static int by_helper(const char *dir)
{
	union { struct cmsghdr align; char buf[CMSG_SPACE(sizeof(int))]; } u;
	char byte;
	struct iovec v = { &byte, 1 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = u.buf,
			    .msg_controllen = sizeof(u.buf) };
	struct cmsghdr *c;
	int pair[2], status, fd = -1;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return -errno;
	pid = helper(dir, pair[1]);
	close(pair[1]);
	if (pid > 0 && recvmsg(pair[0], &m, MSG_CMSG_CLOEXEC) == 1) {
		c = CMSG_FIRSTHDR(&m);
		if (c && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof(int)))
			memcpy(&fd, CMSG_DATA(c), sizeof(int));
	}
	close(pair[0]);
	if (pid > 0)
		waitpid(pid, &status, 0);
	return fd < 0 ? -EPERM : fd;
}

int dev_mount(const char *dir, struct err *e)
{
	int fd = by_mount(dir);

	if (fd == -EPERM || fd == -EACCES)
		fd = by_helper(dir);
	if (fd < 0)
		return err_set(e, fd, "mount a file server at %s", dir);
	return fd;
}

void dev_unmount(const char *dir)
{
	pid_t pid;
	int status;

	if (!umount2(dir, MNT_DETACH) || errno != EPERM)
		return;
	pid = fork();
	if (!pid) {
		execlp("fusermount3", "fusermount3", "-u", "-z", "--", dir, (char *)NULL);
		_exit(127);
	}
	if (pid > 0)
		waitpid(pid, &status, 0);
}
