/* SPDX-License-Identifier: Apache-2.0 */
/* Hostile archives, unpacked on the host: each is refused, and nothing outside is touched. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "agent/helper.h"
#include "agent/tar.h"
#include "agent/unpack.h"
#include "vmm/base.h"

static char top[64], words[256];
static int archive;

static void setup(void)
{
	char path[96];

	snprintf(top, sizeof(top), "/tmp/unpack-XXXXXX");
	cr_assert_not_null(mkdtemp(top));
	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/%s", top, i ? "out" : "in");
		cr_assert_eq(mkdir(path, 0755), 0);
	}
	archive = open("/tmp", O_TMPFILE | O_RDWR, 0600);
	cr_assert_geq(archive, 0);
}

static void teardown(void)
{
	close(archive);
	cr_assert_eq(helper_remove(top, 0), 0);
}

TestSuite(unpack, .init = setup, .fini = teardown, .timeout = 30);

static void entry(char type, const char *name, const char *link, const char *data, uint32_t mode)
{
	static struct tar_entry t;
	uint8_t head[TAR_HEADER_MAX], block[TAR_BLOCK] = { 0 };
	int n;

	memset(&t, 0, sizeof(t));
	t.type = type;
	t.mode = mode;
	t.size = type == '0' ? strlen(data) : 0;
	t.mtime = 1000;
	snprintf(t.name, sizeof(t.name), "%s", name);
	snprintf(t.link, sizeof(t.link), "%s", link);
	n = tar_header(head, &t);
	cr_assert_gt(n, 0);
	cr_assert_eq(write(archive, head, (size_t)n), n);
	memcpy(block, data, strlen(data));
	if (t.size)
		cr_assert_eq(write(archive, block, sizeof(block)), (ssize_t)sizeof(block));
}

/* The result of a child that unpacks in top/in; its sentence in words. */
static int run(const char *from, const char *to)
{
	static const uint8_t end[2 * TAR_BLOCK];
	char path[96];
	int status, p[2];
	ssize_t n;

	cr_assert_eq(write(archive, end, sizeof(end)), (ssize_t)sizeof(end));
	lseek(archive, 0, SEEK_SET);
	snprintf(path, sizeof(path), "%s/in", top);
	cr_assert_eq(pipe(p), 0);
	if (fork() == 0) {
		struct unpack u = { .root = open(path, O_RDONLY | O_DIRECTORY), .strict = true,
				    .from = from, .to = to };

		dup2(archive, 0);
		dup2(p[1], 2);
		_exit(unpack(&u));
	}
	close(p[1]);
	n = read(p[0], words, sizeof(words) - 1);
	words[n > 0 ? n : 0] = '\0';
	close(p[0]);
	cr_assert_gt(wait(&status), 0);
	cr_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static bool there(const char *name, struct stat *st)
{
	char path[300];

	snprintf(path, sizeof(path), "%.63s/%.200s", top, name);
	return !lstat(path, st);
}

Test(unpack, what_is_well_comes_whole)
{
	struct stat st;

	entry('5', "d/", "", "", 0555);
	entry('0', "d/f", "", "data", 04755);
	entry('2', "d/l", "../../../etc", "", 0777);
	cr_assert_eq(run("d", "new"), 0, "%s", words);
	cr_assert(there("in/new/f", &st));
	cr_expect_eq(st.st_mode, S_IFREG | 0755, "set-uid is taken off: %o", st.st_mode);
	cr_expect_eq(st.st_mtime, 1000);
	cr_assert(there("in/new", &st));
	cr_expect_eq(st.st_mode & 07777, 0555);
	cr_expect_eq(st.st_mtime, 1000, "the time of a folder that was filled");
	cr_assert(there("in/new/l", &st));
	cr_expect(S_ISLNK(st.st_mode));
	chmod(top, 0700);
	if (geteuid()) {
		char path[96];

		snprintf(path, sizeof(path), "%s/in/new", top);
		cr_assert_eq(chmod(path, 0755), 0);
	}
}

Test(unpack, dot_dot)
{
	struct stat st;

	entry('0', "../out/f", "", "x", 0644);
	cr_expect_eq(run(NULL, NULL), EINVAL);
	cr_expect_not_null(strstr(words, "leads out of the folder"));
	cr_expect_not(there("out/f", &st));
}

Test(unpack, absolute_names_are_below_the_folder)
{
	char name[96], inside[200];
	struct stat st;

	snprintf(name, sizeof(name), "%s/out/f", top);
	entry('0', name, "", "x", 0644);
	cr_expect_eq(run(NULL, NULL), 0, "%s", words);
	cr_expect_not(there("out/f", &st));
	snprintf(inside, sizeof(inside), "in%s", name);
	cr_expect(there(inside, &st));
}

Test(unpack, over_a_link_of_its_own)
{
	struct stat st;

	entry('2', "l", "../out", "", 0777);
	entry('0', "l/f", "", "x", 0644);
	cr_expect_eq(run(NULL, NULL), ELOOP);
	cr_expect_not_null(strstr(words, "leads over a symbolic link"));
	cr_expect_not(there("out/f", &st));
}

Test(unpack, a_folder_in_place_of_a_link_that_was_there)
{
	char link[96];
	struct stat st;

	snprintf(link, sizeof(link), "%s/in/l", top);
	cr_assert_eq(symlink("../out", link), 0);
	entry('5', "l/", "", "", 0700);
	cr_expect_eq(run(NULL, NULL), EEXIST, "%s", words);
	cr_assert(there("out", &st));
	cr_expect_eq(st.st_mode & 07777, 0755, "the mode of what the link leads to");
}

Test(unpack, a_file_replaces_a_link_and_does_not_follow_it)
{
	char link[96], target[96];
	struct stat st;

	snprintf(link, sizeof(link), "%s/in/f", top);
	snprintf(target, sizeof(target), "%s/out/f", top);
	cr_assert_eq(symlink(target, link), 0);
	entry('0', "f", "", "x", 0644);
	cr_expect_eq(run(NULL, NULL), 0, "%s", words);
	cr_expect_not(there("out/f", &st));
	cr_assert(there("in/f", &st));
	cr_expect(S_ISREG(st.st_mode));
}

/* The target is a folder that the guest shares, and it is quick. */
Test(unpack, a_mode_is_not_set_through_a_link)
{
	static const uint8_t end[2 * TAR_BLOCK];
	char in[96], d[112], was[112];
	struct stat st;
	uint8_t bytes[8192];
	ssize_t len;
	int status, p[2];

	entry('5', "d/", "", "", 0777);
	entry('0', "f", "", "x", 0644);
	lseek(archive, 0, SEEK_SET);
	len = read(archive, bytes, sizeof(bytes));
	snprintf(in, sizeof(in), "%s/in", top);
	snprintf(d, sizeof(d), "%s/d", in);
	snprintf(was, sizeof(was), "%s/was", in);
	cr_assert(len > 0 && pipe(p) == 0);
	if (fork() == 0) {
		struct unpack u = { .root = open(in, O_RDONLY | O_DIRECTORY), .strict = true };

		dup2(p[0], 0);
		dup2(open("/dev/null", O_WRONLY), 2);
		close(p[1]);
		_exit(unpack(&u));
	}
	cr_assert_eq(write(p[1], bytes, (size_t)len), len);
	while (!there("in/f", &st))
		usleep(1000);
	cr_assert(rename(d, was) == 0 && symlink("../out", d) == 0);
	cr_assert_eq(write(p[1], end, sizeof(end)), (ssize_t)sizeof(end));
	close(p[1]);
	close(p[0]);
	cr_assert_gt(wait(&status), 0);
	cr_expect(WIFEXITED(status) && WEXITSTATUS(status) != 0, "it is said");
	cr_assert(there("out", &st));
	cr_expect_eq(st.st_mode & 07777, 0755, "%o", st.st_mode);
	cr_assert_eq(unlink(d), 0);
}

Test(unpack, a_hard_link)
{
	entry('1', "x", "/etc/passwd", "", 0644);
	cr_expect_eq(run(NULL, NULL), EPERM, "%s", words);
	cr_expect_not_null(strstr(words, "x is a hard link"));
}

Test(unpack, devices_and_fifos_are_left_out_and_the_rest_is_not)
{
	static const char types[] = "346";
	struct stat st;

	for (const char *t = types; *t; t++) {
		cr_assert_eq(ftruncate(archive, 0), 0);
		lseek(archive, 0, SEEK_SET);
		entry('5', "d/", "", "", 0705);
		entry(*t, "d/x", "", "", 0644);
		entry(*t, "y", "", "", 0644);
		entry('0', "d/f", "", "x", 0644);
		cr_expect_eq(run(NULL, NULL), EPERM, "type %c: %s", *t, words);
		cr_expect_str_eq(words, "d/x (and 1 more like it) is a device or a pipe, which "
				 "nobody takes from a guest; everything else was copied");
		cr_expect(!there("in/d/x", &st) && !there("in/y", &st));
		cr_expect(there("in/d/f", &st), "what follows is copied");
		cr_expect(there("in/d", &st) && (st.st_mode & 0777) == 0705, "%o", st.st_mode);
	}
}

Test(unpack, another_name_than_what_was_asked_for)
{
	struct stat st;

	entry('0', ".bashrc", "", "x", 0644);
	cr_expect_eq(run("file", "file"), EINVAL);
	cr_expect_not_null(strstr(words, "is not what was asked for"));
	cr_expect_not(there("in/.bashrc", &st));
}

/* A sparse file of 10000 bytes whose list says @list; what follows are @data bytes. */
static int sparse(const char *list, size_t data, const char *real)
{
	uint8_t head[TAR_HEADER_MAX], blocks[8 * TAR_BLOCK] = { 0 };
	static struct tar_entry t;
	size_t size = tar_padded(strlen(list)) + data;
	char *at;
	int n;

	t = (struct tar_entry){ .type = '0', .mode = 0644, .size = size, .sparse = true,
				.real = 10000, .name = "f" };
	n = tar_header(head, &t);
	cr_assert_gt(n, 0);
	at = memmem(head, (size_t)n, "realsize=10000", 14);
	cr_assert_not_null(at);
	memcpy(at + 9, real, 5);
	cr_assert_eq(write(archive, head, (size_t)n), n);
	memcpy(blocks, list, strlen(list));
	memset(blocks + tar_padded(strlen(list)), 'x', data);
	size = tar_padded(size);
	cr_assert_eq(write(archive, blocks, size), (ssize_t)size);
	return run(NULL, NULL);
}

Test(unpack, a_sparse_file)
{
	struct stat st;

	cr_assert_eq(sparse("2\n5000\n3\n9999\n1\n", 4, "10000"), 0, "%s", words);
	cr_assert(there("in/f", &st));
	cr_expect_eq(st.st_size, 10000);
}

Test(unpack, sparse_files_that_lie)
{
	static const struct { const char *list; size_t data; const char *real; } lies[] = {
		{ "1\n9999\n2\n", 2, "10000" },		/* beyond the end */
		{ "1\n10001\n0\n", 0, "10000" },
		{ "2\n10\n5\n14\n1\n", 6, "10000" },	/* over one another */
		{ "2\n10\n5\n9\n1\n", 6, "10000" },	/* backwards */
		{ "1\n0\n4\n", 3, "10000" },			/* less than there is */
		{ "1\n0\n4\n", 5, "10000" },			/* and more */
		{ "65537\n", 0, "10000" },
		{ "-1\n", 0, "10000" }, { "\n", 0, "10000" }, { "1\n", 0, "10000" },
		{ "1\n0\n9999999999999999999\n", 0, "10000" },
		{ "1\n0\n4\n", 4, "1000x" },
	};

	for (size_t i = 0; i < ARRAY_LEN(lies); i++) {
		cr_assert_eq(ftruncate(archive, 0), 0);
		lseek(archive, 0, SEEK_SET);
		cr_expect_eq(sparse(lies[i].list, lies[i].data, lies[i].real), EBADMSG,
			     "%zu: %s", i, words);
		cr_expect(strstr(words, "malformed") || strstr(words, "not known"), "%zu: %s", i,
			  words);
	}
}
