/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/file.h>
#include <sys/stat.h>
#include "cli/machine/rundir.h"

static char top[64];
static struct err e;

static void make_top(void)
{
	snprintf(top, sizeof(top), "/tmp/rundir-XXXXXX");
	cr_assert(mkdtemp(top));
	setenv("XDG_RUNTIME_DIR", top, 1);
}

static int unlink_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st;
	(void)kind;
	(void)ftw;
	return remove(path);
}

static void remove_top(void)
{
	nftw(top, unlink_one, 16, FTW_DEPTH | FTW_PHYS);
}

TestSuite(cli_rundir, .init = make_top, .fini = remove_top);

/* Entries of top/sandbox. */
static unsigned count(void)
{
	char path[80];
	unsigned n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "%s/sandbox", top);
	d = opendir(path);
	for (const struct dirent *de; d && (de = readdir(d));)
		n += de->d_name[0] != '.';
	if (d)
		closedir(d);
	return n;
}

static void touch(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT, 0600);

	cr_assert_geq(fd, 0);
	close(fd);
}

Test(cli_rundir, make_and_remove)
{
	struct rundir r = RUNDIR_NONE;
	struct stat st;
	char dir[128];

	rundir_remove(&r);
	cr_assert_eq(rundir_make(&r, &e), 0, "%s", e.msg);
	snprintf(dir, sizeof(dir), "%s/sandbox/%s", top, r.name);
	cr_assert_eq(stat(dir, &st), 0);
	cr_assert_eq(st.st_mode & 07777, 0700);
	cr_assert(!strncmp(r.vsock, dir, strlen(dir)));
	cr_assert_eq(strcmp(r.ready + strlen(r.vsock), "_53"), 0);
	touch(r.vsock);
	touch(r.ready);
	rundir_remove(&r);
	cr_assert_eq(count(), 0);
	rundir_remove(&r);
}

Test(cli_rundir, the_living_are_left_alone_and_the_dead_are_swept)
{
	struct rundir a, b, c;

	cr_assert_eq(rundir_make(&a, &e), 0);
	cr_assert_eq(rundir_make(&b, &e), 0);
	cr_assert_eq(count(), 2);
	/* What the kernel does at the end of the owner: the lock goes, the files stay. */
	touch(a.vsock);
	close(a.lock);
	cr_assert_eq(rundir_make(&c, &e), 0);
	cr_assert_eq(count(), 2);
	cr_assert_neq(access(a.vsock, F_OK), 0);
	rundir_remove(&b);
	rundir_remove(&c);
	cr_assert_eq(count(), 0);
}

Test(cli_rundir, foreign_entries_are_not_touched)
{
	char path[128];
	struct rundir r;

	cr_assert_eq(rundir_make(&r, &e), 0);
	rundir_remove(&r);
	snprintf(path, sizeof(path), "%s/sandbox/r-notours", top);
	cr_assert_eq(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/sandbox/r-0123abcd", top);
	cr_assert_eq(symlink("/tmp", path), 0);
	cr_assert_eq(rundir_make(&r, &e), 0);
	rundir_remove(&r);
	cr_assert_eq(count(), 2);
}

Test(cli_rundir, an_open_folder_is_closed_to_others)
{
	char path[128];
	struct rundir r;
	struct stat st;

	snprintf(path, sizeof(path), "%s/sandbox", top);
	cr_assert_eq(mkdir(path, 0700), 0);
	cr_assert_eq(chmod(path, 0755), 0);
	cr_assert_eq(rundir_make(&r, &e), 0);
	cr_assert_eq(stat(path, &st), 0);
	cr_assert_eq(st.st_mode & 07777, 0700);
	rundir_remove(&r);
}

Test(cli_rundir, a_link_in_place_of_the_folder_is_refused)
{
	char path[128], state[128];
	struct place p;

	/* Neither as the runtime folder, which falls back, nor as the state folder. */
	snprintf(path, sizeof(path), "%s/sandbox", top);
	cr_assert_eq(symlink("/tmp", path), 0);
	snprintf(state, sizeof(state), "%s/state", top);
	setenv("XDG_STATE_HOME", state, 1);
	cr_assert_eq(places_runtime(&p, &e), 0);
	cr_assert(!strncmp(p.path, state, strlen(state)), "%s", p.path);
	setenv("XDG_STATE_HOME", top, 1);
	cr_assert_eq(places_runtime(&p, &e), -EPERM);
	cr_assert(strstr(e.msg, "is not a folder of this user; remove it"), "%s", e.msg);
}

Test(cli_rundir, a_success_leaves_no_sentence)
{
	char state[128];
	struct place p;

	snprintf(state, sizeof(state), "%s/state", top);
	setenv("XDG_STATE_HOME", state, 1);
	setenv("XDG_RUNTIME_DIR", "/no/such", 1);
	e = (struct err){ 0 };
	cr_assert_eq(places_runtime(&p, &e), 0);
	cr_assert_str_eq(e.msg, "");
}

/* The monitor's jail has the folder of its sockets as its root: nothing else may lie there. */
Test(cli_rundir, sockets_have_a_folder_of_their_own)
{
	struct rundir r;
	char path[128];
	size_t n;

	cr_assert_eq(rundir_make(&r, &e), 0, "%s", e.msg);
	n = strlen(r.path);
	cr_assert(!strncmp(r.vsock, r.path, n) && !strcmp(r.vsock + n, "/s/v"), "%s", r.vsock);
	snprintf(path, sizeof(path), "%s/control", r.path);
	touch(path);
	touch(r.vsock);
	rundir_remove(&r);
	cr_assert_eq(count(), 0);
}
