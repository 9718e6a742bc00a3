/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The instruction finisher on a real vCPU that never runs: registers and page
 * tables are set up, emul_finish() is called, and what it left behind is
 * compared with what the processor would have done.
 */
#include <criterion/criterion.h>
#include "vmm/vcpu.h"

#define RAM	(2u << 20)
#define CODE	0x8000u
#define AREA	0x10000u	/* XSAVE area, across two pages when it starts late in the first */
#define RDONLY	0x20000u
#define ABSENT	0x30000u
#define XCR0_AVX 7u

static struct kvm kvm;
static struct gmem mem = { .n = 1, .r = { { .base = 0, .len = RAM } } };
static struct bus bus;
static struct vcpu_env env = { .kvm = &kvm, .mem = &mem, .mmio = &bus, .pio = &bus };
static struct kvm_cpuid_table cpuid;
static struct vcpu cpu;
static uint8_t *ram;

static void put64(uint64_t at, uint64_t v)
{
	memcpy(ram + at, &v, sizeof(v));
}

static void machine(void)
{
	struct vcpu_entry entry = { .rip = CODE, .rsp = 0x7000, .cr3 = 0x1000, .cs = 0x10,
				    .ds = 0x18 };
	struct kvm_xcrs x = { .nr_xcrs = 1, .xcrs = { { .value = XCR0_AVX } } };
	struct kvm_sregs s;
	struct err e = { 0 };

	cr_assert_eq(kvm_open(&kvm, &e), 0, "%s", e.msg);
	cr_assert_eq(kvm_create(&kvm, &e), 0, "%s", e.msg);
	cr_assert_eq(gmem_open(&mem, &e), 0, "%s", e.msg);
	ram = mem.r[0].hva;
	cr_assert_eq(kvm_memory(&kvm, 0, 0, RAM, ram, &e), 0, "%s", e.msg);
	cr_assert_eq(kvm_supported_cpuid(&kvm, &cpuid, &e), 0, "%s", e.msg);
	cr_assert_eq(vcpu_open(&cpu, &env, 0, &cpuid, &e), 0, "%s", e.msg);
	cr_assert_eq(vcpu_set_entry(&cpu, &entry, &e), 0, "%s", e.msg);
	put64(0x1000, 0x2003);
	put64(0x2000, 0x3003);
	put64(0x3000, 0x4003);
	for (uint64_t page = 0; page < 512; page++)
		put64(0x4000 + 8 * page, page << 12 | 3);
	put64(0x4000 + 8 * (RDONLY >> 12), RDONLY | 1);
	put64(0x4000 + 8 * (ABSENT >> 12), 0);
	cr_assert_eq(kvm_get_sregs(cpu.fd, &s), 0);
	s.cr4 |= 1u << 18 | 1u << 9;
	cr_assert_eq(kvm_set_sregs(cpu.fd, &s), 0);
	cr_assert_eq(kvm_set_xcrs(cpu.fd, &x), 0);
}

static void finish(const char *insn, unsigned len)
{
	cr_assert_eq(emul_finish(&cpu.emul, (const uint8_t *)insn, len), 0);
}

static struct kvm_regs regs(void)
{
	struct kvm_regs r;

	cr_assert_eq(kvm_get_regs(cpu.fd, &r), 0);
	return r;
}

static void set_operand(uint64_t rax, uint64_t rdx, uint64_t rdi)
{
	struct kvm_regs r = regs();

	r.rax = rax;
	r.rdx = rdx;
	r.rdi = rdi;
	r.rip = CODE;
	cr_assert_eq(kvm_set_regs(cpu.fd, &r), 0);
}

static void expect_exception(uint8_t vector, uint32_t error, uint64_t cr2)
{
	struct kvm_vcpu_events ev;
	struct kvm_sregs s;

	cr_assert_eq(kvm_get_events(cpu.fd, &ev), 0);
	cr_assert_eq(kvm_get_sregs(cpu.fd, &s), 0);
	cr_assert(ev.exception.injected);
	cr_assert_eq(ev.exception.nr, vector);
	cr_assert_eq(ev.exception.error_code, error);
	cr_assert(vector != 14 || s.cr2 == cr2, "cr2 %#llx", (unsigned long long)s.cr2);
	cr_assert_eq(regs().rip, CODE, "a fault must not advance rip");
}

#define XSAVE "\x48\x0f\xae\x27"	/* xsave64 [rdi] */
#define XRSTOR "\x48\x0f\xae\x2f"	/* xrstor64 [rdi] */

TestSuite(emul_kvm, .init = machine);

Test(emul_kvm, fwait_clac_stac_int3_xgetbv)
{
	struct kvm_vcpu_events ev;

	finish("\x9b", 1);
	cr_assert_eq(regs().rip, CODE + 1);
	finish("\x0f\x01\xcb", 3);
	cr_assert(regs().rflags & 1u << 18);
	finish("\x0f\x01\xca", 3);
	cr_assert_not(regs().rflags & 1u << 18);
	set_operand(~0ull, ~0ull, 0);
	finish("\x0f\x01\xd0", 3);
	cr_assert_eq(regs().rax, XCR0_AVX);
	cr_assert_eq(regs().rdx, 0);
	set_operand(0, 0, 0);
	finish("\xcc", 1);
	cr_assert_eq(regs().rip, CODE + 1, "INT3 is a trap");
	cr_assert_eq(kvm_get_events(cpu.fd, &ev), 0);
	cr_assert_eq(ev.exception.nr, 3);
}

Test(emul_kvm, an_unknown_instruction_is_not_touched)
{
	cr_assert_eq(emul_finish(&cpu.emul, (const uint8_t *)"\x0f\x0b\x90", 3), -ENOTSUP);
	cr_assert_eq(emul_finish(&cpu.emul, (const uint8_t *)"\x66\x0f\xae\x27", 4), -ENOTSUP,
		     "66 0F AE /4 is another instruction");
	cr_assert_eq(regs().rip, CODE);
}

Test(emul_kvm, xsave_then_xrstor_keeps_the_state_across_a_page_boundary)
{
	uint64_t at = AREA + 4096 - 576;	/* legacy region before, AVX behind the boundary */
	uint8_t *img = cpu.emul.xsave;
	uint64_t bv;

	cr_assert_eq(kvm_get_xsave(cpu.fd, img), 0);
	for (unsigned i = 0; i < 256; i++)
		img[160 + i] = (uint8_t)(i ^ 0x5a);
	for (unsigned i = 0; i < 256; i++)
		img[576 + i] = (uint8_t)(i ^ 0xa5);
	bv = XCR0_AVX;
	memcpy(img + 512, &bv, 8);
	cr_assert_eq(kvm_set_xsave(cpu.fd, img), 0);

	memset(ram + at, 0xee, 1024);
	memset(ram + at + 512, 0, 64);
	put64(at + 512, 1ull << 60);		/* a bit that is not asked for stays */
	set_operand(6, 0, at);			/* SSE and AVX, not x87 */
	finish(XSAVE, 4);
	cr_assert_eq(regs().rip, CODE + 4);
	for (unsigned i = 0; i < 256; i++) {
		cr_assert_eq(ram[at + 160 + i], (uint8_t)(i ^ 0x5a), "xmm byte %u", i);
		cr_assert_eq(ram[at + 576 + i], (uint8_t)(i ^ 0xa5), "ymm byte %u", i);
	}
	cr_assert_eq(ram[at], 0xee, "x87 was not asked for");
	memcpy(&bv, ram + at + 512, 8);
	cr_assert_eq(bv, 1ull << 60 | 6);
	cr_assert_eq(ram[at + 576 + 256], 0xee, "nothing behind the area is written");

	put64(at + 512, 2);			/* SSE from memory, AVX to its initial state */
	memset(ram + at + 160, 0x77, 256);
	set_operand(6, 0, at);
	finish(XRSTOR, 4);
	cr_assert_eq(kvm_get_xsave(cpu.fd, img), 0);
	cr_assert_eq(img[160], 0x77);
	cr_assert_eq(img[415], 0x77);
	memcpy(&bv, img + 512, 8);
	cr_assert(!(bv & 4) || !img[576], "AVX is in its initial state");
}

Test(emul_kvm, xsave_to_a_read_only_page_faults_as_a_write)
{
	memset(ram + RDONLY, 0xee, 4096);
	set_operand(3, 0, RDONLY);
	finish(XSAVE, 4);
	expect_exception(14, 3, RDONLY);
	cr_assert_eq(ram[RDONLY], 0xee, "and writes nothing");
}

Test(emul_kvm, xsave_that_runs_into_an_absent_page_faults_there)
{
	uint64_t at = ABSENT - 576;

	memset(ram + at, 0xee, 576);
	set_operand(7, 0, at);
	finish(XSAVE, 4);
	expect_exception(14, 2, ABSENT);
	cr_assert_eq(ram[at + 160], 0xee, "nothing is written before the fault");
}

Test(emul_kvm, xrstor_refuses_what_the_processor_refuses)
{
	memset(ram + AREA, 0, 4096);
	set_operand(7, 0, AREA + 8);
	finish(XRSTOR, 4);
	expect_exception(13, 0, 0);		/* not aligned to 64 */
	put64(AREA + 512, 1ull << 40);
	set_operand(7, 0, AREA);
	finish(XRSTOR, 4);
	expect_exception(13, 0, 0);		/* a component that XCR0 does not have */
	put64(AREA + 512, 0);
	put64(AREA + 520, 1ull << 63);
	set_operand(7, 0, AREA);
	finish(XRSTOR, 4);
	expect_exception(13, 0, 0);		/* compacted */
	put64(AREA + 520, 0);
	put64(AREA + 24, 0xffffffffull);
	set_operand(7, 0, AREA);
	finish(XRSTOR, 4);
	expect_exception(13, 0, 0);		/* reserved MXCSR bits */
}

Test(emul_kvm, xrstor_takes_mxcsr_even_when_all_is_initial)
{
	uint8_t *img = cpu.emul.xsave;
	uint32_t mxcsr = 0x1f00;

	memset(ram + AREA, 0, 4096);
	memcpy(ram + AREA + 24, &mxcsr, 4);
	set_operand(7, 0, AREA);
	finish(XRSTOR, 4);
	cr_assert_eq(kvm_get_xsave(cpu.fd, img), 0);
	cr_assert_eq(memcmp(img + 24, &mxcsr, 4), 0);
}
