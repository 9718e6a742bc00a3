/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ask.c - the other end: starting a keeper, and asking one.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include "cli/cli.h"
#include "cli/keeper/priv.h"
#include "cli/base/term.h"

#define AGENT_MS	30000
#define CODE_MAX	4095
#define REACH_NS	120000000000ull
#define REACH_STEP_MS	20
#define HOLD_MS		120000

/* ---- starting ------------------------------------------------------------ */

/* In the grandchild: only what a child of fork may call. */
static void become_keeper(char **argv, int dir, int report, int log, int null)
{
	sigset_t none;

	signal(SIGPIPE, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (chdir("/") || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(log, 2) < 0 ||
	    dup2(dir, KEEPER_DIR_FD) < 0 || dup2(report, KEEPER_REPORT_FD) < 0)
		_exit(1);
	syscall(SYS_close_range, KEEPER_REPORT_FD + 1, ~0u, 0);
	execv("/proc/self/exe", argv);
	_exit(1);
}

static int high(int fd)
{
	return fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, KEEPER_REPORT_FD + 1);
}

/* The reading end of what it reports, or -errno. */
static int spawn(const struct store_box *b, struct err *e)
{
	union { const char *c[4]; char *v[4]; } argv = { .c = { "sandbox", "_keep", b->name } };
	int p[2];
	pid_t child;
	auto_fd log = openat(b->dir, "keeper.log", O_WRONLY | O_CREAT | O_TRUNC | O_APPEND |
			     O_NOFOLLOW | O_CLOEXEC, 0600);
	auto_fd null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (log < 0 || null < 0 || pipe2(p, O_CLOEXEC))
		return err_set(e, -errno, "prepare the keeper of sandbox '%s'", b->name);
	{
		auto_fd out = p[1], in = p[0];
		auto_fd high_dir = high(b->dir), high_out = high(out);
		auto_fd high_log = high(log), high_null = high(null);

		if (high_dir < 0 || high_out < 0 || high_log < 0 || high_null < 0)
			return err_set(e, -errno, "prepare the keeper of sandbox '%s'", b->name);
		child = fork();
		if (child < 0)
			return err_set(e, -errno, "start the keeper of sandbox '%s'", b->name);
		if (child == 0) {
			setsid();
			if (fork() == 0)
				become_keeper(argv.v, high_dir, high_out, high_log, high_null);
			_exit(0);
		}
		while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
			;
		return take_fd(&in);
	}
}

/* Its lines so far: 1 when it said how it went, with *rc. */
static bool heard(char *text, size_t n, pid_t *pid, int *rc, struct err *e)
{
	char *end;
	int code, at = 0;

	text[n] = '\0';
	if (sscanf(text, "pid %d", pid) != 1)
		return false;
	end = strchr(text, '\n');
	if (end && !strncmp(end + 1, "ok\n", 3)) {
		*rc = 0;
		return true;
	}
	if (!end || sscanf(end + 1, "error %d %n", &code, &at) != 1 || !at ||
	    !strchr(end + 1, '\n'))
		return false;
	end[1 + strcspn(end + 1, "\n")] = '\0';
	*rc = err_say(e, code > 0 && code <= CODE_MAX ? -code : -EIO, "%.250s", end + 1 + at);
	return true;
}

static int wait_ready(int fd, const struct store_box *b, int sigfd, struct err *e)
{
	uint64_t since = term_now_ns();
	char text[1024];
	pid_t pid = 0;
	size_t n = 0;
	int rc = 0, told = 0;

	for (;;) {
		struct pollfd p[] = { { fd, POLLIN, 0 }, { told ? -1 : sigfd, POLLIN, 0 } };
		ssize_t k;

		if (poll(p, 2, 1000) < 0 && errno != EINTR)
			return err_set(e, -errno, "wait for the sandbox");
		if (p[1].revents && !told)
			told = machine_signal(sigfd);
		if (told && pid > 0) {
			kill(pid, SIGTERM);	/* it lives: its end of the pipe is open */
			pid = -1;
		}
		if (!p[0].revents) {
			term_progress("starting the sandbox", since);
			continue;
		}
		k = read(fd, text + n, sizeof(text) - 1 - n);
		n += k > 0 ? (size_t)k : 0;
		if (pid >= 0 ? heard(text, n, &pid, &rc, e) : heard(text, n, &(pid_t){ 0 }, &rc, e))
			break;
		if (k > 0 && n < sizeof(text) - 1)
			continue;
		rc = err_say(e, -EIO, "the keeper of sandbox '%s' ended without a word; see "
			     "%s/keeper.log", b->name, b->path.path);
		break;
	}
	term_progress_end();
	/* It may have started all the same, and ends now: nobody is to be told that it runs. */
	if (told && !rc && pid > 0)
		kill(pid, SIGTERM);
	return told ? told : rc;
}

int keeper_start(struct store_box *b, int sigfd, struct err *e)
{
	auto_fd fd = -1;
	int rc;

	BUG_ON(!b->locked);
	fd = spawn(b, e);
	/* The keeper's copy holds the lock now; ours would hold it beyond the keeper's death. */
	close(b->dir);
	b->dir = -1;
	b->locked = false;
	rc = fd < 0 ? fd : wait_ready(fd, b, sigfd, e);
	return rc;
}

/* ---- asking -------------------------------------------------------------- */

int keeper_connect(const struct store_state *s, struct err *e)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	auto_fd fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	int n = snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/" KEEPER_SOCKET, s->runtime);

	if (n < 0 || (size_t)n >= sizeof(sa.sun_path))
		return err_say(e, -ENAMETOOLONG, "the path of the keeper's socket is too long");
	if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)))
		return err_set(e, -errno, "connect to the sandbox's keeper");
	return take_fd(&fd);
}

static int send_request(int conn, const json_t *o, const int *fds, size_t n_fds)
{
	union { struct cmsghdr h; char room[CMSG_SPACE(KEEPER_FDS_MAX * sizeof(int))]; } u = { 0 };
	auto_mem char *text = json_dumps(o, JSON_COMPACT);
	struct iovec v = { .iov_base = text, .iov_len = text ? strlen(text) : 0 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };

	if (!text || n_fds > KEEPER_FDS_MAX)
		return text ? -EINVAL : -ENOMEM;
	if (n_fds) {
		u.h.cmsg_level = SOL_SOCKET;
		u.h.cmsg_type = SCM_RIGHTS;
		u.h.cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(&u.h), fds, n_fds * sizeof(int));
		m.msg_control = u.room;
		m.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
	}
	return sendmsg(conn, &m, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int take_answer(const char *text, json_t **answer, struct err *e)
{
	json_error_t why = { .text = "" };
	json_t *o = json_loads(text, 0, &why);
	const char *msg = json_string_value(json_object_get(o, "error"));
	json_int_t code = json_integer_value(json_object_get(o, "code"));
	int rc = 0;

	if (!o && !*why.text)		/* nothing is wrong with it */
		rc = err_set(e, -ENOMEM, "the answer of the sandbox's keeper");
	else if (msg)
		rc = err_say(e, code > 0 && code <= CODE_MAX ? (int)-code : -EIO, "%.250s", msg);
	else if (!json_is_true(json_object_get(o, "ok")))
		rc = err_say(e, -EBADMSG, "the sandbox's keeper gave an answer that is none");
	if (!rc && answer)
		*answer = o;
	else
		json_decref(o);
	return rc;
}

int keeper_ask(int conn, const char *name, json_t *args, const int *fds, size_t n_fds,
	       int timeout_ms, json_t **answer, struct err *e)
{
	json_t *o = args ? args : json_object();
	auto_mem char *text = malloc(KEEPER_PACKET_MAX + 1);
	struct pollfd p = { conn, POLLIN, 0 };
	ssize_t n;
	int rc;

	json_object_set_new(o, "do", json_string(name));
	rc = text ? send_request(conn, o, fds, n_fds) : -ENOMEM;
	json_decref(o);
	if (rc)
		return err_set(e, rc, "ask the sandbox's keeper");
	while ((rc = poll(&p, 1, timeout_ms)) < 0 && errno == EINTR)
		;
	if (rc == 0)
		return err_say(e, -ETIMEDOUT, "the sandbox's keeper did not answer within %d s",
			       timeout_ms / 1000);
	n = recv(conn, text, KEEPER_PACKET_MAX, 0);
	if (n <= 0)
		return err_say(e, n < 0 ? -errno : -ECONNRESET, "the sandbox's keeper is gone");
	text[n] = '\0';
	return take_answer(text, answer, e);
}

static int look_running(struct store_box *b, struct store_state *s, struct err *e)
{
	int rc = store_state(b, s, e);

	if (rc || s->life == STORE_RUNNING)
		return rc;
	if (s->life == STORE_STARTING)
		return err_say(e, -EAGAIN, "sandbox '%s' is still starting", b->name);
	return err_say(e, -ESRCH, "sandbox '%s' does not run (%s); start it with "
		       "'sandbox start %s'", b->name, store_life_name(s->life), b->name);
}

int box_running(struct store_box *b, struct store_state *s, const char *name, struct err *e)
{
	int rc = store_open(b, name, e);

	return rc ? rc : look_running(b, s, e);
}

/* A rollback takes the socket away with the machine's folder: until there is the next one. */
static int reach(struct store_box *b, struct store_state *s, struct err *e)
{
	uint64_t since = term_now_ns();
	struct err why = { 0 };
	int fd, rc = 0;

	while ((fd = keeper_connect(s, &why)) == -ENOENT || fd == -ECONNREFUSED) {
		if (term_now_ns() - since > REACH_NS)
			break;
		poll(NULL, 0, REACH_STEP_MS);
		term_progress("waiting for a rollback of the sandbox", since);
		rc = look_running(b, s, e);
		if (rc)
			break;
	}
	term_progress_end();
	if (!rc && fd < 0)
		*e = why;
	return rc ? rc : fd;
}

int keeper_ask_box(const char *box, const char *name, json_t *args, const int *fds,
		   size_t n_fds, int timeout_ms, json_t **answer, struct err *e)
{
	struct store_box b;
	struct store_state s;
	auto_fd conn = -1;
	int rc = box_running(&b, &s, box, e);

	conn = rc ? -1 : reach(&b, &s, e);
	store_close(&b);
	if (conn < 0) {
		json_decref(args);
		return rc ? rc : conn;
	}
	return keeper_ask(conn, name, args, fds, n_fds, timeout_ms, answer, e);
}

int keeper_hold(struct store_box *b, struct store_state *s, struct err *e)
{
	auto_fd conn = reach(b, s, e);
	int rc = conn < 0 ? conn : keeper_ask(conn, "hold", NULL, NULL, 0, HOLD_MS, NULL, e);

	/* Its folder may be another than before a rollback, which the request has waited for. */
	if (!rc)
		rc = look_running(b, s, e);
	return rc ? rc : take_fd(&conn);
}

struct client *box_client(const struct store_state *s, struct err *e)
{
	struct client_err ce = { 0 };
	char path[PLACES_MAX + 8];
	struct client *c;

	snprintf(path, sizeof(path), "%s/s/v", s->runtime);
	c = client_open(path, PROTO_AGENT_PORT, AGENT_MS, &ce);
	if (!c)
		err_say(e, ce.code ? -ce.code : -EIO, "connect to the guest's agent: %.200s",
			ce.msg);
	return c;
}
