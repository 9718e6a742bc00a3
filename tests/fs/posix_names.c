/* SPDX-License-Identifier: Apache-2.0 */
/* posix_names.c - names: making, removing, linking, moving, listing. */
#include <dirent.h>
#include <limits.h>
#include "tests/fs/posix.h"

/* A name of @n letters, in a static buffer. */
static const char *letters(size_t n)
{
	static char buf[PATH_MAX + 2];

	memset(buf, 'n', n);
	buf[n] = '\0';
	return buf;
}

/* ---- what every call says of a bad path ---- */

#define BAD_PATHS(call, makes) do { \
	const char *path; \
	path = "f/x"; FAILS(ENOTDIR, call); \
	path = "missing/x"; FAILS(ENOENT, call); \
	path = "none/x"; FAILS(ENOENT, call); \
	path = "loop/x"; FAILS(ELOOP, call); \
	path = ""; FAILS(ENOENT, call); \
	path = letters(256); FAILS(ENAMETOOLONG, call); \
	path = letters(PATH_MAX); FAILS(ENAMETOOLONG, call); \
	if (!(makes)) { path = "missing"; FAILS(ENOENT, call); } \
} while (0)

static void bad_paths(void)
{
	struct stat st;

	BAD_PATHS(open(path, O_RDONLY), false);
	BAD_PATHS(open(path, O_CREAT | O_RDWR, 0644), true);
	BAD_PATHS(mkdir(path, 0755), true);
	BAD_PATHS(mkfifo(path, 0644), true);
	BAD_PATHS(symlink("x", path), true);
	BAD_PATHS(link("f", path), true);
	BAD_PATHS(link(path, "new"), false);
	BAD_PATHS(unlink(path), false);
	BAD_PATHS(rmdir(path), false);
	BAD_PATHS(rename(path, "new"), false);
	BAD_PATHS(rename("f", path), true);
	BAD_PATHS(chmod(path, 0644), false);
	BAD_PATHS(chown(path, geteuid(), getegid()), false);
	BAD_PATHS(truncate(path, 0), false);
	BAD_PATHS(utimensat(AT_FDCWD, path, NULL, 0), false);
	BAD_PATHS(stat(path, &st), false);
	BAD_PATHS(access(path, F_OK), false);
	BAD_PATHS(chdir(path), false);
	TRUE(!posix_there("new") && !strcmp(posix_text("f"), "data"));
}

static void bad_paths_read(void)
{
	struct stat st;
	char buf[8];

	BAD_PATHS(open(path, O_RDONLY), false);
	BAD_PATHS(lstat(path, &st), false);
	BAD_PATHS(readlink(path, buf, sizeof(buf)), false);
	FAILS(ELOOP, open("loop", O_RDONLY));
	FAILS(ENOENT, open("none", O_RDONLY));
	FAILS(ELOOP, open("l", O_RDONLY | O_NOFOLLOW));
	FAILS(ENOTDIR, open("f", O_RDONLY | O_DIRECTORY));
	FAILS(ENOTDIR, open("f/", O_RDONLY));
	FAILS(EINVAL, readlink("f", buf, sizeof(buf)));
	FAILS(EISDIR, open("d", O_WRONLY));
	TRUE(readlink("l", buf, sizeof(buf)) == 1 && *buf == 'f');
	TRUE(!strcmp(posix_text("l"), "data") && !strcmp(posix_text("ldir/sub/f"), "in sub"));
	TRUE(!strcmp(posix_text("full/./sub/../f"), "in full"));
}

static void long_names(void)
{
	char name[256], path[PATH_MAX];
	size_t n = 0;

	memcpy(name, letters(255), 256);
	posix_put(name, "long");
	TRUE(!strcmp(posix_text(name), "long"));
	OK(link(name, "short"));
	OK(rename("short", "s2"));
	OK(unlink(name));
	OK(mkdir(name, 0755));
	OK(rmdir(name));
	OK(symlink(letters(PATH_MAX - 1), "longlink"));
	TRUE(posix_stat("longlink").st_size == PATH_MAX - 1);
	TRUE(readlink("longlink", path, sizeof(path)) == PATH_MAX - 1);
	FAILS(ENAMETOOLONG, symlink(letters(PATH_MAX), "x2"));
	FAILS(ENOENT, symlink("", "x2"));
	/* A path of PATH_MAX - 1 bytes is one. */
	while (n < PATH_MAX - 1 - 2) {
		path[n++] = '.';
		path[n++] = '/';
	}
	path[n++] = 'f';
	path[n] = '\0';
	TRUE(!access(path, F_OK) || n >= PATH_MAX);
	posix_put("\xff\xfe\x01 odd\n\t", "bytes");
	TRUE(!strcmp(posix_text("\xff\xfe\x01 odd\n\t"), "bytes"));
}

/* ---- files ---- */

static void creating(void)
{
	int fd;

	OK(close((int)OK(open("n", O_CREAT | O_EXCL | O_RDWR, 0666))));
	TRUE(posix_mode("n") == 0644);
	FAILS(EEXIST, open("n", O_CREAT | O_EXCL | O_RDWR, 0666));
	FAILS(EEXIST, open("d", O_CREAT | O_EXCL | O_RDWR, 0666));
	FAILS(EEXIST, open("none", O_CREAT | O_EXCL | O_RDWR, 0666));
	FAILS(EEXIST, open("l", O_CREAT | O_EXCL | O_RDWR, 0666));
	FAILS(EISDIR, open("d", O_CREAT | O_RDWR, 0666));
	OK(close((int)OK(open("f", O_CREAT | O_RDWR, 0))));
	TRUE(posix_mode("f") == 0644);
	/* Through a link that leads nowhere. */
	OK(close((int)OK(open("none", O_CREAT | O_WRONLY, 0600))));
	TRUE(posix_there("nothing") && S_ISLNK(posix_stat("none").st_mode));
	/* Its mode is for later opens. */
	fd = (int)OK(open("w", O_CREAT | O_RDWR, 0400));
	OK(write(fd, "x", 1));
	OK(close(fd));
	TRUE(posix_mode("w") == 0400);
	umask(0077);
	OK(mkdir("md", 0777));
	OK(mkfifo("mp", 0666));
	posix_put("mf", "");
	TRUE(posix_mode("md") == 0700 && posix_mode("mp") == 0600 && posix_mode("mf") == 0600);
	umask(022);
	FAILS(EEXIST, mkdir("d", 0755));
	FAILS(EEXIST, mkdir("f", 0755));
	FAILS(EEXIST, mkdir("none", 0755));
	FAILS(EEXIST, mkfifo("f", 0644));
	FAILS(EEXIST, symlink("x", "f"));
	FAILS(EEXIST, symlink("x", "none"));
	OK(mkdir("slash/", 0755));
	FAILS(EISDIR, open("new/", O_CREAT | O_WRONLY, 0644));
}

static void removing(void)
{
	FAILS(EISDIR, unlink("d"));
	FAILS(ENOTDIR, rmdir("f"));
	FAILS(ENOTDIR, rmdir("l"));
	FAILS(ENOTDIR, rmdir("ldir"));
	FAILS(ENOTEMPTY, rmdir("full"));
	FAILS(EINVAL, rmdir("d/."));
	FAILS(ENOTEMPTY, rmdir("full/sub/.."));
	FAILS(ENOTDIR, unlink("f/"));
	OK(unlink("l"));
	TRUE(!posix_there("l") && !strcmp(posix_text("f"), "data"));
	OK(unlink("f"));
	FAILS(ENOENT, unlink("f"));
	FAILS(ENOENT, open("f", O_RDONLY));
	posix_put("f", "anew");
	TRUE(!strcmp(posix_text("f"), "anew"));
	OK(unlink("p"));
	OK(unlink("none"));
	OK(rmdir("d"));
	FAILS(ENOENT, rmdir("d"));
	OK(unlink("full/sub/f"));
	OK(rmdir("full/sub/"));
	OK(unlink("full/f"));
	OK(rmdir("full"));
	TRUE(!posix_there("full"));
	/* Made anew it is empty. */
	OK(mkdir("full", 0755));
	TRUE(posix_count("full") == 2);
	FAILS(ENOENT, open("full/f", O_RDONLY));
	OK(symlink("f", "full/sub"));
	OK(unlink("full/sub"));
	OK(rmdir("full"));
	posix_put("full", "a file now");
	TRUE(!strcmp(posix_text("ldir"), "a file now"));
}

static void removed_folders(void)
{
	int fd = (int)OK(open("d", O_RDONLY | O_DIRECTORY));
	struct stat st;

	OK(chdir("d"));
	OK(rmdir("../d"));
	FAILS(ENOENT, open("x", O_CREAT | O_RDWR, 0644));
	FAILS(ENOENT, mkdir("x", 0755));
	FAILS(ENOENT, openat(fd, "x", O_CREAT | O_RDWR, 0644));
	FAILS(ENOENT, openat(fd, "x", O_RDONLY));
	FAILS(ENOENT, symlink("a", "x"));
	OK(fstat(fd, &st));
	TRUE(S_ISDIR(st.st_mode));
	OK(close(fd));
	OK(chdir(".."));
	OK(mkdir("d", 0755));
	posix_put("d/x", "");
}

static void linking(void)
{
	struct stat a, b;
	int fd;

	OK(link("f", "n"));
	a = posix_stat("f");
	b = posix_stat("n");
	TRUE(a.st_ino == b.st_ino && a.st_nlink == 2 && b.st_nlink == 2);
	posix_put("n", "through n");
	TRUE(!strcmp(posix_text("f"), "through n"));
	OK(chmod("n", 0600));
	TRUE(posix_mode("f") == 0600);
	OK(unlink("f"));
	TRUE(posix_stat("n").st_nlink == 1 && posix_stat("n").st_ino == a.st_ino);
	FAILS(EEXIST, link("n", "g"));
	FAILS(EEXIST, link("n", "d"));
	FAILS(EEXIST, link("n", "n"));
	FAILS(EPERM, link("d", "d2"));
	OK(link("l", "l2"));
	TRUE(S_ISLNK(posix_stat("l2").st_mode) && posix_stat("l").st_nlink == 2);
	OK(linkat(AT_FDCWD, "ldir", AT_FDCWD, "full/back", 0));
	OK(link("p", "p2"));
	TRUE(posix_stat("p2").st_ino == posix_stat("p").st_ino);
	OK(link("n", "full/sub/n"));
	TRUE(posix_stat("full/sub/n").st_ino == a.st_ino);
	fd = (int)OK(open("n", O_RDONLY));
	OK(unlink("n"));
	OK(unlink("full/sub/n"));
	OK(fstat(fd, &b));
	TRUE(b.st_nlink == 0);
	OK(close(fd));
}

/* ---- folders ---- */

static void listing(void)
{
	DIR *d = opendir("full");
	const struct dirent *e;
	long at[8];
	char names[8][16];
	int n = 0;

	while (d && n < 8 && (e = readdir(d))) {
		struct stat st;
		char path[32];

		snprintf(names[n], sizeof(names[n]), "%.15s", e->d_name);
		at[n++] = telldir(d);
		snprintf(path, sizeof(path), "full/%.15s", e->d_name);
		st = posix_stat(path);
		if (*e->d_name == '.')
			continue;
		TRUE(e->d_ino == st.st_ino);
		TRUE(e->d_type == DT_UNKNOWN || (e->d_type == DT_DIR) == S_ISDIR(st.st_mode));
	}
	TRUE(n == 4);
	for (int i = 0; d && i + 1 < n; i++) {
		seekdir(d, at[i]);
		e = readdir(d);
		TRUE(e && !strcmp(e->d_name, names[i + 1]));
	}
	if (d) {
		rewinddir(d);
		e = readdir(d);
		TRUE(e && !strcmp(e->d_name, names[0]));
		closedir(d);
	}
	TRUE(posix_count("d") == 2);
}

static void listing_changes(void)
{
	DIR *d = opendir("full");
	const struct dirent *e;
	bool seen = false;

	TRUE(d && readdir(d));
	posix_put("full/late", "");
	OK(unlink("full/f"));
	if (d) {
		rewinddir(d);
		while ((e = readdir(d))) {
			seen |= !strcmp(e->d_name, "late");
			TRUE(strcmp(e->d_name, "f"));
		}
		closedir(d);
	}
	TRUE(seen);
}

static void deep(void)
{
	int n = 0, up;

	for (; n < 300 && !mkdir("deep", 0755) && !chdir("deep"); n++)
		;
	TRUE(n == 300);
	posix_put("bottom", "deep down");
	TRUE(!strcmp(posix_text("bottom"), "deep down"));
	OK(unlink("bottom"));
	for (up = 0; up < n && !chdir("..") && !rmdir("deep"); up++)
		;
	TRUE(up == n);
}

const struct posix_case posix_names[] = {
	{ "bad paths", bad_paths, 0 },
	{ "bad paths, reading", bad_paths_read, READS },
	{ "long and odd names", long_names, 0 },
	{ "creating", creating, 0 },
	{ "removing", removing, 0 },
	{ "removed folders", removed_folders, 0 },
	{ "linking", linking, 0 },
	{ "listing", listing, READS },
	{ "listing what changes", listing_changes, 0 },
	{ "deep folders", deep, 0 },
	{ NULL, NULL, 0 },
};
