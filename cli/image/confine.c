/* SPDX-License-Identifier: Apache-2.0 */
/*
 * confine.c - archives and layers are read by libraries that are large, in the name of the
 * person who imports them. A fault there is to cost the image, not what else that person
 * has: Landlock leaves the image store, a filter takes what leads to other processes.
 */
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include "cli/base/sum.h"
#include "cli/image/confine.h"
#include "cli/image/source.h"
#include "vmm/landlock.h"

#define NEVER (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_MAKE_BLOCK | \
	       LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_IOCTL_DEV)

/* ---- files ---- */

static void files(int store, int from)
{
	uint64_t all = 0;
	auto_fd fd = landlock_ruleset(&all);

	if (fd >= 0 && !landlock_allow(fd, store, all & ~NEVER) &&
	    !landlock_allow(fd, from, LANDLOCK_READS))
		(void)!landlock_enter(fd);
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
