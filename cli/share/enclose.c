/* SPDX-License-Identifier: Apache-2.0 */
/*
 * enclose.c - open_tree(2), which clones only what is in the caller's own mount namespace,
 * and only for whoever may mount in that: a child makes itself such a namespace, and sends
 * back what it got. It looks the folder up again by its path, and takes it only if it still
 * is the same.
 */
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include "cli/base/places.h"
#include "cli/share/enclose.h"

/* <sys/mount.h> and <linux/mount.h> do not go together in glibc 2.36. */
extern int mount(const char *source, const char *target, const char *type, unsigned long flags,
		 const void *data);
#define PRIVATE_ALL (1ul << 18 | 1ul << 14)	/* MS_PRIVATE | MS_REC */
#define AT_ALL 0x8000				/* AT_RECURSIVE */

static int own_namespace(void)
{
	if ((geteuid() || unshare(CLONE_NEWNS)) && unshare(CLONE_NEWUSER | CLONE_NEWNS))
		return -errno;
	/* What is mounted and unmounted here later is not to come to the clone. */
	return mount(NULL, "/", NULL, PRIVATE_ALL, NULL) ? -errno : 0;
}

static int open_again(const char *path, int like)
{
	struct open_how how = { .flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
				.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS };
	auto_fd fd = (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));
	struct stat a, b;

	if (fd < 0 || fstat(fd, &a) || fstat(like, &b))
		return -errno;
	return a.st_dev == b.st_dev && a.st_ino == b.st_ino ? take_fd(&fd) : -ESTALE;
}

static int clone_tree(const char *path, int like, bool read_only)
{
	struct mount_attr attr = {
		.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC |
			    MOUNT_ATTR_NOSYMFOLLOW | (read_only ? MOUNT_ATTR_RDONLY : 0),
	};
	int rc = own_namespace();
	auto_fd fd = rc ? rc : open_again(path, like);
	auto_fd tree = -1;

	if (fd < 0)
		return fd;
	tree = (int)syscall(SYS_open_tree, fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC |
			    AT_EMPTY_PATH | AT_ALL);
	if (tree < 0 || syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH | AT_ALL, &attr,
				sizeof(attr)))
		return -errno;
	return take_fd(&tree);
}

/* ---- between the two processes: a descriptor, or a number ---- */

union fd_message { struct cmsghdr h; char buf[CMSG_SPACE(sizeof(int))]; };

static void give(int to, int fd)
{
	union fd_message u = { .h = { .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET,
				      .cmsg_type = SCM_RIGHTS } };
	struct iovec v = { .iov_base = &fd, .iov_len = sizeof(fd) };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };

	if (fd >= 0) {
		memcpy(CMSG_DATA(&u.h), &fd, sizeof(fd));
		m.msg_control = u.buf;
		m.msg_controllen = sizeof(u.buf);
	}
	(void)!sendmsg(to, &m, MSG_NOSIGNAL);
}

static int take(int from)
{
	union fd_message u;
	int fd = -EIO;
	struct iovec v = { .iov_base = &fd, .iov_len = sizeof(fd) };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = u.buf,
			    .msg_controllen = sizeof(u.buf) };
	ssize_t n;

	do {
		n = recvmsg(from, &m, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n != sizeof(fd))
		return -EIO;
	if (CMSG_FIRSTHDR(&m))
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(fd));
	return fd;
}

int enclose(int folder, bool read_only)
{
	char self[32];
	struct place p;
	int pair[2], fd;
	ssize_t n;
	pid_t pid;

	snprintf(self, sizeof(self), "/proc/self/fd/%d", folder);
	n = readlink(self, p.path, sizeof(p.path));
	if (n < 0 || (size_t)n == sizeof(p.path))
		return n < 0 ? -errno : -ENAMETOOLONG;
	p.path[n] = '\0';
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -errno;
	pid = fork();
	if (!pid) {
		give(pair[1], clone_tree(p.path, folder, read_only));
		_exit(0);
	}
	fd = pid < 0 ? -errno : 0;
	close(pair[1]);
	if (!fd)
		fd = take(pair[0]);
	close(pair[0]);
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return fd;
}
