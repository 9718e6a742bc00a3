/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jail_filters.h - what the build makes from the marks in the sources
 * (vmm/seccomp/): for each thread class a filter as the kernel takes it, and the
 * operations that its io_uring may do.
 */
#ifndef VMM_JAIL_FILTERS_H
#define VMM_JAIL_FILTERS_H
#include <linux/filter.h>
#include "vmm/jail.h"

/* Stands in the code for this process's own id, which is known only when it runs. */
#define JAIL_SELF 0x5e1f5e1fu

struct jail_filter {
	const struct sock_filter *code;
	unsigned len;			/* 0: no source has a mark for this class */
	const uint8_t *ring;		/* IORING_OP_* */
	unsigned nring;
};

extern const struct jail_filter jail_filters[JAIL_NCLASSES];
#endif
