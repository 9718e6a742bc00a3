/* SPDX-License-Identifier: Apache-2.0 */
/*
 * settle.c - is the guest idle?
 *
 * A command leaves work behind that its end does not wait for: a closed connection, an
 * address space, a control group, whose last parts go in callbacks and work queues.
 * Saved in the middle of that, every clone would have it to do before its own first
 * command.
 *
 * A virtual CPU without work is a thread that sleeps. One that sleeps and one that
 * merely gets no processor on a loaded host differ in the second figure of schedstat,
 * the time spent waiting for one; so both are added. A guest at rest still has
 * timers, which cost milliseconds each where its kernel is emulated: hence a share
 * instead of none.
 */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include "cli/base/term.h"
#include "cli/machine/settle.h"

#define WINDOW_NS	200000000u
#define BUSY_NS		(WINDOW_NS / 4)		/* in a window: more is not rest */
#define TICK_MS		20
#define NS_PER_MS	1000000u

static int thread_busy_ns(int tasks, const char *tid, uint64_t *ns)
{
	char name[300], text[128];
	uint64_t ran, waited;
	ssize_t n;

	snprintf(name, sizeof(name), "%s/schedstat", tid);
	{
		auto_fd fd = openat(tasks, name, O_RDONLY | O_CLOEXEC);

		n = fd < 0 ? -errno : read(fd, text, sizeof(text) - 1);
	}
	if (n <= 0)
		return n < 0 ? (int)n : -ENODATA;
	text[n] = '\0';
	if (sscanf(text, "%" SCNu64 " %" SCNu64, &ran, &waited) != 2)
		return -EPROTO;
	*ns += ran + waited;
	return 0;
}

int settle_busy_ns(const char *proc, pid_t pid, uint64_t *ns)
{
	char path[PLACES_MAX];
	DIR *d;
	int rc = 0;

	*ns = 0;
	snprintf(path, sizeof(path), "%s/%d/task", proc, (int)pid);
	d = opendir(path);
	if (!d)
		return -errno;
	for (const struct dirent *de; !rc && (de = readdir(d));)
		if (de->d_name[0] != '.')
			rc = thread_busy_ns(dirfd(d), de->d_name, ns);
	closedir(d);
	return rc;
}

/* A tick, during which the pipes are read. 0 or a signal's number. */
static int pass(struct machine *m, int sigfd)
{
	struct pollfd p[] = {
		{ .fd = sigfd, .events = POLLIN },
		{ .fd = m->mon.log_fd, .events = POLLIN },
		{ .fd = m->mon.status_fd, .events = POLLIN },
	};

	(void)poll(p, ARRAY_LEN(p), TICK_MS);
	monitor_read(&m->mon);
	return p[0].revents ? machine_signal(sigfd) : 0;
}

int machine_settle(struct machine *m, int sigfd, unsigned limit_ms)
{
	uint64_t begin = term_now_ns(), since = begin, before, now, busy;
	int signo;

	if (settle_busy_ns("/proc", m->mon.pid, &before))
		return 0;
	do {
		signo = pass(m, sigfd);
		now = term_now_ns();
		if (signo || now - begin > (uint64_t)limit_ms * NS_PER_MS ||
		    settle_busy_ns("/proc", m->mon.pid, &busy))
			return signo;
		if (busy > before && busy - before > BUSY_NS) {
			before = busy;
			since = now;
		}
	} while (now - since < WINDOW_NS);
	return 0;
}
