/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state_x86.h - what KVM holds of a machine, to and from a saved state.
 *
 * Everything is called while no vCPU runs. A vCPU that left the guest for an
 * exit must have re-entered KVM_RUN with immediate_exit set, so that the exit is
 * complete and the registers are final (api.rst, 5, "KVM_EXIT_IO and friends").
 */
#ifndef VMM_STATE_X86_H
#define VMM_STATE_X86_H
#include "vmm/blob.h"
#include "vmm/vcpu.h"

/* Registers, FPU, local APIC, MSRs, pending events. 0 or -errno with a sentence. */
int state_save_vcpu(struct vcpu *v, struct blob *b, struct err *e) must_check;
/*
 * Into a fresh vCPU of the same id. The sections' sizes are checked, their content
 * is KVM's to check.
 */
int state_load_vcpu(struct vcpu *v, const struct blob *b, struct err *e) must_check;
/* Interrupt controllers, timer and clock. Load it before the vCPUs. */
int state_save_board(const struct kvm *k, struct blob *b, struct err *e) must_check;
int state_load_board(const struct kvm *k, const struct blob *b, struct err *e) must_check;
/*
 * What has to be the same where a state is loaded: processor, XSAVE layout, and
 * the features that this KVM supports; and, where KVM does not virtualize the
 * TSC, the host's boot, because the guest's clock runs on the host's counter
 * there. @v: any vCPU. state_check_host() names what differs, -EXDEV.
 */
int state_save_host(const struct vcpu *v, const struct kvm_cpuid_table *c, struct blob *b,
		    struct err *e) must_check;
int state_check_host(const struct vcpu *v, const struct kvm_cpuid_table *c, const struct blob *b,
		     struct err *e) must_check;
/* What has to be read from files, before files are out of reach. */
int state_host_init(struct err *e) must_check;
#endif
