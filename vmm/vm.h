/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vm.h - one virtual machine: owns everything else, in the order in which it is
 * built, and knows the one end that it came to.
 */
#ifndef VMM_VM_H
#define VMM_VM_H
#include "vmm/board.h"
#include "vmm/bus.h"
#include "vmm/conf.h"
#include "vmm/control.h"
#include "vmm/gmem.h"
#include "vmm/kvm.h"
#include "vmm/loop.h"
#include "vmm/save.h"
#include "vmm/snapshot.h"
#include "vmm/vcpu.h"
#include "vmm/virtio_mmio.h"
#include "vmm/vmgenid.h"

enum vm_end {
	VM_RUNNING,
	VM_POWEROFF,			/* the guest switched itself off */
	VM_RESET,			/* the guest asked for a reset, or a triple fault */
	VM_PANIC,			/* the guest kernel panicked */
	VM_HANG,			/* not ready within conf.boot_timeout_ns */
	VM_STOPPED,			/* asked from outside: signal, or the parent is gone */
	VM_ERROR,			/* the host or this KVM cannot go on: vm.why */
};

struct vm {
	const struct conf *conf;
	struct kvm kvm;
	struct gmem mem;
	struct loop loop;
	struct bus mmio, pio;
	struct board board;
	struct vmgenid genid;
	struct virtio_mmio slot[CONF_SLOTS_MAX];
	unsigned nslots;
	struct vcpu_env env;
	struct quota quota;
	struct kvm_cpuid_table cpuid;
	struct vcpu vcpu[CONF_CPUS_MAX];
	unsigned ncpus, live;		/* opened; running or paused */
	enum vm_end end;		/* loop's thread */
	char why[256];
	bool panicked;
	int signalfd;
	struct op boot_timer, panic_timer, parent_poll, signal_poll;
	struct loop_call ended[CONF_CPUS_MAX], paused[CONF_CPUS_MAX], power;
	struct control control;
	struct save save;
	struct snapshot_origin origin;	/* what it was restored from */
	bool pausing;			/* vm_pause() has begun and vm_go_on() not come */
	unsigned npaused;
	uint32_t power_event;		/* atomic: enum board_event that waits for the loop, or 0 */
};

/*
 * Build the machine that @conf describes, up to its first instruction, or, with
 * @from (else NULL), as it was saved; the caller may close @from then. @conf must
 * outlive it. On failure nothing stays held. The calling thread becomes the
 * loop's thread, and it blocks the signals that end the machine.
 */
int vm_open(struct vm *vm, const struct conf *conf, const struct snapshot *from,
	    struct err *e) must_check;
/*
 * Start the vCPUs' threads, which stand still until vm_run(). Each calls @enter
 * (NULL: nothing) first; *rc is the worst of what it returned, 0 or -errno.
 */
int vm_start(struct vm *vm, int (*enter)(void), int *rc, struct err *e) must_check;
/*
 * Run until the machine comes to its end, and stop it: vCPUs joined, devices
 * drained. Returns how it ended; VM_HANG, VM_PANIC and VM_ERROR say more in vm->why.
 */
enum vm_end vm_run(struct vm *vm);
void vm_close(struct vm *vm);
/*
 * Have every vCPU leave the guest; save_paused() follows, at once if the machine has
 * ended. And let them go on; nothing happens if they were not paused. Loop's thread.
 */
void vm_pause(struct vm *vm);
void vm_go_on(struct vm *vm);
/* One word for it, as in the status line. */
const char *vm_end_name(enum vm_end end);
#endif
