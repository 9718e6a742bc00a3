/* SPDX-License-Identifier: Apache-2.0 */
/*
 * host.c - memory and CPUs. A container's limit counts as the machine's size: a
 * guest that is larger would be killed in the middle of its work.
 */
#include <fcntl.h>
#include <sched.h>
#include "cli/base/host.h"

#define FILE_MAX 16384u

ssize_t host_read(const char *path, char *buf, size_t len)
{
	auto_fd fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t got = 0;

	if (fd < 0)
		return -errno;
	while (got < len - 1) {
		ssize_t n = read(fd, buf + got, len - 1 - got);

		if (n < 0)
			return -errno;
		if (!n)
			break;
		got += (size_t)n;
	}
	buf[got] = '\0';
	return (ssize_t)got;
}

/* "Name:   123 kB" of /proc/meminfo, in bytes. */
static uint64_t meminfo(const char *name)
{
	char buf[FILE_MAX];
	const char *p;

	if (host_read("/proc/meminfo", buf, sizeof(buf)) < 0)
		return 0;
	p = strstr(buf, name);
	return p ? strtoull(p + strlen(name), NULL, 10) << 10 : 0;
}

static void lower_to(const char *file, uint64_t *limit)
{
	char buf[64], *end;
	uint64_t v;

	if (host_read(file, buf, sizeof(buf)) <= 0)
		return;
	v = strtoull(buf, &end, 10);
	if (end != buf && v < *limit)
		*limit = v;
}

/* The limits of this cgroup and of those above it. */
static void walk_up(const char *root, char *path, const char *file, uint64_t *limit)
{
	char full[FILE_MAX];

	for (;;) {
		char *slash;

		snprintf(full, sizeof(full), "%s%s/%s", root, path, file);
		lower_to(full, limit);
		slash = strrchr(path, '/');
		if (!slash)
			return;
		*slash = '\0';
	}
}

uint64_t host_memory(void)
{
	uint64_t limit = meminfo("MemTotal:");
	char buf[FILE_MAX], *save = NULL;

	if (host_read("/proc/self/cgroup", buf, sizeof(buf)) < 0)
		return limit;
	for (char *l = strtok_r(buf, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
		char *controllers = strchr(l, ':');
		char *path = controllers ? strchr(controllers + 1, ':') : NULL;

		if (!path)
			continue;
		*path++ = '\0';
		if (!controllers[1])
			walk_up("/sys/fs/cgroup", path, "memory.max", &limit);
		else if (!strcmp(controllers + 1, "memory"))
			walk_up("/sys/fs/cgroup/memory", path, "memory.limit_in_bytes", &limit);
	}
	return limit;
}

uint64_t host_memory_free(void)
{
	return meminfo("MemAvailable:");
}

unsigned host_cpus(void)
{
	cpu_set_t set;
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	if (!sched_getaffinity(0, sizeof(set), &set) && CPU_COUNT(&set) > 0)
		return (unsigned)CPU_COUNT(&set);
	return n > 0 ? (unsigned)n : 1;
}
