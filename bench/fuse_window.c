/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuse_window.c - the window of devices/fs/wire.h, with one slot in use.
 *
 * A request is built elsewhere and copied into the slot, and the reply copied out of
 * it, because that is what the monitor does between a guest's memory and the window.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include "bench/fuse_trip.h"
#include "devices/fs/wire.h"

static struct window {
	struct trip t;
	unsigned char *slot;
	int socket;
	unsigned char out[TRIP_ROOM], in[TRIP_ROOM];
} w;

static size_t call(struct trip *t, size_t len)
{
	struct fs_packet p = { .len = (uint32_t)len, .room = TRIP_ROOM };

	memcpy(w.slot, t->out, len);
	MUST(send(w.socket, &p, sizeof(p), 0) == sizeof(p));
	MUST(recv(w.socket, &p, sizeof(p), 0) == sizeof(p) && p.len <= TRIP_ROOM);
	memcpy(t->in, w.slot, p.len);
	return p.len;
}

static void share(int control, const char *folder)
{
	static const char word[] = "share 0 rw none 0 0";
	union { struct cmsghdr h; char buf[CMSG_SPACE(sizeof(int))]; } u = {
		.h = { .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS,
		       .cmsg_len = CMSG_LEN(sizeof(int)) } };
	struct iovec v = { .iov_len = sizeof(word) - 1 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = u.buf,
			    .msg_controllen = sizeof(u.buf) };
	char line[FS_CONTROL_MAX], copy[sizeof(word)];
	int fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	ssize_t n;

	MUST(fd >= 0);
	memcpy(copy, word, sizeof(word));
	v.iov_base = copy;
	memcpy(CMSG_DATA(&u.h), &fd, sizeof(fd));
	MUST(sendmsg(control, &m, 0) > 0);
	n = recv(control, line, sizeof(line) - 1, 0);
	MUST(n > 0);
	line[n] = '\0';
	if (strncmp(line, "ok", 2)) {
		fprintf(stderr, "%s\n", line);
		exit(1);
	}
	close(fd);
}

struct trip *trip_window(const char *server, const char *folder)
{
	int fd = memfd_create("window", MFD_ALLOW_SEALING), data[2], control[2];
	char words[3][16];

	MUST(fd >= 0 && !ftruncate(fd, (off_t)FS_WINDOW_BYTES));
	MUST(!fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL));
	MUST(!socketpair(AF_UNIX, SOCK_SEQPACKET, 0, data));
	MUST(!socketpair(AF_UNIX, SOCK_SEQPACKET, 0, control));
	snprintf(words[0], sizeof(words[0]), "%d", fd);
	snprintf(words[1], sizeof(words[1]), "%d", data[1]);
	snprintf(words[2], sizeof(words[2]), "%d", control[1]);
	if (!fork()) {
		close(data[0]);
		close(control[0]);
		execl(server, server, "--window-fd", words[0], "--socket-fd", words[1],
		      "--control-fd", words[2], "--jail", "auto", (char *)NULL);
		_exit(127);
	}
	close(data[1]);
	close(control[1]);
	w.slot = mmap(NULL, FS_WINDOW_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	MUST(w.slot != MAP_FAILED);
	w.socket = data[0];
	share(control[0], folder);
	w.t = (struct trip){ .out = w.out, .in = w.in, .call = call };
	return &w.t;
}
