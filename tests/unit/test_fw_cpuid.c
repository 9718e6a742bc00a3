/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_fw_cpuid.c - the CPUID probe run for real (it works at CPL 3 too, once
 * its last instruction is a RET), and the option made of what it saw.
 */
#include <cpuid.h>
#include <criterion/criterion.h>
#include <sys/mman.h>

#include "firmware/cpuid.h"
#include "firmware/layout_x86.h"

#define RAM_LEN 0x200000u

static struct gmem mem;

static void setup(void)
{
	void *p = mmap(NULL, RAM_LEN, PROT_READ | PROT_WRITE | PROT_EXEC,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	cr_assert(p != MAP_FAILED);
	mem = (struct gmem){ .n = 1, .r = { { .base = 0, .len = RAM_LEN, .hva = p } } };
}

TestSuite(fw_cpuid, .init = setup);

#ifdef __x86_64__
/* The table holds no addresses, so the code can run where the host sees it. */
static void run_probe(const struct fw_entry_x86 *at)
{
	uint8_t *code = gmem_ptr(&mem, GPA(at->rip), cpuid_probe_len);
	const void *table = gmem_ptr(&mem, GPA(at->rsi), 8);

	cr_assert_eq(code[cpuid_probe_end], 0xe6, "OUT imm8");
	cr_assert_eq(code[cpuid_probe_end + 1], CPUID_PROBE_PORT);
	code[cpuid_probe_end] = 0xc3;
	__asm__ volatile("sub $128, %%rsp; call *%1; add $128, %%rsp"
			 : "+S"(table) : "r"(code)
			 : "rax", "rbx", "rcx", "rdx", "rdi", "r8", "memory", "cc");
}

Test(fw_cpuid, probe_answers_what_cpuid_says)
{
	struct cpuid_leaf list[CPUID_MAX];
	unsigned n = cpuid_mask_leaves(list, CPUID_MAX);
	struct fw_entry_x86 at;
	struct err e;

	cr_assert_eq(cpuid_probe_load(&mem, list, n, &at, &e), 0);
	cr_assert_eq(at.cs, FW_X86_CS);
	cr_assert_neq(at.cr3, 0);
	run_probe(&at);
	cr_assert_eq(cpuid_probe_read(&mem, list, n, &e), 0, "%s", e.msg);
	for (unsigned i = 0; i < n; i++) {
		uint32_t a, b, c, d;

		__cpuid_count(list[i].leaf, list[i].sub, a, b, c, d);
		/* leaf 1 EBX and 0x8000001e hold the id of the CPU that happens to run this */
		cr_expect_eq(list[i].eax, a, "leaf %x", list[i].leaf);
		cr_expect_eq(list[i].ecx, c, "leaf %x", list[i].leaf);
		cr_expect_eq(list[i].edx, d, "leaf %x", list[i].leaf);
		if (list[i].leaf != 1)
			cr_expect_eq(list[i].ebx, b, "leaf %x", list[i].leaf);
	}
}

Test(fw_cpuid, probe_leaves_fresh_memory)
{
	struct cpuid_leaf list[] = { { .leaf = 0 } };
	struct fw_entry_x86 at;
	const uint8_t *area;
	struct err e;

	cr_assert_eq(cpuid_probe_load(&mem, list, 1, &at, &e), 0);
	run_probe(&at);
	cr_assert_eq(cpuid_probe_read(&mem, list, 1, &e), 0);
	area = gmem_ptr(&mem, GPA(FW_X86_PROBE), FW_X86_PROBE_LEN);
	for (size_t i = 0; i < FW_X86_PROBE_LEN; i++)
		cr_assert_eq(area[i], 0);
}
#endif

Test(fw_cpuid, probe_that_did_not_run_is_an_error)
{
	struct cpuid_leaf list[] = { { .leaf = 0 } };
	struct fw_entry_x86 at;
	struct err e;

	cr_assert_eq(cpuid_probe_load(&mem, list, 1, &at, &e), 0);
	cr_assert_eq(cpuid_probe_read(&mem, list, 1, &e), -EINVAL);
	cr_assert(strstr(e.msg, "did not finish"), "%s", e.msg);
}

Test(fw_cpuid, probe_of_another_list_is_an_error)
{
	struct cpuid_leaf list[] = { { .leaf = 0 }, { .leaf = 1 } };
	const uint32_t done = 0;
	struct fw_entry_x86 at;
	struct err e;

	cr_assert_eq(cpuid_probe_load(&mem, list, 1, &at, &e), 0);
	cr_assert_eq(gmem_write(&mem, GPA(at.rsi + 4), &done, sizeof(done)), 0);
	cr_assert_eq(cpuid_probe_read(&mem, list, 2, &e), -EINVAL);
	cr_assert(strstr(e.msg, "did not finish"), "%s", e.msg);
}

Test(fw_cpuid, probe_needs_low_memory)
{
	struct cpuid_leaf list[] = { { .leaf = 0 } };
	struct fw_entry_x86 at;
	struct err e;

	/* room for GDT and page tables, none for the probe; then none at all */
	mem.r[0].len = FW_X86_PROBE;
	cr_assert_eq(cpuid_probe_load(&mem, list, 1, &at, &e), -EFAULT);
	cr_assert(strstr(e.msg, "no guest memory for the CPUID probe"), "%s", e.msg);
	cr_assert_eq(cpuid_probe_read(&mem, list, 1, &e), -EFAULT);
	cr_assert(strstr(e.msg, "no guest memory for the CPUID probe"), "%s", e.msg);
	mem.n = 0;
	cr_assert_eq(cpuid_probe_load(&mem, list, 1, &at, &e), -EFAULT);
	cr_assert(strstr(e.msg, "guest memory at 0x1000"), "%s", e.msg);
}

/* ---- the option ---- */
#define MAXIMA { .leaf = 0, .eax = 0x1c }, { .leaf = 0x80000000, .eax = 0x80000022 }

static unsigned build(const struct cpuid_leaf *v, unsigned nv, const struct cpuid_leaf *s,
		      unsigned ns, const struct cpuid_policy *p, unsigned limit, char *buf)
{
	return cpuid_mask_build(v, nv, s, ns, p, limit, buf, 1024);
}

/* Is feature @f in the list? By whole numbers. */
static bool lists(const char *buf, unsigned f)
{
	const char *p = strchr(buf, '=');
	char *end;

	while (p) {
		if (strtoul(p + 1, &end, 10) == f)
			return true;
		p = strchr(end, ',');
	}
	return false;
}

static unsigned count(const char *buf)
{
	unsigned n = *buf != 0;

	while (*buf)
		n += *buf++ == ',';
	return n;
}

/* The registers and the list that the notes on a first emulated host give. */
Test(fw_cpuid, the_measured_host)
{
	static const struct cpuid_leaf v[] = { MAXIMA,
		{ .leaf = 1, .ecx = 0xf7f83203, .edx = 0x178bfbff },
		{ .leaf = 7, .eax = 0, .ebx = 0x219c01ab, .ecx = 0x604 },
	};
	static const struct cpuid_leaf s[] = { MAXIMA,
		{ .leaf = 1, .ecx = 0x81202000, .edx = 0x078bfbff },
		{ .leaf = 7, .eax = 0, .ebx = 0x01800002, .ecx = 0x4 },
	};
	static const unsigned want[] = { 128, 129, 137, 140, 147, 148, 150, 151, 153, 154, 156, 157,
		158, 288, 291, 293, 295, 296, 306, 307, 308, 317, 521, 522, 28, 141 };
	/* AVX and its family go with XSAVE; SSE4A and the like were not recorded. */
	static const unsigned implied[] = { 140, 156, 293, 521, 522 };
	static const uint16_t cx16[] = { 141 };
	const struct cpuid_policy p = { .extra = cx16, .nextra = 1 };
	unsigned n = ARRAY_LEN(want);
	char buf[1024];

	cr_assert_eq(build(v, ARRAY_LEN(v), s, ARRAY_LEN(s), &p, CPUID_MASK_STOCK, buf), 0);
	cr_assert_eq(strncmp(buf, "clearcpuid=", 11), 0);
	for (size_t i = 0; i < ARRAY_LEN(want); i++) {
		bool skip = false;

		for (size_t k = 0; k < ARRAY_LEN(implied); k++)
			skip |= implied[k] == want[i];
		n -= skip;
		cr_expect_eq(lists(buf, want[i]), !skip, "%u in %s", want[i], buf);
	}
	cr_assert_eq(count(buf), n, "%s", buf);
}

Test(fw_cpuid, nothing_to_hide_is_no_option)
{
	static const struct cpuid_leaf v[] = { MAXIMA, { .leaf = 1, .ecx = 5, .edx = 7 } };
	char buf[1024] = "x";

	cr_assert_eq(build(v, ARRAY_LEN(v), v, ARRAY_LEN(v), NULL, CPUID_MASK_STOCK, buf), 0);
	cr_assert_str_eq(buf, "");
}

Test(fw_cpuid, each_word_has_its_register)
{
	static const struct { struct cpuid_leaf l; unsigned f; } one[] = {
		{ { .leaf = 1, .edx = 1u << 28 }, 28 },
		{ { .leaf = 0x80000001, .edx = 1u << 27 }, 59 },
		{ { .leaf = 1, .ecx = 1 }, 128 },
		{ { .leaf = 0x80000001, .ecx = 1u << 5 }, 197 },
		{ { .leaf = 7, .ebx = 1u << 20 }, 308 },
		{ { .leaf = 0xd, .sub = 1, .eax = 8 }, 323 },
		{ { .leaf = 7, .sub = 1, .eax = 1u << 5 }, 389 },
		{ { .leaf = 0x80000008, .ebx = 1 }, 416 },
		{ { .leaf = 6, .eax = 4 }, 450 },
		{ { .leaf = 0x8000000a, .edx = 1 }, 480 },
		{ { .leaf = 7, .ecx = 1u << 22 }, 534 },
		{ { .leaf = 0x80000007, .ebx = 1 }, 544 },
		{ { .leaf = 7, .edx = 1u << 4 }, 580 },
		{ { .leaf = 0x8000001f, .eax = 1 }, 608 },
		{ { .leaf = 0x80000021, .eax = 4 }, 642 },
		{ { .leaf = 6, .ecx = 1 }, 252 },
		{ { .leaf = 0x80000022, .eax = 1 }, 244 },
		{ { .leaf = 7, .sub = 2, .edx = 1u << 4 }, 674 },
	};

	for (size_t i = 0; i < ARRAY_LEN(one); i++) {
		struct cpuid_leaf v[] = { MAXIMA, one[i].l, { .leaf = 7, .eax = 2 } };
		unsigned n = one[i].l.leaf == 7 && !one[i].l.sub ? 3 : 4;
		char buf[1024], want[32];

		cr_assert_eq(build(v, n, v, 2, NULL, CPUID_MASK_STOCK, buf), 0);
		snprintf(want, sizeof(want), "clearcpuid=%u", one[i].f);
		cr_expect_str_eq(buf, want);
	}
}

Test(fw_cpuid, leaves_above_the_highest_do_not_count)
{
	/* Intel answers leaves beyond the last with the last one's registers. */
	static const struct cpuid_leaf v[] = {
		{ .leaf = 0, .eax = 6 }, { .leaf = 0x80000000, .eax = 0x80000007 },
		{ .leaf = 7, .eax = 1, .ebx = ~0u }, { .leaf = 7, .sub = 1, .eax = ~0u },
		{ .leaf = 0x80000008, .ebx = ~0u },
	};
	struct cpuid_leaf sub[] = { MAXIMA, { .leaf = 7, .eax = 0 },
				    { .leaf = 7, .sub = 1, .eax = ~0u } };
	char buf[1024];

	cr_assert_eq(build(v, ARRAY_LEN(v), v, 0, NULL, 1000, buf), 0);
	cr_assert_str_eq(buf, "");
	cr_assert_eq(build(sub, ARRAY_LEN(sub), sub, 0, NULL, 1000, buf), 0);
	cr_assert_eq(build(v + 2, 1, v, 0, NULL, 1000, buf), 0);
	cr_assert_str_eq(buf, "", "leaf 7 without a word on the highest leaf: %s", buf);
	cr_assert_eq(build(sub, ARRAY_LEN(sub), sub, 0, NULL, 1000, buf), 0);
	cr_assert_str_eq(buf, "", "subleaf above its limit: %s", buf);
}

/* A Zen 5 with AVX-512 under a PVM module: more bits than the stock buffer takes. */
static const struct cpuid_leaf zen5_v[] = { MAXIMA,
	{ .leaf = 1, .ecx = 0xfffa3203, .edx = 0x178bfbff },
	{ .leaf = 0x80000001, .ecx = 0x004003f3, .edx = 0x2fd3fbff },
	{ .leaf = 7, .eax = 1, .ebx = 0xf1bf07ab, .ecx = 0x00405fc6, .edx = 0x110 },
	{ .leaf = 7, .sub = 1, .eax = 0x30 }, { .leaf = 0xd, .sub = 1, .eax = 0xf },
};
static const struct cpuid_leaf zen5_s[] = { MAXIMA,
	{ .leaf = 1, .ecx = 0x81202000, .edx = 0x078bfbff },
	{ .leaf = 0x80000001, .ecx = 0x00400393, .edx = 0x23d3fbff },
	{ .leaf = 7, .eax = 1, .ebx = 0x01800002, .ecx = 0x104, .edx = 0x20000000 },
};

Test(fw_cpuid, emulated_hosts_keep_the_state_that_user_code_uses)
{
	static const unsigned must[] = { 141, 320, 321, 322, 323, 295, 308, 288, 145, 298, 151, 158,
		306, 59, 534, 58, 580, 297, 28 };
	static const unsigned never[] = { 154, 155, 156, 304 };
	char stock[1024], wide[1024];
	unsigned left = build(zen5_v, ARRAY_LEN(zen5_v), zen5_s, ARRAY_LEN(zen5_s),
			      &cpuid_policy_emulated, CPUID_MASK_STOCK, stock);

	cr_assert_gt(left, 0);
	cr_assert_leq(strlen(stock), 11 + CPUID_MASK_STOCK);
	cr_assert_gt(strlen(stock), 11 + CPUID_MASK_STOCK - 4, "the room is used");
	cr_assert_eq(build(zen5_v, ARRAY_LEN(zen5_v), zen5_s, ARRAY_LEN(zen5_s),
			   &cpuid_policy_emulated, 1000, wide), 0);
	cr_assert_eq(count(wide), count(stock) + left);
	for (size_t i = 0; i < ARRAY_LEN(must); i++) {
		cr_expect(lists(stock, must[i]), "%u in %s", must[i], stock);
		cr_expect(lists(wide, must[i]), "%u in %s", must[i], wide);
	}
	for (size_t i = 0; i < ARRAY_LEN(never); i++)
		cr_expect_not(lists(wide, never[i]), "%u in %s", never[i], wide);
	cr_expect(lists(wide, 318), "AVX512BW is not implied when AVX512F stays");
}

Test(fw_cpuid, what_goes_along_is_not_listed)
{
	char buf[1024];

	cr_assert_eq(build(zen5_v, ARRAY_LEN(zen5_v), zen5_s, ARRAY_LEN(zen5_s), NULL, 1000,
			   buf), 0);
	cr_expect(lists(buf, 154));
	for (unsigned f = 320; f < 324; f++)
		cr_expect_not(lists(buf, f), "%u goes with XSAVE", f);
	cr_expect_not(lists(buf, 304), "AVX512F goes with AVX goes with XSAVE");
	cr_expect_not(lists(buf, 584), "VP2INTERSECT goes with AVX512VL");
	cr_expect(lists(buf, 147), "SSE4.1 goes with nothing that is listed");
}
