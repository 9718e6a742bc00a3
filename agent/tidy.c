// SPDX-License-Identifier: Apache-2.0
/*
 * tidy.c - a moment after a process has ended.
 *
 * Each time, the next command's cgroup is made. Once, after the first command, which in
 * a template is the one that warms it up:
 *
 *   The program behind most commands of the built-in root is put into one large page of
 *   its file system's cache. A page fault maps 16 pages of a program around the one that
 *   was asked for; with small pages each of them is looked up and counted on its own, there
 *   and again when the process ends, and on a host that emulates the guest's kernel
 *   that was a fifth of a small command.
 *
 *   One block of each size that the agent allocates for a connection and an execution is
 *   kept, because the C library gives memory back with the last block of a size, and
 *   the next one would begin with mmap() and page faults.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/cgroup.h"
#include "agent/evloop.h"
#include "agent/tidy.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

#define AFTER_NS	20000000u
#define LARGE		(2u << 20)
#define LARGE_MAX	(8u << 20)	/* a larger program is left as it is */

static struct timer timer;
static bool is_init, once;

/* Best effort: where the file system or the kernel has no large pages, nothing happens. */
static void pack(const char *program)
{
	int fd = open(program, O_RDONLY | O_CLOEXEC);
	char *room, *at;
	struct stat st;
	size_t len;

	if (fd < 0)
		return;
	if (fstat(fd, &st) == 0 && st.st_size > 0 && st.st_size <= LARGE_MAX) {
		len = ((size_t)st.st_size + LARGE - 1) / LARGE * LARGE;
		room = mmap(NULL, len + LARGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (room != MAP_FAILED) {
			at = room + (LARGE - (size_t)room % LARGE) % LARGE;
			if (mmap(at, len, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0) == at)
				(void)madvise(at, len, MADV_COLLAPSE);
			munmap(room, len + LARGE);
		}
	}
	close(fd);
}

/* Never freed: that is the point. */
static void keep_blocks(void)
{
	static void *kept[16];
	size_t n = 0;

	for (size_t len = 64; len <= 8192 && n + 1 < sizeof(kept) / sizeof(kept[0]); len *= 2) {
		kept[n++] = malloc(len);
		kept[n++] = malloc(len + len / 2);
	}
}

static void on_timer(struct timer *t)
{
	(void)t;
	cgroup_prepare();
	if (once)
		return;
	once = true;
	keep_blocks();
	pack("/bin/busybox");
}

void tidy_init(bool init)
{
	is_init = init;
	once = false;
	timer = (struct timer){ .fn = on_timer };
}

void tidy_later(void)
{
	if (is_init && !timer.armed)
		evloop_timer(&timer, evloop_now() + AFTER_NS);
}
