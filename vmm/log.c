/* SPDX-License-Identifier: Apache-2.0 */
/*
 * #syscalls:loop,vcpu write poll futex
 * #syscalls:loop clock_gettime?
 */
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <time.h>
#include "vmm/log.h"

static struct {
	pthread_mutex_t lock;
	enum log_level max;
	const char *name;
	int tee;
	size_t unshown;			/* console bytes that the tee would not take */
} state = { .lock = PTHREAD_MUTEX_INITIALIZER, .max = LOG_LEVEL_WARN,
	    .name = "sandbox-vmm", .tee = -1 };

void log_level(enum log_level max)
{
	state.max = max;
}

void log_name(const char *name)
{
	state.name = name;
}

static void write_all(int fd, const char *p, size_t n)
{
	while (n) {
		ssize_t w = write(fd, p, n);

		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0)
			return;
		p += w;
		n -= (size_t)w;
	}
}

/*
 * As write_all(), but a reader that has stalled must not stall the machine: the
 * bytes that did not get out. Where poll(2) says so, a pipe has room for PIPE_BUF.
 */
static size_t write_now(int fd, const char *p, size_t n)
{
	while (n) {
		struct pollfd ready = { .fd = fd, .events = POLLOUT };
		ssize_t w = poll(&ready, 1, 0) == 1 && !(ready.revents & POLLERR) ?
			    write(fd, p, n < PIPE_BUF ? n : PIPE_BUF) : -1;

		if (w <= 0)
			break;
		p += w;
		n -= (size_t)w;
	}
	return n;
}

/* Under the lock, so that no other thread takes the room that was seen. */
static void tee(const char *p, size_t n)
{
	char note[80];
	int len;

	if (state.tee < 0)
		return;
	if (state.unshown) {
		len = snprintf(note, sizeof(note), "\n[%zu bytes of the console were not read in "
			       "time]\n", state.unshown);
		if (!write_now(state.tee, note, (size_t)len))
			state.unshown = 0;
	}
	state.unshown += state.unshown ? n : write_now(state.tee, p, n);
}

/* One write(2) per line, so that lines of several threads do not mix. */
static void printf_like(2, 0) line(bool wait, const char *fmt, va_list ap)
{
	char buf[1024];
	int n = snprintf(buf, sizeof(buf), "%s: ", state.name);
	size_t used = n > 0 ? (size_t)n : 0;

	n = vsnprintf(buf + used, sizeof(buf) - used - 1, fmt, ap);
	if (n < 0)
		return;
	used += (size_t)n;
	if (used > sizeof(buf) - 2)
		used = sizeof(buf) - 2;
	buf[used++] = '\n';
	if (wait)
		write_all(STDERR_FILENO, buf, used);
	else
		(void)write_now(STDERR_FILENO, buf, used);
}

void log_say(enum log_level level, const char *fmt, ...)
{
	va_list ap;

	if (level > state.max)
		return;
	va_start(ap, fmt);
	line(true, fmt, ap);
	va_end(ap);
}

/* Charge one line to @l; true if it may be printed, *dropped = lines swallowed before it. */
static bool limit_take(struct log_limit *l, unsigned *dropped)
{
	struct timespec now;
	bool ok;

	clock_gettime(CLOCK_MONOTONIC, &now);
	pthread_mutex_lock(&state.lock);
	if ((uint64_t)now.tv_sec != l->second) {
		l->second = (uint64_t)now.tv_sec;
		if (l->said >= LOG_BURST)
			l->said = LOG_BURST - 1;
	}
	ok = l->said < LOG_BURST;
	*dropped = ok ? l->dropped : 0;
	if (ok) {
		l->said++;
		l->dropped = 0;
	} else {
		l->dropped++;
	}
	pthread_mutex_unlock(&state.lock);
	return ok;
}

void log_guest(struct log_limit *limit, const char *fmt, ...)
{
	unsigned dropped;
	va_list ap;

	if (state.max < LOG_LEVEL_WARN || !limit_take(limit, &dropped))
		return;
	if (dropped)
		log_say(LOG_LEVEL_WARN, "(%u similar messages not shown)", dropped);
	va_start(ap, fmt);
	line(false, fmt, ap);
	va_end(ap);
}

void log_console(const void *buf, size_t len)
{
	pthread_mutex_lock(&state.lock);
	tee(buf, len);
	pthread_mutex_unlock(&state.lock);
}

void log_console_tee(int fd)
{
	pthread_mutex_lock(&state.lock);
	state.tee = fd;
	pthread_mutex_unlock(&state.lock);
}
