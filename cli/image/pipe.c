/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include "cli/image/pipe.h"

#define NOT_FOUND 127

static void child(const char *const *argv, const char *env, int null, int out, pid_t ppid)
{
	union { const char *const *c; char *const *v; } u = { .c = argv };
	union { const char *c; char *v; } var = { .c = env };

	if (prctl(PR_SET_PDEATHSIG, SIGTERM) || getppid() != ppid || dup2(null, 0) < 0 ||
	    dup2(out, 1) < 0)
		_exit(1);
	syscall(SYS_close_range, 3u, ~0u, 0);
	if (env && putenv(var.v))
		_exit(1);
	execvp(argv[0], u.v);
	_exit(NOT_FOUND);
}

int image_pipe_start(struct image_pipe *p, const char *const *argv, const char *env,
		     struct err *e)
{
	auto_fd null = open("/dev/null", O_RDWR | O_CLOEXEC);
	pid_t ppid = getpid();
	int fd[2];

	if (null < 0 || pipe2(fd, O_CLOEXEC))
		return err_set(e, -errno, "start %s", argv[0]);
	p->pid = fork();
	if (!p->pid)
		child(argv, env, null, fd[1], ppid);
	close(fd[1]);
	if (p->pid < 0) {
		close(fd[0]);
		return err_set(e, -errno, "start %s", argv[0]);
	}
	p->fd = fd[0];
	return 0;
}

static const char *package_of(const char *name)
{
	return strcmp(name, "mkfs.ext4") ? name : "e2fsprogs";
}

int image_pipe_end(struct image_pipe *p, const char *name, struct err *e)
{
	int status = 0;
	char rest[4096];
	struct err none;

	/* To its end: a writer that is cut off would have failed. */
	while (read(p->fd, rest, sizeof(rest)) > 0)
		;
	close(p->fd);
	while (waitpid(p->pid, &status, 0) < 0 && errno == EINTR)
		;
	if (!e)
		e = &none;
	if (WIFEXITED(status) && !WEXITSTATUS(status))
		return 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == NOT_FOUND)
		return err_say(e, -EIO, "%s is not there; install it (apt-get install %s)", name,
			       package_of(name));
	return err_say(e, -EIO, "%s failed; see what it said above", name);
}
