/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vcpu.h - one thread per virtual CPU that runs the guest and hands each exit
 * to the bus; it does nothing else.
 */
#ifndef VMM_VCPU_H
#define VMM_VCPU_H
#include <pthread.h>
#include "vmm/bus.h"
#include "vmm/emul_x86.h"
#include "vmm/kvm.h"
#include "vmm/log.h"
#include "vmm/quota.h"

struct vcpu;

/* What other threads want of a vCPU. */
enum vcpu_want { VCPU_WAIT, VCPU_RUN, VCPU_PAUSE, VCPU_STOP };

enum vcpu_end {
	VCPU_RUNNING,
	VCPU_STOPPED,			/* vcpu_stop() */
	VCPU_SHUTDOWN,			/* triple fault */
	VCPU_ERROR,			/* an exit that nobody can handle: vcpu.why */
};

struct vcpu_env {
	const struct kvm *kvm;
	const struct gmem *mem;
	const struct bus *mmio, *pio;
	struct quota *quota;		/* of all vCPUs of this machine */
	/* vCPU's thread, its first act: 0 or -errno. NULL: nothing to be done. */
	int (*enter)(void);
	/* vCPU's thread: it has left the guest, its registers are final until vcpu_resume(). */
	void (*paused)(struct vcpu *v);
	/* vCPU's thread, once, as its last act: v->end says why. */
	void (*ended)(struct vcpu *v);
	void *owner;
};

struct vcpu {
	const struct vcpu_env *env;
	unsigned id;
	int fd;
	struct kvm_run *run;
	struct emul emul;
	pthread_t thread;
	int pid, tid;			/* of the process; of the thread, once @entered */
	uint32_t entered;		/* atomic, futex: the thread is past env->enter */
	int enter_rc, quota_rc;
	bool started;
	uint32_t want;			/* atomic, futex: enum vcpu_want, number of the pause */
	enum vcpu_end end;
	char why[200];
	uint32_t used;			/* atomic: slices of CPU time since quota_take() */
	clockid_t starter;		/* CPU time of the thread that called vcpu_start() */
	struct log_limit limit;
	struct { uint64_t exits, mmio, pio, unclaimed; } stat;	/* exits: atomic */
};

/* @env must outlive the vCPU. */
int vcpu_open(struct vcpu *v, const struct vcpu_env *env, unsigned id,
	      struct kvm_cpuid_table *cpuid, struct err *e) must_check;
void vcpu_close(struct vcpu *v);	/* not running */
/* Run on the calling thread until the guest writes to @port; for firmware programs. */
int vcpu_run_until(struct vcpu *v, unsigned port, struct err *e) must_check;
/* Start the thread, and wait until it is past env->enter. The guest stands until vcpu_resume(). */
int vcpu_start(struct vcpu *v, struct err *e) must_check;
/* Ask it to leave the guest and wait; env->paused follows. Any other thread. */
void vcpu_pause(struct vcpu *v);
/* Let one that was started, or has paused (env->paused was called for it), go on. */
void vcpu_resume(struct vcpu *v);
/*
 * Ask it to leave the guest for good; env->ended follows. Any other thread; nothing
 * happens if it was not started.
 */
void vcpu_stop(struct vcpu *v);
/*
 * Wait for the thread's end, after env->ended was called for it. Apart from
 * vcpu_stop() because a vCPU may be waiting for the loop, which has to run on.
 */
void vcpu_join(struct vcpu *v);

/* Registers of the boot CPU at the kernel's entry: long mode, paging on, interrupts off. */
struct vcpu_entry {
	uint64_t rip, rsi, rsp, cr3, gdt_base;
	uint16_t gdt_limit, cs, ds;
};
/* The vCPU must not run. For CPU 0; the others wait for its INIT and SIPI. */
int vcpu_set_entry(struct vcpu *v, const struct vcpu_entry *entry, struct err *e) must_check;
#endif
