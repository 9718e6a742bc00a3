/* SPDX-License-Identifier: Apache-2.0 */
/*
 * monitor_save.c - asking the monitor to save its machine (vmm/control.h), perhaps in two
 * steps with something in between.
 */
#include <inttypes.h>
#include <poll.h>
#include <sys/socket.h>
#include "cli/base/term.h"
#include "cli/machine/monitor.h"

static int send_snapshot(const struct monitor_save *s, const int files[MONITOR_FILES])
{
	char word[32];
	union { struct cmsghdr h; char buf[CMSG_SPACE(MONITOR_FILES * sizeof(int))]; } u = {
		.h = { .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS,
		       .cmsg_len = CMSG_LEN(MONITOR_FILES * sizeof(int)) } };
	int n = snprintf(word, sizeof(word), "snapshot%s%s", s->diff ? " diff" : "",
			 s->still ? " wait" : "");
	struct iovec v = { .iov_base = word, .iov_len = (size_t)n };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = u.buf,
			    .msg_controllen = sizeof(u.buf) };

	memcpy(CMSG_DATA(&u.h), files, MONITOR_FILES * sizeof(int));
	return sendmsg(s->control_fd, &m, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* The next packet of the monitor. Bytes, a NUL after them, 0 at its end; or -errno. */
static int await(const struct monitor_save *s, char *answer, size_t len, struct err *e)
{
	uint64_t until = term_now_ns() + (uint64_t)s->timeout_ms * 1000000u;

	for (;;) {
		struct pollfd p[] = {
			{ .fd = s->control_fd, .events = POLLIN },
			{ .fd = s->pump ? s->pump->log_fd : -1, .events = POLLIN },
			{ .fd = s->pump ? s->pump->status_fd : -1, .events = POLLIN },
		};
		uint64_t now = term_now_ns();
		int left = now < until ? (int)((until - now) / 1000000u) + 1 : 0;
		ssize_t n;

		if (!left)
			return err_say(e, -ETIMEDOUT, "the machine was not saved within %d s",
				       s->timeout_ms / 1000);
		if (poll(p, ARRAY_LEN(p), left) < 0 && errno != EINTR)
			return err_set(e, -errno, "wait for the machine to be saved");
		if (s->pump)
			monitor_read(s->pump);
		if (!p[0].revents)
			continue;
		n = recv(s->control_fd, answer, len - 1, MSG_DONTWAIT);
		answer[n > 0 ? n : 0] = '\0';
		return 0;
	}
}

/* The machine stands still until it is told to go. */
static int while_still(const struct monitor_save *s, struct err *e)
{
	int rc = s->still(s->arg, e);
	const char *word = rc ? "no" : "go";

	(void)!send(s->control_fd, word, strlen(word), MSG_NOSIGNAL);
	return rc;
}

int monitor_snapshot(const struct monitor_save *s, const int files[MONITOR_FILES],
		     struct monitor_saved *out, struct err *e)
{
	int rc = send_snapshot(s, files), still = 0;
	struct monitor_saved got = { 0 };
	char answer[400], kind[8] = "";
	struct err ignored;

	if (rc == -EPIPE || rc == -EBADF)	/* it ends, or has */
		return err_say(e, rc, "the machine could not be saved: the monitor is gone");
	if (rc)
		return err_set(e, rc, "ask the monitor to save the machine");
	rc = await(s, answer, sizeof(answer), e);
	if (!rc && !strcmp(answer, "still") && s->still) {
		still = while_still(s, e);
		rc = await(s, answer, sizeof(answer), still ? &ignored : e);
	}
	if (rc || still)
		return still ? still : rc;
	if (sscanf(answer, "ok pause=%" SCNu64 " total=%" SCNu64 " rounds=%u pages=%" SCNu64
		   " kind=%7s", &got.pause_ns, &got.total_ns, &got.rounds, &got.pages, kind) != 5)
		return err_say(e, -EIO, "the machine could not be saved: %.200s",
			       !strncmp(answer, "error ", 6) ? answer + 6 : "the monitor is gone");
	got.diff = !strcmp(kind, "diff");
	if (out)
		*out = got;
	return 0;
}
