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
#include "cli/share/enclose.h"
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

static int start(struct fsd *f, const char *jail, int window, int socket, int control,
		 struct err *e)
{
	struct place path;
	int log[2] = { -1, -1 }, rc = places_fsd(&path, e);
	union { const char *c[12]; char *v[12]; } argv = { .c = {
		path.path, "--window-fd", "3", "--socket-fd", "4", "--control-fd", "5",
		"--parent-fd", "6", "--jail", jail } };
	auto_fd null = open("/dev/null", O_RDWR | O_CLOEXEC);
	bool piped = !rc && null >= 0 && !pipe2(log, O_CLOEXEC | O_NONBLOCK);
	auto_fd log_r = log[0];
	auto_fd log_w = log[1];
	const struct spawn s = {
		.argv = argv.v, .fd = { null, null, log_w, window, socket, control, SPAWN_PARENT },
		.nfd = 7, .no_namespace = f->none,
		.lost = "sandbox-fsd could not be executed\n", .lost_fd = STDERR_FILENO,
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

/* What follows "ok " goes to @text, unless that is NULL. */
static int ask(struct fsd *f, const char *words, const int *fds, size_t n_fds, char *text,
	       size_t len, struct err *e)
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
	if (text)
		snprintf(text, len, "%.*s", (int)len - 1,
			 answer + (strncmp(answer, "ok ", 3) ? n : 3));
	if (!strncmp(answer, "ok", 2))
		return 0;
	return err_say(e, -EIO, "%.200s", answer + (strncmp(answer, "error ", 6) ? 0 : 6));
}

int fsd_ask(struct fsd *f, const char *words, int fd, struct err *e)
{
	return ask(f, words, &fd, fd >= 0, NULL, 0, e);
}

/* ---- its jail ---- */

const char *fsd_walls(const struct fsd *f, char *buf, size_t len)
{
	static const char *const states[] = { "", " ", " -" };

	snprintf(buf, len, "%s%s%s%s%s", f->walls, states[f->enclosed],
		 f->enclosed ? "enclosed" : "", states[f->locked], f->locked ? "landlock" : "");
	return buf;
}

/* What one share lacks is lacking. */
static int note(struct fsd *f, enum fsd_wall *w, bool stands, struct err *e)
{
	char text[FSD_WALLS_MAX];

	*w = stands && *w != FSD_MISSING ? FSD_STANDS : FSD_MISSING;
	if (stands || !f->strict)
		return 0;
	return err_say(e, -EPERM, "the server of shared folders has not all of its walls: %s "
		       "(--jail=auto does without)", fsd_walls(f, text, sizeof(text)));
}

/* Root uses other users' files, and keeps what that takes: CAP_DAC_*, CAP_FOWNER. */
static int verify(struct fsd *f, struct err *e)
{
	uint64_t caps = geteuid() ? 0 : 1u << 1 | 1u << 2 | 1u << 3;
	int rc = ask(f, "jail", NULL, 0, f->walls, sizeof(f->walls), e);

	if (rc)
		return rc;
	if (f->strict && (strchr(f->walls, '-') || !strstr(f->walls, "seccomp")))
		return err_say(e, -EPERM, "the server of shared folders has not all of its walls: "
			       "%s", f->walls);
	return strstr(f->walls, "-seccomp") ? 0 : spawn_verify(f->pid, caps, e);
}

int fsd_start(struct fsd *f, const char *jail, int vm_fd[2], struct err *e)
{
	int data[2] = { -1, -1 }, control[2] = { -1, -1 };
	auto_fd window = -1;
	int rc;

	jail = jail ? jail : "auto";
	*f = (struct fsd)FSD_NONE;
	f->strict = !strcmp(jail, "strict");
	f->none = !strcmp(jail, "none");
	window = make_window(e);
	if (window < 0)
		return window;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, data))
		return err_set(e, -errno, "make a socket");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control)) {
		rc = err_set(e, -errno, "make a socket");
	} else {
		f->control = control[0];
		rc = start(f, jail, window, data[1], control[1], e);
		close(control[1]);
	}
	if (!rc && !f->none)
		rc = verify(f, e);
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
	auto_fd own = -1, own_upper = -1;
	int fds[2] = { folder, upper }, rc = 0;

	if (folder < 0)
		return folder;
	if (!f->none) {
		own = enclose(folder, s->mode != SHARE_RW);
		own_upper = upper < 0 || own < 0 ? -1 : enclose(upper, false);
		rc = note(f, &f->enclosed, own >= 0 && (upper < 0 || own_upper >= 0), e);
		fds[0] = own >= 0 ? own : folder;
		fds[1] = own_upper >= 0 ? own_upper : upper;
	}
	if (rc)
		return err_wrap(e, "share %.60s", s->src);
	snprintf(words, sizeof(words), "share %u %s %s %u %u", s->id, share_mode_name(s->mode),
		 share_cache_name(s->cache), owner[0], owner[1]);
	rc = ask(f, words, fds, 1 + (upper >= 0), NULL, 0, e);
	return rc ? err_wrap(e, "share %.100s", s->src) : 0;
}

int fsd_lock(struct fsd *f, struct err *e)
{
	struct err why;

	if (f->none)
		return 0;
	return note(f, &f->locked, !ask(f, "lock", NULL, 0, NULL, 0, &why), e);
}

int fsd_unshare(struct fsd *f, unsigned id, struct err *e)
{
	char words[32];

	snprintf(words, sizeof(words), "unshare %u", id);
	return ask(f, words, NULL, 0, NULL, 0, e);
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
