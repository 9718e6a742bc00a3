// SPDX-License-Identifier: Apache-2.0
/*
 * main.c - as PID 1 the init of a guest, otherwise a server for tests.
 *
 *   agent                               PID 1: boot, listen on vsock
 *   agent --listen-unix PATH [--cgroup DIR]   serve on a Unix socket of this machine
 *
 * The kernel hands words of its command line that it does not know to PID 1;
 * only `agent_stream=DEVICE` (in the environment, where the kernel puts NAME=VALUE) is
 * ours, everything else is ignored.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/boot.h"
#include "agent/control.h"
#include "agent/helper.h"
#include "agent/server.h"

static int usage(void)
{
	fputs("usage: agent --listen-unix PATH [--cgroup DIR]\n"
	      "Without arguments it has to be PID 1 of a guest.\n", stderr);
	return 2;
}

static int run_guest(void)
{
	struct server_conf conf = {
		.cgroup = "/sys/fs/cgroup",
		.stream = getenv("agent_stream"),
		.self = "/proc/self/exe",
		.init = true,
	};
	const char *what;
	int rc;

	boot_guest();
	rc = server_run(&conf, &what);
	boot_log("agent: %s: %s", what, strerror(-rc));
	control_halt(false);
	return 1;
}

int main(int argc, char **argv)
{
	struct server_conf conf = { .self = "/proc/self/exe" };
	const char *what;
	int rc;

	if (getpid() == 1)
		return run_guest();
	if (argc == 4 && strcmp(argv[1], "--helper-remove") == 0)
		return helper_remove(argv[2], strtoul(argv[3], NULL, 10));
	if (argc == 4 && strcmp(argv[1], "--helper-pack") == 0)
		return helper_pack(argv[2], strtoul(argv[3], NULL, 10));
	if (argc == 4 && strcmp(argv[1], "--helper-unpack") == 0)
		return helper_unpack(argv[2], strtoul(argv[3], NULL, 10));
	for (int i = 1; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "--listen-unix") == 0)
			conf.unix_path = argv[i + 1];
		else if (strcmp(argv[i], "--cgroup") == 0)
			conf.cgroup = argv[i + 1];
		else
			return usage();
	}
	if (argc % 2 == 0 || !conf.unix_path)
		return usage();
	umask(022);
	rc = server_run(&conf, &what);
	if (rc < 0)
		fprintf(stderr, "agent: %s: %s\n", what, strerror(-rc));
	return rc < 0;
}
