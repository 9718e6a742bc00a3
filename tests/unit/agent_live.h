/* SPDX-License-Identifier: Apache-2.0 */
/*
 * agent_live.h - a real agent on a Unix socket, for the tests that need one.
 *
 * The agent runs in a child process of the test, from the same objects, so the
 * sanitizers of a build watch it; its helpers run the static program beside the
 * test binary (build/agent/agent).
 */
#ifndef TESTS_AGENT_LIVE_H
#define TESTS_AGENT_LIVE_H

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/client/client.h"
#include "agent/server.h"

#define UNUSED __attribute__((unused))

static char live_dir[] = "/tmp/agent-test.XXXXXX";
static char live_sock[64];
static pid_t live_pid;

UNUSED static void live_start(void)
{
	static char self[4096];
	struct server_conf conf = { .unix_path = live_sock, .self = self };
	const char *what;
	char *slash;
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 32);
	struct stat st;

	cr_assert_gt(n, 0);
	self[n] = 0;
	slash = strrchr(self, '/');
	strcpy(slash, "/agent/agent");
	signal(SIGPIPE, SIG_IGN);
	cr_assert_not_null(mkdtemp(live_dir));
	snprintf(live_sock, sizeof(live_sock), "%s/s", live_dir);
	live_pid = fork();
	if (live_pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(server_run(&conf, &what) < 0);
	}
	for (int i = 0; i < 500 && stat(live_sock, &st) < 0; i++)
		usleep(10000);
	usleep(10000);
}

UNUSED static void live_stop(void)
{
	char cmd[128];
	int status;

	kill(live_pid, SIGTERM);
	cr_expect_eq(waitpid(live_pid, &status, 0), live_pid);
	cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0,
		  "the agent ended with status %#x", status);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", live_dir);
	cr_expect_eq(system(cmd), 0);
}

UNUSED static struct client *live_client(void)
{
	struct client_err e = { 0 };
	struct client *c = client_open(live_sock, 0, 5000, &e);

	cr_assert_not_null(c, "%s", e.msg);
	return c;
}

struct live_run {
	struct client_exec x;
	struct client_result res;
	struct client_err e;
	int rc;
	char *out, *err;	/* NUL-terminated copies */
	size_t out_len, err_len;
};

UNUSED static int live_file(const void *p, size_t n)
{
	int fd = memfd_create("live", MFD_CLOEXEC);

	cr_assert_geq(fd, 0);
	cr_assert_eq(pwrite(fd, p, n, 0), (ssize_t)n);
	return fd;
}

UNUSED static char *live_slurp(int fd, size_t *len)
{
	struct stat st;
	char *p;

	cr_assert_eq(fstat(fd, &st), 0);
	p = malloc((size_t)st.st_size + 1);
	cr_assert_not_null(p);
	cr_assert_eq(pread(fd, p, (size_t)st.st_size, 0), st.st_size);
	p[st.st_size] = 0;
	*len = (size_t)st.st_size;
	return p;
}

/* Run with r->x as given except argv and fd; stdin is `in` (NULL: none). */
UNUSED static void live_exec(struct live_run *r, const char *const *argv, const char *in,
			     size_t in_len)
{
	struct client *c = live_client();

	r->x.argv = argv;
	r->x.fd[0] = in ? live_file(in, in_len) : -1;
	r->x.fd[1] = memfd_create("out", MFD_CLOEXEC);
	r->x.fd[2] = memfd_create("err", MFD_CLOEXEC);
	r->rc = client_exec_run(c, &r->x, NULL, 0, &r->res, &r->e);
	client_close(c);
	r->out = live_slurp(r->x.fd[1], &r->out_len);
	r->err = live_slurp(r->x.fd[2], &r->err_len);
	for (int i = 0; i < 3; i++)
		if (r->x.fd[i] >= 0)
			close(r->x.fd[i]);
}

UNUSED static void live_sh(struct live_run *r, const char *script)
{
	const char *argv[] = { "sh", "-c", script, NULL };

	live_exec(r, argv, NULL, 0);
}

UNUSED static void live_free(struct live_run *r)
{
	free(r->out);
	free(r->err);
}
#endif
