/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state_x86.c - the order matters in two places. The local APIC comes before the
 * MSRs, because TSC_DEADLINE arms a timer only in an APIC that is in that mode;
 * and the TSC comes before TSC_DEADLINE, which is compared with it. Everything
 * else is one section per ioctl, in table order.
 *
 * Saving goes on in a jail, where no file can be opened.
 *
 * #syscalls:loop ioctl(KVM_GET_MSR_INDEX_LIST) ioctl(KVM_GET_MSRS) ioctl(KVM_GET_SREGS)
 * #syscalls:loop ioctl(KVM_GET_LAPIC) ioctl(KVM_GET_XCRS) ioctl(KVM_GET_XSAVE2)
 * #syscalls:loop ioctl(KVM_GET_MP_STATE) ioctl(KVM_GET_DEBUGREGS) ioctl(KVM_GET_REGS)
 * #syscalls:loop ioctl(KVM_GET_VCPU_EVENTS) ioctl(KVM_GET_IRQCHIP) ioctl(KVM_GET_PIT2)
 * #syscalls:loop ioctl(KVM_GET_CLOCK)
 */
#include <cpuid.h>
#include <fcntl.h>
#include <x86intrin.h>
#include "vmm/state_x86.h"

#define TAG_HOST	BLOB_TAG('H', 'O', 'S', 'T')
#define TAG_SREGS	BLOB_TAG('S', 'R', 'E', 'G')
#define TAG_LAPIC	BLOB_TAG('L', 'A', 'P', 'C')
#define TAG_XCRS	BLOB_TAG('X', 'C', 'R', 'S')
#define TAG_XSAVE	BLOB_TAG('X', 'S', 'A', 'V')
#define TAG_MSRS	BLOB_TAG('M', 'S', 'R', 'S')
#define TAG_MP		BLOB_TAG('M', 'P', 'S', 'T')
#define TAG_DEBUG	BLOB_TAG('D', 'B', 'G', 'R')
#define TAG_REGS	BLOB_TAG('R', 'E', 'G', 'S')
#define TAG_EVENTS	BLOB_TAG('E', 'V', 'N', 'T')
#define TAG_IRQCHIP	BLOB_TAG('I', 'R', 'Q', 'C')
#define TAG_PIT		BLOB_TAG('P', 'I', 'T', '2')
#define TAG_CLOCK	BLOB_TAG('C', 'L', 'C', 'K')

#define MSR_TSC_DEADLINE 0x6e0u
#define MSR_TSC		0x10u
#define RAW_TSC_SLACK	(1ull << 28)	/* cycles between two readings; a tenth of a second */
#define IRQCHIPS	3u

struct msr_buffer { uint32_t nmsrs, pad; struct kvm_msr_entry entry[KVM_MSRS_MAX]; };

/* ---- MSRs ---- */

/*
 * True if the guest reads the host's own TSC, as it does where guest user code
 * runs without hardware virtualization: writing the MSR would then move only what
 * the emulated kernel sees. A virtual TSC starts at 0 with the machine.
 */
static bool raw_tsc(const struct vcpu *v)
{
	struct { uint32_t nmsrs, pad; struct kvm_msr_entry entry; } one = {
		.nmsrs = 1, .entry = { .index = MSR_TSC } };
	uint64_t host = __rdtsc();

	return kvm_get_msrs(v->fd, (struct kvm_msrs *)&one) == 1 &&
	       one.entry.data - host < RAW_TSC_SLACK;
}

/* Every register of KVM's list that can be read; one that cannot is skipped. */
static int read_msrs(const struct vcpu *v, struct msr_buffer *out, struct err *e)
{
	struct { uint32_t nmsrs, pad; struct kvm_msr_entry entry; } one = { .nmsrs = 1 };
	struct kvm_msr_table list;
	int rc = kvm_msr_list(v->env->kvm, &list, e);

	if (rc)
		return rc;
	out->nmsrs = out->pad = 0;
	for (uint32_t i = 0; i < list.nmsrs; i++) {
		one.entry = (struct kvm_msr_entry){ .index = list.index[i] };
		if (kvm_get_msrs(v->fd, (struct kvm_msrs *)&one) == 1)
			out->entry[out->nmsrs++] = one.entry;
	}
	return 0;
}

/* A register that cannot be set back is an error only if it held something. */
static int write_msrs(const struct vcpu *v, const struct kvm_msr_entry *list, size_t n,
		      bool deadline, struct err *e)
{
	struct { uint32_t nmsrs, pad; struct kvm_msr_entry entry; } one = { .nmsrs = 1 };
	bool raw = raw_tsc(v);

	for (size_t i = 0; i < n; i++) {
		if ((list[i].index == MSR_TSC_DEADLINE) != deadline)
			continue;
		if (raw && list[i].index == MSR_TSC)
			continue;
		one.entry = list[i];
		if (kvm_set_msrs(v->fd, (struct kvm_msrs *)&one) != 1 && one.entry.data)
			return err_say(e, -EXDEV, "vCPU %u: KVM does not take MSR %#x back", v->id,
				       one.entry.index);
	}
	return 0;
}

static int save_msrs(const struct vcpu *v, struct blob *b, struct err *e)
{
	struct msr_buffer m;
	int rc = read_msrs(v, &m, e);

	if (!rc)
		blob_put(b, TAG_MSRS, v->id, m.entry, m.nmsrs * sizeof(m.entry[0]));
	return rc;
}

static int load_msrs(const struct vcpu *v, const struct blob *b, struct err *e)
{
	struct kvm_msr_entry list[KVM_MSRS_MAX];
	size_t len, n;
	const void *p = blob_find(b, TAG_MSRS, v->id, &len);
	int rc;

	if (!p || len % sizeof(list[0]) || len > sizeof(list))
		return err_say(e, -EBADMSG, "section MSRS.%u of the state has a wrong size", v->id);
	memcpy(list, p, len);
	n = len / sizeof(list[0]);
	rc = write_msrs(v, list, n, false, e);
	return rc ? rc : write_msrs(v, list, n, true, e);
}

/* ---- sections that are one ioctl each way ---- */

union any {
	struct kvm_sregs sregs;
	struct kvm_lapic_state lapic;
	struct kvm_xcrs xcrs;
	struct kvm_mp_state mp;
	struct kvm_debugregs debug;
	struct kvm_regs regs;
	struct kvm_vcpu_events events;
};

#define PART(name, member)					\
	static int get_##member(int fd, union any *u)		\
	{							\
		return kvm_get_##name(fd, &u->member);		\
	}							\
	static int set_##member(int fd, const union any *u)	\
	{							\
		return kvm_set_##name(fd, &u->member);		\
	}
PART(sregs, sregs)
PART(lapic, lapic)
PART(xcrs, xcrs)
PART(mp_state, mp)
PART(debugregs, debug)
PART(regs, regs)
PART(events, events)

struct part {
	uint32_t tag;
	size_t len;
	const char *name;
	int (*get)(int fd, union any *u);
	int (*set)(int fd, const union any *u);
};

static const struct part before_msrs[] = {
	{ TAG_SREGS, sizeof(struct kvm_sregs), "SREGS", get_sregs, set_sregs },
	{ TAG_LAPIC, sizeof(struct kvm_lapic_state), "LAPIC", get_lapic, set_lapic },
	{ TAG_XCRS, sizeof(struct kvm_xcrs), "XCRS", get_xcrs, set_xcrs },
};

static const struct part after_msrs[] = {
	{ TAG_MP, sizeof(struct kvm_mp_state), "MP_STATE", get_mp, set_mp },
	{ TAG_DEBUG, sizeof(struct kvm_debugregs), "DEBUGREGS", get_debug, set_debug },
	{ TAG_REGS, sizeof(struct kvm_regs), "REGS", get_regs, set_regs },
	{ TAG_EVENTS, sizeof(struct kvm_vcpu_events), "VCPU_EVENTS", get_events, set_events },
};

static int save_parts(const struct vcpu *v, const struct part *p, size_t n, struct blob *b,
		      struct err *e)
{
	union any u;

	for (size_t i = 0; i < n; i++) {
		int rc;

		memset(&u, 0, sizeof(u));
		rc = p[i].get(v->fd, &u);
		if (rc)
			return err_set(e, rc, "vCPU %u: KVM_GET_%s", v->id, p[i].name);
		blob_put(b, p[i].tag, v->id, &u, p[i].len);
	}
	return 0;
}

static int load_parts(const struct vcpu *v, const struct part *p, size_t n, const struct blob *b,
		      struct err *e)
{
	union any u;

	for (size_t i = 0; i < n; i++) {
		int rc = blob_get(b, p[i].tag, v->id, &u, p[i].len, e);

		if (rc)
			return rc;
		rc = p[i].set(v->fd, &u);
		if (rc)
			return err_set(e, rc, "vCPU %u: KVM_SET_%s", v->id, p[i].name);
	}
	return 0;
}

static int load_xsave(struct vcpu *v, const struct blob *b, struct err *e)
{
	int rc = blob_get(b, TAG_XSAVE, v->id, v->emul.xsave, v->env->kvm->xsave_len, e);

	if (rc)
		return rc;
	rc = kvm_set_xsave(v->fd, v->emul.xsave);
	return rc ? err_set(e, rc, "vCPU %u: KVM_SET_XSAVE", v->id) : 0;
}

int state_save_vcpu(struct vcpu *v, struct blob *b, struct err *e)
{
	int rc = save_parts(v, before_msrs, ARRAY_LEN(before_msrs), b, e);

	if (rc)
		return rc;
	rc = kvm_get_xsave(v->fd, v->emul.xsave);
	if (rc)
		return err_set(e, rc, "vCPU %u: KVM_GET_XSAVE2", v->id);
	blob_put(b, TAG_XSAVE, v->id, v->emul.xsave, v->env->kvm->xsave_len);
	rc = save_msrs(v, b, e);
	return rc ? rc : save_parts(v, after_msrs, ARRAY_LEN(after_msrs), b, e);
}

int state_load_vcpu(struct vcpu *v, const struct blob *b, struct err *e)
{
	int rc = load_parts(v, before_msrs, ARRAY_LEN(before_msrs), b, e);

	if (!rc)
		rc = load_xsave(v, b, e);
	if (!rc)
		rc = load_msrs(v, b, e);
	return rc ? rc : load_parts(v, after_msrs, ARRAY_LEN(after_msrs), b, e);
}

/* ---- the machine's own parts ---- */

int state_save_board(const struct kvm *k, struct blob *b, struct err *e)
{
	struct kvm_pit_state2 pit;
	struct kvm_clock_data clock = { 0 };
	int rc;

	for (uint32_t i = 0; i < IRQCHIPS; i++) {
		struct kvm_irqchip chip = { .chip_id = i };

		rc = kvm_get_irqchip(k, &chip);
		if (rc)
			return err_set(e, rc, "KVM_GET_IRQCHIP %u", i);
		blob_put(b, TAG_IRQCHIP, i, &chip, sizeof(chip));
	}
	rc = kvm_get_pit(k, &pit);
	if (rc)
		return err_set(e, rc, "KVM_GET_PIT2");
	blob_put(b, TAG_PIT, 0, &pit, sizeof(pit));
	rc = kvm_get_clock(k, &clock);
	if (rc)
		return err_set(e, rc, "KVM_GET_CLOCK");
	blob_put(b, TAG_CLOCK, 0, &clock, sizeof(clock));
	return 0;
}

int state_load_board(const struct kvm *k, const struct blob *b, struct err *e)
{
	struct kvm_pit_state2 pit;
	struct kvm_clock_data clock;
	int rc;

	for (uint32_t i = 0; i < IRQCHIPS; i++) {
		struct kvm_irqchip chip;

		rc = blob_get(b, TAG_IRQCHIP, i, &chip, sizeof(chip), e);
		if (rc)
			return rc;
		chip.chip_id = i;
		rc = kvm_set_irqchip(k, &chip);
		if (rc)
			return err_set(e, rc, "KVM_SET_IRQCHIP %u", i);
	}
	rc = blob_get(b, TAG_PIT, 0, &pit, sizeof(pit), e);
	if (rc)
		return rc;
	rc = kvm_set_pit(k, &pit);
	if (rc)
		return err_set(e, rc, "KVM_SET_PIT2");
	rc = blob_get(b, TAG_CLOCK, 0, &clock, sizeof(clock), e);
	if (rc)
		return rc;
	/* Go on from the saved moment: the guest's monotonic time has not passed meanwhile. */
	clock = (struct kvm_clock_data){ .clock = clock.clock };
	rc = kvm_set_clock(k, &clock);
	return rc ? err_set(e, rc, "KVM_SET_CLOCK") : 0;
}

/* ---- the host ---- */

struct host {
	uint32_t vendor[3], signature, xsave_len, cpuid_crc, raw_tsc;
	char boot[40];			/* with raw_tsc: the kernel's boot id */
};

static char boot_id[sizeof(((struct host *)0)->boot)];

int state_host_init(struct err *e)
{
	static const char path[] = "/proc/sys/kernel/random/boot_id";
	auto_fd fd = boot_id[0] ? -1 : open(path, O_RDONLY | O_CLOEXEC);

	if (boot_id[0] || (fd >= 0 && read(fd, boot_id, sizeof(boot_id) - 1) > 0))
		return 0;
	return err_set(e, -errno, "read %s", path);
}

static int host_now(const struct vcpu *v, const struct kvm_cpuid_table *c, struct host *h,
		    struct err *e)
{
	struct kvm_cpuid_entry2 list[KVM_CPUID_MAX];
	uint32_t a, d;
	int rc;

	memset(h, 0, sizeof(*h));
	h->xsave_len = (uint32_t)v->env->kvm->xsave_len;
	__cpuid(0, a, h->vendor[0], h->vendor[2], h->vendor[1]);
	__cpuid(1, h->signature, a, a, d);
	/* Which CPU answered is no feature: leave the APIC ids out. */
	memcpy(list, c->entry, c->nent * sizeof(list[0]));
	for (uint32_t i = 0; i < c->nent; i++) {
		if (list[i].function == 1)
			list[i].ebx &= 0x00ffffff;
		if (list[i].function == 0xb || list[i].function == 0x1f)
			list[i].edx = 0;
		if (list[i].function == 0x8000001e)
			list[i].eax = list[i].ebx = list[i].ecx = 0;
	}
	h->cpuid_crc = blob_crc(list, c->nent * sizeof(list[0]));
	h->raw_tsc = raw_tsc(v);
	rc = h->raw_tsc ? state_host_init(e) : 0;
	if (!rc && h->raw_tsc)
		memcpy(h->boot, boot_id, sizeof(h->boot));
	return rc;
}

int state_save_host(const struct vcpu *v, const struct kvm_cpuid_table *c, struct blob *b,
		    struct err *e)
{
	struct host h;
	int rc = host_now(v, c, &h, e);

	if (!rc)
		blob_put(b, TAG_HOST, 0, &h, sizeof(h));
	return rc;
}

int state_check_host(const struct vcpu *v, const struct kvm_cpuid_table *c, const struct blob *b,
		     struct err *e)
{
	struct host h, now;
	int rc = blob_get(b, TAG_HOST, 0, &h, sizeof(h), e);

	if (!rc)
		rc = host_now(v, c, &now, e);
	if (rc)
		return rc;
	if (memcmp(h.vendor, now.vendor, sizeof(h.vendor)) || h.signature != now.signature)
		return err_say(e, -EXDEV, "it is from another processor (%.12s %#x, here %.12s %#x); "
			       "make it again here", (const char *)h.vendor, h.signature,
			       (const char *)now.vendor, now.signature);
	if (h.xsave_len != now.xsave_len || h.cpuid_crc != now.cpuid_crc ||
	    h.raw_tsc != now.raw_tsc)
		return err_say(e, -EXDEV, "it is from a KVM with other features than this one; make "
			       "it again here");
	if (memcmp(h.boot, now.boot, sizeof(h.boot)))
		return err_say(e, -EXDEV, "it is from before this host was started, and this KVM "
			       "gives guests the host's own time-stamp counter; make it again");
	return 0;
}
