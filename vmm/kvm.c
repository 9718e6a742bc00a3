/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Those of a running machine are marked where they are asked for: vcpu.c, emul_x86.c, state_x86.c.
 */
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include "vmm/kvm.h"

/* Without these the monitor cannot work at all; what is merely better is asked for where used. */
static const struct { unsigned cap; const char *name; } needed[] = {
	{ KVM_CAP_IRQCHIP, "an interrupt controller in the kernel" },
	{ KVM_CAP_PIT2, "a timer in the kernel" },
	{ KVM_CAP_USER_MEMORY, "user memory" },
	{ KVM_CAP_IOEVENTFD, "ioeventfd" },
	{ KVM_CAP_IRQFD, "irqfd" },
	{ KVM_CAP_IMMEDIATE_EXIT, "immediate_exit" },
	{ KVM_CAP_XSAVE, "XSAVE" },
	{ KVM_CAP_XCRS, "XCRS" },
};

static int kvm_cap(const struct kvm *k, unsigned cap)
{
	return ioctl(k->vm >= 0 ? k->vm : k->dev, KVM_CHECK_EXTENSION, (unsigned long)cap);
}

static const char *open_hint(int error)
{
	switch (error) {
	case ENOENT:
		return " (is the kvm module loaded, and virtualization on in the firmware?)";
	case EACCES:
	case EPERM:
		return " (add yourself to its group: usermod -aG kvm USER)";
	default:
		return "";
	}
}

int kvm_open(struct kvm *k, struct err *e)
{
	auto_fd dev = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int n;

	*k = (struct kvm){ .dev = -1, .vm = -1 };
	if (dev < 0)
		return err_set(e, -errno, "open /dev/kvm%s", open_hint(errno));
	n = ioctl(dev, KVM_GET_API_VERSION, 0);
	if (n != KVM_API_VERSION)
		return err_say(e, -ENOTSUP, "/dev/kvm speaks API version %d, not %d", n,
			       KVM_API_VERSION);
	for (size_t i = 0; i < ARRAY_LEN(needed); i++)
		if (ioctl(dev, KVM_CHECK_EXTENSION, needed[i].cap) <= 0)
			return err_say(e, -ENOTSUP, "this KVM has no support for %s",
				       needed[i].name);
	n = ioctl(dev, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (n < (int)sizeof(struct kvm_run))
		return err_say(e, -ENOTSUP, "KVM_GET_VCPU_MMAP_SIZE gave %d", n);
	k->run_len = (size_t)n;
	k->dev = take_fd(&dev);
	return 0;
}

void kvm_close(struct kvm *k)
{
	if (k->vm >= 0)
		close(k->vm);
	if (k->dev >= 0)
		close(k->dev);
	k->vm = k->dev = -1;
}

int kvm_create(struct kvm *k, struct err *e)
{
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };
	uint64_t identity = 0xfffbc000;	/* three pages above the I/O APIC that Intel's VMX needs */
	int n;

	do
		k->vm = ioctl(k->dev, KVM_CREATE_VM, 0);
	while (k->vm < 0 && errno == EINTR);
	if (k->vm < 0)
		return err_set(e, -errno, "KVM_CREATE_VM");
	if (ioctl(k->vm, KVM_SET_IDENTITY_MAP_ADDR, &identity) ||
	    ioctl(k->vm, KVM_SET_TSS_ADDR, identity + 0x1000))
		return err_set(e, -errno, "KVM_SET_TSS_ADDR");
	if (ioctl(k->vm, KVM_CREATE_IRQCHIP, 0))
		return err_set(e, -errno, "KVM_CREATE_IRQCHIP");
	if (ioctl(k->vm, KVM_CREATE_PIT2, &pit))
		return err_set(e, -errno, "KVM_CREATE_PIT2");
	n = kvm_cap(k, KVM_CAP_XSAVE2);
	k->xsave_len = n > (int)sizeof(struct kvm_xsave) ? (size_t)n : sizeof(struct kvm_xsave);
	if (k->xsave_len > KVM_XSAVE_MAX)
		return err_say(e, -ENOTSUP, "KVM wants %zu bytes of XSAVE state; %u is the limit",
			       k->xsave_len, KVM_XSAVE_MAX);
	return 0;
}

int kvm_memory(const struct kvm *k, unsigned slot, uint64_t gpa, uint64_t len, void *hva,
	       struct err *e)
{
	struct kvm_userspace_memory_region r = {
		.slot = slot, .guest_phys_addr = gpa, .memory_size = len,
		.userspace_addr = (uintptr_t)hva,
	};

	if (ioctl(k->vm, KVM_SET_USER_MEMORY_REGION, &r))
		return err_set(e, -errno, "KVM_SET_USER_MEMORY_REGION at %#llx",
			       (unsigned long long)gpa);
	return 0;
}

int kvm_memory_log(const struct kvm *k, unsigned slot, uint64_t gpa, uint64_t len, void *hva,
		   bool on)
{
	struct kvm_userspace_memory_region r = {
		.slot = slot, .guest_phys_addr = gpa, .memory_size = len,
		.userspace_addr = (uintptr_t)hva, .flags = on ? KVM_MEM_LOG_DIRTY_PAGES : 0,
	};

	return ioctl(k->vm, KVM_SET_USER_MEMORY_REGION, &r) ? -errno : 0;
}

int kvm_dirty_log(const struct kvm *k, unsigned slot, uint64_t *bits)
{
	struct kvm_dirty_log log = { .slot = slot, .dirty_bitmap = bits };

	return ioctl(k->vm, KVM_GET_DIRTY_LOG, &log) ? -errno : 0;
}

int kvm_ioeventfd(const struct kvm *k, uint64_t at, unsigned len, uint64_t value, int fd,
		  struct err *e)
{
	struct kvm_ioeventfd io = {
		.addr = at, .len = len, .datamatch = value, .fd = fd,
		.flags = KVM_IOEVENTFD_FLAG_DATAMATCH,
	};

	if (ioctl(k->vm, KVM_IOEVENTFD, &io))
		return err_set(e, -errno, "KVM_IOEVENTFD at %#llx", (unsigned long long)at);
	return 0;
}

int kvm_irqfd(const struct kvm *k, unsigned gsi, int fd, struct err *e)
{
	struct kvm_irqfd irq = { .fd = (uint32_t)fd, .gsi = gsi };

	if (ioctl(k->vm, KVM_IRQFD, &irq))
		return err_set(e, -errno, "KVM_IRQFD for interrupt %u", gsi);
	return 0;
}

int kvm_irq_pulse(const struct kvm *k, unsigned gsi, struct err *e)
{
	for (uint32_t level = 2; level--;) {
		struct kvm_irq_level irq = { .irq = gsi, .level = level };

		if (ioctl(k->vm, KVM_IRQ_LINE, &irq))
			return err_set(e, -errno, "KVM_IRQ_LINE for interrupt %u", gsi);
	}
	return 0;
}

int kvm_supported_cpuid(const struct kvm *k, struct kvm_cpuid_table *out, struct err *e)
{
	*out = (struct kvm_cpuid_table){ .nent = KVM_CPUID_MAX };
	if (ioctl(k->dev, KVM_GET_SUPPORTED_CPUID, out))
		return err_set(e, -errno, "KVM_GET_SUPPORTED_CPUID");
	return 0;
}

int kvm_vcpu_open(const struct kvm *k, unsigned id, struct kvm_run **run, struct err *e)
{
	auto_fd fd = ioctl(k->vm, KVM_CREATE_VCPU, (unsigned long)id);
	void *p;

	if (fd < 0)
		return err_set(e, -errno, "KVM_CREATE_VCPU %u", id);
	p = mmap(NULL, k->run_len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return err_set(e, -errno, "map kvm_run of vCPU %u", id);
	*run = p;
	return take_fd(&fd);
}

void kvm_vcpu_close(const struct kvm *k, int fd, struct kvm_run *run)
{
	munmap(run, k->run_len);
	close(fd);
}

/* The calls on a vCPU differ in nothing but name and type. */
#define VCPU_CALL(name, request, type)				\
	int name(int vcpu, type p)				\
	{							\
		return ioctl(vcpu, request, p) ? -errno : 0;	\
	}

VCPU_CALL(kvm_set_cpuid, KVM_SET_CPUID2, const struct kvm_cpuid_table *)
VCPU_CALL(kvm_get_regs, KVM_GET_REGS, struct kvm_regs *)
VCPU_CALL(kvm_set_regs, KVM_SET_REGS, const struct kvm_regs *)
VCPU_CALL(kvm_get_sregs, KVM_GET_SREGS, struct kvm_sregs *)
VCPU_CALL(kvm_set_sregs, KVM_SET_SREGS, const struct kvm_sregs *)
VCPU_CALL(kvm_get_events, KVM_GET_VCPU_EVENTS, struct kvm_vcpu_events *)
VCPU_CALL(kvm_set_events, KVM_SET_VCPU_EVENTS, const struct kvm_vcpu_events *)
VCPU_CALL(kvm_get_xcrs, KVM_GET_XCRS, struct kvm_xcrs *)
VCPU_CALL(kvm_set_xcrs, KVM_SET_XCRS, const struct kvm_xcrs *)
VCPU_CALL(kvm_set_xsave, KVM_SET_XSAVE, const void *)
VCPU_CALL(kvm_get_mp_state, KVM_GET_MP_STATE, struct kvm_mp_state *)
VCPU_CALL(kvm_set_mp_state, KVM_SET_MP_STATE, const struct kvm_mp_state *)
VCPU_CALL(kvm_get_debugregs, KVM_GET_DEBUGREGS, struct kvm_debugregs *)
VCPU_CALL(kvm_set_debugregs, KVM_SET_DEBUGREGS, const struct kvm_debugregs *)
VCPU_CALL(kvm_get_lapic, KVM_GET_LAPIC, struct kvm_lapic_state *)
VCPU_CALL(kvm_set_lapic, KVM_SET_LAPIC, const struct kvm_lapic_state *)

#ifndef KVM_GET_XSAVE2
#define KVM_GET_XSAVE2 _IOR(KVMIO, 0xcf, struct kvm_xsave)
#endif

/* KVM_GET_XSAVE2 is as old as KVM_CAP_XSAVE2 (5.17); the loop needs a newer kernel than that. */
VCPU_CALL(kvm_get_xsave, KVM_GET_XSAVE2, void *)

/* So do those on the machine. */
#define VM_CALL(name, request, type)				\
	int name(const struct kvm *k, type p)			\
	{							\
		return ioctl(k->vm, request, p) ? -errno : 0;	\
	}

VM_CALL(kvm_get_irqchip, KVM_GET_IRQCHIP, struct kvm_irqchip *)
VM_CALL(kvm_set_irqchip, KVM_SET_IRQCHIP, const struct kvm_irqchip *)
VM_CALL(kvm_get_pit, KVM_GET_PIT2, struct kvm_pit_state2 *)
VM_CALL(kvm_set_pit, KVM_SET_PIT2, const struct kvm_pit_state2 *)
VM_CALL(kvm_get_clock, KVM_GET_CLOCK, struct kvm_clock_data *)
VM_CALL(kvm_set_clock, KVM_SET_CLOCK, const struct kvm_clock_data *)

int kvm_msr_list(const struct kvm *k, struct kvm_msr_table *out, struct err *e)
{
	out->nmsrs = KVM_MSRS_MAX;
	if (ioctl(k->dev, KVM_GET_MSR_INDEX_LIST, out))
		return err_set(e, -errno, "KVM_GET_MSR_INDEX_LIST");
	return 0;
}

int kvm_get_msrs(int vcpu, struct kvm_msrs *m)
{
	int n = ioctl(vcpu, KVM_GET_MSRS, m);

	return n < 0 ? -errno : n;
}

int kvm_set_msrs(int vcpu, const struct kvm_msrs *m)
{
	int n = ioctl(vcpu, KVM_SET_MSRS, m);

	return n < 0 ? -errno : n;
}

int kvm_run_once(int vcpu)
{
	return ioctl(vcpu, KVM_RUN, 0) < 0 ? -errno : 0;
}
