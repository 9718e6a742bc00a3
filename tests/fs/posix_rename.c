/* SPDX-License-Identifier: Apache-2.0 */
/* posix_rename.c - moving, and files that had two names before the case began. */
#include <dirent.h>
#include <limits.h>
#include <sys/syscall.h>
#include "tests/fs/posix.h"

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1u
#define RENAME_EXCHANGE 2u
#endif

static int renameat2_(const char *a, const char *b, unsigned flags)
{
	return (int)syscall(SYS_renameat2, AT_FDCWD, a, AT_FDCWD, b, flags);
}

/* Two names from the start: what is done to one is seen through the other. */
static void two_names(void)
{
	struct stat a = posix_stat("h1"), b = posix_stat("h2");
	int fd;

	TRUE(a.st_ino == b.st_ino && a.st_nlink == 2 && b.st_nlink == 2);
	posix_put("h1", "changed");
	TRUE(!strcmp(posix_text("h2"), "changed"));
	TRUE(posix_stat("h1").st_ino == posix_stat("h2").st_ino);
	TRUE(posix_stat("h1").st_nlink == 2 && posix_stat("h2").st_nlink == 2);
	OK(chmod("h2", 0600));
	TRUE(posix_mode("h1") == 0600);
	OK(link("h2", "h3"));
	TRUE(posix_stat("h1").st_nlink == 3);
	OK(rename("h1", "d/h1"));
	fd = (int)OK(open("h2", O_WRONLY | O_APPEND));
	OK(write(fd, "!", 1));
	OK(close(fd));
	TRUE(!strcmp(posix_text("d/h1"), "changed!") && !strcmp(posix_text("h3"), "changed!"));
	OK(unlink("h2"));
	TRUE(posix_stat("d/h1").st_nlink == 2);
	OK(unlink("h3"));
	TRUE(posix_stat("d/h1").st_nlink == 1 && !strcmp(posix_text("d/h1"), "changed!"));
}

static void two_names_one_goes(void)
{
	OK(unlink("h1"));
	TRUE(posix_stat("h2").st_nlink == 1 && !strcmp(posix_text("h2"), "links"));
	posix_put("h1", "another");
	TRUE(posix_stat("h1").st_ino != posix_stat("h2").st_ino);
	posix_put("h2", "changed");
	TRUE(!strcmp(posix_text("h1"), "another"));
	TRUE(posix_stat("h1").st_nlink == 1 && posix_stat("h2").st_nlink == 1);
}

static void two_names_moved(void)
{
	/* One file's two names: nothing happens. */
	OK(rename("h1", "h2"));
	TRUE(posix_there("h1") && posix_there("h2"));
	OK(rename("h1", "h3"));
	TRUE(posix_stat("h3").st_ino == posix_stat("h2").st_ino);
	TRUE(posix_stat("h3").st_nlink == 2);
	posix_put("h3", "by the new name");
	TRUE(!strcmp(posix_text("h2"), "by the new name"));
	posix_put("h1", "new");
	OK(rename("h1", "h2"));
	TRUE(posix_stat("h3").st_nlink == 1 && !strcmp(posix_text("h3"), "by the new name"));
	TRUE(!strcmp(posix_text("h2"), "new"));
}

static void renaming(void)
{
	ino_t f = posix_stat("f").st_ino;
	int fd = (int)OK(open("g", O_RDONLY));
	char buf[8] = "";

	OK(rename("f", "f"));
	OK(rename("f", "g"));
	TRUE(posix_stat("g").st_ino == f && !posix_there("f"));
	TRUE(!strcmp(posix_text("g"), "data"));
	/* What was replaced lives on in who has it open. */
	OK(read(fd, buf, sizeof(buf) - 1));
	TRUE(!strcmp(buf, "other"));
	OK(close(fd));
	OK(rename("g", "full/sub/moved"));
	TRUE(!strcmp(posix_text("full/sub/moved"), "data"));
	OK(rename("full/sub/moved", "f"));
	OK(rename("l", "l2"));
	TRUE(S_ISLNK(posix_stat("l2").st_mode) && !strcmp(posix_text("l2"), "data"));
	OK(rename("p", "p2"));
	TRUE(S_ISFIFO(posix_stat("p2").st_mode));
	FAILS(EISDIR, rename("f", "d"));
	FAILS(ENOTDIR, rename("d", "f"));
	FAILS(ENOTDIR, rename("f", "x/y"));
	FAILS(ENOTDIR, rename("f/", "y"));
	FAILS(EBUSY, rename("d/.", "y"));
	OK(rename("f", "none"));
	TRUE(S_ISREG(posix_stat("none").st_mode) && !posix_there("nothing"));
	posix_put("f", "again");
	TRUE(!strcmp(posix_text("f"), "again"));
}

static void renaming_folders(void)
{
	ino_t full = posix_stat("full").st_ino, sub = posix_stat("full/sub").st_ino;
	int fd = (int)OK(open("full/sub/f", O_RDWR)), dir = (int)OK(open("full", O_DIRECTORY));
	char buf[16] = "", cwd[PATH_MAX];

	FAILS(EINVAL, rename("full", "full/sub/in"));
	FAILS(EINVAL, rename("full", "full/in"));
	FAILS(ENOTEMPTY, rename("d", "full"));
	OK(rename("full", "d"));
	TRUE(posix_stat("d").st_ino == full && posix_stat("d/sub").st_ino == sub);
	TRUE(!posix_there("full") && !strcmp(posix_text("d/sub/f"), "in sub"));
	OK(write(fd, "IN", 2));
	TRUE(!strcmp(posix_text("d/sub/f"), "IN sub"));
	OK(pread(fd, buf, sizeof(buf) - 1, 0));
	TRUE(!strcmp(buf, "IN sub"));
	OK(close(fd));
	OK(close((int)OK(openat(dir, "f", O_RDONLY))));
	OK(close(dir));
	OK(chdir("d/sub"));
	OK(rename("../../d", "../../moved"));
	TRUE(getcwd(cwd, sizeof(cwd)) && strstr(cwd, "/moved/sub"));
	TRUE(!strcmp(posix_text("f"), "IN sub") && !strcmp(posix_text("../f"), "in full"));
	OK(chdir("../.."));
	OK(mkdir("full", 0700));
	TRUE(posix_count("full") == 2);
	OK(rename("moved/sub", "full/sub"));
	OK(rename("full", "open/full"));
	TRUE(!strcmp(posix_text("open/full/sub/f"), "IN sub") && posix_count("moved") == 3);
	OK(rename("moved", "full"));
	TRUE(!strcmp(posix_text("ldir/f"), "in full"));
}

/* Over and over, by the same names, as editors and package managers do. */
static void renaming_back_and_forth(void)
{
	for (int i = 0; i < 4; i++) {
		OK(rename("full", "old"));
		TRUE(!posix_there("full/f"));
		OK(mkdir("full", 0755));
		posix_put("full/new", "n");
		TRUE(posix_count("full") == 3 && posix_count("old") == 4);
		OK(unlink("full/new"));
		OK(rename("old", "full"));
		TRUE(!strcmp(posix_text("full/sub/f"), "in sub") && !posix_there("old"));
	}
	OK(renameat2_("full", "d", RENAME_EXCHANGE));
	TRUE(!strcmp(posix_text("d/sub/f"), "in sub") && posix_count("full") == 2);
	OK(renameat2_("d", "f", RENAME_EXCHANGE));
	TRUE(!strcmp(posix_text("d"), "data") && !strcmp(posix_text("f/f"), "in full"));
	OK(renameat2_("f/sub", "full", RENAME_EXCHANGE));
	TRUE(!strcmp(posix_text("full/f"), "in sub") && posix_count("f/sub") == 2);
}

static void renaming_with_flags(void)
{
	ino_t f = posix_stat("f").st_ino, g = posix_stat("g").st_ino;

	FAILS(EEXIST, renameat2_("f", "g", RENAME_NOREPLACE));
	FAILS(EEXIST, renameat2_("f", "d", RENAME_NOREPLACE));
	FAILS(EEXIST, renameat2_("f", "none", RENAME_NOREPLACE));
	OK(renameat2_("f", "g", RENAME_EXCHANGE));
	TRUE(posix_stat("f").st_ino == g && posix_stat("g").st_ino == f);
	TRUE(!strcmp(posix_text("f"), "other") && !strcmp(posix_text("g"), "data"));
	FAILS(ENOENT, renameat2_("f", "missing", RENAME_EXCHANGE));
	FAILS(EINVAL, renameat2_("f", "g", RENAME_EXCHANGE | RENAME_NOREPLACE));
	FAILS(EINVAL, renameat2_("full", "full/sub", RENAME_EXCHANGE));
	OK(renameat2_("f", "n", RENAME_NOREPLACE));
	OK(renameat2_("full/f", "g", RENAME_EXCHANGE));
	TRUE(!strcmp(posix_text("full/f"), "data") && !strcmp(posix_text("g"), "in full"));
	OK(renameat2_("g", "l", RENAME_EXCHANGE));
	TRUE(S_ISLNK(posix_stat("g").st_mode) && S_ISREG(posix_stat("l").st_mode));
}

const struct posix_case posix_rename[] = {
	{ "two names of a file", two_names, 0 },
	{ "two names, one goes", two_names_one_goes, 0 },
	{ "two names, moved", two_names_moved, 0 },
	{ "renaming", renaming, 0 },
	{ "renaming folders", renaming_folders, 0 },
	{ "renaming back and forth", renaming_back_and_forth, 0 },
	{ "renaming with flags", renaming_with_flags, 0 },
	{ NULL, NULL, 0 },
};
