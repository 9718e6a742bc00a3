// SPDX-License-Identifier: Apache-2.0
/* A real agent: signals, terminals, lost clients. */
#include <poll.h>
#include <sys/timerfd.h>

#include "tests/unit/agent_live.h"

TestSuite(agent_session, .init = live_start, .fini = live_stop, .timeout = 60);

struct act { int fd; int signo; enum proto_scope scope; unsigned int n; };

static int on_timer(struct client *c, short revents, void *arg)
{
	struct act *a = arg;
	uint64_t n;

	(void)revents;
	cr_expect_eq(read(a->fd, &n, sizeof(n)), 8);
	if (!client_started(c))
		return 0;
	a->n++;
	if (a->signo < 0)
		return a->signo;
	return client_signal(c, a->signo, a->scope);
}

static int ticks(void)
{
	struct itimerspec its = { { 0, 200000000 }, { 0, 200000000 } };
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);

	cr_assert_eq(timerfd_settime(fd, 0, &its, NULL), 0);
	return fd;
}

static void run_with(const char *script, struct act *a, struct client_result *res, int *rc,
		     char out[static 256])
{
	const char *argv[] = { "sh", "-c", script, NULL };
	struct client *c = live_client();
	int fd = memfd_create("out", 0);
	struct client_exec x = { .argv = argv, .fd = { -1, fd, -1 } };
	struct client_watch w = { .events = POLLIN, .ready = on_timer, .arg = a };
	struct client_err e;
	ssize_t n;

	w.fd = a->fd = ticks();
	*rc = client_exec_run(c, &x, &w, 1, res, &e);
	client_close(c);
	n = pread(fd, out, 255, 0);
	out[n > 0 ? n : 0] = 0;
	close(fd);
	close(a->fd);
}

Test(agent_session, signals_reach_process_group_and_tree)
{
	struct act term = { .signo = SIGTERM, .scope = PROTO_SCOPE_GROUP };
	struct act usr = { .signo = SIGUSR1, .scope = PROTO_SCOPE_PROCESS };
	struct act tree = { .signo = SIGKILL, .scope = PROTO_SCOPE_TREE };
	struct client_result res;
	char out[256];
	int rc;

	run_with("sleep 60", &term, &res, &rc, out);
	cr_expect_eq(rc, 0);
	cr_expect_eq(res.signal, SIGTERM);
	/* The group includes children: `wait` ends because the child does. */
	run_with("trap : TERM; sleep 60 & wait; wait; echo over; exit 3", &term, &res, &rc, out);
	cr_expect_eq(res.code, 3);
	cr_expect_str_eq(out, "over\n");
	run_with("trap 'echo usr; exit 4' USR1; while :; do sleep 0.1; done", &usr, &res, &rc, out);
	cr_expect_eq(res.code, 4);
	cr_expect_str_eq(out, "usr\n");
	run_with("sleep 60 & sleep 60", &tree, &res, &rc, out);
	cr_expect_eq(res.signal, SIGKILL);
}

Test(agent_session, interrupted_client_leaves_no_process)
{
	struct act stop = { .signo = -EINTR };
	struct client_result res;
	char out[256];
	int rc, tries;

	run_with("sleep 4545.5 & sleep 4545.5", &stop, &res, &rc, out);
	cr_expect_eq(rc, -EINTR);
	for (tries = 0; tries < 100 && system("pgrep -f '[s]leep 4545.5' >/dev/null") == 0; tries++)
		usleep(20000);
	cr_expect_lt(tries, 100, "the command lives on");
}

struct tty_act { struct act a; int in; };

static int on_tty(struct client *c, short revents, void *arg)
{
	struct tty_act *t = arg;
	uint64_t n;

	(void)revents;
	cr_expect_eq(read(t->a.fd, &n, sizeof(n)), 8);
	if (!client_started(c))
		return 0;
	t->a.n++;
	if (t->a.n == 1)
		cr_expect_eq(write(t->in, "stty size; tty\n", 15), 15);
	else if (t->a.n == 3)
		cr_expect_eq(client_winch(c, 50, 132), 0);
	else if (t->a.n == 5)
		cr_expect_eq(write(t->in, "stty size; test -t 0 && test -t 2 && echo yes\n", 46),
			     46);
	else if (t->a.n == 7)
		cr_expect_eq(write(t->in, "sleep 60\n", 9), 9);
	else if (t->a.n == 9)
		cr_expect_eq(write(t->in, "\003", 1), 1);	/* ^C: the foreground command */
	else if (t->a.n == 11)
		cr_expect_eq(write(t->in, "echo alive\nexit 9\n", 18), 18);
	return 0;
}

Test(agent_session, terminal_with_resize)
{
	const char *argv[] = { "bash", "--norc", "-i", NULL };
	struct tty_act t = { 0 };
	struct client_watch w = { .events = POLLIN, .ready = on_tty, .arg = &t };
	struct client *c = live_client();
	struct client_result res;
	struct client_err e;
	int in[2], out = memfd_create("out", 0);
	char *p;
	size_t n;

	cr_assert_eq(pipe(in), 0);
	t.in = in[1];
	w.fd = t.a.fd = ticks();
	struct client_exec x = {
		.argv = argv, .tty = true, .rows = 30, .cols = 100, .fd = { in[0], out, -1 },
	};

	cr_assert_eq(client_exec_run(c, &x, &w, 1, &res, &e), 0, "%s", e.msg);
	client_close(c);
	p = live_slurp(out, &n);
	cr_expect_eq(res.code, 9);
	cr_expect_not_null(strstr(p, "30 100\r\n"), "%s", p);
	cr_expect_not_null(strstr(p, "/dev/pts/"));
	cr_expect_not_null(strstr(p, "50 132\r\nyes\r\n"), "%s", p);
	cr_expect_not_null(strstr(p, "alive\r\n"));
	free(p);
	close(out);
	close(w.fd);
}

Test(agent_session, terminal_without_input_ends)
{
	struct live_run r = { .x.tty = true };
	const char *argv[] = { "cat", NULL };

	live_exec(&r, argv, "line\n", 5);
	cr_assert_eq(r.rc, 0, "%s", r.e.msg);
	cr_expect_eq(r.res.code, 0, "code %d, signal %d", r.res.code, r.res.signal);
	cr_expect_str_eq(r.out, "line\r\nline\r\n");
	live_free(&r);
}

Test(agent_session, terminal_controls_its_session)
{
	struct live_run r = { .x.tty = true };

	live_sh(&r, "echo controlling >/dev/tty");
	cr_expect_eq(r.res.code, 0);
	cr_expect_str_eq(r.out, "controlling\r\n");
	live_free(&r);
}

Test(agent_session, terminal_loses_nothing_at_the_end)
{
	for (int i = 0; i < 10; i++) {
		struct live_run r = { .x.tty = true };

		live_sh(&r, "seq 20000");
		cr_expect_eq(r.out_len, 128894, "%zu", r.out_len);
		live_free(&r);
	}
}

Test(agent_session, commands_beyond_the_limit_are_refused)
{
	struct client *c[260];
	struct client_err e;
	int opened = 0, refused = 0;

	for (int i = 0; i < 260; i++) {
		c[i] = client_open(live_sock, 0, 2000, &e);
		cr_assert_not_null(c[i]);
		if (client_ping(c[i], 5000, &e) == 0)
			opened++;
		else
			refused++;
	}
	cr_expect_eq(opened, 200);
	cr_expect_eq(refused, 60);
	for (int i = 0; i < 260; i++)
		client_close(c[i]);
	/* And it recovers. */
	bool ok = false;

	for (int i = 0; i < 50 && !ok; i++) {
		struct live_run r = { 0 };

		live_sh(&r, "echo ok");
		ok = r.rc == 0 && strcmp(r.out, "ok\n") == 0;
		live_free(&r);
		usleep(20000);
	}
	cr_expect(ok);
}

Test(agent_session, big_arguments)
{
	static char big[120000];
	const char *argv[] = { "sh", "-c", "echo ${#1} ${#2} ${#3}", "x", big, big, big, NULL };
	static char huge[2000000];
	const char *argv2[] = { "echo", huge, NULL };
	struct live_run r = { 0 }, h = { 0 };

	memset(big, 'a', sizeof(big) - 1);
	live_exec(&r, argv, NULL, 0);
	cr_assert_eq(r.rc, 0, "%s", r.e.msg);
	cr_expect_str_eq(r.out, "119999 119999 119999\n");
	live_free(&r);
	memset(huge, 'a', sizeof(huge) - 1);
	live_exec(&h, argv2, NULL, 0);
	cr_expect_eq(h.rc, -E2BIG);
	live_free(&h);
}
