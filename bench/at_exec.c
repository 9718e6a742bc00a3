/* SPDX-License-Identifier: Apache-2.0 */
/*
 * at_exec FD CMD [ARG...] - write `start NS` (CLOCK_MONOTONIC) to FD, then become CMD.
 *
 * What a benchmark's own language needs for fork and exec is thereby not in the
 * time from "exec of the program" to whatever that program reports on FD.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct timespec t;

	if (argc < 3)
		return 2;
	clock_gettime(CLOCK_MONOTONIC, &t);
	if (dprintf(atoi(argv[1]), "start %lld%09ld\n", (long long)t.tv_sec, t.tv_nsec) < 0)
		return 2;
	execv(argv[2], argv + 2);
	fprintf(stderr, "at_exec: %s: %s\n", argv[2], strerror(errno));
	return 127;
}
