/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include "vmm/emul_x86.h"

static struct emul_insn decoded(const char *bytes, unsigned len)
{
	struct emul_insn i;

	cr_assert_eq(emul_decode(&i, (const uint8_t *)bytes, len), 0);
	return i;
}

Test(emul_x86, decodes_one_byte_instructions)
{
	cr_assert_eq(decoded("\x9b\x00", 2).len, 1);
	cr_assert_eq(decoded("\xcc", 1).opcode, 0xcc);
}

Test(emul_x86, decodes_prefixes_and_rex)
{
	/* gs: rex.w xsave64 [rax] */
	struct emul_insn i = decoded("\x65\x48\x0f\xae\x20", 5);

	cr_assert_eq(i.seg, 0x65);
	cr_assert_eq(i.rex, 0x48);
	cr_assert_eq(i.opcode, 0x0fae);
	cr_assert_eq(i.modrm >> 3 & 7, 4);
	cr_assert_eq(i.len, 5);
}

Test(emul_x86, decodes_displacements_and_sib)
{
	cr_assert_eq(decoded("\x0f\xae\x67\x80", 4).disp, -128);
	cr_assert_eq(decoded("\x0f\xae\xa7\x40\x01\x00\x80", 7).disp, (int32_t)0x80000140);
	cr_assert_eq(decoded("\x0f\xae\x25\x10\x00\x00\x00", 7).len, 7);	/* rip-relative */
	cr_assert_eq(decoded("\x0f\xae\x24\x25\x10\x00\x00\x00", 8).len, 8);	/* sib, no base */
	cr_assert_eq(decoded("\x0f\xae\x64\xc8\x08", 5).sib, 0xc8);
}

Test(emul_x86, refuses_what_ends_too_early)
{
	static const char full[] = "\x65\x48\x0f\xae\xa4\x25\x10\x00\x00\x00";
	struct emul_insn i;

	for (unsigned n = 0; n < sizeof(full) - 1; n++)
		cr_assert_eq(emul_decode(&i, (const uint8_t *)full, n), -ENOTSUP, "%u bytes", n);
	cr_assert_eq(emul_decode(&i, (const uint8_t *)full, sizeof(full) - 1), 0);
}

Test(emul_x86, prefixes_alone_are_refused)
{
	uint8_t all[15];
	struct emul_insn i;

	memset(all, 0x66, sizeof(all));
	cr_assert_eq(emul_decode(&i, all, sizeof(all)), -ENOTSUP);
}
