/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fsd.c - one child process, the window and the socket that it has in common with the
 * monitor, and its control socket.
 *
 * What it writes to stderr goes to a pipe that is read only for the sentence on an end
 * that nobody wanted; a full pipe loses the rest.
 */
#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include "cli/share/fsd.h"
#include "cli/base/places.h"
#include "cli/base/spawn.h"
#include "devices/fs/wire.h"

#define ANSWER_MS 30000

static int make_window(struct err *e)
{
	auto_fd fd = memfd_create("sandbox-window", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || ftruncate(fd, (off_t)FS_WINDOW_BYTES) ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		return err_set(e, -errno, "make the window for shared folders");
	return take_fd(&fd);
}

static int start(struct fsd *f, int window, int socket, int control, struct err *e)
{
	struct place path;
	int log[2] = { -1, -1 }, rc = places_fsd(&path, e);
	char *const argv[] = { path.path, (char[]){ "--window-fd" }, (char[]){ "3" },
			       (char[]){ "--socket-fd" }, (char[]){ "4" },
			       (char[]){ "--control-fd" }, (char[]){ "5" },
			       (char[]){ "--parent-fd" }, (char[]){ "6" }, NULL };
	auto_fd null = open("/dev/null", O_RDWR | O_CLOEXEC);
	bool piped = !rc && null >= 0 && !pipe2(log, O_CLOEXEC | O_NONBLOCK);
	auto_fd log_r = log[0];
	auto_fd log_w = log[1];
	const struct spawn s = {
		.argv = argv, .fd = { null, null, log_w, window, socket, control, SPAWN_PARENT },
		.nfd = 7, .lost = "sandbox-fsd could not be executed\n", .lost_fd = STDERR_FILENO,
	};

	if (rc)
		return rc;
	if (!piped)
		return err_set(e, -errno, "make a pipe");
	f->pid = spawn_start(&s, &f->pidfd, e);
	if (f->pid < 0) {
		f->pidfd = -1;
		return f->pid;
	}
	f->log_fd = take_fd(&log_r);
	return 0;
}

int fsd_start(struct fsd *f, int vm_fd[2], struct err *e)
{
	int data[2] = { -1, -1 }, control[2] = { -1, -1 };
	auto_fd window = -1;
	int rc;

	*f = (struct fsd)FSD_NONE;
	window = make_window(e);
	if (window < 0)
		return window;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, data))
		return err_set(e, -errno, "make a socket");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control)) {
		rc = err_set(e, -errno, "make a socket");
	} else {
		f->control = control[0];
		rc = start(f, window, data[1], control[1], e);
		close(control[1]);
	}
	close(data[1]);
	if (rc) {
		close(data[0]);
		fsd_stop(f);
		return rc;
	}
	vm_fd[0] = take_fd(&window);
	vm_fd[1] = data[0];
	return 0;
}

/* ---- requests ---- */

static int send_words(int to, const char *words, const int *fds, size_t n_fds)
{
	struct iovec v = { .iov_base = (void *)(uintptr_t)words, .iov_len = strlen(words) };
	union { struct cmsghdr h; char buf[CMSG_SPACE(2 * sizeof(int))]; } u = {
		.h = { .cmsg_len = CMSG_LEN(n_fds * sizeof(int)), .cmsg_level = SOL_SOCKET,
		       .cmsg_type = SCM_RIGHTS } };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };

	if (n_fds) {
		memcpy(CMSG_DATA(&u.h), fds, n_fds * sizeof(int));
		m.msg_control = u.buf;
		m.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
	}
	return sendmsg(to, &m, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int ask(struct fsd *f, const char *words, const int *fds, size_t n_fds, struct err *e)
{
	struct pollfd p = { .fd = f->control, .events = POLLIN };
	char answer[FS_CONTROL_MAX];
	int rc = send_words(f->control, words, fds, n_fds);
	ssize_t n;

	while (!rc && poll(&p, 1, ANSWER_MS) < 0)
		if (errno != EINTR)
			rc = -errno;
	n = rc ? 0 : recv(f->control, answer, sizeof(answer) - 1, MSG_DONTWAIT);
	if (n < 0 && errno == EAGAIN)
		return err_say(e, -ETIMEDOUT, "the server of shared folders did not answer within "
			       "%d s", ANSWER_MS / 1000);
	if (n <= 0) {
		(void)fsd_ended(f);
		fsd_explain(f, "when it was asked for something", e);
		return e->code;
	}
	answer[n] = '\0';
	if (!strncmp(answer, "ok", 2))
		return 0;
	return err_say(e, -EIO, "%.200s", answer + (strncmp(answer, "error ", 6) ? 0 : 6));
}

int fsd_ask(struct fsd *f, const char *words, int fd, struct err *e)
{
	return ask(f, words, &fd, fd >= 0, e);
}

/* By its real path: if a link has come in between since it was checked, it is not opened. */
static int open_folder(const char *path, struct err *e)
{
	struct open_how how = { .flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
				.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS };
	int fd = (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));

	return fd < 0 ? err_set(e, -errno, "open the shared folder %.150s", path) : fd;
}

int fsd_share(struct fsd *f, const struct share *s, int upper, const uint32_t owner[2],
	      struct err *e)
{
	char words[FS_CONTROL_MAX];
	auto_fd folder = open_folder(s->src, e);
	const int fds[2] = { folder, upper };
	int rc;

	if (folder < 0)
		return folder;
	snprintf(words, sizeof(words), "share %u %s %s %u %u", s->id, share_mode_name(s->mode),
		 share_cache_name(s->cache), owner[0], owner[1]);
	rc = ask(f, words, fds, 1 + (upper >= 0), e);
	return rc ? err_wrap(e, "share %.100s", s->src) : 0;
}

int fsd_unshare(struct fsd *f, unsigned id, struct err *e)
{
	char words[32];

	snprintf(words, sizeof(words), "unshare %u", id);
	return ask(f, words, NULL, 0, e);
}

/* ---- the end ---- */

static void reap(struct fsd *f)
{
	while (waitpid(f->pid, &f->wstatus, 0) < 0 && errno == EINTR)
		;
	close(f->pidfd);
	f->pidfd = -1;
}

bool fsd_ended(struct fsd *f)
{
	struct pollfd p = { .fd = f->pidfd, .events = POLLIN };

	if (f->pidfd >= 0 && poll(&p, 1, 0) == 1)
		reap(f);
	return f->pidfd < 0;
}

void fsd_explain(const struct fsd *f, const char *when, struct err *e)
{
	int signo = f->pidfd < 0 && WIFSIGNALED(f->wstatus) ? WTERMSIG(f->wstatus) : 0;
	char text[200];
	ssize_t n = f->log_fd < 0 ? 0 : read(f->log_fd, text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = '\0';
	text[strcspn(text, "\n")] = '\0';
	for (char *p = text; *p; p++)
		if (*p < ' ' || *p > '~')
			*p = '?';
	if (signo)
		err_say(e, -EIO, "the server of shared folders, sandbox-fsd, was killed by signal "
			"%d (%s) %s", signo, strsignal(signo), when);
	else
		err_say(e, -EIO, "the server of shared folders, sandbox-fsd, ended %s%s%.120s",
			when, *text ? ": " : "", text);
}

void fsd_stop(struct fsd *f)
{
	if (f->pidfd >= 0) {
		kill(f->pid, SIGKILL);
		reap(f);
	}
	if (f->control >= 0)
		close(f->control);
	if (f->log_fd >= 0)
		close(f->log_fd);
	f->control = f->log_fd = -1;
}
