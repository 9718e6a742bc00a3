/* SPDX-License-Identifier: Apache-2.0 */
/*
 * posix.c - runs the cases of posix_*.c.
 *
 *	posix prepare DIR		makes the folders that the cases start in
 *	posix run DIR [WORD...]	runs the cases whose names contain a word (none: all)
 *	posix read DIR		runs those that only read
 *
 * They are two steps so that the folders can be made behind a server's back: in a layer
 * that it only reads, for example. A plain folder passes all of it; so the cases are right.
 * A case runs in a process of its own and prints `ok NAME`, or `not ok NAME` and why.
 *
 * Static, without anything but the C library, to run in guests as well.
 */
#include <dirent.h>
#include <grp.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include "tests/fs/posix.h"

static int bad;
static char why[4096];

static void note(const char *file, int line, const char *what, const char *how)
{
	size_t n = strlen(why);
	const char *slash = strrchr(file, '/');

	bad++;
	snprintf(why + n, sizeof(why) - n, "; %s:%d: %s: %s", slash ? slash + 1 : file, line, what,
		 how);
}

long posix_ok(const char *file, int line, const char *what, long got)
{
	if (got == -1)
		note(file, line, what, strerror(errno));
	return got;
}

void posix_true(const char *file, int line, const char *what, bool yes)
{
	if (!yes)
		note(file, line, what, "not so");
}

void posix_fails(const char *file, int line, const char *what, int want, long got)
{
	char text[96];
	int err = errno;

	if (got == -1 && err == want)
		return;
	snprintf(text, sizeof(text), "%s, not %s", got == -1 ? strerror(err) : "no error",
		 strerror(want));
	note(file, line, what, text);
}

void posix_other(bool other)
{
	static const gid_t none[1];

	if (other && (setgroups(0, none) || setegid(OTHER) || seteuid(OTHER)))
		note(__FILE__, __LINE__, "another user", strerror(errno));
	if (!other && (seteuid(0) || setegid(0)))
		note(__FILE__, __LINE__, "root again", strerror(errno));
}

struct stat posix_stat(const char *path)
{
	struct stat st = { 0 };

	if (lstat(path, &st))
		memset(&st, 0, sizeof(st));
	return st;
}

mode_t posix_mode(const char *path)
{
	return posix_stat(path).st_mode & 07777;
}

const char *posix_text(const char *path)
{
	static char buf[4][4096];
	static unsigned next;
	char *p = buf[next++ % 4];
	int fd = open(path, O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, p, sizeof(buf[0]) - 1);

	if (n < 0)
		snprintf(p, sizeof(buf[0]), "(%s)", strerror(errno));
	else
		p[n] = '\0';
	if (fd >= 0)
		close(fd);
	return p;
}

void posix_put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		note(__FILE__, __LINE__, path, strerror(errno));
	if (fd >= 0)
		close(fd);
}

bool posix_there(const char *path)
{
	struct stat st;

	return !lstat(path, &st);
}

void posix_tick(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 12000000 }, NULL);
}

long long posix_ctime(const char *path)
{
	struct stat st = posix_stat(path);

	return st.st_ctim.tv_sec * 1000000000ll + st.st_ctim.tv_nsec;
}

long long posix_mtime(const char *path)
{
	struct stat st = posix_stat(path);

	return st.st_mtim.tv_sec * 1000000000ll + st.st_mtim.tv_nsec;
}

unsigned posix_count(const char *path)
{
	DIR *d = opendir(path);
	unsigned n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n;
}

int posix_wait(pid_t pid)
{
	int status = 0;

	if (waitpid(pid, &status, 0) != pid)
		return -1;
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* ---- the folders -------------------------------------------------------------------------- */

static void fill(void)
{
	umask(0);
	posix_put("f", "data");
	posix_put("g", "other");
	OK(chmod("f", 0644));
	OK(chmod("g", 0600));
	OK(close(open("e", O_WRONLY | O_CREAT, 0666)));
	posix_put("x", "#!/bin/sh\necho ran \"$1\"\n");
	OK(chmod("x", 0755));
	posix_put("h1", "links");
	OK(chmod("h1", 0644));
	OK(link("h1", "h2"));
	OK(mkdir("d", 0755));
	OK(mkdir("full", 0755));
	OK(mkdir("full/sub", 0755));
	posix_put("full/f", "in full");
	posix_put("full/sub/f", "in sub");
	OK(mkdir("sticky", 0700));
	OK(chmod("sticky", 01777));
	posix_put("sticky/f", "mine");
	OK(mkdir("open", 0777));
	OK(symlink("f", "l"));
	OK(symlink("full", "ldir"));
	OK(symlink("nothing", "none"));
	OK(symlink("pool", "loop"));
	OK(symlink("loop", "pool"));
	OK(mkfifo("p", 0644));
	umask(022);
}

static const struct posix_case *const tables[] = { posix_names, posix_rename, posix_attrs,
						 posix_io };

#define EACH(c) \
	for (unsigned t_ = 0; t_ < sizeof(tables) / sizeof(*tables); t_++) \
		for (const struct posix_case *c = tables[t_]; c->name; c++)

static void folder_of(const struct posix_case *c, char *name, size_t len)
{
	snprintf(name, len, "%s", c->name);
	for (char *p = name; *p; p++)
		if (*p == ' ' || *p == '/' || *p == ',')
			*p = '-';
}

static int prepare(void)
{
	EACH(c) {
		char name[128];

		folder_of(c, name, sizeof(name));
		if (mkdir(name, 0755) || chdir(name)) {
			perror(name);
			return 1;
		}
		fill();
		OK(chdir(".."));
	}
	if (bad)
		fprintf(stderr, "prepare%s\n", why);
	return bad != 0;
}

/* ---- running ------------------------------------------------------------------------------ */

static int run(const struct posix_case *c)
{
	char name[128];
	pid_t pid;

	fflush(stdout);
	folder_of(c, name, sizeof(name));
	pid = fork();
	if (pid)
		return pid < 0 ? 1 : posix_wait(pid);
	umask(022);
	if (chdir(name))
		note(__FILE__, __LINE__, name, strerror(errno));
	else
		c->run();
	if (bad)
		printf("not ok %s: %d wrong%s\n", c->name, bad, why);
	else
		printf("ok %s\n", c->name);
	fflush(stdout);
	_exit(bad != 0);
}

static bool chosen(const struct posix_case *c, char **words)
{
	if (!*words)
		return true;
	for (; *words; words++)
		if (strstr(c->name, *words))
			return true;
	return false;
}

int main(int argc, char **argv)
{
	bool reads = argc > 2 && !strcmp(argv[1], "read");
	int failed = 0;

	if (argc < 3 || chdir(argv[2])) {
		fprintf(stderr, "usage: posix prepare|run|read DIR [WORD...]\n");
		return 2;
	}
	if (!strcmp(argv[1], "prepare"))
		return prepare();
	EACH(c) {
		int status;

		if ((reads && !(c->flags & READS)) || !chosen(c, argv + 3))
			continue;
		if (c->flags & NEEDS_ROOT && geteuid()) {
			printf("skip %s: it needs root\n", c->name);
			continue;
		}
		status = run(c);
		if (status > 1)
			printf("not ok %s: ended with %d\n", c->name, status);
		failed |= status;
	}
	return failed != 0;
}
