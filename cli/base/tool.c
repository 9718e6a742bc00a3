/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tool.c - one child with two pipes, read until both are closed, so that it cannot block
 * on one of them.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include "cli/base/tool.h"

#define NOT_FOUND 127

struct text { char *at; size_t cap, len; };

static void child(const struct tool *t, int null, const int out, const int err, pid_t parent)
{
	union { const char *const *c; char *const *v; } u = { .c = t->argv };
	const char *path = getenv("PATH");
	char more[4096];

	if (prctl(PR_SET_PDEATHSIG, SIGTERM) || getppid() != parent || dup2(null, 0) < 0 ||
	    dup2(t->out_len ? out : t->loud ? STDERR_FILENO : null, 1) < 0 ||
	    (!t->loud && dup2(err, 2) < 0))
		_exit(1);
	syscall(SYS_close_range, 3u, ~0u, 0);
	signal(SIGPIPE, SIG_DFL);
	if (t->path_dir) {
		int n = snprintf(more, sizeof(more), "%s:%s", t->path_dir,
				 path ? path : "/usr/local/bin:/usr/bin:/bin");

		if (n < 0 || (size_t)n >= sizeof(more) || setenv("PATH", more, 1))
			_exit(1);
	}
	execvp(u.v[0], u.v);
	_exit(NOT_FOUND);
}

/* The newest bytes stay in @keep_last, the first ones otherwise. */
static void add(struct text *x, const char *p, size_t n, bool keep_last)
{
	size_t room = x->cap - 1 - x->len, drop;

	if (keep_last && n > room) {
		drop = n - room < x->len ? n - room : x->len;
		memmove(x->at, x->at + drop, x->len - drop);
		x->len -= drop;
		room = x->cap - 1 - x->len;
		p += n > room ? n - room : 0;
	}
	n = n < room ? n : room;
	memcpy(x->at + x->len, p, n);
	x->len += n;
}

static void drain(int fd[2], struct text text[2])
{
	struct pollfd p[2] = { { fd[0], POLLIN, 0 }, { fd[1], POLLIN, 0 } };
	char buf[4096];

	while (p[0].fd >= 0 || p[1].fd >= 0) {
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return;
		for (int i = 0; i < 2; i++) {
			ssize_t n = p[i].fd >= 0 && p[i].revents ? read(p[i].fd, buf, sizeof(buf)) :
								   -1;

			if (n > 0)
				add(&text[i], buf, (size_t)n, i == 1);
			else if (p[i].fd >= 0 && p[i].revents && (!n || errno != EINTR))
				p[i].fd = -1;
		}
	}
}

/* The last line that says something; what is no text in it becomes '?'. */
static const char *last_line(struct text *x)
{
	char *line;

	while (x->len && (x->at[x->len - 1] == '\n' || x->at[x->len - 1] == ' '))
		x->len--;
	x->at[x->len] = '\0';
	line = strrchr(x->at, '\n');
	line = line ? line + 1 : x->at;
	for (char *p = line; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	return line;
}

static int result(const struct tool *t, int status, struct text *said, struct err *e)
{
	const char *name = t->argv[0];
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);

	if (code == NOT_FOUND && !said->len)
		return err_say(e, -ENOENT, "there is no %s on this host; install it (apt-get "
			       "install %s)", name, t->package ? t->package : name);
	if (code)
		(void)err_say(e, -EIO, "%s failed%s%.200s", name, said->len ? ": " : "",
			      last_line(said));
	return code;
}

int tool_run(const struct tool *t, struct err *e)
{
	auto_fd null = open("/dev/null", O_RDWR | O_CLOEXEC);
	char words[1024];
	struct text text[2] = { { t->out, t->out_len, 0 }, { words, sizeof(words), 0 } };
	int out[2], err[2], status = 0;
	pid_t pid, parent = getpid();
	char none[1];

	if (!t->out_len)
		text[0] = (struct text){ none, sizeof(none), 0 };
	if (null < 0 || pipe2(out, O_CLOEXEC))
		return err_set(e, -errno, "start %s", t->argv[0]);
	if (pipe2(err, O_CLOEXEC)) {
		close(out[0]);
		close(out[1]);
		return err_set(e, -errno, "start %s", t->argv[0]);
	}
	fflush(NULL);
	pid = fork();
	if (!pid)
		child(t, null, out[1], err[1], parent);
	close(out[1]);
	close(err[1]);
	if (pid > 0) {
		drain((int[2]){ out[0], err[0] }, text);
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
	}
	close(out[0]);
	close(err[0]);
	if (pid < 0)
		return err_set(e, -errno, "start %s", t->argv[0]);
	while (text[0].len && text[0].at[text[0].len - 1] == '\n')
		text[0].len--;
	text[0].at[text[0].len] = '\0';
	return result(t, status, &text[1], e);
}

bool tool_is_there(const char *name)
{
	const char *path = getenv("PATH"), *end;
	char file[4096];

	for (path = path ? path : ""; *path; path = end + (*end == ':')) {
		int n;

		end = strchrnul(path, ':');
		n = snprintf(file, sizeof(file), "%.*s/%s", (int)(end - path), path, name);
		if (n > 0 && (size_t)n < sizeof(file) && *file == '/' && !access(file, X_OK))
			return true;
	}
	return false;
}
