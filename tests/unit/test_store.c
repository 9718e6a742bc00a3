/* SPDX-License-Identifier: Apache-2.0 */
/* The store of named sandboxes: names, creation, locks, crashes, removal. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "cli/store/store.h"

static char top[64];

static void setup(void)
{
	snprintf(top, sizeof(top), "/tmp/store-XXXXXX");
	cr_assert_not_null(mkdtemp(top));
	cr_assert_eq(setenv("XDG_STATE_HOME", top, 1), 0);
}

static void teardown(void)
{
	int fd = open("/tmp", O_RDONLY | O_DIRECTORY);

	cr_assert_eq(store_delete_tree(fd, strrchr(top, '/') + 1), 0);
	close(fd);
}

TestSuite(store, .init = setup, .fini = teardown, .timeout = 60);

static size_t count(void)
{
	struct err e = { 0 };
	size_t n = 0;
	char **names = store_names(&n, &e);

	cr_assert_not_null(names, "%s", e.msg);
	store_names_free(names);
	return n;
}

/* Everything in the folder of sandboxes, leftovers included. */
static unsigned entries(void)
{
	char cmd[128], text[16] = "";
	FILE *f;

	snprintf(cmd, sizeof(cmd), "ls -A %s/sandbox/sandboxes | wc -l", top);
	f = popen(cmd, "r");
	cr_assert_not_null(f);
	cr_assert_not_null(fgets(text, sizeof(text), f));
	pclose(f);
	return (unsigned)atoi(text);
}

Test(store, names)
{
	static const char *const good[] = { "a", "A9", "web-1", "x_y.z", "0" };
	static const char *const bad[] = { "", ".", "..", ".x", "-x", "_x", "a/b", "a b", "a\n",
					   "\xc3\xa4", "a:b", "@" };
	char longest[STORE_NAME_MAX + 1], made[STORE_NAME_MAX];
	struct err e;

	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		cr_expect_eq(store_name_check(good[i], &e), 0, "%s", good[i]);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		cr_expect_eq(store_name_check(bad[i], &e), -EINVAL, "%s", bad[i]);
	memset(longest, 'n', sizeof(longest));
	longest[STORE_NAME_MAX] = '\0';
	cr_expect_eq(store_name_check(longest, &e), -EINVAL);
	cr_expect_str_eq(e.msg, "the name 'nnnnnnnnnnnnnnnnnnnn...' has 64 characters; at most 63 "
			 "are allowed");
	longest[STORE_NAME_MAX - 1] = '\0';
	cr_expect_eq(store_name_check(longest, &e), 0);
	store_name_make(made);
	cr_expect_eq(store_name_check(made, &e), 0, "%s", made);
}

Test(store, create_open_remove)
{
	struct store_box b, again;
	struct store_state s;
	struct err e = { 0 };
	char *text;

	cr_assert_eq(store_create(&b, "web", "memory = 64M\n", false, &e), 0, "%s", e.msg);
	cr_expect_not(b.locked);
	cr_expect_eq(store_create(&again, "web", "", false, &e), -EEXIST);
	cr_expect_not_null(strstr(e.msg, "already a sandbox named 'web'"));
	cr_expect_eq(again.dir, -1);
	store_close(&b);
	cr_assert_eq(store_open(&b, "web", &e), 0);
	text = store_read(&b, "config", &e);
	cr_expect_str_eq(text, "memory = 64M\n");
	free(text);
	cr_assert_eq(store_state(&b, &s, &e), 0, "%s", e.msg);
	cr_expect_eq(s.life, STORE_CREATED);
	cr_expect_gt(s.created_ns, 0);
	cr_expect_eq(store_open(&again, "wbe", &e), -ENOENT);
	cr_expect_str_eq(e.msg, "there is no sandbox named 'wbe'; did you mean 'web'?");
	cr_assert_eq(store_lock(&b, &e), 0);
	cr_assert_eq(store_remove(&b, &e), 0, "%s", e.msg);
	cr_expect_eq(entries(), 0);
	cr_expect_eq(store_open(&b, "web", &e), -ENOENT);
}

Test(store, of_many_makers_one_wins)
{
	enum { MAKERS = 16 };
	unsigned won = 0, lost = 0;
	int go[2], status;

	cr_assert_eq(pipe(go), 0);
	for (int i = 0; i < MAKERS; i++)
		if (fork() == 0) {
			struct store_box b;
			struct err e;
			char c;

			close(go[1]);
			(void)!read(go[0], &c, 1);
			_exit(-store_create(&b, "one", "", false, &e) & 127);
		}
	close(go[1]);
	for (int i = 0; i < MAKERS; i++) {
		cr_assert_gt(wait(&status), 0);
		won += WEXITSTATUS(status) == 0;
		lost += WEXITSTATUS(status) == EEXIST;
	}
	close(go[0]);
	cr_expect_eq(won, 1);
	cr_expect_eq(lost, MAKERS - 1);
	cr_expect_eq(count(), 1);
	cr_expect_eq(entries(), 1);
}

Test(store, a_lock_excludes_and_ends_with_its_holder)
{
	struct store_box a, b;
	struct err e = { 0 };

	cr_assert_eq(store_create(&a, "x", "", true, &e), 0);
	cr_assert_eq(store_open(&b, "x", &e), 0);
	cr_expect_eq(store_lock(&b, &e), -EBUSY);
	store_close(&a);
	cr_expect_eq(store_lock(&b, &e), 0);
	store_close(&b);
}

Test(store, a_lock_is_of_the_name_not_of_a_removed_folder)
{
	struct store_box a, b, c;
	struct err e = { 0 };

	cr_assert_eq(store_create(&a, "x", "", false, &e), 0);
	cr_assert_eq(store_open(&b, "x", &e), 0);
	cr_assert_eq(store_lock(&a, &e), 0);
	cr_assert_eq(store_remove(&a, &e), 0);
	cr_assert_eq(store_create(&c, "x", "", false, &e), 0);
	cr_expect_eq(store_lock(&b, &e), -ENOENT);
	cr_expect_str_eq(e.msg, "sandbox 'x' has just been removed");
	cr_expect_not(b.locked);
	store_close(&b);
	store_close(&c);
}

Test(store, a_dead_keepers_running_is_a_crash)
{
	struct store_state s = { .life = STORE_RUNNING, .keeper = 77, .runtime = "/x" };
	struct store_box a, b;
	struct err e = { 0 };

	cr_assert_eq(store_create(&a, "x", "", true, &e), 0);
	cr_assert_eq(store_state_write(&a, &s, &e), 0);
	cr_assert_eq(store_open(&b, "x", &e), 0);
	cr_assert_eq(store_state(&b, &s, &e), 0);
	cr_expect_eq(s.life, STORE_RUNNING, "its keeper has the lock");
	cr_expect_str_eq(s.runtime, "/x");
	store_close(&a);
	cr_assert_eq(store_state(&b, &s, &e), 0);
	cr_expect_eq(s.life, STORE_CRASHED);
	cr_expect_not_null(strstr(s.reason, "its keeper process 77 ended without a word"));
	cr_expect_str_eq(s.runtime, "");
	cr_expect_not(b.locked);
	store_close(&b);
}

Test(store, what_dead_makers_left_is_swept_and_what_live_ones_have_is_not)
{
	struct err e = { 0 };
	struct store_box b;
	char path[128];
	int live;

	cr_assert_eq(store_create(&b, "x", "", false, &e), 0);
	store_close(&b);
	snprintf(path, sizeof(path), "%s/sandbox/sandboxes/.new-00000001", top);
	cr_assert_eq(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/sandbox/sandboxes/.gone-00000002", top);
	cr_assert_eq(mkdir(path, 0700), 0);
	live = open(path, O_RDONLY | O_DIRECTORY);
	cr_assert_eq(flock(live, LOCK_EX), 0);
	snprintf(path, sizeof(path), "%s/sandbox/sandboxes/.gone-00000002/sub", top);
	cr_assert_eq(mkdir(path, 0700), 0);
	cr_expect_eq(count(), 1);
	cr_expect_eq(entries(), 2);
	close(live);
	cr_expect_eq(count(), 1);
	cr_expect_eq(entries(), 1);
}

Test(store, a_link_in_a_folder_is_deleted_and_not_followed)
{
	struct err e = { 0 };
	struct store_box b;
	char keep[80], link[128];

	snprintf(keep, sizeof(keep), "%s/keep", top);
	cr_assert_eq(mkdir(keep, 0700), 0);
	cr_assert_eq(store_create(&b, "x", "", true, &e), 0);
	snprintf(link, sizeof(link), "%s/sandbox/sandboxes/x/out", top);
	cr_assert_eq(symlink("../../../keep", link), 0);
	cr_assert_eq(store_remove(&b, &e), 0);
	cr_expect_eq(access(keep, F_OK), 0);
}

Test(store, a_damaged_state_is_named)
{
	struct store_state s;
	struct err e = { 0 };
	struct store_box b;

	cr_assert_eq(store_create(&b, "x", "", true, &e), 0);
	cr_assert_eq(store_write(&b, "state", "{", 1, &e), 0);
	cr_expect_eq(store_state(&b, &s, &e), -EBADMSG);
	cr_expect_not_null(strstr(e.msg, "the file 'state' of sandbox 'x' is damaged"));
	store_close(&b);
}
