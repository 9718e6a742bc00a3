/* SPDX-License-Identifier: Apache-2.0 */
/* What the libraries that read an image could do if the image took them over. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include "cli/base/sum.h"
#include "cli/image/confine.h"

static char top[64];

static void make(void)
{
	char cmd[192];

	strcpy(top, "/tmp/sandbox-test-XXXXXX");
	cr_assert_not_null(mkdtemp(top));
	snprintf(cmd, sizeof(cmd), "cd %s && mkdir store from out && echo x | tee from/f >out/f",
		 top);
	cr_assert_eq(system(cmd), 0);
}

static void drop(void)
{
	char cmd[128];

	snprintf(cmd, sizeof(cmd), "rm -r %s", top);
	cr_assert_eq(system(cmd), 0);
}

TestSuite(image_confine, .init = make, .fini = drop);

/* The result of @act in a confined process: an errno value, or 0. */
static int confined(int (*act)(void))
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		struct err e;
		int store, from;

		if (chdir(top))
			_exit(99);
		store = open("store", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		from = open("from", O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (image_confine(store, from, &e))
			_exit(98);
		_exit(act());
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFEXITED(status), "%d", status);
	return WEXITSTATUS(status);
}

static int opens(const char *path, int flags)
{
	return open(path, flags | O_CLOEXEC, 0600) < 0 ? errno : 0;
}

static int read_outside(void) { return opens("out/f", O_RDONLY); }
static int list_outside(void) { return opens("out", O_RDONLY | O_DIRECTORY); }
static int make_outside(void) { return opens("out/new", O_WRONLY | O_CREAT); }
static int read_system(void) { return opens("/etc/passwd", O_RDONLY); }
static int write_source(void) { return opens("from/f", O_WRONLY); }
static int drop_source(void) { return unlink("from/f") ? errno : 0; }
static int move_out(void) { return opens("store/a", O_WRONLY | O_CREAT) ? 97 :
				   rename("store/a", "out/a") ? errno : 0; }
static int make_socket(void) { return socket(AF_UNIX, SOCK_STREAM, 0) < 0 ? errno : 0; }

static int execute(void)
{
	execl("/bin/true", "true", NULL);
	return errno;
}

#ifdef __x86_64__
static int by_the_other_door(void)
{
	return syscall(0x40000000 | SYS_socket, AF_UNIX, SOCK_STREAM, 0) < 0 ? errno : 0;
}
#endif

static int allowed(void)
{
	char sum[SUM_HEX];

	if (opens("from/f", O_RDONLY))
		return 1;
	if (mkdir("store/d", 0700) || opens("store/d/f", O_RDWR | O_CREAT))
		return 2;
	if (rename("store/d", "store/e") || unlink("store/e/f") || rmdir("store/e"))
		return 3;
	return sum_bytes("x", 1, sum) ? 4 : 0;
}

Test(image_confine, it_can_do_what_it_is_for)
{
	cr_expect_eq(confined(allowed), 0);
}

Test(image_confine, nothing_but_the_store_and_the_source)
{
	if (syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) < 2)
		cr_skip_test("this kernel has no Landlock");
	cr_expect_eq(confined(read_outside), EACCES);
	cr_expect_eq(confined(list_outside), EACCES);
	cr_expect_eq(confined(make_outside), EACCES);
	cr_expect_eq(confined(read_system), EACCES);
	cr_expect_eq(confined(write_source), EACCES);
	cr_expect_eq(confined(drop_source), EACCES);
	cr_expect_eq(confined(move_out), EACCES);
}

Test(image_confine, no_program_and_no_socket)
{
	cr_expect_eq(confined(make_socket), EPERM);
	cr_expect_eq(confined(execute), EPERM);
#ifdef __x86_64__
	cr_expect_eq(confined(by_the_other_door), EPERM);
#endif
}
