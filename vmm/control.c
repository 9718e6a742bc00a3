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
	if ((!c->busy || c->asking) && c->fd >= 0 && !c->poll.busy &&
	    loop_poll(c->loop, &c->poll, c->fd, POLLIN, on_ready))
		c->fd = -1;	/* the ring is full: the peer sees no answer */
}

int control_open(struct control *c, struct loop *loop, int fd)
{
	c->loop = loop;
	c->fd = fd;
	c->busy = c->asking = false;
	return loop_poll(loop, &c->poll, fd, POLLIN, on_ready);
}

int control_ask(struct control *c, const char *what)
{
	if (c->fd < 0 || send(c->fd, what, strlen(what), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return -EPIPE;
	c->asking = true;
	listen_again(c);
	return c->fd < 0 ? -EPIPE : 0;
}

void control_answer(struct control *c, int code, const char *why)
{
	char line[320];
	int n = snprintf(line, sizeof(line), "%s %s", code ? "error" : "ok", why);

	if (n >= (int)sizeof(line))
		n = sizeof(line) - 1;
	c->busy = c->asking = false;
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

static void answer_asked(struct control *c, bool go)
{
	c->asking = false;
	c->word(c, go);
}

static void request(struct control *c, const char *word, const int fds[FDS_MAX], bool have)
{
	static const char *const snapshot[] = {
		[0] = "snapshot", [CONTROL_DIFF] = "snapshot diff",
		[CONTROL_WAIT] = "snapshot wait",
		[CONTROL_DIFF | CONTROL_WAIT] = "snapshot diff wait",
	};

	c->busy = true;
	for (unsigned i = 0; have && i < ARRAY_LEN(snapshot); i++)
		if (!strcmp(word, snapshot[i])) {
			c->snapshot(c, fds, i);
			return;
		}
	for (unsigned i = 0; have && i < FDS_MAX; i++)
		close(fds[i]);
	control_answer(c, -EINVAL, strncmp(word, "snapshot", 8) ? "no such request" :
				   "snapshot needs three descriptors");
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
	bool have;
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
		if (c->asking)
			answer_asked(c, false);
		return;
	}
	have = take_fds(&m, fds);
	if (!c->asking) {
		request(c, word, fds, have);
		return;
	}
	for (unsigned i = 0; have && i < FDS_MAX; i++)
		close(fds[i]);
	answer_asked(c, !strcmp(word, "go"));
}
