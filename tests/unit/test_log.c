/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include "vmm/log.h"

/* Everything written to @fd's pipe so far. */
static size_t drain(int fd, char *buf, size_t n)
{
	ssize_t got;
	size_t used = 0;

	while (used < n - 1 && (got = read(fd, buf + used, n - 1 - used)) > 0)
		used += (size_t)got;
	buf[used] = 0;
	return used;
}

static void take_stderr(int *rd)
{
	int p[2];

	cr_assert_eq(pipe2(p, O_NONBLOCK | O_CLOEXEC), 0);
	cr_assert_eq(dup2(p[1], STDERR_FILENO), STDERR_FILENO);
	*rd = p[0];
}

static unsigned count(const char *s, const char *what)
{
	unsigned n = 0;

	for (; (s = strstr(s, what)); s++)
		n++;
	return n;
}

Test(log, one_line_with_the_name_and_nothing_above_the_level)
{
	char out[4096], big[3000];
	int fd;

	take_stderr(&fd);
	log_name("me");
	log_say(LOG_LEVEL_INFO, "hidden");
	log_say(LOG_LEVEL_WARN, "seen %d", 7);
	drain(fd, out, sizeof(out));
	cr_assert_str_eq(out, "me: seen 7\n");
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = 0;
	log_say(LOG_LEVEL_ERROR, "%s", big);
	cr_assert_leq(drain(fd, out, sizeof(out)), 1024);
	cr_assert_eq(out[strlen(out) - 1], '\n');
}

/* threat-model.md 13: what a guest provokes 5000 times is a few lines, and a count. */
Test(log, a_guest_cannot_flood_the_log)
{
	struct log_limit l = { 0 };
	char out[65536];
	unsigned n;
	int fd;

	take_stderr(&fd);
	for (unsigned i = 0; i < 5000; i++)
		log_guest(&l, "again");
	drain(fd, out, sizeof(out));
	n = count(out, "again");
	cr_assert_geq(n, LOG_BURST);
	cr_assert_leq(n, LOG_BURST + 3, "%u lines", n);	/* a second or two may have begun */
	l.second--;		/* a new second: one line, and the count of the rest */
	log_guest(&l, "again");
	drain(fd, out, sizeof(out));
	cr_assert_eq(count(out, "again"), 1);
	cr_assert_eq(count(out, "similar messages not shown"), 1, "%s", out);
	log_level(LOG_LEVEL_ERROR);
	l = (struct log_limit){ 0 };
	log_guest(&l, "again");
	cr_assert_eq(drain(fd, out, sizeof(out)), 0);
}

Test(log, a_tee_gets_the_console_from_then_on)
{
	char out[256];
	int p[2];

	cr_assert_eq(pipe2(p, O_NONBLOCK), 0);
	log_console("before ", 7);
	log_console_tee(p[1]);
	log_console("during ", 7);
	log_console_tee(-1);
	log_console("after", 5);
	drain(p[0], out, sizeof(out));
	cr_assert_str_eq(out, "during ");
}

Test(log, a_tee_that_nobody_reads_is_left_behind, .timeout = 30)
{
	static char line[1000], out[200000];
	size_t n;
	int p[2];

	memset(line, 'x', sizeof(line));
	cr_assert_eq(pipe2(p, O_CLOEXEC), 0);		/* blocking */
	log_console_tee(p[1]);
	for (unsigned i = 0; i < 100; i++)		/* more than a pipe holds */
		log_console(line, sizeof(line));
	cr_assert_eq(fcntl(p[0], F_SETFL, O_NONBLOCK), 0);
	drain(p[0], out, sizeof(out));
	n = strspn(out, "x");
	cr_assert_gt(n, 10000);
	cr_assert_lt(n, 100000);
	log_console("now", 3);
	drain(p[0], out, sizeof(out));
	cr_assert_str_eq(out + strlen(out) - 3, "now");
	cr_assert_neq(strstr(out, "bytes of the console were not read in time"), NULL);
	cr_assert_eq(strtoul(out + 2, NULL, 10), sizeof(line) * 100 - n);
}

static void *chatter(void *arg)
{
	for (unsigned i = 0; i < 2000; i++)
		log_console(arg, 3);
	return NULL;
}

Test(log, threads_do_not_tear_a_write)
{
	static char out[16384], as[] = "aaa", bs[] = "bbb";
	pthread_t a, b;
	int p[2];

	cr_assert_eq(pipe2(p, O_NONBLOCK), 0);
	log_console_tee(p[1]);
	cr_assert_eq(pthread_create(&a, NULL, chatter, as), 0);
	cr_assert_eq(pthread_create(&b, NULL, chatter, bs), 0);
	pthread_join(a, NULL);
	pthread_join(b, NULL);
	drain(p[0], out, sizeof(out));
	cr_assert_eq(strlen(out), 12000);
	for (size_t i = 0; i < 12000; i += 3)
		cr_assert(out[i] == out[i + 1] && out[i] == out[i + 2]);
}
