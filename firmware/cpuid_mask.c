/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cpuid_mask.c - the clearcpuid= option for CPUID bits that are not to be believed.
 *
 * Numbers are Linux's: arch/x86/include/asm/cpufeatures.h, 6.12 (22 words). A word
 * mirrors one register of one leaf; features from elsewhere are "scattered".
 *
 * Linux reads clearcpuid= into a buffer of 128 bytes, uses only the last
 * instance, and cuts a longer value in the middle of a number, which then names
 * another feature. So the value must not be longer than the limit, and three
 * things keep it short: what Linux clears along with another feature
 * (cpuid-deps.c there) is not listed; state bits that mirror CR4 are not listed;
 * and what the kernel itself acts on comes first, so that what is left out at
 * the end is what only user space looks at (which does not ask the kernel).
 */
#include "firmware/cpuid.h"

enum reg { EAX, EBX, ECX, EDX };
#define NWORDS 22u

static const struct { uint32_t leaf; uint8_t sub, word; enum reg reg; } words[] = {
	{ 0x00000001, 0, 0, EDX },	{ 0x80000001, 0, 1, EDX },
	{ 0x00000001, 0, 4, ECX },	{ 0x80000001, 0, 6, ECX },
	{ 0x00000007, 0, 9, EBX },	{ 0x0000000d, 1, 10, EAX },
	{ 0x00000007, 1, 12, EAX },	{ 0x80000008, 0, 13, EBX },
	{ 0x00000006, 0, 14, EAX },	{ 0x8000000a, 0, 15, EDX },
	{ 0x00000007, 0, 16, ECX },	{ 0x80000007, 0, 17, EBX },
	{ 0x00000007, 0, 18, EDX },	{ 0x8000001f, 0, 19, EAX },
	{ 0x80000021, 0, 20, EAX },
};

/* Scattered ones whose MSRs the kernel touches for no other reason. */
static const struct { uint32_t leaf; uint8_t sub; enum reg reg; uint8_t bit; uint16_t f; }
scattered[] = {
	{ 0x00000006, 0, ECX, 0, CPUID_FEATURE(7, 28) },	/* APERF/MPERF */
	{ 0x00000006, 0, ECX, 3, CPUID_FEATURE(7, 3) },		/* EPB */
	{ 0x00000007, 2, EDX, 2, CPUID_FEATURE(11, 11) },	/* RRSBA_CTRL */
	{ 0x00000007, 2, EDX, 4, CPUID_FEATURE(21, 2) },	/* BHI_CTRL */
	{ 0x0000000f, 0, EDX, 1, CPUID_FEATURE(11, 0) },	/* CQM_LLC */
	{ 0x80000007, 0, EDX, 7, CPUID_FEATURE(7, 8) },		/* HW_PSTATE */
	{ 0x80000007, 0, EDX, 9, CPUID_FEATURE(7, 2) },		/* CPB */
	{ 0x80000022, 0, EAX, 0, CPUID_FEATURE(7, 20) },	/* PERFMON_V2 */
	{ 0x80000022, 0, EAX, 1, CPUID_FEATURE(3, 17) },	/* AMD_LBR_V2 */
};

/* { feature, cleared by Linux together with }, only what every kernel since 5.x knows. */
static const uint16_t deps[][2] = {
	{ CPUID_FEATURE(10, 0), CPUID_FEATURE(4, 26) },		/* XSAVEOPT: XSAVE */
	{ CPUID_FEATURE(10, 1), CPUID_FEATURE(4, 26) },		/* XSAVEC */
	{ CPUID_FEATURE(10, 2), CPUID_FEATURE(4, 26) },		/* XGETBV1 */
	{ CPUID_FEATURE(10, 3), CPUID_FEATURE(4, 26) },		/* XSAVES */
	{ CPUID_FEATURE(4, 28), CPUID_FEATURE(4, 26) },		/* AVX */
	{ CPUID_FEATURE(16, 3), CPUID_FEATURE(4, 26) },		/* PKU */
	{ CPUID_FEATURE(4, 12), CPUID_FEATURE(4, 28) },		/* FMA: AVX */
	{ CPUID_FEATURE(9, 5), CPUID_FEATURE(4, 28) },		/* AVX2 */
	{ CPUID_FEATURE(16, 9), CPUID_FEATURE(4, 28) },		/* VAES */
	{ CPUID_FEATURE(16, 10), CPUID_FEATURE(4, 28) },	/* VPCLMULQDQ */
	{ CPUID_FEATURE(9, 16), CPUID_FEATURE(4, 28) },		/* AVX512F */
	{ CPUID_FEATURE(9, 17), CPUID_FEATURE(9, 16) },		/* AVX512DQ: AVX512F */
	{ CPUID_FEATURE(9, 21), CPUID_FEATURE(9, 16) },		/* AVX512IFMA */
	{ CPUID_FEATURE(9, 26), CPUID_FEATURE(9, 16) },		/* AVX512PF */
	{ CPUID_FEATURE(9, 27), CPUID_FEATURE(9, 16) },		/* AVX512ER */
	{ CPUID_FEATURE(9, 28), CPUID_FEATURE(9, 16) },		/* AVX512CD */
	{ CPUID_FEATURE(9, 30), CPUID_FEATURE(9, 16) },		/* AVX512BW */
	{ CPUID_FEATURE(9, 31), CPUID_FEATURE(9, 16) },		/* AVX512VL */
	{ CPUID_FEATURE(16, 1), CPUID_FEATURE(9, 16) },		/* AVX512VBMI */
	{ CPUID_FEATURE(16, 14), CPUID_FEATURE(9, 16) },	/* AVX512_VPOPCNTDQ */
	{ CPUID_FEATURE(16, 6), CPUID_FEATURE(9, 31) },		/* AVX512_VBMI2: AVX512VL */
	{ CPUID_FEATURE(16, 11), CPUID_FEATURE(9, 31) },	/* AVX512_VNNI */
	{ CPUID_FEATURE(16, 12), CPUID_FEATURE(9, 31) },	/* AVX512_BITALG */
	{ CPUID_FEATURE(18, 8), CPUID_FEATURE(9, 31) },		/* AVX512_VP2INTERSECT */
};

/* Mirrors of CR4 bits, not abilities: OSXSAVE, OSPKE. */
static const uint16_t state_bits[] = { CPUID_FEATURE(4, 27), CPUID_FEATURE(16, 4) };

/*
 * What the kernel does by itself when it sees the feature, worst first: control
 * register bits and instructions of every kernel, then code that depends on its
 * configuration (BPF JIT, crypto, RAID).
 */
static const uint16_t kernel_acts_on[] = {
	CPUID_FEATURE(9, 7),	/* SMEP: CR4 */
	CPUID_FEATURE(9, 20),	/* SMAP: CR4, CLAC, STAC */
	CPUID_FEATURE(9, 0),	/* FSGSBASE: CR4, RDGSBASE on every exception */
	CPUID_FEATURE(4, 17),	/* PCID: CR4, CR3 */
	CPUID_FEATURE(9, 10),	/* INVPCID */
	CPUID_FEATURE(16, 2),	/* UMIP: CR4 */
	CPUID_FEATURE(16, 3),	/* PKU: CR4, WRPKRU */
	CPUID_FEATURE(16, 7),	/* SHSTK: CR4 */
	CPUID_FEATURE(18, 20),	/* IBT: CR4 */
	CPUID_FEATURE(16, 16),	/* LA57 */
	CPUID_FEATURE(12, 17),	/* FRED */
	CPUID_FEATURE(12, 18),	/* LKGS */
	CPUID_FEATURE(4, 26),	/* XSAVE */
	CPUID_FEATURE(10, 3),	/* XSAVES */
	CPUID_FEATURE(10, 1),	/* XSAVEC */
	CPUID_FEATURE(10, 0),	/* XSAVEOPT */
	CPUID_FEATURE(10, 2),	/* XGETBV with ECX = 1 */
	CPUID_FEATURE(4, 28),	/* AVX: more state in XCR0 */
	CPUID_FEATURE(9, 16),	/* AVX512F: the same */
	CPUID_FEATURE(4, 13),	/* CMPXCHG16B in the slab allocator */
	CPUID_FEATURE(4, 23),	/* POPCNT */
	CPUID_FEATURE(4, 30),	/* RDRAND */
	CPUID_FEATURE(9, 18),	/* RDSEED */
	CPUID_FEATURE(1, 27),	/* RDTSCP */
	CPUID_FEATURE(16, 22),	/* RDPID */
	CPUID_FEATURE(1, 26),	/* 1 GiB pages in the direct map */
	CPUID_FEATURE(4, 3),	/* MWAIT */
	CPUID_FEATURE(18, 4),	/* FSRM: copies as REP MOVSB, byte by byte when emulated */
	CPUID_FEATURE(9, 9),	/* ERMS: the same */
	CPUID_FEATURE(9, 1),	/* TSC_ADJUST */
	CPUID_FEATURE(18, 26),	/* SPEC_CTRL and the other speculation MSRs */
	CPUID_FEATURE(18, 27), CPUID_FEATURE(18, 31), CPUID_FEATURE(13, 12),
	CPUID_FEATURE(13, 14), CPUID_FEATURE(13, 15), CPUID_FEATURE(13, 24),
	CPUID_FEATURE(18, 28),	/* FLUSH_L1D */
	CPUID_FEATURE(7, 28),	/* APERF/MPERF MSRs */
	CPUID_FEATURE(0, 28),	/* HT: topology leaves */
	CPUID_FEATURE(9, 23), CPUID_FEATURE(9, 24),	/* CLFLUSHOPT, CLWB */
	CPUID_FEATURE(9, 8),	/* BMI2: BPF JIT */
	CPUID_FEATURE(9, 5),	/* AVX2, and what crypto, CRC and RAID code picks */
	CPUID_FEATURE(4, 1), CPUID_FEATURE(4, 25), CPUID_FEATURE(4, 9), CPUID_FEATURE(4, 20),
	CPUID_FEATURE(4, 19), CPUID_FEATURE(9, 29), CPUID_FEATURE(16, 9), CPUID_FEATURE(16, 10),
	CPUID_FEATURE(9, 3), CPUID_FEATURE(9, 19), CPUID_FEATURE(4, 22),
	CPUID_FEATURE(9, 30), CPUID_FEATURE(9, 31),
};

/*
 * Emulated CPL 0. CMPXCHG16B is called supported but not emulated. XSAVE stays:
 * user code runs natively with the host's XCR0 and uses AVX, and AVX-512 where
 * there is any, so the kernel has to save that state at context switches; the
 * monitor finishes XSAVE and XRSTOR in the standard format, and only those, so
 * the compacting and optimizing forms go. AVX512F is what makes Linux turn on
 * the three AVX-512 states.
 */
static const uint16_t emulated_extra[] = {
	CPUID_FEATURE(4, 13),
	CPUID_FEATURE(10, 0), CPUID_FEATURE(10, 1), CPUID_FEATURE(10, 2), CPUID_FEATURE(10, 3),
};
static const uint16_t emulated_keep[] = {
	CPUID_FEATURE(4, 26), CPUID_FEATURE(4, 28), CPUID_FEATURE(9, 16),
};
const struct cpuid_policy cpuid_policy_emulated = {
	.extra = emulated_extra, .nextra = ARRAY_LEN(emulated_extra),
	.keep = emulated_keep, .nkeep = ARRAY_LEN(emulated_keep),
};

static void add_leaf(struct cpuid_leaf *list, unsigned max, unsigned *n, uint32_t leaf,
		     uint32_t sub)
{
	for (unsigned i = 0; i < *n; i++)
		if (list[i].leaf == leaf && list[i].sub == sub)
			return;
	BUG_ON(*n >= max);
	list[(*n)++] = (struct cpuid_leaf){ .leaf = leaf, .sub = sub };
}

unsigned cpuid_mask_leaves(struct cpuid_leaf *list, unsigned max)
{
	unsigned n = 0;

	add_leaf(list, max, &n, 0, 0);
	add_leaf(list, max, &n, 0x80000000, 0);
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		add_leaf(list, max, &n, words[i].leaf, words[i].sub);
	for (size_t i = 0; i < ARRAY_LEN(scattered); i++)
		add_leaf(list, max, &n, scattered[i].leaf, scattered[i].sub);
	return n;
}

static const struct cpuid_leaf *find(const struct cpuid_leaf *l, unsigned n, uint32_t leaf,
				     uint32_t sub)
{
	for (unsigned i = 0; i < n; i++)
		if (l[i].leaf == leaf && l[i].sub == sub)
			return &l[i];
	return NULL;
}

/*
 * One register as Linux takes it: nothing from above the highest leaf, where
 * Intel's CPUID repeats another leaf, and of leaf 7 no subleaf above its own limit.
 */
static uint32_t reg_of(const struct cpuid_leaf *l, unsigned n, uint32_t leaf, uint32_t sub,
		       enum reg reg)
{
	const struct cpuid_leaf *top = find(l, n, leaf & 0x80000000, 0), *x = find(l, n, leaf, sub);
	const struct cpuid_leaf *seven = leaf == 7 && sub ? find(l, n, 7, 0) : NULL;

	if (!x || !top || leaf > top->eax || (seven && sub > seven->eax))
		return 0;
	switch (reg) {
	case EAX: return x->eax;
	case EBX: return x->ebx;
	case ECX: return x->ecx;
	case EDX: return x->edx;
	}
	return 0;
}

struct bits { uint32_t w[NWORDS]; };

static bool has(const struct bits *b, unsigned f)
{
	return b->w[f / 32] >> (f % 32) & 1;
}

static void put_bit(struct bits *b, unsigned f, bool on)
{
	uint32_t bit = 1u << (f % 32);

	BUG_ON(f >= NWORDS * 32);
	b->w[f / 32] = on ? b->w[f / 32] | bit : b->w[f / 32] & ~bit;
}

static void features(struct bits *b, const struct cpuid_leaf *l, unsigned n)
{
	*b = (struct bits){ 0 };
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		b->w[words[i].word] = reg_of(l, n, words[i].leaf, words[i].sub, words[i].reg);
	for (size_t i = 0; i < ARRAY_LEN(scattered); i++)
		if (reg_of(l, n, scattered[i].leaf, scattered[i].sub, scattered[i].reg) >>
		    scattered[i].bit & 1)
			put_bit(b, scattered[i].f, true);
}

/* Append one number if it fits; returns 1 if it did not. */
static unsigned append(struct bits *b, unsigned f, unsigned limit, char *value, unsigned *used)
{
	char num[8];
	int n = snprintf(num, sizeof(num), "%s%u", *used ? "," : "", f);

	put_bit(b, f, false);
	if ((unsigned)n > limit - *used)
		return 1;
	memcpy(value + *used, num, (size_t)n + 1);
	*used += (unsigned)n;
	return 0;
}

unsigned cpuid_mask_build(const struct cpuid_leaf *visible, unsigned nv,
			  const struct cpuid_leaf *supported, unsigned ns,
			  const struct cpuid_policy *policy, unsigned limit, char *buf, size_t len)
{
	static const char option[] = "clearcpuid=";
	struct bits b, ok, all;
	unsigned used = 0, dropped = 0;

	BUG_ON(len < limit + sizeof(option));
	features(&b, visible, nv);
	features(&ok, supported, ns);
	for (unsigned i = 0; i < NWORDS; i++)
		b.w[i] &= ~ok.w[i];
	for (unsigned i = 0; policy && i < policy->nextra; i++)
		put_bit(&b, policy->extra[i], true);
	for (unsigned i = 0; policy && i < policy->nkeep; i++)
		put_bit(&b, policy->keep[i], false);
	for (size_t i = 0; i < ARRAY_LEN(state_bits); i++)
		put_bit(&b, state_bits[i], false);
	all = b;
	for (size_t i = 0; i < ARRAY_LEN(deps); i++)
		if (has(&all, deps[i][1]))
			put_bit(&b, deps[i][0], false);
	memcpy(buf, option, sizeof(option));
	for (size_t i = 0; i < ARRAY_LEN(kernel_acts_on); i++)
		if (has(&b, kernel_acts_on[i]))
			dropped += append(&b, kernel_acts_on[i], limit, buf + sizeof(option) - 1,
					  &used);
	for (unsigned f = 0; f < NWORDS * 32; f++)
		if (has(&b, f))
			dropped += append(&b, f, limit, buf + sizeof(option) - 1, &used);
	if (!used)
		buf[0] = 0;
	return dropped;
}
