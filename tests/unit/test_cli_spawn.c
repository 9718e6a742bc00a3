/* SPDX-License-Identifier: Apache-2.0 */
/* What a program that a guest attacks is started with. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/wait.h>
#include "cli/base/spawn.h"

/* Its environment, as it sees it itself. */
static const char *started(void)
{
	static char text[65536];
	char *argv[] = { (char[]){ "/usr/bin/env" }, NULL };
	struct spawn s = { .argv = argv, .nfd = 3, .no_namespace = true };
	struct err e = { 0 };
	int out[2], pidfd = -1, null = open("/dev/null", O_RDWR | O_CLOEXEC);
	size_t len = 0;
	ssize_t n;
	pid_t pid;

	cr_assert_eq(pipe2(out, O_CLOEXEC), 0);
	s.fd[0] = s.fd[2] = null;
	s.fd[1] = out[1];
	pid = spawn_start(&s, &pidfd, &e);
	cr_assert_gt(pid, 0, "%s", e.msg);
	close(out[1]);
	while ((n = read(out[0], text + len, sizeof(text) - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	close(out[0]);
	close(pidfd);
	close(null);
	cr_assert_eq(waitpid(pid, NULL, 0), pid);
	return text;
}

/* A monitor that was taken over would read the keys of its starter in its own memory. */
Test(cli_spawn, the_persons_environment_stays_with_the_person)
{
	const char *text;

	unsetenv("SANDBOX_VMM");
	unsetenv("SANDBOX_FSD");
	setenv("AWS_SECRET_ACCESS_KEY", "xyzzy", 1);
	setenv("MY_SAN_OPTIONS_TOKEN", "xyzzy", 1);
	setenv("SAN", "xyzzy", 1);
	setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
	setenv("LD_BIND_NOW", "1", 1);
	text = started();
	cr_expect(!strstr(text, "xyzzy") && !strstr(text, "PATH="), "%s", text);
	cr_expect(strstr(text, "ASAN_OPTIONS=detect_leaks=0\n") && strstr(text, "LD_BIND_NOW=1\n"),
		  "how it is loaded: %s", text);
	/* Who names another program may want to tell it something. */
	setenv("SANDBOX_VMM", "/usr/bin/env", 1);
	cr_expect(strstr(started(), "AWS_SECRET_ACCESS_KEY=xyzzy\n"));
}
