/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cow_diff.c - changes as text. What a line says of a file is found out here; the lines
 * of a file are compared by diff(1), which gets two open files and no name. It reads both
 * into memory, so it gets none that is large, and not more memory than those can need.
 *
 * A guest chose the names and the contents. Names are always escaped as git does it;
 * contents are when they go to a terminal, which they could otherwise command.
 */
#include <ctype.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include "agent/proto.h"
#include "cli/share/cow.h"

#define BINARY_LOOK	8192u
#define LINES_MAX	(64 << 20)	/* of a file; diff(1) keeps both in memory */
#define CHAR_BYTES	4u		/* of UTF-8, at most */
#define DIFF_MEMORY	(2ul << 30)	/* what it may take for that */

extern char **environ;

static void put_name(const char *prefix, const char *path, FILE *out)
{
	static const char hard[] = "\"\\";
	const char *const parts[] = { prefix, path };
	bool quote = false;

	for (unsigned i = 0; i < 2; i++)
		for (const char *p = parts[i]; *p; p++)
			quote |= (unsigned char)*p < ' ' || *p == 0x7f || *p & 0x80 ||
				 strchr(hard, *p);
	if (quote)
		putc('"', out);
	for (unsigned i = 0; i < 2; i++)
		for (const char *p = parts[i]; *p; p++)
			if ((unsigned char)*p < ' ' || *p == 0x7f || *p & 0x80)
				fprintf(out, "\\%03o", (unsigned char)*p);
			else
				fprintf(out, strchr(hard, *p) ? "\\%c" : "%c", *p);
	if (quote)
		putc('"', out);
}

static const char *kind_of(mode_t mode)
{
	if (S_ISDIR(mode)) return ", a folder";
	if (S_ISLNK(mode)) return ", a symbolic link";
	if (S_ISREG(mode)) return "";
	return ", neither file, folder nor link";
}

void cow_print(const struct cow_change *c, const char *prefix, FILE *out)
{
	static const char *const words[] = {
		[COW_ADDED] = "added    ", [COW_CHANGED] = "changed  ",
		[COW_DELETED] = "deleted  ", [COW_MODE] = "mode     ",
	};

	fputs(words[c->kind], out);
	put_name(prefix, c->path, out);
	if (c->kind == COW_MODE)
		fprintf(out, " (%03o, was %03o)", c->new_mode & 07777, c->old_mode & 07777);
	else
		fputs(kind_of(c->new_mode ? c->new_mode : c->old_mode), out);
	if (c->conflict)
		fprintf(out, " (conflict: it %s meanwhile)", c->conflict);
	putc('\n', out);
}

void cow_print_name(const struct cow_change *c, const char *prefix, FILE *out)
{
	put_name(prefix, c->path, out);
}

/* ---- diff(1) ---- */

static bool is_binary(int fd)
{
	char buf[BINARY_LOOK];
	ssize_t n = fd < 0 ? 0 : pread(fd, buf, sizeof(buf), 0);

	return n > 0 && memchr(buf, 0, (size_t)n);
}

static bool is_large(int fd)
{
	struct stat st;

	return fd >= 0 && (fstat(fd, &st) || st.st_size > LINES_MAX);
}

/*
 * What a terminal shows, with the rest escaped. @n bytes and a NUL; how many were written: the
 * last ones may be the beginning of a character, unless @end.
 */
static size_t put_safely(const char *p, size_t n, bool end, FILE *out)
{
	for (size_t i = 0, len; i < n; i += len) {
		unsigned char c = (unsigned char)p[i];

		len = c == '\n' || c == '\t' ? 1 : proto_char(p + i);
		if (!len && !end && n - i < CHAR_BYTES && c >= 0xc0)
			return i;
		if (len)
			fwrite(p + i, 1, len, out);
		else
			fprintf(out, "\\%03o", c);
		len += !len;
	}
	return n;
}

/* Its output, from the third line on: the first two are ours. */
static void copy_lines(int from, bool safe, FILE *out)
{
	char buf[4096 + CHAR_BYTES];
	size_t have = 0, done;
	unsigned line = 0;
	ssize_t n;

	while ((n = read(from, buf + have, 4096)) > 0 || (n < 0 && errno == EINTR)) {
		have += n > 0 ? (size_t)n : 0;
		buf[have] = '\0';
		for (done = 0; done < have && line < 2; done++)
			line += buf[done] == '\n';
		done += safe ? put_safely(buf + done, have - done, false, out) :
			       fwrite(buf + done, 1, have - done, out);
		memmove(buf, buf + done, have - done);
		have -= done;
	}
	buf[have] = '\0';
	put_safely(buf, have, true, out);
}

/* @old and @new: open files, or -1 for nothing. */
static int run_diff(int old, int new, bool safe, FILE *out, struct err *e)
{
	char *const argv[] = { (char[]){ "diff" }, (char[]){ "-u" }, (char[]){ "--" },
			       (char[]){ "/dev/fd/3" }, (char[]){ "/dev/fd/4" }, NULL };
	posix_spawn_file_actions_t a;
	auto_fd null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	auto_fd x = fcntl(old < 0 ? null : old, F_DUPFD_CLOEXEC, 10);
	auto_fd y = fcntl(new < 0 ? null : new, F_DUPFD_CLOEXEC, 10);
	const struct rlimit room = { DIFF_MEMORY, DIFF_MEMORY };
	int p[2], status, rc;
	pid_t pid;

	if (x < 0 || y < 0 || pipe2(p, O_CLOEXEC))
		return err_set(e, -errno, "compare files");
	posix_spawn_file_actions_init(&a);
	posix_spawn_file_actions_adddup2(&a, p[1], STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&a, x, 3);
	posix_spawn_file_actions_adddup2(&a, y, 4);
	rc = posix_spawnp(&pid, argv[0], &a, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&a);
	close(p[1]);
	if (!rc) {
		(void)!prlimit(pid, RLIMIT_AS, &room, NULL);
		copy_lines(p[0], safe, out);
	}
	close(p[0]);
	if (rc)
		return err_set(e, -rc, "run diff (of Debian's package diffutils)");
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return err_set(e, -errno, "wait for diff");
	if (!WIFEXITED(status) || WEXITSTATUS(status) > 1)
		return err_say(e, -EIO, "diff(1) could not compare the two files; 'diff --list' "
			       "does without it");
	return 0;
}

/* ---- one change ---- */

static void put_file(const char *tag, const char *side, const char *prefix, const char *path,
		     bool there, FILE *out)
{
	char with[PATH_MAX];

	fputs(tag, out);
	if (there) {
		snprintf(with, sizeof(with), "%s%s", side, prefix);
		put_name(with, path, out);
	} else {
		fputs("/dev/null", out);
	}
}

static void put_header(const struct cow_change *c, const char *prefix, FILE *out)
{
	put_file("diff --git ", "a/", prefix, c->path, true, out);
	put_file(" ", "b/", prefix, c->path, true, out);
	putc('\n', out);
	if (!c->old_mode)
		fprintf(out, "new file mode %06o\n", c->new_mode);
	else if (!c->new_mode)
		fprintf(out, "deleted file mode %06o\n", c->old_mode);
	else if (c->old_mode != c->new_mode)
		fprintf(out, "old mode %06o\nnew mode %06o\n", c->old_mode, c->new_mode);
}

/* The target of a link as the only line of a file, as git shows it. */
static int link_text(int root, const char *path)
{
	char target[PATH_MAX];
	const char *name;
	auto_fd dir = cow_open_parent(root, path, &name);
	ssize_t n = dir < 0 ? -1 : readlinkat(dir, name, target, sizeof(target) - 1);
	int fd = n < 0 ? -1 : memfd_create("link", MFD_CLOEXEC);

	target[n < 0 ? 0 : n] = '\n';
	if (fd >= 0 && write(fd, target, (size_t)n + 1) != n + 1) {
		close(fd);
		return -1;
	}
	return fd;
}

static int open_side(int root, const char *path, mode_t mode)
{
	if (S_ISREG(mode))
		return cow_open(root, path, O_RDONLY);
	return S_ISLNK(mode) ? link_text(root, path) : -1;
}

int cow_diff(int upper, int lower, const struct cow_change *c, const char *prefix, bool safe,
	     FILE *out, struct err *e)
{
	auto_fd old = open_side(lower, c->path, c->old_mode);
	auto_fd new = open_side(upper, c->path, c->new_mode);
	bool binary;

	if (S_ISDIR(c->old_mode) || S_ISDIR(c->new_mode)) {
		cow_print(c, prefix, out);
		return 0;
	}
	put_header(c, prefix, out);
	if (c->conflict) {
		fputs("# the host's file ", out);
		fprintf(out, "%s meanwhile\n", c->conflict);
	}
	if (c->kind == COW_MODE || (old < 0 && new < 0))
		return 0;
	binary = is_binary(old) || is_binary(new);
	if (binary || is_large(old) || is_large(new)) {
		put_file(binary ? "Binary files " : "Large files ", "a/", prefix, c->path, old >= 0,
			 out);
		put_file(" and ", "b/", prefix, c->path, new >= 0, out);
		fputs(" differ\n", out);
		return 0;
	}
	put_file("--- ", "a/", prefix, c->path, old >= 0, out);
	put_file("\n+++ ", "b/", prefix, c->path, new >= 0, out);
	putc('\n', out);
	return run_diff(old, new, safe, out, e);
}
