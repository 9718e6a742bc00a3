/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server's side is a script here, which answers on its control socket what it is told to;
 * and a folder as a mount of its own.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/stat.h>
#include "cli/share/enclose.h"
#include "cli/share/fsd.h"

static char script[64], dir[64];
static struct fsd f = FSD_NONE;
static struct err e;
static int vm_fd[2] = { -1, -1 };

static void init(void)
{
	snprintf(dir, sizeof(dir), "/tmp/fsd-XXXXXX");
	cr_assert(mkdtemp(dir));
}

static void fini(void)
{
	char line[128];

	fsd_stop(&f);
	if (script[0])
		unlink(script);
	snprintf(line, sizeof(line), "rm -rf %s", dir);
	cr_assert_eq(system(line), 0);
}

TestSuite(cli_fsd, .init = init, .fini = fini);

/* A server that says @jail to the question for its walls, and @rest to all others. */
static int start(const char *mode, const char *jail, const char *rest)
{
	int fd, rc;

	snprintf(script, sizeof(script), "/tmp/fsd-script-XXXXXX");
	fd = mkstemp(script);
	cr_assert_geq(fd, 0);
	cr_assert_gt(dprintf(fd, "#!/usr/bin/python3\n"
			     "import socket\n"
			     "s = socket.socket(fileno=5)\n"
			     "while m := s.recv(512):\n"
			     "    s.send(b'%s' if m == b'jail' else b'%s')\n", jail, rest), 0);
	cr_assert_eq(fchmod(fd, 0700), 0);
	close(fd);
	cr_assert_eq(setenv("SANDBOX_FSD", script, 1), 0);
	rc = fsd_start(&f, mode, vm_fd, &e);
	for (unsigned i = 0; !rc && i < 2; i++)
		close(vm_fd[i]);
	return rc;
}

/* It says that it has a filter, and has none: it is given no window and no folder. */
Test(cli_fsd, a_jail_that_is_not_there_is_noticed)
{
	cr_assert_eq(start("auto", "ok mount seccomp caps", "ok"), -EPERM);
	cr_assert(strstr(e.msg, "is without a seccomp filter, although it said otherwise"), "%s",
		  e.msg);
	cr_assert_eq(f.pidfd, -1, "it lives on");
}

Test(cli_fsd, strict_wants_every_wall)
{
	cr_assert_eq(start("strict", "ok mount -pid seccomp", "ok"), -EPERM);
	cr_assert_str_eq(e.msg, "the server of shared folders has not all of its walls: mount -pid "
			 "seccomp");
}

Test(cli_fsd, strict_wants_landlock)
{
	char text[FSD_WALLS_MAX];

	/* No filter: then nothing looks at its threads. */
	cr_assert_eq(start("auto", "ok mount -seccomp", "error no Landlock"), 0, "%s", e.msg);
	cr_assert_eq(fsd_lock(&f, &e), 0);
	cr_assert_str_eq(fsd_walls(&f, text, sizeof(text)), "mount -seccomp -landlock");
	f.strict = true;
	cr_assert_eq(fsd_lock(&f, &e), -EPERM);
	cr_assert_str_eq(e.msg, "the server of shared folders has not all of its walls: mount "
			 "-seccomp -landlock (--jail=auto does without)");
}

Test(cli_fsd, every_share_is_a_mount_of_its_own)
{
	struct share s = { .src = dir, .dst = (char[]){ "/w" }, .mode = SHARE_RW };
	const uint32_t owner[2] = { 0, 0 };
	char text[FSD_WALLS_MAX];

	cr_assert_eq(start("auto", "ok mount -seccomp", "ok"), 0, "%s", e.msg);
	cr_assert_eq(fsd_share(&f, &s, -1, owner, &e), 0, "%s", e.msg);
	cr_assert_eq(fsd_share(&f, &s, -1, owner, &e), 0, "%s", e.msg);
	cr_assert_str_eq(fsd_walls(&f, text, sizeof(text)), "mount -seccomp enclosed");
	/* What one of them lacks is lacking. */
	f.enclosed = FSD_MISSING;
	cr_assert_eq(fsd_share(&f, &s, -1, owner, &e), 0, "%s", e.msg);
	cr_assert_str_eq(fsd_walls(&f, text, sizeof(text)), "mount -seccomp -enclosed");
}

Test(cli_fsd, without_a_jail_nothing_is_asked)
{
	char text[FSD_WALLS_MAX];

	cr_assert_eq(start("none", "error", "error"), 0, "%s", e.msg);
	cr_assert_eq(fsd_lock(&f, &e), 0);
	cr_assert_str_eq(fsd_walls(&f, text, sizeof(text)), "");
}

/* ---- the mount ---- */

static int folder(void)
{
	int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

	cr_assert_geq(fd, 0);
	return fd;
}

Test(cli_fsd, nothing_leads_out_of_an_enclosed_folder)
{
	auto_fd plain = folder(), own = enclose(plain, false);
	struct stat top, up;

	cr_assert_geq(own, 0, "%s", strerror(-own));
	cr_assert_eq(fstat(own, &top), 0);
	cr_assert_eq(fstatat(own, "../..", &up, 0), 0);
	cr_assert_eq(top.st_ino, up.st_ino, ".. leads to another folder");
	cr_assert_eq(mkdirat(own, "made", 0700), 0);
	cr_assert_eq(faccessat(plain, "made", F_OK, 0), 0, "it is another folder");
	cr_assert_eq(symlinkat("/etc", own, "link"), 0);
	cr_assert_eq(openat(own, "link/passwd", O_RDONLY), -1);
	cr_assert_eq(errno, ELOOP);
}

Test(cli_fsd, a_read_only_one_is_not_written_to)
{
	auto_fd plain = folder(), own = enclose(plain, true);

	cr_assert_geq(own, 0, "%s", strerror(-own));
	cr_assert_eq(mkdirat(own, "made", 0700), -1);
	cr_assert_eq(errno, EROFS);
}

/* Its path leads elsewhere by now: it is not what was meant. */
Test(cli_fsd, a_folder_that_is_gone_is_not_enclosed)
{
	auto_fd plain = folder();

	cr_assert_eq(rmdir(dir), 0);
	cr_assert_eq(enclose(plain, false), -ENOENT);
	cr_assert_eq(mkdir(dir, 0700), 0);
}
