// SPDX-License-Identifier: Apache-2.0
/* A real agent: executions that outlive their client. */
#include <poll.h>
#include <pthread.h>
#include <sys/timerfd.h>

#include "agent/ring.h"
#include "tests/unit/agent_live.h"

static char *made[64];
static size_t n_made;

/* What a file holds, until the test ends. Any thread. */
static char *slurp(int fd, size_t *n)
{
	size_t i = __atomic_fetch_add(&n_made, 1, __ATOMIC_RELAXED);

	cr_assert_lt(i, 64);
	return made[i] = live_slurp(fd, n);
}

static void stop(void)
{
	while (n_made)
		free(made[--n_made]);
	live_stop();
}

TestSuite(agent_jobs, .init = live_start, .fini = stop, .timeout = 60);

static uint64_t start(const char *script, struct client_exec x)
{
	const char *argv[] = { "sh", "-c", script, NULL };
	struct client *c = live_client();
	struct client_result res;
	struct client_err e = { 0 };

	x.argv = argv;
	x.keep = true;
	x.fd[0] = x.fd[1] = x.fd[2] = -1;
	cr_assert_eq(client_exec_run(c, &x, NULL, 0, &res, &e), 0, "%s", e.msg);
	client_close(c);
	cr_assert(res.left && res.id && res.pid);
	return res.id;
}

struct attached { struct client_result res; struct client_err e; char *out, *err; size_t n, m; };

static int attach(uint64_t id, uint32_t flags, struct attached *a, struct client_watch *w)
{
	struct client *c = live_client();
	struct client_exec x = { .fd = { -1, memfd_create("o", 0), memfd_create("e", 0) } };
	int rc = client_attach_run(c, id, flags, &x, w, w != NULL, &a->res, &a->e);

	client_close(c);
	a->out = slurp(x.fd[1], &a->n);
	a->err = slurp(x.fd[2], &a->m);
	close(x.fd[1]);
	close(x.fd[2]);
	return rc;
}

static int wait_for(uint64_t id, struct client_result *res, struct client_err *e)
{
	struct client *c = live_client();
	int rc = client_wait(c, id, NULL, 0, res, e);

	client_close(c);
	return rc;
}

struct found { uint64_t id; struct proto_job j; unsigned int n; };

static void look(const struct proto_job *j, void *arg)
{
	struct found *f = arg;

	f->n++;
	if (j->id == f->id)
		f->j = *j;
}

static struct found list(uint64_t id)
{
	struct found f = { .id = id };
	struct client *c = live_client();
	struct client_err e = { 0 };

	cr_assert_eq(client_jobs(c, look, &f, 5000, &e), 0, "%s", e.msg);
	client_close(c);
	return f;
}

static int send_signal(uint64_t id, int signo, enum proto_scope scope)
{
	struct client *c = live_client();
	int rc = client_job_signal(c, id, signo, scope, 5000, NULL);

	client_close(c);
	return rc;
}

static void comes(const char *file)
{
	char path[96];

	snprintf(path, sizeof(path), "%s/%s", live_dir, file);
	for (int i = 0; i < 3000 && access(path, F_OK); i++)
		usleep(10000);
	cr_assert_eq(access(path, F_OK), 0, "%s does not come", file);
}

static uint64_t start_in(const char *fmt, struct client_exec x)
{
	char script[512];

	snprintf(script, sizeof(script), "cd %s; %s", live_dir, fmt);
	return start(script, x);
}

Test(agent_jobs, outlives_its_client_and_can_be_followed)
{
	uint64_t id = start_in("echo one; echo two >&2; touch a; while [ ! -e go ]; do sleep 0.05; "
			       "done; echo three; exit 6", (struct client_exec){ 0 });
	char go[96];
	struct attached a = { 0 };
	struct client_result res;
	struct client_err e = { 0 };
	struct found f;

	comes("a");
	f = list(id);
	cr_expect_eq(f.n, 1);
	cr_expect_eq(f.j.flags, PROTO_JOB_KEPT | PROTO_JOB_RUNNING);
	cr_expect_str_eq(f.j.text + strlen(f.j.text) - 6, "exit 6");
	snprintf(go, sizeof(go), "%s/go", live_dir);
	close(creat(go, 0600));
	cr_assert_eq(attach(id, PROTO_ATTACH_REPLAY, &a, NULL), 0, "%s", a.e.msg);
	cr_expect_str_eq(a.out, "one\nthree\n");
	cr_expect_str_eq(a.err, "two\n");
	cr_expect(a.res.code == 6 && !a.res.left && a.res.out_bytes == 10);
	/* The record stays, for those who come later. */
	cr_assert_eq(wait_for(id, &res, &e), 0, "%s", e.msg);
	cr_expect_eq(res.code, 6);
	cr_assert_eq(attach(id, PROTO_ATTACH_REPLAY, &a, NULL), 0);
	cr_expect_str_eq(a.out, "one\nthree\n");
	cr_assert_eq(attach(id, 0, &a, NULL), 0);
	cr_expect_str_eq(a.out, "", "it was seen before: %s", a.out);
	f = list(id);
	cr_expect(f.j.flags == PROTO_JOB_KEPT && f.j.res.code == 6 && f.j.res.out_bytes == 10);
}

Test(agent_jobs, refusals_have_reasons)
{
	uint64_t id = start("exit 0", (struct client_exec){ 0 });
	struct attached a = { 0 };
	struct client_result res;
	struct client_err e = { 0 };

	cr_expect_eq(attach(4711, 0, &a, NULL), -ENOENT);
	cr_expect_str_eq(a.e.msg, "execution 4711 is not known here");
	cr_expect_eq(wait_for(4711, &res, &e), -ENOENT);
	cr_expect_eq(send_signal(4711, SIGTERM, PROTO_SCOPE_TREE), -ENOENT);
	cr_assert_eq(wait_for(id, &res, &e), 0);
	cr_expect_eq(send_signal(id, SIGTERM, PROTO_SCOPE_TREE), -ESRCH);
	cr_expect_eq(send_signal(id, 65, PROTO_SCOPE_TREE), -EINVAL);
}

Test(agent_jobs, signals_and_time_end_it_without_a_client)
{
	struct client_result res;
	struct client_err e;
	uint64_t id = start_in("trap 'exit 9' TERM; touch a; while :; do sleep 0.05; done",
			       (struct client_exec){ 0 });

	comes("a");
	cr_expect_eq(send_signal(id, SIGTERM, PROTO_SCOPE_PROCESS), 0);
	cr_expect_eq(wait_for(id, &res, &e), 0);
	cr_expect_eq(res.code, 9);
	id = start("sleep 60 & sleep 60", (struct client_exec){ 0 });
	cr_expect_eq(send_signal(id, SIGKILL, PROTO_SCOPE_TREE), 0);
	cr_expect_eq(wait_for(id, &res, &e), 0);
	cr_expect_eq(res.signal, SIGKILL);
	cr_expect(!res.left_running);
	id = start("echo x; sleep 60", (struct client_exec){ .timeout_ns = 2000000000 });
	cr_expect_eq(wait_for(id, &res, &e), 0);
	cr_expect(res.timed_out && res.out_bytes == 2);
}

/* Far more than a ring holds: the command does not block, and the newest is kept. */
Test(agent_jobs, output_is_bounded_and_its_end_is_kept)
{
	uint64_t id = start("seq 300000; echo done >&2", (struct client_exec){ 0 });
	struct client_result res;
	struct client_err e = { 0 };
	struct attached a = { 0 };

	cr_assert_eq(wait_for(id, &res, &e), 0, "%s", e.msg);
	cr_expect_eq(res.out_bytes, 1988895);
	cr_assert_eq(attach(id, PROTO_ATTACH_REPLAY, &a, NULL), 0);
	cr_expect_eq(a.n, RING_MAX);
	cr_expect_eq(a.res.out_bytes, 1988895);
	cr_expect_str_eq(a.out + a.n - 14, "299999\n300000\n");
	cr_expect_str_eq(a.err, "done\n");
	id = start("seq 300000", (struct client_exec){ .limit_output = true, .max_output = 10 });
	cr_assert_eq(wait_for(id, &res, &e), 0);
	cr_assert_eq(attach(id, PROTO_ATTACH_REPLAY, &a, NULL), 0);
	cr_expect_str_eq(a.out, "1\n2\n3\n4\n5\n");
	cr_expect(a.res.trunc_stdout && !a.res.trunc_stderr && a.res.out_bytes == 1988895);
}

static int leave_now(struct client *c, short revents, void *arg)
{
	struct client_watch *w = arg;
	uint64_t n;

	(void)revents;
	cr_expect_eq(read(w->fd, &n, sizeof(n)), 8);
	if (client_started(c))
		client_leave(c);
	return 0;
}

static struct client_watch in_a_moment(struct client_watch *w)
{
	struct itimerspec its = { { 0, 100000000 }, { 0, 300000000 } };

	*w = (struct client_watch){ timerfd_create(CLOCK_MONOTONIC, 0), POLLIN, leave_now, w };
	timerfd_settime(w->fd, 0, &its, NULL);
	return *w;
}

Test(agent_jobs, an_ordinary_one_can_be_left_and_gone_back_to)
{
	const char *argv[] = { "sh", "-c", "echo a; read x; echo b$x; exit 3", NULL };
	struct client *c = live_client();
	struct client_exec x = { .argv = argv, .fd = { -1, memfd_create("o", 0), -1 } };
	struct client_watch w;
	struct client_result res;
	struct client_err e = { 0 };
	size_t n;
	int p[2];

	cr_assert_eq(pipe(p), 0);
	x.fd[0] = p[0];
	in_a_moment(&w);
	cr_assert_eq(client_exec_run(c, &x, &w, 1, &res, &e), 0, "%s", e.msg);
	client_close(c);
	cr_expect(res.left);
	cr_expect_str_eq(slurp(x.fd[1], &n), "a\n");
	cr_expect_eq(list(res.id).j.flags, PROTO_JOB_KEPT | PROTO_JOB_STDIN | PROTO_JOB_RUNNING);
	cr_expect_eq(write(p[1], "c\n", 2), 2);
	close(p[1]);
	c = live_client();
	cr_assert_eq(client_attach_run(c, res.id, 0, &x, NULL, 0, &res, &e), 0, "%s", e.msg);
	client_close(c);
	cr_expect_eq(res.code, 3);
	cr_expect_str_eq(slurp(x.fd[1], &n), "a\nbc\n");
}

struct other { uint64_t id; uint32_t flags; struct attached a; int rc; };

static void *attach_too(void *arg)
{
	struct other *o = arg;

	o->rc = attach(o->id, o->flags, &o->a, NULL);
	return NULL;
}

Test(agent_jobs, one_client_has_it_until_another_takes_it)
{
	struct other first = { .id = start("sleep 60", (struct client_exec){ 0 }) };
	struct attached a = { 0 };
	struct client_watch w;
	pthread_t t;

	pthread_create(&t, NULL, attach_too, &first);
	for (int i = 0; i < 200 && !(list(first.id).j.flags & PROTO_JOB_ATTACHED); i++)
		usleep(10000);
	cr_expect_eq(attach(first.id, 0, &a, NULL), -EBUSY);
	cr_expect_str_eq(a.e.msg, "execution 1 has another command attached to it");
	in_a_moment(&w);
	cr_expect_eq(attach(first.id, PROTO_ATTACH_TAKE, &a, &w), 0);
	cr_expect(a.res.left);
	pthread_join(t, NULL);
	cr_expect(first.rc == 0 && first.a.res.left);
	cr_expect_eq(send_signal(first.id, SIGKILL, PROTO_SCOPE_TREE), 0);
}

/* What an ordinary command leaves in the background is seen, and can be killed. */
Test(agent_jobs, background_processes_are_listed)
{
	struct live_run r = { 0 };
	struct attached a = { 0 };
	struct found f;

	live_sh(&r, "sleep 60 >/dev/null 2>&1 & echo x");
	cr_expect(r.rc == 0);
	live_free(&r);
	live_sh(&r, "sleep 60 & echo x");
	cr_expect(r.rc == 0 && r.res.left_running);
	f = list(2);
	cr_expect_eq(f.j.flags, PROTO_JOB_BACKGROUND);
	cr_expect_eq(attach(2, 0, &a, NULL), -EPERM);
	cr_expect_eq(send_signal(2, SIGKILL, PROTO_SCOPE_TREE), 0);
	for (int i = 0; i < 300 && list(2).n; i++)
		usleep(10000);
	cr_expect_eq(list(2).n, 0);
	live_free(&r);
}

Test(agent_jobs, a_watch_hears_of_each_end)
{
	struct client *c = live_client();
	struct client_err e = { 0 };
	struct found f = { 0 };

	cr_assert_eq(client_watch_jobs(c, 5000, &e), 0, "%s", e.msg);
	f.id = start("exit 4", (struct client_exec){ 0 });
	start("exit 5", (struct client_exec){ 0 });
	while (f.n < 2) {
		struct pollfd p = { client_fd(c), POLLIN, 0 };

		cr_assert_eq(poll(&p, 1, 5000), 1);
		cr_assert_eq(client_events(c, look, &f, &e), 0, "%s", e.msg);
	}
	cr_expect_eq(f.j.res.code, 4);
	client_close(c);
}

/* A reader that goes takes nothing from the command, nor from who comes after it. */
Test(agent_jobs, a_reader_that_goes_breaks_no_pipe)
{
	uint64_t id = start("for i in 1 2 3 4 5 6; do echo $i || exit 1; sleep 0.1; done",
			    (struct client_exec){ 0 });
	struct client *c = live_client();
	struct client_exec x = { .fd = { -1, -1, -1 } };
	struct client_result res;
	struct client_err e = { 0 };
	struct attached a = { 0 };
	int p[2];

	cr_assert_eq(pipe(p), 0);
	close(p[0]);
	x.fd[1] = p[1];
	cr_assert_eq(client_attach_run(c, id, PROTO_ATTACH_REPLAY, &x, NULL, 0, &res, &e), 0);
	cr_expect(res.left, "there is nobody to follow it for");
	client_close(c);
	cr_assert_eq(attach(id, PROTO_ATTACH_REPLAY, &a, NULL), 0);
	cr_expect_str_eq(a.out, "1\n2\n3\n4\n5\n6\n");
}

Test(agent_jobs, records_of_what_ended_make_room)
{
	struct client_result res;
	struct client_err e;
	uint64_t first = 0, id = 0;

	for (int i = 0; i < 80; i++) {
		id = start("echo x", (struct client_exec){ 0 });
		first = first ? first : id;
		cr_expect_eq(wait_for(id, &res, &e), 0);
	}
	cr_expect_leq(list(id).n, 66);
	cr_expect_eq(wait_for(first, &res, &e), -ENOENT);
	cr_expect_eq(wait_for(id - 60, &res, &e), 0);
}
