// SPDX-License-Identifier: Apache-2.0
/* The client against an agent that lies, and the two handshakes. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/client/client.h"

static uint8_t buf[PROTO_PAYLOAD_MAX * 8];
static struct proto_wr w;

static void start_script(void)
{
	struct proto_hello h = { 1, 1, 0, 0, PROTO_STDIN_WINDOW };

	signal(SIGPIPE, SIG_IGN);
	proto_wr_init(&w, buf, sizeof(buf));
	proto_wr_hello(&w, PROTO_HELLO, true, &h);
	cr_assert_gt(proto_wr_end(&w), 0);
}

TestSuite(client, .init = start_script, .timeout = 20);

static void add(uint16_t type, uint16_t tag, const void *p, size_t n)
{
	proto_wr_begin(&w, type, tag);
	proto_wr_raw(&w, p, n);
	cr_assert_gt(proto_wr_end(&w), 0);
}

static void add_exit(int code)
{
	struct proto_exit x = { .code = code };

	proto_wr_exit(&w, 1, &x);
	cr_assert_gt(proto_wr_end(&w), 0);
}

struct outcome { int rc; struct client_result res; struct client_err e; char out[64]; };

static void *play(void *arg)
{
	int fd = *(int *)arg;
	char sink[4096];

	(void)!write(fd, buf, w.len);
	while (read(fd, sink, sizeof(sink)) > 0)
		;
	close(fd);
	return NULL;
}

/* The agent says what is in buf, whatever the client does. */
static struct outcome run(void)
{
	const char *argv[] = { "x", NULL };
	struct client_exec x = { .argv = argv, .fd = { -1, memfd_create("o", 0), -1 } };
	struct outcome o = { 0 };
	struct client *c;
	pthread_t t;
	int sv[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	pthread_create(&t, NULL, play, &sv[1]);
	c = client_open_fd(sv[0], 1000, &o.e);
	cr_assert_not_null(c);
	o.rc = client_exec_run(c, &x, NULL, 0, &o.res, &o.e);
	client_close(c);
	pthread_join(t, NULL);
	(void)!pread(x.fd[1], o.out, sizeof(o.out) - 1, 0);
	close(x.fd[1]);
	return o;
}

static void add_started(void)
{
	const struct proto_job j = { .id = 1, .pid = 2 };

	proto_wr_job(&w, PROTO_STARTED, 1, &j);
	proto_wr_end(&w);
}

Test(client, output_comes_before_the_result)
{
	add_started();
	add(PROTO_DATA, 1, "hello", 5);
	add(PROTO_EOF, 1, NULL, 0);
	add_exit(3);
	struct outcome o = run();

	cr_assert_eq(o.rc, 0, "%s", o.e.msg);
	cr_expect_eq(o.res.code, 3);
	cr_expect_str_eq(o.out, "hello");
}

static void broken(const char *what)
{
	struct outcome o = run();

	cr_expect_eq(o.rc, -EPROTO, "%s: %d %s", what, o.rc, o.e.msg);
	cr_expect_not_null(strstr(o.e.msg, "broke the protocol"), "%s: '%s'", what, o.e.msg);
}

#define BREAKS(name, ...) \
	Test(client, name) \
	{ \
		__VA_ARGS__; \
		add_exit(0); \
		broken(#name); \
	}

static uint8_t zeros[PROTO_PAYLOAD_MAX];

BREAKS(data_of_stdin, add(PROTO_DATA, 0, "x", 1))
BREAKS(data_of_no_stream, add(PROTO_DATA, 3, "x", 1))
BREAKS(empty_data, add(PROTO_DATA, 1, "", 0))
BREAKS(second_hello, start_script(); add(PROTO_HELLO, 0, buf + 8, 28))
BREAKS(second_started, add_started(); add_started())
BREAKS(started_without_id, add(PROTO_STARTED, 1, "", 0))
BREAKS(information_unasked, add_started(); add(PROTO_EXEC_INFO, 1, "", 0))
BREAKS(done_for_exec, add(PROTO_DONE, 1, "", 0))
BREAKS(entry_for_exec, add(PROTO_ENTRY, 1, "", 0))
BREAKS(unknown_message, add(0x7777, 1, "", 0))
BREAKS(request_from_agent, add(PROTO_EXEC, 1, "", 0))
BREAKS(short_credit, add(PROTO_CREDIT, 0, "x", 1))
BREAKS(credit_of_stdout, add(PROTO_CREDIT, 1, zeros, 4))
BREAKS(credit_beyond_limit, add(PROTO_CREDIT, 0, "\xff\xff\xff\xff", 4))
BREAKS(exit_without_code, add(PROTO_EXIT, 1, "", 0))
BREAKS(error_without_code, add(PROTO_ERROR, 1, "", 0))

Test(client, header_that_promises_too_much)
{
	static const uint8_t h[8] = { 0, 0, 2, 0, PROTO_DATA, 0, 1, 0 };

	proto_wr_raw(&w, h, 8);
	broken("length 128 KiB");
}

/* No credit is given for output that nobody took: what comes beyond the window is a breach. */
Test(client, more_output_than_granted)
{
	const char *argv[] = { "x", NULL };
	struct client_result res;
	struct client_err e = { 0 };
	int sv[2], p[2], rc;
	struct client *c;
	pthread_t t;

	for (int i = 0; i < 5; i++)
		add(PROTO_DATA, 1, zeros, sizeof(zeros));
	cr_assert(socketpair(AF_UNIX, SOCK_STREAM, 0, sv) == 0 && pipe(p) == 0);
	pthread_create(&t, NULL, play, &sv[1]);
	c = client_open_fd(sv[0], 1000, &e);
	struct client_exec x = { .argv = argv, .fd = { -1, p[1], -1 } };

	rc = client_exec_run(c, &x, NULL, 0, &res, &e);
	cr_expect_eq(rc, -EPROTO, "%d %s", rc, e.msg);
	client_close(c);
	pthread_join(t, NULL);
}

/* --max-output is kept here, too: what is kept of the output takes the host's memory. */
Test(client, more_output_than_was_asked_for)
{
	const char *argv[] = { "x", NULL };
	struct client_exec x = { .argv = argv, .fd = { -1, -1, -1 }, .limit_output = true,
				 .max_output = 4 };
	struct client_result res;
	struct client_err e = { 0 };

	for (unsigned n = 4; n <= 5; n++) {
		struct client *c;
		pthread_t t;
		int sv[2], rc;

		start_script();
		add_started();
		add(PROTO_DATA, 2, "1234", 4);
		add(PROTO_DATA, 1, "12", 2);
		add(PROTO_DATA, 1, "345", n - 2);
		add_exit(0);
		cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
		pthread_create(&t, NULL, play, &sv[1]);
		c = client_open_fd(sv[0], 1000, &e);
		rc = client_exec_run(c, &x, NULL, 0, &res, &e);
		cr_expect_eq(rc, n == 4 ? 0 : -EPROTO, "%u bytes: %d %s", n, rc, e.msg);
		client_close(c);
		pthread_join(t, NULL);
	}
}

Test(client, end_without_result)
{
	int sv[2];
	const char *argv[] = { "x", NULL };
	struct client_exec x = { .argv = argv, .fd = { -1, -1, -1 } };
	struct client_result res;
	struct client_err e = { 0 };
	struct client *c;

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	(void)!write(sv[1], buf, w.len);
	shutdown(sv[1], SHUT_WR);
	c = client_open_fd(sv[0], 1000, &e);
	cr_expect_eq(client_exec_run(c, &x, NULL, 0, &res, &e), -ECONNRESET);
	cr_expect_not_null(strstr(e.msg, "connection to the guest ended"), "%s", e.msg);
	client_close(c);
	close(sv[1]);
}

Test(client, silent_agent_times_out)
{
	struct client_err e = { 0 };
	struct client *c;
	int sv[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	c = client_open_fd(sv[0], 1000, &e);
	cr_expect_eq(client_ping(c, 100, &e), -ETIMEDOUT);
	cr_expect_eq(client_ping(c, 100, &e), -ETIMEDOUT, "a broken connection stays broken");
	client_close(c);
	close(sv[1]);
}

/* Says what changes nothing, for ever. */
static void *chatter(void *arg)
{
	static const uint8_t eof[PROTO_HDR_LEN] = { [4] = PROTO_EOF, [6] = 1 };
	uint8_t many[512 * sizeof(eof)];
	int fd = *(int *)arg;

	for (size_t i = 0; i < sizeof(many); i++)
		many[i] = eof[i % sizeof(eof)];
	if (write(fd, buf, w.len) < 0)
		return NULL;
	while (write(fd, many, sizeof(many)) > 0)
		;
	return NULL;
}

Test(client, agent_that_never_stops_talking_times_out)
{
	struct client_err e = { 0 };
	struct client *c;
	pthread_t t;
	int sv[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	pthread_create(&t, NULL, chatter, &sv[1]);
	c = client_open_fd(sv[0], 1000, &e);
	cr_expect_eq(client_ping(c, 300, &e), -ETIMEDOUT);
	cr_expect_not_null(strstr(e.msg, "did not answer in time"), "%s", e.msg);
	client_close(c);
	pthread_join(t, NULL);
	close(sv[1]);
}

Test(client, write_error_of_the_callers_file)
{
	const char *argv[] = { "x", NULL };
	struct client_result res;
	struct client_err e = { 0 };
	int sv[2], full = open("/dev/full", O_WRONLY);
	struct client_exec x = { .argv = argv, .fd = { -1, full, -1 } };
	struct client *c;
	pthread_t t;

	add(PROTO_DATA, 1, "x", 1);
	add_exit(0);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	pthread_create(&t, NULL, play, &sv[1]);
	c = client_open_fd(sv[0], 1000, &e);
	cr_expect_eq(client_exec_run(c, &x, NULL, 0, &res, &e), -ENOSPC);
	cr_expect_not_null(strstr(e.msg, "write stdout: No space"), "%s", e.msg);
	client_close(c);
	pthread_join(t, NULL);
}

/* ---- handshakes -------------------------------------------------------- */

struct server { int fd; const char *say; char heard[64]; };

static void *serve(void *arg)
{
	struct server *s = arg;
	int fd = accept(s->fd, NULL, NULL);

	if (fd < 0)
		return NULL;
	(void)!read(fd, s->heard, sizeof(s->heard) - 1);
	if (s->say)
		(void)!write(fd, s->say, strlen(s->say));
	if (s->say && strncmp(s->say, "OK 1", 4) == 0) {
		(void)!write(fd, buf, w.len);
		usleep(200000);
	}
	if (s->say && !*s->say)
		usleep(500000);
	close(fd);
	return NULL;
}

static int hybrid(const char *say, struct client_err *e, char *heard)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	char dir[] = "/tmp/client-test.XXXXXX";
	struct server s = { .say = say };
	struct client *c;
	pthread_t t;
	int rc;

	cr_assert_not_null(mkdtemp(dir));
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/v", dir);
	s.fd = socket(AF_UNIX, SOCK_STREAM, 0);
	cr_assert(bind(s.fd, (struct sockaddr *)&sa, sizeof(sa)) == 0 && listen(s.fd, 1) == 0);
	pthread_create(&t, NULL, serve, &s);
	c = client_open(sa.sun_path, PROTO_AGENT_PORT, 200, e);
	rc = c ? client_ping(c, 100, e) : -e->code;
	client_close(c);
	pthread_join(t, NULL);
	strcpy(heard, s.heard);
	close(s.fd);
	unlink(sa.sun_path);
	rmdir(dir);
	return rc;
}

Test(client, hybrid_handshake)
{
	struct client_err e = { 0 };
	char heard[64];

	add(PROTO_PONG, 1, NULL, 0);
	cr_expect_eq(hybrid("OK 1073741824\n", &e, heard), 0, "%s", e.msg);
	cr_expect_str_eq(heard, "CONNECT 52\n");
	cr_expect_eq(hybrid(NULL, &e, heard), -ECONNREFUSED);
	cr_expect_not_null(strstr(e.msg, "nothing listens on port 52"), "%s", e.msg);
	cr_expect_eq(hybrid("", &e, heard), -ETIMEDOUT);
	cr_expect_eq(hybrid("NO\n", &e, heard), -EPROTO);
	cr_expect_eq(hybrid("OK \n", &e, heard), -EPROTO);
	cr_expect_eq(hybrid("OK 5x\n", &e, heard), -EPROTO);
	cr_expect_eq(hybrid("OK 99999999999999999999999999999999999\n", &e, heard), -EPROTO);
	cr_expect_not_null(strstr(e.msg, "did not answer OK"), "%s", e.msg);
	cr_expect_null(client_open("/no/such/socket", 52, 100, &e));
	cr_expect_eq(e.code, ENOENT);
}

Test(client, ready_report)
{
	struct proto_hello h = { 1, 1, PROTO_F_CGROUP, 12345, PROTO_STDIN_WINDOW };
	char dir[] = "/tmp/client-test.XXXXXX", path[64];
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct client_ready r;
	struct client_err e = { 0 };
	struct stat st;
	int lfd, fd;

	cr_assert_not_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/v", dir);
	lfd = client_ready_listen(path, &e);
	cr_assert_geq(lfd, 0, "%s", e.msg);
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/v_53", dir);
	cr_assert_eq(stat(sa.sun_path, &st), 0);
	cr_expect_eq(st.st_mode & 07777, 0600);
	cr_expect_eq(client_ready_accept(lfd, 50, &r, &e), -ETIMEDOUT);
	for (int good = 0; good < 2; good++) {
		fd = socket(AF_UNIX, SOCK_STREAM, 0);
		cr_assert_eq(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
		proto_wr_init(&w, buf, sizeof(buf));
		proto_wr_hello(&w, good ? PROTO_READY : PROTO_HELLO, true, &h);
		cr_assert_gt(proto_wr_end(&w), 0);
		(void)!write(fd, buf, w.len);
		cr_expect_eq(client_ready_accept(lfd, 1000, &r, &e), good ? 0 : -EBADMSG);
		close(fd);
	}
	cr_expect(r.version == 1 && r.features == PROTO_F_CGROUP && r.boot_ns == 12345);
	close(lfd);
	unlink(sa.sun_path);
	rmdir(dir);
	memset(path, 'x', sizeof(path) - 1);
	path[63] = 0;
	char longer[200];

	snprintf(longer, sizeof(longer), "/%s%s", path, path);
	cr_expect_eq(client_ready_listen(longer, &e), -ENAMETOOLONG);
}
