/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kvm.h - every KVM ioctl that the monitor makes, wrapped once (Linux,
 * Documentation/virt/kvm/api.rst; the section numbers below are its own).
 *
 * Set-up calls take a struct err and say what failed. Calls on a running vCPU
 * return -errno and belong to that vCPU's thread, unless the vCPU is stopped.
 */
#ifndef VMM_KVM_H
#define VMM_KVM_H
#include <linux/kvm.h>
#include "vmm/base.h"

#define KVM_CPUID_MAX	128
#define KVM_XSAVE_MAX	16384u		/* bytes; AMX needs about 11 KiB */

struct kvm {
	int dev, vm;			/* /dev/kvm and the machine */
	size_t run_len;			/* bytes of struct kvm_run's mapping */
	size_t xsave_len;		/* bytes of KVM_GET_XSAVE2, 4096 or more */
};

/* struct kvm_cpuid2 with room for its entries. */
struct kvm_cpuid_table { uint32_t nent, padding; struct kvm_cpuid_entry2 entry[KVM_CPUID_MAX]; };

#define KVM_MSRS_MAX	512
struct kvm_msr_table { uint32_t nmsrs; uint32_t index[KVM_MSRS_MAX]; };	/* struct kvm_msr_list */

/* Open /dev/kvm and check the version and the capabilities without which nothing works. */
int kvm_open(struct kvm *k, struct err *e) must_check;
void kvm_close(struct kvm *k);

/* KVM_CREATE_VM, local APIC, I/O APIC, PIC and PIT in the kernel. */
int kvm_create(struct kvm *k, struct err *e) must_check;
/* KVM_SET_USER_MEMORY_REGION: [gpa, gpa+len) is backed by @hva. */
int kvm_memory(const struct kvm *k, unsigned slot, uint64_t gpa, uint64_t len, void *hva,
	       struct err *e) must_check;
/* The same slot again, with or without a log of the pages that the guest writes. */
int kvm_memory_log(const struct kvm *k, unsigned slot, uint64_t gpa, uint64_t len, void *hva,
		   bool on) must_check;
/* Take and clear that log (4.8): a bit for each page, in 64-bit words. */
int kvm_dirty_log(const struct kvm *k, unsigned slot, uint64_t *bits) must_check;
/* A write of @value, @len bytes wide, to @at signals @fd instead of leaving the guest. */
int kvm_ioeventfd(const struct kvm *k, uint64_t at, unsigned len, uint64_t value, int fd,
		  struct err *e) must_check;
/* A write to @fd raises @gsi, edge-triggered. */
int kvm_irqfd(const struct kvm *k, unsigned gsi, int fd, struct err *e) must_check;
/* Raise @gsi once, edge-triggered; it is in the interrupt controllers when this returns. */
int kvm_irq_pulse(const struct kvm *k, unsigned gsi, struct err *e) must_check;
int kvm_supported_cpuid(const struct kvm *k, struct kvm_cpuid_table *out, struct err *e) must_check;

/* KVM_GET_MSR_INDEX_LIST: the registers that a saved state needs. */
int kvm_msr_list(const struct kvm *k, struct kvm_msr_table *out, struct err *e) must_check;

/* The machine's own parts; nothing may run meanwhile. */
/* c->chip_id says which. */
int kvm_get_irqchip(const struct kvm *k, struct kvm_irqchip *c) must_check;
int kvm_set_irqchip(const struct kvm *k, const struct kvm_irqchip *c) must_check;
int kvm_get_pit(const struct kvm *k, struct kvm_pit_state2 *p) must_check;
int kvm_set_pit(const struct kvm *k, const struct kvm_pit_state2 *p) must_check;
int kvm_get_clock(const struct kvm *k, struct kvm_clock_data *c) must_check;
int kvm_set_clock(const struct kvm *k, const struct kvm_clock_data *c) must_check;

/* KVM_CREATE_VCPU; *run is mapped and belongs to the caller (kvm_vcpu_close). Returns the fd. */
int kvm_vcpu_open(const struct kvm *k, unsigned id, struct kvm_run **run, struct err *e) must_check;
void kvm_vcpu_close(const struct kvm *k, int fd, struct kvm_run *run);
int kvm_set_cpuid(int vcpu, const struct kvm_cpuid_table *c) must_check;

/* KVM_RUN: 0, -EINTR (signal or immediate_exit), -EAGAIN, or what else went wrong. */
int kvm_run_once(int vcpu) must_check;

int kvm_get_regs(int vcpu, struct kvm_regs *r) must_check;
int kvm_set_regs(int vcpu, const struct kvm_regs *r) must_check;
int kvm_get_sregs(int vcpu, struct kvm_sregs *r) must_check;
int kvm_set_sregs(int vcpu, const struct kvm_sregs *r) must_check;
int kvm_get_events(int vcpu, struct kvm_vcpu_events *ev) must_check;
int kvm_set_events(int vcpu, const struct kvm_vcpu_events *ev) must_check;
int kvm_get_xcrs(int vcpu, struct kvm_xcrs *x) must_check;
int kvm_set_xcrs(int vcpu, const struct kvm_xcrs *x) must_check;
/* @buf has kvm.xsave_len bytes, aligned to 64: the standard, non-compacted format. */
int kvm_get_xsave(int vcpu, void *buf) must_check;
int kvm_set_xsave(int vcpu, const void *buf) must_check;
int kvm_get_mp_state(int vcpu, struct kvm_mp_state *s) must_check;
int kvm_set_mp_state(int vcpu, const struct kvm_mp_state *s) must_check;
int kvm_get_debugregs(int vcpu, struct kvm_debugregs *d) must_check;
int kvm_set_debugregs(int vcpu, const struct kvm_debugregs *d) must_check;
int kvm_get_lapic(int vcpu, struct kvm_lapic_state *l) must_check;
int kvm_set_lapic(int vcpu, const struct kvm_lapic_state *l) must_check;
/* KVM_GET_MSRS, KVM_SET_MSRS: how many of @m's entries went through, from the first; or -errno. */
int kvm_get_msrs(int vcpu, struct kvm_msrs *m) must_check;
int kvm_set_msrs(int vcpu, const struct kvm_msrs *m) must_check;
#endif
