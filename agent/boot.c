// SPDX-License-Identifier: Apache-2.0
/*
 * boot.c - the first milliseconds of the guest's user space.
 *
 * A table of file systems, in an order in which each finds its mount point. Each system
 * call is slow on some hosts, so nothing is asked that the next call would tell:
 * a mount is tried before its folder is made, and EBUSY means that the kernel or the
 * image has done it already.
 *
 * The agent does not protect itself from the OOM killer: PID 1 is never chosen.
 */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/boot.h"

#define NOFILE_SOFT 1024
#define NOFILE_HARD 1048576

static const struct {
	const char *type, *at, *data;
	unsigned long flags;
} mounts[] = {
	{ "devtmpfs", "/dev", "mode=0755", MS_NOSUID | MS_NOEXEC },
	{ "proc", "/proc", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC },
	{ "sysfs", "/sys", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC },
	{ "cgroup2", "/sys/fs/cgroup", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC },
	{ "devpts", "/dev/pts", "gid=5,mode=620,ptmxmode=666", MS_NOSUID | MS_NOEXEC },
	{ "tmpfs", "/dev/shm", "mode=1777", MS_NOSUID | MS_NODEV },
	{ "tmpfs", "/run", "mode=0755", MS_NOSUID | MS_NODEV },
	{ "tmpfs", "/tmp", "mode=1777", MS_NOSUID | MS_NODEV },
};

static const struct { const char *to, *at; } links[] = {
	{ "/proc/self/fd", "/dev/fd" },
	{ "/proc/self/fd/0", "/dev/stdin" },
	{ "/proc/self/fd/1", "/dev/stdout" },
	{ "/proc/self/fd/2", "/dev/stderr" },
};

void boot_log(const char *fmt, ...)
{
	char line[256];
	va_list ap;
	int fd, n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	if ((size_t)n >= sizeof(line))
		n = sizeof(line) - 1;
	fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
	if (fd >= 0 && write(fd, line, (size_t)n) < 0)
		n = 0;
	if (fd >= 0)
		close(fd);
}

static int mount_one(size_t i)
{
	const char *type = mounts[i].type, *at = mounts[i].at;

	if (mount(type, at, type, mounts[i].flags, mounts[i].data) == 0 || errno == EBUSY)
		return 0;
	if (errno != ENOENT || mkdir(at, 0755) < 0)
		return -errno;
	return mount(type, at, type, mounts[i].flags, mounts[i].data) < 0 ? -errno : 0;
}

/* The descriptors 0 to 2 exist, so that no other file gets their numbers. */
static void fill_stdio(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd < 3);
	if (fd >= 0)
		close(fd);
}

/*
 * Memory is not compacted ahead of need: that looks at it twice a second, which is half of
 * what an idle guest does at all, for large pages that few ask for.
 */
static void stop_compaction(void)
{
	int fd = open("/proc/sys/vm/compaction_proactiveness", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	if (write(fd, "0", 1) < 0)
		boot_log("agent: compaction: %s", strerror(errno));
	close(fd);
}

static void start_lo(void)
{
	struct ifreq ifr = { .ifr_name = "lo" };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return;
	ifr.ifr_flags = IFF_UP | IFF_RUNNING;
	if (ioctl(fd, SIOCSIFFLAGS, &ifr) < 0)
		boot_log("agent: lo: %s", strerror(errno));
	close(fd);
}

void boot_guest(void)
{
	struct rlimit nofile = { NOFILE_SOFT, NOFILE_HARD };

	umask(022);
	if (chdir("/") < 0)
		boot_log("agent: chdir: %s", strerror(errno));
	for (size_t i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++) {
		int rc = mount_one(i);

		if (rc < 0)
			boot_log("agent: mount %s on %s: %s", mounts[i].type, mounts[i].at,
				 strerror(-rc));
	}
	fill_stdio();
	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++)
		if (symlink(links[i].to, links[i].at) < 0 && errno != EEXIST)
			boot_log("agent: %s: %s", links[i].at, strerror(errno));
	if (setrlimit(RLIMIT_NOFILE, &nofile) < 0 || sethostname("sandbox", 7) < 0)
		boot_log("agent: limits and hostname: %s", strerror(errno));
	start_lo();
	stop_compaction();
}
