// SPDX-License-Identifier: Apache-2.0
/* Recordings: whatever a guest writes, each line is JSON, and the file has an end. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <sys/stat.h>

#include "cli/run/record.h"

static char top[] = "/tmp/record-test.XXXXXX";
static int dir;

static void begin(void)
{
	cr_assert_not_null(mkdtemp(top));
	dir = open(top, O_RDONLY | O_DIRECTORY);
}

static void end(void)
{
	char cmd[64];

	close(dir);
	snprintf(cmd, sizeof(cmd), "rm -r %s", top);
	cr_expect_eq(system(cmd), 0);
}

TestSuite(record, .init = begin, .fini = end, .timeout = 60);

static void make(struct record *r)
{
	static char one[] = "sh", two[] = "-c \"x\"\n\xff";
	char *argv[] = { one, two, NULL };
	struct record_about about = { .title = "web", .argv = argv, .rows = 30, .cols = 99 };
	struct err e = { 0 };

	cr_assert_eq(record_open(r, dir, &about, &e), 0, "%s", e.msg);
}

/* All lines but the first, each checked; the texts of kind @kind put together. */
static char *played(const struct record *r, char kind, size_t *lines)
{
	char path[128], *line = NULL, *all = calloc(1, 1 << 20);
	size_t cap = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s" RECORD_SUFFIX, top, r->name);
	f = fopen(path, "r");
	cr_assert_not_null(f);
	for (*lines = 0; getline(&line, &cap, f) > 0; ++*lines) {
		json_t *o = json_loads(line, JSON_ALLOW_NUL, NULL);
		const char *what;

		cr_assert_not_null(o, "not JSON: %s", line);
		if (!*lines) {
			cr_expect_eq(json_integer_value(json_object_get(o, "version")), 2);
			cr_expect_eq(json_integer_value(json_object_get(o, "width")), 99);
		} else {
			cr_assert(json_is_array(o) && json_array_size(o) == 3, "%s", line);
			what = json_string_value(json_array_get(o, 1));
			if (*what == kind && strlen(all) < 1 << 19)
				strcat(all, json_string_value(json_array_get(o, 2)));
		}
		json_decref(o);
	}
	free(line);
	fclose(f);
	return all;
}

static void out(struct record *r, const char *s)
{
	record_output(r, 1, (const uint8_t *)s, strlen(s));
}

Test(record, text_of_any_kind)
{
	struct record r;
	size_t n;

	make(&r);
	out(&r, "a\"\\\033[1m\r\n\t\177");
	out(&r, "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
	out(&r, "\xff\xc0\x80\xed\xa0\x80\xf5");		/* none of it is a character */
	record_close(&r, 3);
	cr_expect_str_eq(played(&r, 'o', &n), "a\"\\\033[1m\r\n\t\177\xc3\xa9\xe2\x82\xac"
			 "\xf0\x9f\x98\x80\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd\ufffd");
	cr_expect_eq(n, 5);
	cr_expect_str_eq(played(&r, 'm', &n), "exit 3");
}

/* A character that is cut anywhere, of two streams that take turns. */
Test(record, characters_in_pieces)
{
	const char *text = "x\xf0\x9f\x98\x80y\xe2\x82\xacz";
	struct record r;
	size_t n;

	make(&r);
	for (size_t i = 0; text[i]; i++) {
		record_output(&r, 1, (const uint8_t *)text + i, 1);
		record_output(&r, 2, (const uint8_t *)"-", 1);
	}
	record_output(&r, 1, (const uint8_t *)"\xe2\x82", 2);
	record_close(&r, 0);
	cr_expect_str_eq(played(&r, 'o', &n), "x----\xf0\x9f\x98\x80-y---\xe2\x82\xac-z-"
			 "\ufffd");
}

Test(record, sizes)
{
	struct record r;
	size_t n;

	make(&r);
	record_resize(&r, 40, 120);
	record_close(&r, 0);
	cr_expect_str_eq(played(&r, 'r', &n), "120x40");
}

Test(record, a_flood_has_an_end)
{
	static uint8_t flood[1 << 20];	/* \u0000: six bytes each */
	struct record r;
	struct stat st;
	size_t n;

	make(&r);
	for (int i = 0; i < 20; i++)
		record_output(&r, 1, flood, sizeof(flood));
	cr_expect(r.full && !r.error);
	record_close(&r, 0);
	cr_assert_eq(fstatat(dir, ".", &st, 0), 0);
	cr_expect_leq(r.bytes, RECORD_MAX);
	cr_expect_str_eq(played(&r, 'm', &n),
			 "recording ended: it has reached its greatest size");
}

Test(record, names_do_not_meet)
{
	struct record a, b;
	struct record_about about = { .title = "x" };
	struct err e = { 0 };

	make(&a);
	cr_expect_eq(record_open(&b, dir, &about, &e), -EEXIST, "one second, one process");
	record_close(&a, 0);
}
