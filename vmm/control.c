/* SPDX-License-Identifier: Apache-2.0 */
/*
 * #syscalls:loop recvmsg sendto close
 * #uring:loop POLL_ADD
 */
#include <poll.h>
#include "vmm/control.h"

#define FDS_MAX 3

static void on_ready(struct op *op, int res);

static void listen_again(struct control *c)
{
	if (!c->busy && c->fd >= 0 && loop_poll(c->loop, &c->poll, c->fd, POLLIN, on_ready))
		c->fd = -1;	/* the ring is full: the peer sees no answer */
}

int control_open(struct control *c, struct loop *loop, int fd)
{
	c->loop = loop;
	c->fd = fd;
	c->busy = false;
	return loop_poll(loop, &c->poll, fd, POLLIN, on_ready);
}

void control_answer(struct control *c, int code, const char *why)
{
	char line[320];
	int n = snprintf(line, sizeof(line), "%s %s", code ? "error" : "ok", why);

	if (n >= (int)sizeof(line))
		n = sizeof(line) - 1;
	c->busy = false;
	if (c->fd >= 0)
		(void)!send(c->fd, line, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT);
	listen_again(c);
}

void control_stop(struct control *c)
{
	if (c->loop)
		loop_cancel(&c->poll);
	c->fd = -1;
}

/* Take the descriptors that came along; false, and all closed, unless there are exactly three. */
static bool take_fds(struct msghdr *m, int fds[FDS_MAX])
{
	struct cmsghdr *h = CMSG_FIRSTHDR(m);
	size_t n;

	if (!h || h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
		return false;
	n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	if (n > FDS_MAX)
		n = FDS_MAX;
	memcpy(fds, CMSG_DATA(h), n * sizeof(int));
	if (n == FDS_MAX && !(m->msg_flags & MSG_CTRUNC))
		return true;
	for (size_t i = 0; i < n; i++)
		close(fds[i]);
	return false;
}

static void on_ready(struct op *op, int res)
{
	struct control *c = container_of(op, struct control, poll);
	union { struct cmsghdr align; char buf[CMSG_SPACE(FDS_MAX * sizeof(int))]; } u;
	char word[32] = "";
	struct iovec v = { .iov_base = word, .iov_len = sizeof(word) - 1 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = u.buf,
			    .msg_controllen = sizeof(u.buf) };
	int fds[FDS_MAX];
	bool have, diff;
	ssize_t n;

	if (res < 0 || c->fd < 0)
		return;
	n = recvmsg(c->fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		listen_again(c);
		return;
	}
	if (n <= 0) {			/* the peer has gone; --parent-fd is who ends us */
		c->fd = -1;
		return;
	}
	have = take_fds(&m, fds);
	c->busy = true;
	diff = !strcmp(word, "snapshot diff");
	if (have && (diff || !strcmp(word, "snapshot"))) {
		c->snapshot(c, fds, diff);
		return;
	}
	for (unsigned i = 0; have && i < FDS_MAX; i++)
		close(fds[i]);
	control_answer(c, -EINVAL, strncmp(word, "snapshot", 8) ? "no such request" :
				   "snapshot needs three descriptors");
}
