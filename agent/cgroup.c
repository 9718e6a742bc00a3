// SPDX-License-Identifier: Apache-2.0
/*
 * cgroup.c - commands in cgroups, the agent outside of them.
 *
 * The agent stays in the root cgroup, which has no limits; the OOM killer does
 * not choose PID 1. Everything that it starts lives in ROOT/exec/x<id>:
 *
 *   ROOT/exec        memory.max = MemTotal less a reserve, pids.max = 3/4 of
 *                    what the kernel has room for
 *   ROOT/exec/x<id>  the command's own limits; pids.max is by default half of the
 *                    parent's, so one fork bomb leaves room for other commands
 *
 * An allocation that exceeds memory.max of exec/ makes the kernel choose a
 * victim below exec/. Each file access is a few system calls, which are slow
 * on some hosts: values are read only when they can matter (see exec.c).
 *
 * Making a group costs more than starting a small program does. So the next command's
 * is made when there is nothing else to do, with the default limits and with
 * memory.peak open: for that, commands have consecutive numbers. Where a number
 * was left out, the spare group goes and another one is made.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "agent/cgroup.h"
#include "agent/proto.h"

#define RESERVE_MIN  (4ull << 20)
#define PIDS_DEFAULT 256u

static struct {
	int base;		/* ROOT/exec */
	uint64_t features;
	uint64_t pids_total;
	unsigned int last;	/* command that got a group */
	struct group { unsigned int id; int dir, peak; } spare;
	struct group current;	/* the last that was a spare one; only id and peak */
} cg = { .base = -1, .spare = { .dir = -1, .peak = -1 }, .current = { .peak = -1 } };

static int write_file(int dir, const char *name, const char *val)
{
	int fd = openat(dir, name, O_WRONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = write(fd, val, strlen(val));
	n = n < 0 ? -errno : 0;
	close(fd);
	return (int)n;
}

static int write_num(int dir, const char *name, uint64_t v)
{
	char s[24];

	snprintf(s, sizeof(s), "%llu", (unsigned long long)v);
	return write_file(dir, name, s);
}

/* Up to cap - 1 bytes, NUL-terminated. */
static int read_file(int dir, const char *name, char *buf, size_t cap)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	buf[0] = 0;
	if (fd < 0)
		return -errno;
	n = read(fd, buf, cap - 1);
	if (n < 0)
		n = -errno;
	else
		buf[n] = 0;
	close(fd);
	return n < 0 ? (int)n : 0;
}

static const struct { const char *name; uint64_t feature; } controllers[] = {
	{ "+memory", PROTO_F_MEMORY }, { "+pids", PROTO_F_PIDS }, { "+cpu", PROTO_F_CPU },
};

/* Enable the controllers for children of `dir`: the PROTO_F_* bits of those that work. */
static uint64_t enable(int dir)
{
	uint64_t got = 0;

	if (write_file(dir, "cgroup.subtree_control", "+memory +pids +cpu") == 0)
		return PROTO_F_MEMORY | PROTO_F_PIDS | PROTO_F_CPU;
	for (size_t i = 0; i < sizeof(controllers) / sizeof(controllers[0]); i++)
		if (write_file(dir, "cgroup.subtree_control", controllers[i].name) == 0)
			got |= controllers[i].feature;
	return got;
}

static uint64_t pids_total(void)
{
	char buf[32];
	uint64_t n = 0;

	if (read_file(AT_FDCWD, "/proc/sys/kernel/threads-max", buf, sizeof(buf)) == 0)
		n = strtoull(buf, NULL, 10) / 4 * 3;
	return n >= 64 ? n : PIDS_DEFAULT;
}

static void limit_total(void)
{
	struct sysinfo si;
	uint64_t total, reserve;

	if (cg.features & PROTO_F_PIDS) {
		cg.pids_total = pids_total();
		(void)write_num(cg.base, "pids.max", cg.pids_total);
	}
	if ((cg.features & PROTO_F_MEMORY) && sysinfo(&si) == 0) {
		total = (uint64_t)si.totalram * si.mem_unit;
		reserve = total / 16 > RESERVE_MIN ? total / 16 : RESERVE_MIN;
		if (total > 2 * reserve)
			(void)write_num(cg.base, "memory.max", total - reserve);
	}
}

uint64_t cgroup_setup(const char *root)
{
	int dir;

	cg.features = 0;
	if (!root)
		return 0;
	dir = open(root, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
	if (dir < 0)
		return 0;
	if (mkdirat(dir, "exec", 0755) == 0 || errno == EEXIST)
		cg.base = openat(dir, "exec", O_DIRECTORY | O_RDONLY | O_CLOEXEC);
	if (cg.base >= 0 && faccessat(cg.base, "cgroup.kill", W_OK, 0) == 0) {
		cg.features = PROTO_F_CGROUP | enable(dir);
		cg.features &= PROTO_F_CGROUP | enable(cg.base);
		limit_total();
	} else if (cg.base >= 0) {
		close(cg.base);
		cg.base = -1;
	}
	close(dir);
	return cg.features;
}

static void path(char *buf, size_t cap, unsigned int id, const char *file)
{
	snprintf(buf, cap, "x%u%s%s", id, *file ? "/" : "", file);
}

static void drop_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* What was asked for; the default is there already. */
static int set_limits(int dir, const struct cgroup_limits *l)
{
	char s[48];
	int rc = 0;

	if (l->pids_max && (cg.features & PROTO_F_PIDS))
		rc = write_num(dir, "pids.max", l->pids_max);
	if (rc == 0 && l->memory_max)
		rc = write_num(dir, "memory.max", l->memory_max);
	if (rc == 0 && l->cpu_milli) {
		snprintf(s, sizeof(s), "%llu 100000", (unsigned long long)l->cpu_milli * 100);
		rc = write_file(dir, "cpu.max", s);
	}
	return rc;
}

/* The folder with the default limits: a descriptor or -errno. */
static int make(unsigned int id)
{
	char name[16];
	int dir, rc;

	path(name, sizeof(name), id, "");
	if (mkdirat(cg.base, name, 0755) < 0 && errno != EEXIST)
		return -errno;
	dir = openat(cg.base, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	rc = dir < 0 ? -errno : 0;
	if (rc == 0 && (cg.features & PROTO_F_PIDS))
		rc = write_num(dir, "pids.max", cg.pids_total / 2);
	if (rc == 0)
		return dir;
	if (dir >= 0)
		close(dir);
	unlinkat(cg.base, name, AT_REMOVEDIR);
	return rc;
}

static void drop_spare(void)
{
	if (cg.spare.dir < 0)
		return;
	drop_fd(&cg.spare.dir);
	drop_fd(&cg.spare.peak);
	(void)cgroup_remove(cg.spare.id);
}

void cgroup_prepare(void)
{
	struct group *g = &cg.spare;

	if (cg.base < 0 || g->dir >= 0)
		return;
	g->id = cg.last + 1;
	g->dir = make(g->id);
	if (g->dir >= 0 && (cg.features & PROTO_F_MEMORY))
		g->peak = openat(g->dir, "memory.peak", O_RDONLY | O_CLOEXEC);
}

int cgroup_new(unsigned int id, const struct cgroup_limits *l)
{
	int dir = -1, rc;

	cg.last = id;
	if (cg.spare.id == id && cg.spare.dir >= 0) {
		dir = cg.spare.dir;
		drop_fd(&cg.current.peak);
		cg.current = cg.spare;
		cg.spare.dir = cg.spare.peak = -1;
	}
	drop_spare();
	if (dir < 0)
		dir = make(id);
	rc = dir < 0 ? dir : set_limits(dir, l);
	if (rc == 0)
		return dir;
	if (dir >= 0) {
		close(dir);
		(void)cgroup_remove(id);
	}
	return rc;
}

int cgroup_kill(unsigned int id)
{
	char name[40];

	path(name, sizeof(name), id, "cgroup.kill");
	return write_file(cg.base, name, "1");
}

int cgroup_signal(unsigned int id, int signo)
{
	char name[40], buf[4096], *p, *end;
	long pid;
	int rc;

	/* One page of numbers, some 600 processes; more than that is for SIGKILL. */
	path(name, sizeof(name), id, "cgroup.procs");
	rc = read_file(cg.base, name, buf, sizeof(buf));
	for (p = buf; rc == 0; p = end) {
		pid = strtol(p, &end, 10);
		if (end == p || *end != '\n')	/* a last number may be cut short */
			break;
		if (pid > 1)
			kill((pid_t)pid, signo);
	}
	return rc;
}

uint64_t cgroup_mem_peak(unsigned int id)
{
	char name[40], buf[32];

	if (!(cg.features & PROTO_F_MEMORY))
		return 0;
	if (cg.current.id == id && cg.current.peak >= 0) {
		ssize_t n = pread(cg.current.peak, buf, sizeof(buf) - 1, 0);

		buf[n > 0 ? n : 0] = 0;
		return strtoull(buf, NULL, 10);
	}
	path(name, sizeof(name), id, "memory.peak");
	return read_file(cg.base, name, buf, sizeof(buf)) == 0 ? strtoull(buf, NULL, 10) : 0;
}

uint64_t cgroup_oom_kills(unsigned int id)
{
	char name[40], buf[256], *p;

	if (!(cg.features & PROTO_F_MEMORY))
		return 0;
	path(name, sizeof(name), id, "memory.events");
	if (read_file(cg.base, name, buf, sizeof(buf)) < 0)
		return 0;
	p = strstr(buf, "oom_kill ");
	return p ? strtoull(p + 9, NULL, 10) : 0;
}

int cgroup_remove(unsigned int id)
{
	char name[16];

	if (cg.current.id == id)
		drop_fd(&cg.current.peak);
	path(name, sizeof(name), id, "");
	return unlinkat(cg.base, name, AT_REMOVEDIR) < 0 && errno != ENOENT ? -errno : 0;
}
