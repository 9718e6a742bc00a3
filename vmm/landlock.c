/* SPDX-License-Identifier: Apache-2.0 */
/*
 * #syscalls:fs landlock_create_ruleset? landlock_add_rule? landlock_restrict_self?
 */
#include <sys/syscall.h>
#include "vmm/landlock.h"

/* Newer than Debian 12's <linux/landlock.h>; the ABI that has them. */
#define ACCESS_TRUNCATE		(1ull << 14)	/* 3 */
#define NET_ALL			3ull		/* 4: bind and connect of TCP */
#define SCOPE_ALL		3ull		/* 6: abstract sockets, signals */
struct attr { uint64_t fs, net, scoped; };

int landlock_ruleset(uint64_t *files)
{
	struct attr a = { .fs = LANDLOCK_ACCESS_FS_REFER * 2 - 1 };
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	size_t len = abi >= 6 ? sizeof(a) : abi >= 4 ? offsetof(struct attr, scoped) : sizeof(a.fs);
	int fd;

	if (abi < 0)
		return -errno;
	if (abi < 2)
		return -EOPNOTSUPP;
	if (abi >= 3)
		a.fs |= ACCESS_TRUNCATE;
	if (abi >= 4)
		a.net = NET_ALL;
	if (abi >= 5)
		a.fs |= LANDLOCK_IOCTL_DEV;
	if (abi >= 6)
		a.scoped = SCOPE_ALL;
	fd = (int)syscall(SYS_landlock_create_ruleset, &a, len, 0);
	if (fd >= 0 && files)
		*files = a.fs;
	return fd < 0 ? -errno : fd;
}

int landlock_allow(int ruleset, int folder, uint64_t access)
{
	struct landlock_path_beneath_attr a = { .allowed_access = access, .parent_fd = folder };

	if (folder < 0)
		return 0;
	return syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &a, 0) ?
		-errno : 0;
}

int landlock_enter(int ruleset)
{
	return syscall(SYS_landlock_restrict_self, ruleset, 0) ? -errno : 0;
}
