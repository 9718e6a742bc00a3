/* SPDX-License-Identifier: Apache-2.0 */
/* A tree that looks like /proc and /sys/fs/cgroup, because few hosts have both kinds. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include "cli/machine/bounds.h"
#include "tests/unit/host.h"

static char top[64];
static struct bounds group;
static const struct bounds_limits limits = { .memory = 64 << 20, .pids = 77, .cpus = 3 };

static void put(const char *name, const char *text)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", top, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	cr_assert_geq(fd, 0, "%s", path);
	cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static void folder(const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", top, name);
	cr_assert(!mkdir(path, 0700) || errno == EEXIST);
}

static bool there(const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", top, name);
	return !access(path, F_OK);
}

static void init(void)
{
	snprintf(top, sizeof(top), "/tmp/cgroup-XXXXXX");
	cr_assert(mkdtemp(top));
	folder("self");
}

static void fini(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", top);
	cr_assert_eq(system(command), 0);
}

TestSuite(cli_bounds, .init = init, .fini = fini);

/* A mount of v2 at TOP/v2, with our group at @own of it. */
static void v2(const char *own)
{
	char text[512];

	snprintf(text, sizeof(text), "0::%s\n", own);
	put("self/cgroup", text);
	snprintf(text, sizeof(text), "22 1 0:1 / / rw - ext4 /dev/a rw\n"
		 "31 22 0:2 / %s/v2 rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n", top);
	put("self/mountinfo", text);
	folder("v2");
	put("v2/cgroup.subtree_control", "cpu memory pids\n");
}

static void make(void)
{
	bounds_make(&group, top, &limits);
}

/* A group has files from the start; a plain folder has none, so nothing can be limited. */
Test(cli_bounds, v2_takes_the_nearest_group_that_hands_controllers_on)
{
	char text[64];

	v2("/user.slice/app.slice/term.scope");
	folder("v2/user.slice");
	folder("v2/user.slice/app.slice");
	folder("v2/user.slice/app.slice/term.scope");
	put("v2/user.slice/cgroup.subtree_control", "cpu memory pids\n");
	put("v2/user.slice/app.slice/cgroup.subtree_control", "memory pids\n");
	put("v2/user.slice/app.slice/term.scope/cgroup.subtree_control", "\n");
	/* What a dead process left shows where a group was to be made. */
	folder("v2/user.slice/sandbox-999999999-0");
	folder("v2/user.slice/app.slice/sandbox-999999999-0");
	make();
	cr_assert_eq(group.n, 0, "%s", group.what);
	cr_assert_not(there("v2/user.slice/app.slice/sandbox-999999999-0"));
	cr_assert(there("v2/user.slice/sandbox-999999999-0"));
	snprintf(text, sizeof(text), "v2/user.slice/app.slice/sandbox-%d-0", (int)getpid());
	cr_assert_not(there(text));	/* a group without a limit does not stay */
}

Test(cli_bounds, nothing_is_delegated)
{
	v2("/");
	put("v2/cgroup.subtree_control", "cpuset\n");
	make();
	cr_assert_eq(group.n, 0);
	put("self/cgroup", "");
	make();
	cr_assert_eq(group.n, 0);
}

static void get(const char *path, char *text, size_t len)
{
	int fd = open(path, O_RDONLY);

	if (fd >= 0) {
		cr_assert_geq(read(fd, text, len - 1), 0);
		close(fd);
	}
}

/* The same on this host, whatever it has. */
Test(cli_bounds, a_process_that_enters_is_in_it)
{
	int fd[BOUNDS_MAX], go[2];
	unsigned n;
	pid_t pid;

	bounds_make(&group, "/proc", &limits);
	if (!group.n)
		not_here("no control group is delegated to this user");
	cr_assert(strstr(group.what, "memory") || strstr(group.what, "pids"));
	/* As the kernel took it: three processors' worth in each period. */
	if (strstr(group.what, "cpu")) {
		const char *const name[] = { "cpu.max", "cpu.cfs_quota_us" };
		char path[1200], text[32] = "";

		for (unsigned i = 0; !*text && i < 2 * group.n; i++) {
			snprintf(path, sizeof(path), "%s/%s", group.dir[i / 2].path, name[i % 2]);
			get(path, text, sizeof(text));
		}
		cr_assert(!strncmp(text, "300000", 6), "%s", text);
	}
	n = bounds_doors(&group, fd);
	cr_assert_eq(n, group.n);
	cr_assert_eq(pipe(go), 0);
	pid = fork();
	if (!pid) {
		char c;

		for (unsigned i = 0; i < n; i++)
			(void)!write(fd[i], "0", 1);
		(void)!write(go[1], "", 1);
		close(go[1]);
		pause();
		_exit(c = 0);
	}
	cr_assert_eq(read(go[0], &(char){ 0 }, 1), 1);
	cr_assert(bounds_has(&group, pid));
	cr_assert_not(bounds_has(&group, getpid()));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	bounds_remove(&group);
	cr_assert_eq(group.n, 0);
}

/* The line of one limit as the kernel took it, v2 or v1. */
static void get_limit(const struct bounds *g, char *text, size_t len)
{
	const char *const name[] = { "io.max", "blkio.throttle.write_bps_device" };
	char path[1200];

	for (unsigned i = 0; !*text && i < 2 * g->n; i++) {
		snprintf(path, sizeof(path), "%s/%s", g->dir[i / 2].path, name[i % 2]);
		get(path, text, len);
	}
}

Test(cli_bounds, the_hosts_disks_are_limited_as_those_of_the_machine)
{
	struct bounds_limits l = { .memory = 64 << 20, .pids = 77, .bps = 2097152, .iops = 900,
				   .disk = { open("/tmp", O_RDONLY) }, .n_disks = 1 };
	int memory = memfd_create("disk", 0);
	char text[256] = "", want[32], path[64];
	struct stat st;
	bool known;

	cr_assert_eq(fstat(l.disk[0], &st), 0);
	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u", major(st.st_dev), minor(st.st_dev));
	known = !access(path, F_OK);
	bounds_make(&group, "/proc", &l);
	get_limit(&group, text, sizeof(text));
	cr_assert_eq(!strstr(group.what, "io"), !*text, "told if done: '%s' '%s'", group.what,
		     text);
	cr_assert(known || !*text);
	snprintf(want, sizeof(want), "%u:", major(st.st_dev));
	if (*text)
		cr_assert(!strncmp(text, want, strlen(want)) && strstr(text, "2097152"), "%s",
			  text);
	bounds_remove(&group);
	/* A file that is on no disk: the limit cannot be had, and is not told. */
	l.disk[1] = memory;
	l.n_disks = 2;
	bounds_make(&group, "/proc", &l);
	cr_assert_not(strstr(group.what, "io"), "%s", group.what);
	bounds_remove(&group);
	close(l.disk[0]);
	close(memory);
}

Test(cli_bounds, one_more_process_is_put_in_and_the_group_stays_with_it)
{
	pid_t pid;

	bounds_make(&group, "/proc", &limits);
	if (!group.n)
		not_here("no control group is delegated to this user");
	pid = fork();
	if (!pid) {
		pause();
		_exit(0);
	}
	bounds_enter(&group, pid);
	cr_assert(bounds_has(&group, pid));
	bounds_remove(&group);
	cr_assert_neq(group.n, 0, "it is not forgotten while somebody is in it");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	bounds_remove(&group);
	cr_assert_eq(group.n, 0);
}

/* What a killed process left is removed by the next; what is in use is not. */
Test(cli_bounds, leftovers_are_swept)
{
	struct bounds left;
	int go[2];
	pid_t pid;

	cr_assert_eq(pipe(go), 0);
	pid = fork();
	if (!pid) {
		bounds_make(&left, "/proc", &limits);
		cr_assert_eq(write(go[1], &left, sizeof(left)), (ssize_t)sizeof(left));
		_exit(0);
	}
	cr_assert_eq(read(go[0], &left, sizeof(left)), (ssize_t)sizeof(left));
	waitpid(pid, NULL, 0);
	if (!left.n)
		not_here("no control group is delegated to this user");
	cr_assert_eq(access(left.dir[0].path, F_OK), 0);
	bounds_make(&group, "/proc", &limits);
	cr_assert_eq(access(left.dir[0].path, F_OK), -1);
	cr_assert_eq(access(group.dir[0].path, F_OK), 0);
	bounds_remove(&group);
}
