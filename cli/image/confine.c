/* SPDX-License-Identifier: Apache-2.0 */
/*
 * confine.c - archives and layers are read by libraries that are large, in the name of the
 * person who imports them. A fault there is to cost the image, not what else that person
 * has: Landlock leaves the image store, a filter takes what leads to other processes.
 */
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include "cli/base/sum.h"
#include "cli/image/confine.h"
#include "cli/image/source.h"

/* Newer than Debian 12's <linux/landlock.h>; the ABI that has them. */
#define ACCESS_TRUNCATE		(1ull << 14)	/* 3 */
#define ACCESS_IOCTL_DEV	(1ull << 15)	/* 5 */
#define NET_ALL			3ull		/* 4 */
#define SCOPE_ALL		3ull		/* 6 */
struct ruleset { uint64_t fs, net, scoped; };

#define READS (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define NEVER (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_MAKE_BLOCK | \
	       LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_SOCK | ACCESS_IOCTL_DEV)

/* ---- files ---- */

static int allow(int ruleset, int folder, uint64_t access)
{
	struct landlock_path_beneath_attr a = { .allowed_access = access, .parent_fd = folder };

	return folder < 0 ? 0 : (int)syscall(SYS_landlock_add_rule, ruleset,
					     LANDLOCK_RULE_PATH_BENEATH, &a, 0);
}

static void files(int store, int from)
{
	struct ruleset r = { .fs = LANDLOCK_ACCESS_FS_REFER * 2 - 1 };
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	size_t len = abi >= 6 ? sizeof(r) : abi >= 4 ? offsetof(struct ruleset, scoped) :
							sizeof(r.fs);
	auto_fd fd = -1;

	if (abi < 2)	/* without REFER nothing could be renamed between folders */
		return;
	if (abi >= 3)
		r.fs |= ACCESS_TRUNCATE;
	if (abi >= 4)
		r.net = NET_ALL;
	if (abi >= 5)
		r.fs |= ACCESS_IOCTL_DEV;
	if (abi >= 6)
		r.scoped = SCOPE_ALL;
	fd = (int)syscall(SYS_landlock_create_ruleset, &r, len, 0);
	if (fd >= 0 && !allow(fd, store, r.fs & ~NEVER) && !allow(fd, from, READS))
		(void)!syscall(SYS_landlock_restrict_self, fd, 0);
}

/* ---- calls ---- */

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#endif

/* Sockets of others, programs, other namespaces, and other ways to make such calls. */
static const unsigned refused[] = {
	SYS_socket, SYS_socketpair, SYS_connect, SYS_execve, SYS_execveat, SYS_io_uring_setup,
	SYS_unshare, SYS_setns, SYS_mount, SYS_open_tree, SYS_fsopen, SYS_move_mount,
	SYS_open_by_handle_at, SYS_keyctl, SYS_add_key, SYS_request_key, SYS_bpf,
	SYS_perf_event_open, SYS_userfaultfd, SYS_process_vm_readv, SYS_process_vm_writev,
	SYS_pidfd_getfd,
};

static void calls(void)
{
	struct sock_filter code[ARRAY_LEN(refused) + 8];
	struct sock_fprog prog = { .filter = code };
	unsigned n = 0, left = ARRAY_LEN(refused);

	code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
						 offsetof(struct seccomp_data, arch));
	code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0);
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
	code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
						 offsetof(struct seccomp_data, nr));
	/* By the 32 bit door of x86-64 the same calls have other numbers. */
	code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000,
						 (uint8_t)(left + 1), 0);
	for (unsigned i = 0; i < ARRAY_LEN(refused); i++, left--)
		code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, refused[i],
							 (uint8_t)left, 0);
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
	prog.len = (unsigned short)n;
	(void)!syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog);
}

int image_confine(int store, int from, struct err *e)
{
	char sum[SUM_HEX];
	int rc = image_preload(e);

	if (!rc && sum_bytes("", 0, sum))
		rc = err_say(e, -EIO, "digests cannot be computed");
	if (rc || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return rc;
	files(store, from);
	calls();
	return 0;
}
