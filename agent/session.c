// SPDX-License-Identifier: Apache-2.0
/* session.c - find the members of a session by reading /proc/PID/stat. */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/session.h"

/* Session of a process, or 0 when it is gone or a zombie. proc(5): fields 3 and 6. */
static pid_t session_of(int proc, const char *pid)
{
	char name[32], buf[512], state, *p;
	int fd, sid = 0;
	ssize_t n;

	snprintf(name, sizeof(name), "%.20s/stat", pid);
	fd = openat(proc, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = read(fd, buf, sizeof(buf) - 1);
	close(fd);
	if (n <= 0)
		return 0;
	buf[n] = 0;
	/* The name may hold anything, parentheses included. */
	p = strrchr(buf, ')');
	if (!p || sscanf(p + 1, " %c %*d %*d %d", &state, &sid) != 2 || state == 'Z' ||
	    state == 'X')
		return 0;
	return sid;
}

int session_kill(pid_t sid)
{
	struct dirent *e;
	int n = 0;
	DIR *d;

	d = sid > 1 ? opendir("/proc") : NULL;
	if (!d)
		return 0;
	while ((e = readdir(d))) {
		long pid = strtol(e->d_name, NULL, 10);

		if (pid > 1 && session_of(dirfd(d), e->d_name) == sid) {
			kill((pid_t)pid, SIGKILL);
			n++;
		}
	}
	closedir(d);
	return n;
}
