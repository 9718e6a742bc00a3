/* SPDX-License-Identifier: Apache-2.0 */
/*
 * emul_x86.h - finish an instruction that KVM's own emulator gave up on.
 *
 * Only hosts whose KVM emulates the guest's kernel come here (software
 * virtualization without VT-x or SVM); elsewhere guest code runs natively and
 * this is never called. Everything here is emulated as the processor manuals
 * describe (AMD64 Architecture Programmer's Manual, volumes 3 and 4).
 */
#ifndef VMM_EMUL_X86_H
#define VMM_EMUL_X86_H
#include "vmm/gmem.h"
#include "vmm/kvm.h"

struct emul {
	const struct gmem *mem;
	const struct kvm *kvm;
	int vcpu;
	void *xsave;		/* kvm->xsave_len bytes, aligned to 64, private to the vCPU */
	uint64_t finished;	/* instructions finished so far */
};

/*
 * vCPU's thread, after KVM_EXIT_INTERNAL_ERROR / KVM_INTERNAL_ERROR_EMULATION.
 * @insn: the @len bytes that KVM reported. 0: finished (or the guest has been
 * given the exception that it is due), run on. -ENOTSUP: not one of ours.
 * Another -errno: a KVM call failed.
 */
int emul_finish(struct emul *m, const uint8_t *insn, unsigned len) must_check;

/* A decoded instruction; for the unit tests of the decoder. */
struct emul_insn {
	uint8_t len;			/* bytes, 1 to 15 */
	uint8_t rex, modrm, sib;
	uint8_t seg;			/* 0, or the override prefix 0x64 or 0x65 */
	bool opsize, rep, repne, has_modrm, addr32;
	uint32_t opcode;		/* 0xNN, 0x0fNN */
	int32_t disp;
};
/* 0 or -ENOTSUP: too short, or an encoding that none of the table's entries has. */
int emul_decode(struct emul_insn *i, const uint8_t *insn, unsigned len) must_check;
#endif
