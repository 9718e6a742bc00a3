/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c - the `sandbox` command: finds the verb and runs it.
 */
#include <fcntl.h>
#include "cli/cli.h"
#include "cli/keeper/keeper.h"
#include "cli/remote/remote.h"

/* A program started without one of the first three must not open a socket under its number. */
static void fill_std_fds(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

int main(int argc, char **argv)
{
	const struct verb *v;
	const char *word = argc > 1 ? argv[1] : NULL, *slash = strrchr(argv[0], '/');

	fill_std_fds();
	if (!strcmp(slash ? slash + 1 : argv[0], REMOTE_GIT_HELPER))
		return git_remote_main(argc, argv);
	if (!word) {
		cli_help(stderr);
		return CLI_USAGE;
	}
	if (!strcmp(word, "--help") || !strcmp(word, "-h"))
		word = "help";
	else if (!strcmp(word, "--version") || !strcmp(word, "-V"))
		word = "version";
	if (!strcmp(word, "_keep"))
		return keeper_main(argc - 1, argv + 1);
	if (!strcmp(word, "_ssh"))
		return ssh_serve_main(argc - 1, argv + 1);
	v = cli_find(word);
	if (!v) {
		cli_no_verb(word);
		return CLI_USAGE;
	}
	return v->main(v, argc - 1, argv + 1);
}
