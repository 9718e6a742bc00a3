// SPDX-License-Identifier: Apache-2.0
/*
 * server.c - the agent's set-up and its event sources.
 *
 * In a guest: listen on vsock port 52 first, then tell the host (CID 2, port 53)
 * that we do, so that READY is never a lie. If the host does not answer, it is
 * asked again for a few seconds; a host that does not care for READY just
 * connects.
 *
 * Children come in through a signalfd: one read and as many wait4() as there are
 * zombies, orphans included, whose parent PID 1 becomes.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#include "agent/boot.h"
#include "agent/cgroup.h"
#include "agent/control.h"
#include "agent/exec.h"
#include "agent/files.h"
#include "agent/jobs.h"
#include "agent/server.h"
#include "agent/root.h"
#include "agent/share.h"
#include "agent/tidy.h"

#define READY_TRIES  25
#define RETRY_NS     200000000u

static struct {
	struct watch listener, signals, ready;
	struct timer ready_timer, accept_timer;
	int ready_tries;
	bool init;
} sv;

/* ---- requests ---------------------------------------------------------- */

static bool request(struct conn *c, const struct proto_hdr *h, const uint8_t *payload)
{
	switch (h->type) {
	case PROTO_EXEC:
		exec_request(c, h, payload);
		return true;
	case PROTO_PUT: case PROTO_GET: case PROTO_LIST: case PROTO_STAT:
	case PROTO_MKDIR: case PROTO_REMOVE: case PROTO_RENAME:
	case PROTO_TAR_IN: case PROTO_TAR_OUT:
		files_request(c, h, payload);
		return true;
	case PROTO_RESUME: case PROTO_POWEROFF: case PROTO_REBOOT:
		control_request(c, h, payload);
		return true;
	case PROTO_EXEC_LIST: case PROTO_ATTACH: case PROTO_EXEC_WAIT:
	case PROTO_EXEC_SIGNAL: case PROTO_EXEC_WATCH:
		jobs_request(c, h, payload);
		return true;
	case PROTO_ROOT:
		root_request(c, h, payload);
		return true;
	case PROTO_MOUNT: case PROTO_UMOUNT:
		share_request(c, h, payload);
		return true;
	default:
		return false;
	}
}

/* ---- connections ------------------------------------------------------- */

static void on_accept(struct watch *w, uint32_t events)
{
	int fd = accept4(w->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)events;
	if (fd >= 0) {
		(void)conn_new(fd);	/* over the limit it is closed */
	} else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
		/* The listener stays ready: wait a little rather than spin. */
		struct timespec ts = { 0, 10000000 };

		nanosleep(&ts, NULL);
	}
}

static int listen_unix(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd;

	if (strlen(path) >= sizeof(sa.sun_path))
		return -ENAMETOOLONG;
	memcpy(sa.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	(void)unlink(path);
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0 && chmod(path, 0600) == 0 &&
	    listen(fd, 128) == 0)
		return fd;
	close(fd);
	return -errno;
}

static int listen_vsock(void)
{
	struct sockaddr_vm sa = {
		.svm_family = AF_VSOCK,
		.svm_port = PROTO_AGENT_PORT,
		.svm_cid = VMADDR_CID_ANY,
	};
	int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), rc;

	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0 && listen(fd, 128) == 0)
		return fd;
	rc = -errno;
	close(fd);
	return rc;
}

/* A serial device as the one connection, for machines without vsock. */
static int open_stream(const char *path)
{
	int fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	struct proto_wr *w;
	struct termios t;
	struct conn *c;

	if (fd < 0)
		return -errno;
	if (tcgetattr(fd, &t) == 0) {
		cfmakeraw(&t);
		(void)tcsetattr(fd, TCSANOW, &t);
	}
	c = conn_new(fd);
	if (!c)
		return -ENOMEM;
	evloop_timer_stop(&c->timer);	/* its client comes when it comes */
	w = conn_msg();
	proto_wr_hello(w, PROTO_READY, true, &conn_env.hello);
	conn_send_msg(c, w);
	return 0;
}

/* ---- READY ------------------------------------------------------------- */

static void ready_connect(void)
{
	struct sockaddr_vm sa = {
		.svm_family = AF_VSOCK,
		.svm_port = PROTO_READY_PORT,
		.svm_cid = PROTO_HOST_CID,
	};
	int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return;
	if ((connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 && errno != EINPROGRESS) ||
	    evloop_add(&sv.ready, fd, EPOLLOUT) < 0) {
		close(fd);
		if (++sv.ready_tries < READY_TRIES)
			evloop_timer(&sv.ready_timer, evloop_now() + RETRY_NS);
	}
}

static void on_ready(struct watch *w, uint32_t events)
{
	uint8_t buf[64];
	struct proto_wr wr;

	(void)events;
	proto_wr_init(&wr, buf, sizeof(buf));
	proto_wr_hello(&wr, PROTO_READY, true, &conn_env.hello);
	if (proto_wr_end(&wr) < 0 || write(w->fd, buf, wr.len) != (ssize_t)wr.len) {
		if (++sv.ready_tries < READY_TRIES)
			evloop_timer(&sv.ready_timer, evloop_now() + RETRY_NS);
	}
	evloop_del(w);
}

static void on_ready_timer(struct timer *t)
{
	(void)t;
	ready_connect();
}

/* ---- children and signals ---------------------------------------------- */

static void reap(void)
{
	struct rusage ru;
	bool any = false;
	int status;
	pid_t pid;

	while ((pid = wait4(-1, &status, WNOHANG, &ru)) > 0) {
		any = true;
		exec_reaped(pid, status, &ru);
	}
	if (any) {
		exec_sweep();
		tidy_later();
	}
}

static void on_signal(struct watch *w, uint32_t events)
{
	struct signalfd_siginfo si[4];
	ssize_t n = read(w->fd, si, sizeof(si));

	(void)events;
	/* As an init: SIGINT (Ctrl-Alt-Del) restarts, the others are the end. */
	for (ssize_t i = 0; i < n / (ssize_t)sizeof(si[0]); i++)
		if (si[i].ssi_signo != SIGCHLD && sv.init)
			control_halt(si[i].ssi_signo == SIGINT);
		else if (si[i].ssi_signo != SIGCHLD)
			evloop_stop();
	reap();
}

static int watch_signals(void)
{
	sigset_t set;
	int fd;

	/* Blocked, not ignored: what is ignored here would be ignored in commands too. */
	sigfillset(&set);
	if (sigprocmask(SIG_SETMASK, &set, NULL) < 0 || signal(SIGPIPE, SIG_DFL) == SIG_ERR)
		return -errno;
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGUSR1);	/* busybox halt */
	sigaddset(&set, SIGUSR2);	/* busybox poweroff */
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? -errno : evloop_add(&sv.signals, fd, EPOLLIN);
}

/* ---- set-up ------------------------------------------------------------ */

static void fill_hello(uint64_t features)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	conn_env.hello = (struct proto_hello){
		.min = PROTO_VERSION_MAX,
		.max = PROTO_VERSION_MAX,
		.features = features,
		.boot_ns = (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec,
		.stdin_window = PROTO_STDIN_WINDOW,
	};
	conn_env.request = request;
}

int server_run(const struct server_conf *conf, const char **what)
{
	uint64_t features;
	int fd, rc;

	memset(&sv, 0, sizeof(sv));
	sv.init = conf->init;
	sv.listener.fn = on_accept;
	sv.signals.fn = on_signal;
	sv.ready.fn = on_ready;
	sv.ready_timer.fn = on_ready_timer;
	*what = "event loop";
	if ((rc = evloop_init()) < 0 || (rc = watch_signals()) < 0)
		return rc;
	if (!conf->init)
		(void)prctl(PR_SET_CHILD_SUBREAPER, 1);
	features = cgroup_setup(conf->cgroup) | PROTO_F_FILES | PROTO_F_TAR | PROTO_F_JOBS |
		   PROTO_F_SPARSE;
	exec_init(features, conf->self);
	jobs_init();
	control_init(conf->init);
	root_init(conf->init);
	share_init(conf->init);
	tidy_init(conf->init);
	*what = "listening socket";
	fd = conf->unix_path ? listen_unix(conf->unix_path) : listen_vsock();
	if (fd >= 0 && (rc = evloop_add(&sv.listener, fd, EPOLLIN)) < 0)
		return rc;
	fill_hello(features | (conf->init ? PROTO_F_INIT | PROTO_F_ROOT | PROTO_F_SHARES |
					  PROTO_F_WHOLE : 0));
	if (conf->stream && (rc = open_stream(conf->stream)) < 0) {
		*what = conf->stream;
		return rc;
	}
	if (fd < 0 && !conf->stream)
		return fd;
	if (fd >= 0 && !conf->unix_path)
		ready_connect();
	rc = evloop_run();
	exec_kill_all();
	return rc;
}
