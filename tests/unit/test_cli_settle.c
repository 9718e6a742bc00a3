/* SPDX-License-Identifier: Apache-2.0 */
/* settle.c: what counts as busy, in a tree that looks like /proc; and with this process. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include "cli/machine/settle.h"

static char top[64];

static void put(const char *tid, const char *text)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/7/task/%s", top, tid);
	cr_assert(!mkdir(path, 0700));
	strcat(path, "/schedstat");
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static void init(void)
{
	char path[128];

	snprintf(top, sizeof(top), "/tmp/settle-XXXXXX");
	cr_assert(mkdtemp(top));
	snprintf(path, sizeof(path), "%s/7", top);
	cr_assert(!mkdir(path, 0700));
	strcat(path, "/task");
	cr_assert(!mkdir(path, 0700));
}

static void fini(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", top);
	cr_assert_eq(system(command), 0);
}

TestSuite(cli_settle, .init = init, .fini = fini);

/* One that waits for a processor is as busy as one that has it. */
Test(cli_settle, running_and_waiting_of_all_threads_add_up)
{
	uint64_t ns;

	put("7", "1000 20 5\n");
	put("8", "300000 4000000 77\n");
	cr_assert_eq(settle_busy_ns(top, 7, &ns), 0);
	cr_assert_eq(ns, 4301020u);
}

Test(cli_settle, what_is_no_figure_is_an_error)
{
	uint64_t ns;

	put("7", "much\n");
	cr_assert_eq(settle_busy_ns(top, 7, &ns), -EPROTO);
	cr_assert_eq(settle_busy_ns(top, 8, &ns), -ENOENT);
}

/* A thread that computes is seen on a real kernel. */
Test(cli_settle, this_process_is_busy)
{
	uint64_t before, after;
	clock_t until = clock() + CLOCKS_PER_SEC / 20;

	cr_assert_eq(settle_busy_ns("/proc", getpid(), &before), 0);
	while (clock() < until)
		;
	cr_assert_eq(settle_busy_ns("/proc", getpid(), &after), 0);
	cr_assert_geq(after - before, 30000000u);
}
