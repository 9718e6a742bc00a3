/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_control.c - the control sockets of the file server and of the monitor.
 *
 * An input is a row of packets: a byte that says which descriptors come along (three times two
 * bits: none, a folder, an empty file, a file with the rest of the input), one with the
 * packet's length, so many bytes of words. Each packet is served by both, each has exactly one
 * answer (the monitor's may be a question, which the next packet answers), and afterwards no
 * descriptor is left over.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include "devices/fs/control.h"
#include "devices/fs/wire.h"
#include "vmm/control.h"
#include "vmm/jail.h"

#define PACKETS		16u
#define FDS		3u

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t n);

static char folder[64];

static void clean(void)
{
	char line[96];

	snprintf(line, sizeof(line), "rm -rf %s", folder);
	if (*folder)
		(void)!system(line);
}

static int file_of(const uint8_t *in, size_t n)
{
	int fd = memfd_create("file", MFD_CLOEXEC);

	BUG_ON(fd < 0 || write(fd, in, n) != (ssize_t)n);
	return fd;
}

static unsigned descriptors(unsigned kinds, const uint8_t *in, size_t n, int fd[FDS])
{
	unsigned have = 0;

	for (unsigned i = 0; i < FDS; i++, kinds >>= 2)
		if (kinds % 4)
			fd[have++] = kinds % 4 == 1 ? open(folder, O_PATH | O_CLOEXEC) :
				     file_of(in, kinds % 4 == 2 ? 0 : n);
	return have;
}

static void put(int to, const uint8_t *words, size_t len, const int *fd, unsigned nfd)
{
	union { struct cmsghdr h; char buf[CMSG_SPACE(FDS * sizeof(int))]; } u = {
		.h = { .cmsg_len = CMSG_LEN(nfd * sizeof(int)), .cmsg_level = SOL_SOCKET,
		       .cmsg_type = SCM_RIGHTS } };
	struct iovec v = { .iov_base = (void *)(uintptr_t)words, .iov_len = len };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };

	if (nfd) {
		memcpy(CMSG_DATA(&u.h), fd, nfd * sizeof(int));
		m.msg_control = u.buf;
		m.msg_controllen = CMSG_SPACE(nfd * sizeof(int));
	}
	BUG_ON(sendmsg(to, &m, MSG_NOSIGNAL) != (ssize_t)len);
}

static void one_answer(int fd, bool may_ask)
{
	char line[FS_CONTROL_MAX + 1];
	ssize_t n = recv(fd, line, sizeof(line), MSG_DONTWAIT);

	BUG_ON(n < 2 || n > (ssize_t)FS_CONTROL_MAX);
	BUG_ON(strncmp(line, "ok", 2) && strncmp(line, "error ", 6) &&
	       !(may_ask && n == 5 && !memcmp(line, "still", 5)));
	BUG_ON(recv(fd, line, sizeof(line), MSG_DONTWAIT) >= 0);
}

static void snapshot(struct control *c, const int fd[3], unsigned flags)
{
	for (unsigned i = 0; i < 3; i++)
		close(fd[i]);
	if (flags & CONTROL_WAIT)
		BUG_ON(control_ask(c, "still"));
	else
		control_answer(c, flags & CONTROL_DIFF ? -EIO : 0, "pause=0");
}

/* The packet after "still". */
static void word(struct control *c, bool go)
{
	control_answer(c, go ? 0 : -ECANCELED, "pause=0");
}

struct both {
	struct loop loop;
	struct control monitor;
	struct fs fs;
	struct transport transport;
	int server_fd[2], monitor_fd[2];
};

static void packet(struct both *b, unsigned kinds, const uint8_t *words, size_t len,
		   const uint8_t *rest, size_t left)
{
	int fd[FDS];
	unsigned nfd = descriptors(kinds, rest, left, fd);

	/* Landlock would bind this process for good. */
	if (len < 4 || memcmp(words, "lock", 4)) {
		put(b->server_fd[0], words, len, fd, nfd);
		BUG_ON(control_serve(&b->fs, &b->transport, b->server_fd[1]));
		one_answer(b->server_fd[0], false);
	}
	put(b->monitor_fd[0], words, len, fd, nfd);
	BUG_ON(loop_once(&b->loop) < 0);
	one_answer(b->monitor_fd[0], true);
	for (unsigned i = 0; i < nfd; i++)
		close(fd[i]);
}

static void pair(int fd[2])
{
	BUG_ON(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fd));
}

static int next_free(void)
{
	int fd = dup(2);

	close(fd);
	return fd;
}

static void serve(const uint8_t *in, size_t n)
{
	static const struct jail jail = { .mode = JAIL_NONE };
	static struct both b;
	struct err e;

	b = (struct both){ .monitor = { .snapshot = snapshot, .word = word },
			   .transport = { .pool = { .jail = &jail } } };
	pair(b.server_fd);
	pair(b.monitor_fd);
	BUG_ON(loop_init(&b.loop, 8, &e) || fs_open(&b.fs, 256, false));
	BUG_ON(control_open(&b.monitor, &b.loop, b.monitor_fd[1]));
	for (unsigned i = 0; i < PACKETS && n > 2; i++) {
		unsigned kinds = in[0];
		size_t len = in[1] < n - 2 ? in[1] : n - 2;

		/* An empty packet cannot be told from the end. */
		if (len)
			packet(&b, kinds, in + 2, len, in + 2 + len, n - 2 - len);
		in += 2 + len;
		n -= 2 + len;
	}
	control_stop(&b.monitor);
	while (b.monitor.poll.busy)
		BUG_ON(loop_once(&b.loop) < 0);
	loop_exit(&b.loop);
	fs_close(&b.fs);
	for (unsigned i = 0; i < 2; i++) {
		close(b.server_fd[i]);
		close(b.monitor_fd[i]);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t n)
{
	static int home = -1;
	int before;

	if (!*folder) {
		home = open(".", O_PATH | O_CLOEXEC);
		snprintf(folder, sizeof(folder), "/tmp/fuzz-control-XXXXXX");
		BUG_ON(!mkdtemp(folder));
		atexit(clean);
	}
	before = next_free();
	serve(in, n);
	BUG_ON(fchdir(home));		/* attributes are reached by way of the working folder */
	BUG_ON(next_free() != before);
	return 0;
}
