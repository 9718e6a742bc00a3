/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cpuid_probe.c - a few instructions that run CPUID where the kernel will: at CPL 0.
 *
 * The code uses no stack and no data but its table, so it works from the entry
 * state alone. The table is a count and a magic word, then one struct
 * cpuid_leaf per question. The magic word is cleared at the end: a probe that
 * never ran, or was stopped half-way, is told from one that answered zeros.
 */
#include "firmware/boot_x86.h"
#include "firmware/cpuid.h"
#include "firmware/layout_x86.h"

#define TABLE	(FW_X86_PROBE + 0x100)
#define MAGIC	0x64697563u

struct table { uint32_t n, magic; struct cpuid_leaf leaf[CPUID_MAX]; };
_Static_assert(sizeof(struct cpuid_leaf) == 24, "the code below knows the layout");
_Static_assert(0x100 + sizeof(struct table) <= FW_X86_PROBE_LEN, "layout");

/* In: RSI = table. */
const uint8_t cpuid_probe_code[] = {
	0x8b, 0x3e,			/*	mov  edi, [rsi]		count */
	0x4c, 0x8d, 0x46, 0x04,		/*	lea  r8, [rsi + 4]	magic */
	0x48, 0x83, 0xc6, 0x08,		/*	add  rsi, 8 */
	0x8b, 0x06,			/* 1:	mov  eax, [rsi] */
	0x8b, 0x4e, 0x04,		/*	mov  ecx, [rsi + 4] */
	0x0f, 0xa2,			/*	cpuid */
	0x89, 0x46, 0x08,		/*	mov  [rsi + 8], eax */
	0x89, 0x5e, 0x0c,		/*	mov  [rsi + 12], ebx */
	0x89, 0x4e, 0x10,		/*	mov  [rsi + 16], ecx */
	0x89, 0x56, 0x14,		/*	mov  [rsi + 20], edx */
	0x48, 0x83, 0xc6, 0x18,		/*	add  rsi, 24 */
	0xff, 0xcf,			/*	dec  edi */
	0x75, 0xe5,			/*	jnz  1b */
	0x31, 0xc0,			/*	xor  eax, eax */
	0x41, 0x89, 0x00,		/*	mov  [r8], eax */
	0xe6, CPUID_PROBE_PORT,		/* end:	out  CPUID_PROBE_PORT, al */
	0xf4,				/* 2:	hlt */
	0xeb, 0xfd,			/*	jmp  2b */
};
const size_t cpuid_probe_len = sizeof(cpuid_probe_code);
const size_t cpuid_probe_end = sizeof(cpuid_probe_code) - 5;
_Static_assert(sizeof(cpuid_probe_code) <= 0x100, "the table follows");

int cpuid_probe_load(const struct gmem *m, const struct cpuid_leaf *list, unsigned n,
		     struct fw_entry_x86 *out, struct err *e)
{
	struct table t = { .n = n, .magic = MAGIC };
	int rc;

	BUG_ON(!n || n > CPUID_MAX);
	memcpy(t.leaf, list, n * sizeof(*list));
	*out = (struct fw_entry_x86){ 0 };
	rc = boot_x86_cpu_state(m, out, e);
	if (rc)
		return rc;
	rc = gmem_write(m, GPA(FW_X86_PROBE), cpuid_probe_code, sizeof(cpuid_probe_code));
	if (!rc)
		rc = gmem_write(m, GPA(TABLE), &t, sizeof(t));
	if (rc)
		return err_say(e, rc, "no guest memory for the CPUID probe");
	out->rip = FW_X86_PROBE;
	out->rsi = TABLE;
	return 0;
}

int cpuid_probe_read(const struct gmem *m, struct cpuid_leaf *list, unsigned n, struct err *e)
{
	unsigned char *area = gmem_ptr(m, GPA(FW_X86_PROBE), FW_X86_PROBE_LEN);
	struct table t;

	BUG_ON(!n || n > CPUID_MAX);
	if (!area)
		return err_say(e, -EFAULT, "no guest memory for the CPUID probe");
	memcpy(&t, area + (TABLE - FW_X86_PROBE), sizeof(t));
	memset(area, 0, FW_X86_PROBE_LEN);
	if (t.n != n || t.magic)
		return err_say(e, -EINVAL, "the CPUID probe did not finish");
	memcpy(list, t.leaf, n * sizeof(*list));
	return 0;
}
