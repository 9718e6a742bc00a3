/* SPDX-License-Identifier: Apache-2.0 */
/*
 * term.c - raw mode is the only thing this program can leave behind in somebody
 * else's terminal, so every way out but SIGKILL restores it: exit() by atexit,
 * crashes by a handler that restores and raises the signal again. The ordinary
 * signals are read from a signalfd and end in exit().
 */
#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include "cli/base/term.h"

#define NS_PER_S 1000000000ull

static struct termios cooked;
static volatile sig_atomic_t raw_fd = -1;
static bool progress_shown;

uint64_t term_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

/* tcsetattr() from a background process would stop it by SIGTTOU: that is held off meanwhile. */
static void set(int fd, const struct termios *t)
{
	sigset_t ttou, old;

	sigemptyset(&ttou);
	sigaddset(&ttou, SIGTTOU);
	sigprocmask(SIG_BLOCK, &ttou, &old);
	tcsetattr(fd, TCSADRAIN, t);
	sigprocmask(SIG_SETMASK, &old, NULL);
}

void term_restore(void)
{
	int fd = raw_fd;

	raw_fd = -1;
	if (fd >= 0)
		set(fd, &cooked);
}

static void on_crash(int signo)
{
	int fd = raw_fd;

	if (fd >= 0)
		tcsetattr(fd, TCSANOW, &cooked);
	raise(signo);	/* SA_RESETHAND: the default action, after this returns */
}

static int make_raw(int fd)
{
	struct termios t = cooked;

	cfmakeraw(&t);
	raw_fd = fd;
	if (tcsetattr(fd, TCSADRAIN, &t)) {
		raw_fd = -1;
		return -errno;
	}
	return 0;
}

int term_raw(int fd)
{
	static const int crashes[] = { SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGSYS };
	struct sigaction sa = { .sa_handler = on_crash, .sa_flags = (int)SA_RESETHAND };
	static bool once;

	if (tcgetattr(fd, &cooked))
		return -errno;
	if (!once) {
		once = true;
		atexit(term_restore);
		for (size_t i = 0; i < ARRAY_LEN(crashes); i++)
			sigaction(crashes[i], &sa, NULL);
	}
	return make_raw(fd);
}

void term_suspend(void)
{
	int fd = raw_fd;

	term_restore();
	kill(getpid(), SIGSTOP);
	if (fd >= 0 && tcgetattr(fd, &cooked) == 0 && make_raw(fd))
		raw_fd = -1;
}

bool term_size(int fd, uint16_t *rows, uint16_t *cols)
{
	struct winsize w;

	if (ioctl(fd, TIOCGWINSZ, &w) || !w.ws_row || !w.ws_col)
		return false;
	*rows = w.ws_row;
	*cols = w.ws_col;
	return true;
}

void term_progress(const char *what, uint64_t since_ns)
{
	unsigned long long s = (term_now_ns() - since_ns) / NS_PER_S;
	char line[128];
	int n;

	if (!s || !isatty(STDERR_FILENO))
		return;
	n = snprintf(line, sizeof(line), "\rsandbox: %s (%llu s)\033[K", what, s);
	progress_shown = true;
	if (n > 0 && write(STDERR_FILENO, line, (size_t)n) < 0)
		progress_shown = false;
}

void term_progress_end(void)
{
	static const char wipe[] = "\r\033[K";

	if (!progress_shown)
		return;
	progress_shown = false;
	if (write(STDERR_FILENO, wipe, sizeof(wipe) - 1) < 0)
		return;	/* as in cli_say() */
}
