// SPDX-License-Identifier: Apache-2.0
/* What the keeper hears from the guest about ends of commands. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "cli/base/term.h"
#include "cli/keeper/priv.h"
#include "cli/store/event.h"

#define ENDS	50u
#define LEAST	1000000ull	/* nanoseconds for each */

static uint8_t buf[64 << 10];
static struct proto_wr w;

static void *read_all(void *arg)
{
	uint8_t sink[4096];

	while (read(*(int *)arg, sink, sizeof(sink)) > 0)
		;
	return NULL;
}

static void say(int fd)
{
	cr_assert_eq(write(fd, buf, w.len), (ssize_t)w.len);
	proto_wr_init(&w, buf, sizeof(buf));
}

/* A client that watches, of an agent that is @fd. */
static struct client *watcher(int fd, int agent)
{
	const struct proto_hello h = { 1, 1, 0, 0, PROTO_STDIN_WINDOW };
	struct client_err e = { 0 };
	struct client *c;

	proto_wr_init(&w, buf, sizeof(buf));
	proto_wr_hello(&w, PROTO_HELLO, true, &h);
	cr_assert_gt(proto_wr_end(&w), 0);
	proto_wr_begin(&w, PROTO_DONE, 1);
	cr_assert_gt(proto_wr_end(&w), 0);
	say(agent);
	c = client_open_fd(fd, 1000, &e);
	cr_assert_not_null(c, "%s", e.msg);
	cr_assert_eq(client_watch_jobs(c, 1000, &e), 0, "%s", e.msg);
	return c;
}

static void tell_ends(int agent)
{
	const struct proto_job j = { .id = 7, .flags = PROTO_JOB_KEPT, .command = "true" };

	for (unsigned i = 0; i < ENDS; i++) {
		proto_wr_job(&w, PROTO_EXEC_INFO, 1, &j);
		cr_assert_gt(proto_wr_end(&w), 0);
	}
	say(agent);
}

Test(cli_jobs, who_tells_all_the_time_has_to_wait, .timeout = 60)
{
	char dir[] = "/tmp/sandbox-jobs-XXXXXX";
	struct keeper k = { .box = STORE_BOX_NONE };
	uint64_t before;
	pthread_t t;
	int sv[2];

	cr_assert_not_null(mkdtemp(dir));
	k.box.dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	pthread_create(&t, NULL, read_all, &sv[1]);
	k.jobs = watcher(sv[0], sv[1]);
	tell_ends(sv[1]);

	cr_expect_eq(keeper_jobs_fd(&k), sv[0]);
	before = term_now_ns();
	keeper_jobs_read(&k);
	cr_expect_geq(k.jobs_at, before + ENDS * LEAST, "it can tell again at once");
	k.jobs_at = term_now_ns() + 3600000 * LEAST;
	cr_expect_eq(keeper_jobs_fd(&k), -1);
	k.jobs_at = term_now_ns();
	cr_expect_eq(keeper_jobs_fd(&k), sv[0], "it is heard again");

	client_close(k.jobs);
	pthread_join(t, NULL);
	close(sv[1]);
	cr_expect_eq(unlinkat(k.box.dir, EVENT_FILE, 0), 0, "nothing was noted");
	close(k.box.dir);
	rmdir(dir);
}
