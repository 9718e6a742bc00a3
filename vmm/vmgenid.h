/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmgenid.h - the virtual machine generation id: 16 bytes in guest memory that
 * differ in any two lives of a machine, and an interrupt when they have changed
 * ("Virtual Machine Generation ID", Microsoft, 2012; found by the device tree).
 *
 * A kernel that knows it reseeds its random numbers at that interrupt, so clones
 * of one snapshot part before the agent says a word to them.
 */
#ifndef VMM_VMGENID_H
#define VMM_VMGENID_H
#include "vmm/blob.h"
#include "vmm/gmem.h"
#include "vmm/kvm.h"

#define VMGENID_LEN 16u

/* Where it is: given by the firmware at a boot, by the state after a restore; 0: there is none. */
struct vmgenid { gpa_t at; };

/* A fresh id, for the firmware. -EIO. */
int vmgenid_draw(uint8_t id[VMGENID_LEN], struct err *e) must_check;
void vmgenid_save(const struct vmgenid *g, struct blob *b);
/* Take the address from a state; -EBADMSG if it is not in @m. */
int vmgenid_load(struct vmgenid *g, const struct gmem *m, const struct blob *b,
		 struct err *e) must_check;
/*
 * Put a fresh id into memory and raise the interrupt. Before the vCPUs start, with
 * the interrupt controllers loaded: the guest finds both at its first instruction.
 */
int vmgenid_renew(const struct vmgenid *g, const struct gmem *m, const struct kvm *k,
		  struct err *e) must_check;
#endif
