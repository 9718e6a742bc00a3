/* SPDX-License-Identifier: Apache-2.0 */
/*
 * entry_x86.c - the state that the 64-bit boot protocol asks for (Linux,
 * Documentation/arch/x86/boot.rst, "64-bit boot protocol").
 */
#include "vmm/vcpu.h"

#define CR0_PE		0x1ull
#define CR0_MP		0x2ull
#define CR0_ET		0x10ull
#define CR0_NE		0x20ull
#define CR0_WP		0x10000ull
#define CR0_PG		0x80000000ull
#define CR4_PAE		0x20ull
#define EFER_LME	0x100ull
#define EFER_LMA	0x400ull

#define APIC_LVT_LINT0	0x350
#define APIC_LVT_LINT1	0x360
#define APIC_MODE_NMI	0x400u
#define APIC_MODE_EXTINT 0x700u

static struct kvm_segment segment(uint16_t selector, bool code)
{
	return (struct kvm_segment){
		.selector = selector, .limit = 0xffffffff, .type = code ? 0xb : 0x3,
		.present = 1, .s = 1, .g = 1, .l = code, .db = !code,
	};
}

/* The PIC's interrupts and NMI arrive at the boot CPU, as a BIOS leaves it. */
static int wire_lapic(int fd)
{
	static const struct { unsigned reg; uint32_t mode; } lvt[] = {
		{ APIC_LVT_LINT0, APIC_MODE_EXTINT }, { APIC_LVT_LINT1, APIC_MODE_NMI },
	};
	struct kvm_lapic_state l;
	int rc = kvm_get_lapic(fd, &l);

	for (size_t i = 0; !rc && i < ARRAY_LEN(lvt); i++)
		memcpy(l.regs + lvt[i].reg, &lvt[i].mode, sizeof(lvt[i].mode));
	return rc ? rc : kvm_set_lapic(fd, &l);
}

int vcpu_set_entry(struct vcpu *v, const struct vcpu_entry *entry, struct err *e)
{
	struct kvm_regs r = {
		.rip = entry->rip, .rsi = entry->rsi, .rsp = entry->rsp, .rflags = 2,
	};
	struct kvm_sregs s;
	int rc = kvm_get_sregs(v->fd, &s);

	if (rc)
		return err_set(e, rc, "KVM_GET_SREGS");
	s.cs = segment(entry->cs, true);
	s.ds = s.es = s.fs = s.gs = s.ss = segment(entry->ds, false);
	s.gdt = (struct kvm_dtable){ .base = entry->gdt_base, .limit = entry->gdt_limit };
	s.idt = (struct kvm_dtable){ 0 };
	s.cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG;
	s.cr3 = entry->cr3;
	s.cr4 = CR4_PAE;
	s.efer = EFER_LME | EFER_LMA;
	rc = kvm_set_sregs(v->fd, &s);
	if (!rc)
		rc = kvm_set_regs(v->fd, &r);
	if (!rc)
		rc = wire_lapic(v->fd);
	return rc ? err_set(e, rc, "set the registers of vCPU %u", v->id) : 0;
}
