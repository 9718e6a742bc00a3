/* SPDX-License-Identifier: Apache-2.0 */
/* posix_attrs.c - modes, owners, times, attributes, and who may do what. */
#include <sys/statvfs.h>
#include <sys/time.h>
#include <sys/xattr.h>
#include "tests/fs/posix.h"

/* ---- times ---- */

/* @code changes the change time of @path, and its modification time if @data. */
#define CHANGES(path, data, code) do { \
	long long c_ = posix_ctime(path), m_ = posix_mtime(path); \
	posix_tick(); \
	code; \
	TRUE(posix_ctime(path) > c_); \
	TRUE((posix_mtime(path) > m_) == (data)); \
} while (0)
/* It changes neither. */
#define KEEPS(path, code) do { \
	long long c_ = posix_ctime(path), m_ = posix_mtime(path); \
	posix_tick(); \
	code; \
	TRUE(posix_ctime(path) == c_ && posix_mtime(path) == m_); \
} while (0)

static void times_of_files(void)
{
	int fd;

	CHANGES("f", false, OK(chmod("f", 0600)));
	CHANGES("f", false, OK(link("f", "f2")));
	CHANGES("f", false, OK(unlink("f2")));
	CHANGES("f", false, OK(rename("f", "f2")); OK(rename("f2", "f")));
	CHANGES("f", true, OK(truncate("f", 2)));
	CHANGES("f", true, posix_put("f", "more"));
	fd = (int)OK(open("f", O_WRONLY));
	CHANGES("f", true, OK(write(fd, "x", 1)));
	CHANGES("f", true, OK(ftruncate(fd, 100)));
	CHANGES("f", false, OK(fchmod(fd, 0640)));
	CHANGES("f", false, OK(setxattr("f", "user.k", "v", 1, 0)));
	OK(close(fd));
	KEEPS("f", FAILS(EEXIST, link("f", "g")));
	KEEPS("f", FAILS(EISDIR, rename("f", "d")));
	KEEPS("f", FAILS(EINVAL, truncate("f", -1)));
	KEEPS("f", (void)posix_text("f"));
}

static void times_of_folders(void)
{
	CHANGES("d", true, posix_put("d/a", ""));
	CHANGES("d", true, OK(link("d/a", "d/b")));
	CHANGES("d", true, OK(symlink("a", "d/l")));
	CHANGES("d", true, OK(mkdir("d/d", 0755)));
	CHANGES("d", true, OK(rename("d/a", "d/c")));
	CHANGES("d", true, OK(unlink("d/b")));
	CHANGES("d", true, OK(rmdir("d/d")));
	CHANGES("full", true, OK(rename("d/c", "full/c")));
	CHANGES("full", true, OK(unlink("full/f")));
	CHANGES("full", false, OK(chmod("full", 0700)));
	KEEPS("full", posix_put("full/c", "data of a file is none of its folder"));
	KEEPS("full", OK(chmod("full/c", 0600)));
	KEEPS("full", FAILS(ENOENT, unlink("full/missing")));
	KEEPS("full", posix_put("full/sub/new", ""));
}

static void times_set(void)
{
	struct timespec t[2] = { { 1000000000, 5 }, { 1234567890, 123456789 } };
	struct timespec omit[2] = { { 0, UTIME_OMIT }, { 0, UTIME_OMIT } };
	struct timespec one[2] = { { 0, UTIME_OMIT }, { -86400, 0 } };
	static const char *const names[] = { "f", "d", "full", "l", "p" };
	struct stat st;

	for (unsigned i = 0; i < 5; i++) {
		posix_tick();
		OK(utimensat(AT_FDCWD, names[i], t, AT_SYMLINK_NOFOLLOW));
		st = posix_stat(names[i]);
		TRUE(st.st_mtim.tv_sec == 1234567890 && st.st_mtim.tv_nsec == 123456789);
		TRUE(st.st_atim.tv_sec == 1000000000 && st.st_atim.tv_nsec == 5);
		OK(utimensat(AT_FDCWD, names[i], omit, AT_SYMLINK_NOFOLLOW));
		TRUE(posix_stat(names[i]).st_mtim.tv_sec == 1234567890);
	}
	OK(utimensat(AT_FDCWD, "f", one, 0));
	TRUE(posix_stat("f").st_mtim.tv_sec == -86400);
	TRUE(posix_stat("f").st_atim.tv_sec == 1000000000);
	CHANGES("g", true, OK(utimensat(AT_FDCWD, "g", NULL, 0)));
	t[0].tv_nsec = 1000000000;
	FAILS(EINVAL, utimensat(AT_FDCWD, "f", t, 0));
}

/* ---- modes ---- */

static void modes(void)
{
	static const mode_t m[] = { 0, 0444, 0222, 0111, 0777, 01777 };
	struct stat st;
	int fd;

	for (unsigned i = 0; i < 6; i++) {
		OK(chmod("f", m[i]));
		TRUE(posix_mode("f") == m[i]);
		OK(chmod("d", m[i] | 0700));
		TRUE(posix_mode("d") == (m[i] | 0700));
	}
	OK(chmod("l", 0640));
	TRUE(posix_mode("f") == 0640);
	OK(chmod("p", 0600));
	TRUE(posix_mode("p") == 0600);
	fd = (int)OK(open("full", O_RDONLY | O_DIRECTORY));
	OK(fchmod(fd, 0711));
	OK(fstat(fd, &st));
	TRUE((st.st_mode & 07777) == 0711);
	OK(close(fd));
	OK(fchmodat(AT_FDCWD, "g", 0604, 0));
	TRUE(posix_mode("g") == 0604 && !strcmp(posix_text("g"), "other"));
	/* Another's set-id bits are dropped without a word. */
	OK(chmod("x", 0755));
	TRUE(posix_mode("x") == 0755);
}

static void permissions(void)
{
	struct timespec one[2] = { { 1, 0 }, { 1, 0 } };

	OK(chmod("g", 0600));
	OK(chmod("full", 0700));
	OK(chmod("d", 0755));
	AS_OTHER(
		FAILS(EACCES, open("g", O_RDONLY));
		FAILS(EACCES, open("f", O_WRONLY));
		FAILS(EACCES, truncate("f", 0));
		FAILS(EACCES, open("full/f", O_RDONLY));
		FAILS(EACCES, open("full", O_RDONLY));
		FAILS(EACCES, chdir("full"));
		FAILS(EACCES, mkdir("d/x", 0755));
		FAILS(EACCES, symlink("a", "d/x"));
		FAILS(EACCES, open("d/x", O_CREAT | O_RDWR, 0644));
		FAILS(EACCES, unlink("f"));
		FAILS(EACCES, rmdir("d"));
		FAILS(EACCES, rename("f", "open/f"));
		FAILS(EACCES, rename("open", "o2"));
		FAILS(EPERM, chmod("f", 0777));
		FAILS(EPERM, chown("f", OTHER, OTHER));
		FAILS(EPERM, utimensat(AT_FDCWD, "f", one, 0));
		FAILS(EACCES, utimensat(AT_FDCWD, "f", NULL, 0));
		FAILS(EACCES, faccessat(AT_FDCWD, "g", R_OK, AT_EACCESS));
		OK(faccessat(AT_FDCWD, "f", R_OK, AT_EACCESS));
		FAILS(EACCES, faccessat(AT_FDCWD, "f", W_OK, AT_EACCESS));
		OK(close((int)OK(open("e", O_RDWR))));
		OK(utimensat(AT_FDCWD, "e", NULL, 0));
		FAILS(EACCES, setxattr("f", "user.k", "v", 1, 0));
	);
	TRUE(!strcmp(posix_text("f"), "data") && posix_there("d"));
	OK(chmod("full", 0711));
	AS_OTHER(
		OK(close((int)OK(open("full/f", O_RDONLY))));
		FAILS(EACCES, open("full", O_RDONLY));
	);
	OK(chmod("full", 0744));
	AS_OTHER(
		OK(close((int)OK(open("full", O_RDONLY))));
		FAILS(EACCES, open("full/f", O_RDONLY));
	);
}

static void owners(void)
{
	struct stat st;

	AS_OTHER(
		posix_put("open/theirs", "theirs");
		OK(mkdir("open/dir", 0755));
		OK(chmod("open/theirs", 0600));
		OK(chmod("open/dir", 0700));
		FAILS(EPERM, chown("open/theirs", 0, (gid_t)-1));
		FAILS(EPERM, chown("open/theirs", (uid_t)-1, 0));
		OK(chown("open/theirs", OTHER, OTHER));
	);
	st = posix_stat("open/theirs");
	TRUE(st.st_uid == OTHER && st.st_gid == OTHER);
	st = posix_stat("open/dir");
	TRUE(st.st_uid == OTHER);
	TRUE(posix_stat("open").st_uid == 0);
	OK(chown("f", OTHER, (gid_t)-1));
	TRUE(posix_stat("f").st_uid == OTHER && posix_stat("f").st_gid == 0);
	OK(chown("full", OTHER, OTHER));
	AS_OTHER(
		posix_put("full/new", "");
		OK(unlink("full/f"));
		OK(chmod("f", 0400));
		FAILS(EACCES, open("f", O_WRONLY));
		OK(rename("full/new", "full/newer"));
	);
	OK(chown("f", 0, 0));
	TRUE(posix_stat("f").st_uid == 0);
	AS_OTHER(FAILS(EACCES, open("f", O_RDONLY)));
}

static void sticky(void)
{
	AS_OTHER(
		posix_put("sticky/theirs", "");
		FAILS(EPERM, unlink("sticky/f"));
		FAILS(EPERM, rename("sticky/f", "sticky/g"));
		FAILS(EPERM, rename("sticky/theirs", "sticky/f"));
		OK(rename("sticky/theirs", "sticky/still"));
		OK(unlink("sticky/still"));
	);
	TRUE(!strcmp(posix_text("sticky/f"), "mine"));
	OK(unlink("sticky/f"));
}

/* ---- attributes ---- */

static bool listed(const char *path, const char *key)
{
	char list[1024];
	ssize_t n = llistxattr(path, list, sizeof(list));

	for (const char *p = list; n > 0 && p < list + n; p += strlen(p) + 1)
		if (!strcmp(p, key))
			return true;
	return false;
}

static void attributes(void)
{
	char buf[64], big[2000];
	int fd;

	memset(big, 'b', sizeof(big));
	OK(setxattr("f", "user.one", "first", 5, 0));
	TRUE(getxattr("f", "user.one", buf, sizeof(buf)) == 5 && !memcmp(buf, "first", 5));
	TRUE(getxattr("l", "user.one", NULL, 0) == 5);
	FAILS(ERANGE, getxattr("f", "user.one", buf, 2));
	FAILS(EEXIST, setxattr("f", "user.one", "x", 1, XATTR_CREATE));
	FAILS(ENODATA, setxattr("f", "user.two", "x", 1, XATTR_REPLACE));
	OK(setxattr("f", "user.one", "", 0, XATTR_REPLACE));
	TRUE(getxattr("f", "user.one", buf, sizeof(buf)) == 0);
	OK(setxattr("f", "user.two", big, sizeof(big), 0));
	TRUE(getxattr("f", "user.two", NULL, 0) == sizeof(big));
	TRUE(listed("f", "user.one") && listed("f", "user.two"));
	FAILS(ERANGE, listxattr("f", buf, 3));
	OK(removexattr("f", "user.one"));
	FAILS(ENODATA, removexattr("f", "user.one"));
	FAILS(ENODATA, getxattr("f", "user.one", buf, sizeof(buf)));
	OK(setxattr("d", "user.dir", "v", 1, 0));
	OK(setxattr("full", "user.dir", "v", 1, 0));
	TRUE(listed("d", "user.dir") && listed("full", "user.dir"));
	FAILS(EPERM, lsetxattr("l", "user.x", "v", 1, 0));
	FAILS(EPERM, setxattr("p", "user.x", "v", 1, 0));
	FAILS(EOPNOTSUPP, setxattr("f", "nonsense", "v", 1, 0));
	fd = (int)OK(open("g", O_RDWR));
	OK(fsetxattr(fd, "user.fd", "v", 1, 0));
	TRUE(fgetxattr(fd, "user.fd", buf, sizeof(buf)) == 1);
	OK(unlink("g"));
	TRUE(fgetxattr(fd, "user.fd", buf, sizeof(buf)) == 1);
	OK(fremovexattr(fd, "user.fd"));
	OK(close(fd));
	OK(rename("f", "moved"));
	TRUE(listed("moved", "user.two"));
}

/* ---- what reading shows ---- */

static void facts(void)
{
	struct statvfs v;
	struct stat st = posix_stat("f"), by;
	int fd = (int)OK(open("f", O_RDONLY));

	TRUE(S_ISREG(st.st_mode) && st.st_size == 4 && (st.st_mode & 07777) == 0644);
	OK(fstat(fd, &by));
	TRUE(by.st_ino == st.st_ino && by.st_dev == st.st_dev);
	OK(close(fd));
	TRUE(S_ISFIFO(posix_stat("p").st_mode) && S_ISDIR(posix_stat("d").st_mode));
	TRUE(posix_stat("l").st_size == 1 && posix_mode("sticky") == 01777);
	TRUE(posix_stat("h1").st_ino == posix_stat("h2").st_ino);
	TRUE(posix_stat("h1").st_nlink == 2 && posix_stat("f").st_nlink == 1);
	TRUE(posix_stat("f").st_ino != posix_stat("g").st_ino);
	TRUE(posix_stat("full/..").st_ino == posix_stat(".").st_ino);
	OK(statvfs(".", &v));
	TRUE(v.f_namemax == 255 && v.f_blocks > 0);
	OK(access("x", X_OK));
	FAILS(EACCES, access("f", X_OK));
}

const struct posix_case posix_attrs[] = {
	{ "times of files", times_of_files, 0 },
	{ "times of folders", times_of_folders, 0 },
	{ "times that are set", times_set, 0 },
	{ "modes", modes, 0 },
	{ "permissions", permissions, NEEDS_ROOT },
	{ "owners", owners, NEEDS_ROOT },
	{ "sticky folders", sticky, NEEDS_ROOT },
	{ "attributes", attributes, 0 },
	{ "facts", facts, READS },
	{ NULL, NULL, 0 },
};
