/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jail_seal.c - the last stage: a thread's own filter.
 *
 * The filters are compiled by libseccomp while the monitor is built, so that a start
 * costs one system call and no library. Only the id of the process is filled in here: it is
 * part of the rule for tgkill.
 *
 * #syscalls:loop,fs exit_group
 */
#include <linux/seccomp.h>
#include <sys/syscall.h>
#include "vmm/jail_filters.h"

#define CODE_MAX 1024u

int jail_seal(const struct jail *j, enum jail_class c)
{
	const struct jail_filter *f = &jail_filters[c];
	struct sock_filter code[CODE_MAX];
	struct sock_fprog prog = { .len = (unsigned short)f->len, .filter = code };

	if (j->mode == JAIL_NONE)
		return 0;
	BUG_ON(!f->len || f->len > CODE_MAX);
	memcpy(code, f->code, f->len * sizeof(*code));
	for (unsigned i = 0; i < f->len; i++)
		if (BPF_CLASS(code[i].code) == BPF_JMP && code[i].k == JAIL_SELF)
			code[i].k = (uint32_t)getpid();
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog) ? -errno : 0;
}

const uint8_t *jail_ring(enum jail_class c, unsigned *n)
{
	*n = jail_filters[c].nring;
	return jail_filters[c].ring;
}
