/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cpuid.h - which CPUID bits does a guest see that it must not believe?
 *
 * KVM normally filters CPUID. A host that runs guest user code natively and
 * emulates its kernel cannot: the guest reads the hardware's CPUID and its
 * kernel then uses instructions which nobody emulates. So, before the kernel:
 *
 *	n = cpuid_mask_leaves(list, CPUID_MAX);
 *	cpuid_probe_load(m, list, n, &entry, e);
 *	... run one vCPU from @entry until it writes to port CPUID_PROBE_PORT ...
 *	cpuid_probe_read(m, list, n, e);
 *	cpuid_mask_build(list, n, supported, ns, &policy, limit, buf, sizeof(buf));
 *
 * and @buf goes onto the kernel's command line. Then fw_load_x86() as always.
 */
#ifndef FIRMWARE_CPUID_H
#define FIRMWARE_CPUID_H
#include "firmware/firmware.h"

#define CPUID_MAX		64u
#define CPUID_PROBE_PORT	0xf4u	/* OUT of one byte: the probe is done */

/* One leaf and what CPUID answers; also the layout of the probe's table. */
struct cpuid_leaf { uint32_t leaf, sub, eax, ebx, ecx, edx; };

/*
 * cpuid_probe_load - put the probe into guest memory.
 * @list: leaf and sub of @n (1..CPUID_MAX) entries. @out: registers to start with.
 * Returns 0 or -errno with @e. Memory: layout_x86.h, all below FW_X86_PROBE +
 * FW_X86_PROBE_LEN.
 */
int cpuid_probe_load(const struct gmem *m, const struct cpuid_leaf *list, unsigned n,
		     struct fw_entry_x86 *out, struct err *e) must_check;

/*
 * cpuid_probe_read - fetch the answers into @list and wipe the probe, so that
 * guest memory is fresh again. -EINVAL when the probe did not run to its end.
 */
int cpuid_probe_read(const struct gmem *m, struct cpuid_leaf *list, unsigned n,
		     struct err *e) must_check;

/* The probe's code, for tests: ends with OUT imm8 at CPUID_PROBE_END, then HLT for ever. */
extern const uint8_t cpuid_probe_code[];
extern const size_t cpuid_probe_len, cpuid_probe_end;

/* A number of Linux's cpufeatures.h: word * 32 + bit. */
#define CPUID_FEATURE(word, bit) ((uint16_t)((word) * 32 + (bit)))

/* What to list beyond "visible and not supported", and what never to list. */
struct cpuid_policy {
	const uint16_t *extra, *keep;
	unsigned nextra, nkeep;
};

/* For hosts that emulate CPL 0; the reasons are in cpuid_mask.c. */
extern const struct cpuid_policy cpuid_policy_emulated;

/* cpuid_mask_leaves - what cpuid_mask_build() wants to know; returns how many. @max >= CPUID_MAX */
unsigned cpuid_mask_leaves(struct cpuid_leaf *list, unsigned max);

/*
 * cpuid_mask_build - write "clearcpuid=N,N,..." for a Linux guest, or "".
 * @policy: NULL for none.
 * @limit: longest value the kernel takes, in bytes: CPUID_MASK_STOCK unless its
 * buffer was enlarged. Numbers beyond it are left out, the least dangerous ones
 * first. @buf: at least @limit + 12 bytes. Returns how many were left out.
 */
#define CPUID_MASK_STOCK 127u
unsigned cpuid_mask_build(const struct cpuid_leaf *visible, unsigned nv,
			  const struct cpuid_leaf *supported, unsigned ns,
			  const struct cpuid_policy *policy, unsigned limit, char *buf, size_t len);
#endif
