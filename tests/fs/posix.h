/* SPDX-License-Identifier: Apache-2.0 */
/*
 * posix.h - what a file system has to do, as a list of cases (posix.c says how they run).
 *
 * A case is a function. It starts in a folder of its own that holds, made beforehand:
 *
 *	f "data" 0644	g "other" 0600	e "" 0666	x a script, 0755
 *	h1, h2		two names of one file, "links"
 *	d/		empty	full/f, full/sub/f	a file each
 *	sticky/		01777, with sticky/f, of the suite's user	open/ 0777
 *	l -> f, ldir -> full, none -> (nothing), loop -> pool -> loop
 *	p		a fifo
 *
 * It checks with OK() and FAILS(), which note what differs and go on.
 */
#ifndef TESTS_FS_POSIX_H
#define TESTS_FS_POSIX_H
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

/* The call must not fail. It is the value. */
#define OK(call) posix_ok(__FILE__, __LINE__, #call, (long)(call))
/* It must be true. */
#define TRUE(cond) posix_true(__FILE__, __LINE__, #cond, (cond))
/* It must fail with @want, an errno. */
#define FAILS(want, call) posix_fails(__FILE__, __LINE__, #call, want, (long)(call))
/* As another user, who is in no group of the suite's. Only in cases with NEEDS_ROOT. */
#define AS_OTHER(code) do { posix_other(true); code; posix_other(false); } while (0)

#define OTHER 1000u

long posix_ok(const char *file, int line, const char *what, long got);
void posix_true(const char *file, int line, const char *what, bool yes);
void posix_fails(const char *file, int line, const char *what, int want, long got);
void posix_other(bool other);

/* lstat() that cannot fail: all zero then. */
struct stat posix_stat(const char *path);
mode_t posix_mode(const char *path);	/* 07777 of it */
/* The file's text, in one of a few static buffers; "(errno)" when it cannot be read. */
const char *posix_text(const char *path);
void posix_put(const char *path, const char *text);
bool posix_there(const char *path);
/* Let the clock of the file system go on, so that a later change has a later time. */
void posix_tick(void);
/* The time of @path's last change, or modification, in nanoseconds. */
long long posix_ctime(const char *path);
long long posix_mtime(const char *path);
/* How many entries a folder lists, "." and ".." among them. */
unsigned posix_count(const char *path);
/* Wait for a child and return its status; 128 + N for a signal. */
int posix_wait(pid_t pid);

#define NEEDS_ROOT	1u	/* it becomes another user */
#define READS		2u	/* it only reads: for read-only folders, too */

struct posix_case { const char *name; void (*run)(void); unsigned flags; };
extern const struct posix_case posix_names[], posix_rename[], posix_attrs[], posix_io[];
#endif
