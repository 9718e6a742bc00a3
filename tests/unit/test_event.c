// SPDX-License-Identifier: Apache-2.0
/* The event log: one line an event, whoever writes, and no file without bound. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "cli/store/event.h"

static struct store_box box = STORE_BOX_NONE;
static char top[] = "/tmp/event-XXXXXX";

static void setup(void)
{
	cr_assert_not_null(mkdtemp(top));
	box.dir = open(top, O_RDONLY | O_DIRECTORY);
	cr_assert_geq(box.dir, 0);
}

static void teardown(void)
{
	char cmd[64];

	snprintf(cmd, sizeof(cmd), "rm -r %s", top);
	cr_expect_eq(system(cmd), 0);
	close(box.dir);
}

TestSuite(event, .init = setup, .fini = teardown, .timeout = 60);

/* Lines of a file, each an object with a time; -1: there is none. */
static int lines(const char *name)
{
	int fd = openat(box.dir, name, O_RDONLY), n = 0;
	FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
	char *line = NULL;
	size_t cap = 0;

	if (!f)
		return -1;
	for (; getline(&line, &cap, f) > 0; n++) {
		json_t *o = json_loads(line, 0, NULL);

		cr_assert(json_is_string(json_object_get(o, "time")), "%.100s", line);
		json_decref(o);
	}
	free(line);
	fclose(f);
	return n;
}

static void many(int n)
{
	char text[2001];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	for (int i = 0; i < n; i++)
		event_write(&box, "test", json_pack("{s:s}", "text", text));
}

Test(event, lines_are_whole)
{
	event_write(&box, "a", NULL);
	event_write(&box, "b", json_pack("{s:s}", "text", "two\nlines\033"));
	cr_expect_eq(lines(EVENT_FILE), 2);
	cr_expect_eq(lines(EVENT_OLDER), -1);
}

Test(event, a_large_file_becomes_the_older_one)
{
	struct stat st;
	int n, m;

	many(5000);	/* 10 MB: two are full */
	n = lines(EVENT_FILE);
	m = lines(EVENT_OLDER);
	cr_expect(m > 1900 && m < 2200, "%d lines in the older one", m);
	cr_expect(n > 500 && n < 1500, "%d lines in the newer one", n);
	cr_assert_eq(fstatat(box.dir, EVENT_OLDER, &st, 0), 0);
	cr_expect_leq(st.st_size, EVENT_ROTATE_AT + 4096);
}

/* Four processes at once: what is kept is whole, and nothing more than the oldest is lost. */
Test(event, many_writers)
{
	for (int i = 0; i < 4; i++)
		if (fork() == 0) {
			many(700);
			_exit(0);
		}
	while (wait(NULL) > 0)
		;
	cr_expect_eq(lines(EVENT_FILE) + lines(EVENT_OLDER), 2800);
}
