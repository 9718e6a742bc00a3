// SPDX-License-Identifier: Apache-2.0
/* Commands run by a real agent, driven by the real client. No KVM, no root needed. */
#include <pthread.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>

#include "tests/unit/agent_live.h"

TestSuite(agent_live, .init = live_start, .fini = live_stop, .timeout = 60);

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

Test(agent_live, streams_are_separate_and_exact)
{
	struct live_run r = { 0 };
	const char *argv[] = { "sh", "-c", "cat; echo err >&2; exit 7", NULL };
	char bytes[256 * 3];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)i;
	live_exec(&r, argv, bytes, sizeof(bytes));
	cr_assert_eq(r.rc, 0, "%s", r.e.msg);
	cr_expect_eq(r.res.code, 7);
	cr_expect_eq(client_result_status(&r.res), 7);
	cr_expect_eq(r.out_len, sizeof(bytes));
	cr_expect(memcmp(r.out, bytes, sizeof(bytes)) == 0);
	cr_expect_str_eq(r.err, "err\n");
	cr_expect_eq(r.res.out_bytes, sizeof(bytes));
	cr_expect_eq(r.res.err_bytes, 4);
	live_free(&r);
}

Test(agent_live, large_stream_through_files)
{
	struct live_run r = { 0 };
	const char *argv[] = { "cat", NULL };
	size_t n = 20u << 20;
	uint32_t *big = malloc(n), seed = 1;

	for (size_t i = 0; i < n / 4; i++)
		big[i] = seed = seed * 1664525 + 1013904223;
	live_exec(&r, argv, (const char *)big, n);
	cr_assert_eq(r.rc, 0, "%s", r.e.msg);
	cr_expect_eq(r.res.code, 0);
	cr_assert_eq(r.out_len, n);
	cr_expect(memcmp(r.out, big, n) == 0);
	free(big);
	live_free(&r);
}

struct feeder { int fd; size_t n; };

static void *feed(void *arg)
{
	struct feeder *f = arg;
	char block[7777];

	memset(block, 'x', sizeof(block));
	for (size_t left = f->n; left;) {
		ssize_t k = write(f->fd, block, left < sizeof(block) ? left : sizeof(block));

		if (k <= 0)
			break;
		left -= (size_t)k;
	}
	close(f->fd);
	return NULL;
}

static void *drain(void *arg)
{
	struct feeder *f = arg;
	char block[5000];
	ssize_t k;

	while ((k = read(f->fd, block, sizeof(block))) > 0)
		f->n += (size_t)k;
	close(f->fd);
	return NULL;
}

/* Pipes that block, on both sides, with odd sizes. */
Test(agent_live, large_stream_through_pipes)
{
	const char *argv[] = { "cat", NULL };
	struct client_result res;
	struct client_err e;
	struct client *c = live_client();
	pthread_t in_thread, out_thread;
	int in[2], out[2], rc;

	cr_assert(pipe(in) == 0 && pipe(out) == 0);
	struct feeder f = { in[1], 3000001 }, d = { out[0], 0 };
	struct client_exec x = { .argv = argv, .fd = { in[0], out[1], -1 } };

	pthread_create(&in_thread, NULL, feed, &f);
	pthread_create(&out_thread, NULL, drain, &d);
	rc = client_exec_run(c, &x, NULL, 0, &res, &e);
	close(in[0]);
	close(out[1]);
	pthread_join(in_thread, NULL);
	pthread_join(out_thread, NULL);
	client_close(c);
	cr_assert_eq(rc, 0, "%s", e.msg);
	cr_expect_eq(res.code, 0);
	cr_expect_eq(d.n, 3000001);
}

Test(agent_live, exit_codes_and_signals)
{
	static const struct { const char *script; int status, code, signal; } t[] = {
		{ "exit 0", 0, 0, 0 }, { "exit 255", 255, 255, 0 },
		{ "kill -KILL $$", 137, -1, 9 }, { "kill -TERM $$", 143, -1, 15 },
	};

	for (size_t i = 0; i < 4; i++) {
		struct live_run r = { 0 };

		live_sh(&r, t[i].script);
		cr_assert_eq(r.rc, 0, "%s", r.e.msg);
		cr_expect_eq(client_result_status(&r.res), t[i].status, "%s", t[i].script);
		cr_expect_eq(r.res.code, t[i].code);
		cr_expect_eq(r.res.signal, t[i].signal);
		cr_expect_not(r.res.oom);
		cr_expect_not(r.res.timed_out);
		live_free(&r);
	}
}

static void cannot_start(const char *cmd, int status, const char *why)
{
	const char *argv[] = { cmd, NULL };
	struct live_run r = { 0 };

	live_exec(&r, argv, NULL, 0);
	cr_assert_eq(r.rc, 0, "%s", r.e.msg);
	cr_expect_eq(client_result_status(&r.res), status, "%s: %d", cmd, r.res.code);
	cr_expect(r.res.not_started);
	cr_expect_not_null(strstr(r.res.msg, why), "%s: '%s'", cmd, r.res.msg);
	live_free(&r);
}

Test(agent_live, not_found_and_not_executable)
{
	char path[128];
	int fd;

	cannot_start("no-such-command", 127, "command not found");
	cannot_start("/no/such/command", 127, "no such file");
	cannot_start("/etc/passwd", 126, "not executable");
	cannot_start("/tmp", 126, "not executable");
	cannot_start("", 127, "command not found");
	snprintf(path, sizeof(path), "%s/garbage", live_dir);
	fd = open(path, O_WRONLY | O_CREAT, 0755);
	cr_assert_eq(write(fd, "garbage", 7), 7);
	close(fd);
	cannot_start(path, 126, "no #! line");
}

static void refused(struct live_run *r, int code, const char *why)
{
	live_sh(r, "true");
	cr_expect_eq(r->rc, -code, "%d", r->rc);
	cr_expect_not_null(strstr(r->e.msg, why), "'%s'", r->e.msg);
	live_free(r);
}

Test(agent_live, what_cannot_be_done_is_refused_before_it_starts)
{
	refused(&(struct live_run){ .x.cwd = "/no/such/folder" }, ENOENT, "working directory");
	refused(&(struct live_run){ .x.user = "no-such-user" }, ENOENT, "no such user");
	refused(&(struct live_run){ .x.group = "no-such-group" }, ENOENT, "no such group");
	refused(&(struct live_run){ .x.memory_max = 1 << 20 }, ENOTSUP, "cannot limit memory");
	refused(&(struct live_run){ .x.pids_max = 10 }, ENOTSUP, "number of processes");
	refused(&(struct live_run){ .x.cpu_milli = 10 }, ENOTSUP, "cannot limit CPU");
	refused(&(struct live_run){ .x.envp = (const char *[]){ "NOVALUE", NULL } }, EINVAL,
		"not NAME=value");
}

Test(agent_live, folder_user_and_environment)
{
	const char *env[] = { "A=1 2\n3", "PATH=/nowhere:/usr/bin:/bin", NULL };
	struct live_run r = { .x = { .cwd = "/usr", .envp = env } };
	struct live_run c = { .x = { .clean_env = true, .envp = (const char *[]){ "X=y", NULL } } };
	const char *argv[] = { "/usr/bin/env", NULL };

	live_sh(&r, "pwd; echo \"$A\"; echo $PATH; echo $HOME");
	cr_assert_eq(r.rc, 0, "%s", r.e.msg);
	cr_expect_str_eq(r.out, "/usr\n1 2\n3\n/nowhere:/usr/bin:/bin\n/root\n");
	live_free(&r);
	live_exec(&c, argv, NULL, 0);
	cr_expect_str_eq(c.out, "X=y\n");
	live_free(&c);
	if (geteuid() == 0) {
		struct live_run u = { .x.user = "nobody" };
		struct live_run n = { .x = { .user = "12345", .group = "777" } };

		live_sh(&u, "id -un; id -u; echo $USER >/dev/stdout; echo e >/dev/stderr");
		cr_expect_str_eq(u.out, "nobody\n65534\nnobody\n");
		cr_expect_str_eq(u.err, "e\n");
		live_free(&u);
		live_sh(&n, "id -u; id -g; id -G; echo $HOME");
		cr_expect_str_eq(n.out, "12345\n777\n777\n/\n");
		live_free(&n);
	}
}

static bool process_exists(const char *marker)
{
	char cmd[200];

	/* The brackets keep the search itself out of its result. */
	snprintf(cmd, sizeof(cmd), "pgrep -f '[s]leep %s' >/dev/null", marker);
	return system(cmd) == 0;
}

Test(agent_live, timeout_kills_the_tree_and_keeps_the_output)
{
	struct live_run r = { .x.timeout_ns = 2000000000 };
	double t = now();

	live_sh(&r, "echo part; (sleep 4141.25 & sleep 4141.25) & sleep 4141.25");
	t = now() - t;
	cr_assert_eq(r.rc, 0, "%s", r.e.msg);
	cr_expect(r.res.timed_out);
	cr_expect_eq(client_result_status(&r.res), 124);
	cr_expect_str_eq(r.out, "part\n");
	cr_expect(t > 1.95 && t < 30, "%f s", t);
	cr_expect_not(process_exists("4141.25"));
	live_free(&r);
}

Test(agent_live, background_child_that_holds_the_pipes)
{
	struct live_run r = { 0 }, k = { .x.kill_tree = true };
	double t = now();

	live_sh(&r, "sleep 4242.5 & echo $!");
	cr_expect_lt(now() - t, 30);
	cr_expect_eq(r.res.code, 0);
	cr_expect(r.res.left_running);
	cr_expect_gt(atoi(r.out), 1);
	cr_expect_eq(kill(atoi(r.out), 0), 0, "the background process was killed");
	kill(atoi(r.out), SIGKILL);
	live_free(&r);
	live_sh(&k, "sleep 4343.5 & echo done");
	cr_expect_eq(k.res.code, 0);
	cr_expect_str_eq(k.out, "done\n");
	cr_expect_not(k.res.left_running);
	cr_expect_not(process_exists("4343.5"));
	live_free(&k);
}

/* All that was written before the end arrives, also by a process that has just ended. */
Test(agent_live, nothing_is_lost_at_the_end)
{
	for (int i = 0; i < 20; i++) {
		struct live_run r = { 0 };

		live_sh(&r, "sleep 3 & head -c 60000 /dev/zero; head -c 50000 /dev/zero >&2");
		cr_expect_eq(r.out_len, 60000);
		cr_expect_eq(r.err_len, 50000);
		live_free(&r);
	}
}

Test(agent_live, output_limit_keeps_the_head)
{
	struct live_run r = { .x = { .limit_output = true, .max_output = 10 } };
	struct live_run z = { .x = { .limit_output = true, .max_output = 0 } };

	live_sh(&r, "seq 100000; echo short >&2");
	cr_assert_eq(r.rc, 0, "%s", r.e.msg);
	cr_expect_str_eq(r.out, "1\n2\n3\n4\n5\n");
	cr_expect(r.res.trunc_stdout);
	cr_expect_not(r.res.trunc_stderr);
	cr_expect_str_eq(r.err, "short\n");
	cr_expect_eq(r.res.out_bytes, 588895);
	cr_expect_eq(r.res.code, 0);
	live_free(&r);
	live_sh(&z, "echo x; true");
	cr_expect_eq(z.out_len, 0);
	cr_expect(z.res.trunc_stdout);
	live_free(&z);
}

static void *run_twenty(void *arg)
{
	struct live_run *r = arg;

	live_sh(r, "seq 20000 | md5sum; exit 5");
	return NULL;
}

Test(agent_live, twenty_at_once)
{
	struct live_run r[20] = { 0 };
	pthread_t t[20];

	for (int i = 0; i < 20; i++)
		pthread_create(&t[i], NULL, run_twenty, &r[i]);
	for (int i = 0; i < 20; i++) {
		pthread_join(t[i], NULL);
		cr_expect_eq(r[i].rc, 0, "%s", r[i].e.msg);
		cr_expect_eq(r[i].res.code, 5);
		cr_expect_str_eq(r[i].out, "e071f707df7bbeee2a6a1eb48011ddd0  -\n");
		cr_expect_eq(r[i].out_len, 36);
		live_free(&r[i]);
	}
}

struct stalled { struct client_exec x; struct client_result res; struct client_err e; int rc; };

static void *run_stalled(void *arg)
{
	struct stalled *s = arg;
	struct client *c = live_client();

	s->rc = client_exec_run(c, &s->x, NULL, 0, &s->res, &s->e);
	client_close(c);
	close(s->x.fd[1]);
	close(s->x.fd[2]);
	return NULL;
}

/* One reader of stderr stalls: its own stdout and other commands go on. */
Test(agent_live, stalled_reader_blocks_only_its_stream)
{
	const char *argv[] = { "sh", "-c",
			       "seq 1000000 >&2 & seq 200000; echo end; wait", NULL };
	struct stalled s = { .x = { .argv = argv } };
	struct live_run r = { 0 };
	int out[2], err[2];
	pthread_t t;
	char buf[65536];
	size_t n = 0;
	ssize_t k;

	cr_assert(pipe(out) == 0 && pipe(err) == 0);
	s.x.fd[0] = -1;
	s.x.fd[1] = out[1];
	s.x.fd[2] = err[1];
	pthread_create(&t, NULL, run_stalled, &s);
	/* All of stdout, while nobody reads stderr. */
	while (n < 1288899 && (k = read(out[0], buf, sizeof(buf))) > 0)
		n += (size_t)k;
	cr_expect_eq(n, 1288899);
	live_sh(&r, "echo other");
	cr_expect_str_eq(r.out, "other\n");
	live_free(&r);
	struct feeder d = { err[0], 0 };

	drain(&d);
	pthread_join(t, NULL);
	cr_expect_eq(d.n, 6888896);
	cr_expect_eq(s.rc, 0, "%s", s.e.msg);
	close(out[0]);
}

Test(agent_live, reader_that_goes_away_is_epipe_for_the_command)
{
	const char *argv[] = { "yes", NULL };
	struct stalled s = { .x = { .argv = argv } };
	int out[2];
	char b[10];

	cr_assert_eq(pipe(out), 0);
	s.x.fd[0] = -1;
	s.x.fd[1] = out[1];
	s.x.fd[2] = open("/dev/null", O_WRONLY);
	pthread_t t;

	pthread_create(&t, NULL, run_stalled, &s);
	cr_expect_gt(read(out[0], b, sizeof(b)), 0);
	close(out[0]);
	pthread_join(t, NULL);
	cr_expect_eq(s.rc, 0, "%s", s.e.msg);
	cr_expect_eq(s.res.signal, SIGPIPE);
}

/* stdin is taken only as far as the command wants it, and one that wants none gets none. */
Test(agent_live, stdin_is_read_lazily)
{
	const char *argv[] = { "sh", "-c", "read a; echo $a", NULL };
	struct client_result res;
	struct client_err e;
	struct client *c = live_client();
	int fd = memfd_create("in", 0), out = memfd_create("out", 0);
	struct client_exec x = { .argv = argv, .fd = { fd, out, -1 } };
	size_t n;
	char *p;

	cr_assert_eq(write(fd, "first\n", 6), 6);
	cr_assert_eq(ftruncate(fd, 50 << 20), 0);
	lseek(fd, 0, SEEK_SET);
	cr_assert_eq(client_exec_run(c, &x, NULL, 0, &res, &e), 0, "%s", e.msg);
	client_close(c);
	p = live_slurp(out, &n);
	cr_expect_str_eq(p, "first\n");
	cr_expect_eq(res.code, 0);
	cr_expect_leq(lseek(fd, 0, SEEK_CUR), 256 << 10);
	free(p);
	close(fd);
	close(out);
}

Test(agent_live, half_close_of_stdin)
{
	struct live_run r = { 0 };
	const char *argv[] = { "sh", "-c", "cat; echo after", NULL };

	live_exec(&r, argv, "", 0);
	cr_expect_str_eq(r.out, "after\n");
	live_free(&r);
}
