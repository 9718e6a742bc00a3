/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sigs.c - signals are blocked and read where the program waits anyway, so that
 * nothing but the crash handler of term.c ever runs in a signal's context.
 */
#include <signal.h>
#include <sys/signalfd.h>
#include "cli/base/sigs.h"

int sigs_open(bool tty, struct err *e)
{
	static const int always[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2 };
	struct sigaction sa;
	sigset_t set;
	int fd;

	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_LEN(always); i++)
		if (!sigaction(always[i], NULL, &sa) && sa.sa_handler != SIG_IGN)
			sigaddset(&set, always[i]);
	if (tty) {
		sigaddset(&set, SIGWINCH);
		sigaddset(&set, SIGTSTP);
	}
	signal(SIGPIPE, SIG_IGN);
	fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (fd < 0 || sigprocmask(SIG_BLOCK, &set, NULL))
		return err_set(e, -errno, "take signals");
	return fd;
}

int sigs_next(int fd)
{
	struct signalfd_siginfo si;

	return read(fd, &si, sizeof(si)) == sizeof(si) ? (int)si.ssi_signo : 0;
}
