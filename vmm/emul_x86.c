/* SPDX-License-Identifier: Apache-2.0 */
/*
 * emul_x86.c - a table of the instructions that KVM's emulator does not know,
 * and one handler for each.
 *
 * Those with a memory operand (XSAVE, XRSTOR) are the delicate ones. KVM's own
 * answer to "may this be written?" (KVM_TRANSLATE) is always yes, and believing
 * it would let the kernel's signal frames write through copy-on-write pages. So
 * the guest's page tables are walked here, with the permission bits of every
 * level, and the guest gets the #PF that the processor would have raised.
 *
 * On ordinary hosts none of this is ever called.
 *
 * #syscalls:vcpu ioctl(KVM_GET_REGS)? ioctl(KVM_SET_REGS)? ioctl(KVM_GET_SREGS)?
 * #syscalls:vcpu ioctl(KVM_SET_SREGS)? ioctl(KVM_GET_VCPU_EVENTS)? ioctl(KVM_SET_VCPU_EVENTS)?
 * #syscalls:vcpu ioctl(KVM_GET_XCRS)? ioctl(KVM_GET_XSAVE2)? ioctl(KVM_SET_XSAVE)?
 */
#include <cpuid.h>
#include "vmm/emul_x86.h"

#define FLAGS_AC	(1ull << 18)
#define CR0_WP		(1ull << 16)
#define CR0_PG		(1ull << 31)
#define CR4_LA57	(1ull << 12)
#define PTE_P		1ull
#define PTE_W		2ull
#define PTE_A		0x20ull
#define PTE_D		0x40ull
#define PTE_PS		0x80ull
#define PTE_ADDR	0x000ffffffffff000ull
#define PF_P		1u
#define PF_W		2u

#define VEC_BP 3
#define VEC_GP 13
#define VEC_PF 14

/* XSAVE image (AMD64 APM volume 2, 11.5): legacy region, then the header. */
#define XS_FP		1ull
#define XS_SSE		2ull
#define XS_AVX		4ull
#define XS_HEADER	512u
#define XS_HEADER_LEN	64u
#define MXCSR_INIT	0x1f80u

/* What a handler works with; regs are written back and RIP advanced when it returns 0. */
struct ctx {
	struct emul *m;
	const struct emul_insn *i;
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	bool faulted;			/* an exception was injected: RIP stays */
};

int emul_decode(struct emul_insn *i, const uint8_t *insn, unsigned len)
{
	unsigned n = 0;

	*i = (struct emul_insn){ 0 };
	for (; n < len; n++) {
		uint8_t b = insn[n];

		if (b == 0x66)
			i->opsize = true;
		else if (b == 0xf3)
			i->rep = true;
		else if (b == 0xf2)
			i->repne = true;
		else if (b == 0x64 || b == 0x65)
			i->seg = b;
		else if (b == 0x67)
			i->addr32 = true;
		else if (b != 0x2e && b != 0x36 && b != 0x3e && b != 0x26)
			break;
	}
	if (n < len && (insn[n] & 0xf0) == 0x40)
		i->rex = insn[n++];
	if (n >= len)
		return -ENOTSUP;
	i->opcode = insn[n++];
	if (i->opcode != 0x0f) {
		i->len = (uint8_t)n;
		return 0;
	}
	if (len - n < 2)
		return -ENOTSUP;
	i->opcode = 0x0f00u | insn[n++];
	i->modrm = insn[n++];
	i->has_modrm = true;
	if (i->modrm >> 6 != 3) {
		unsigned mod = i->modrm >> 6, rm = i->modrm & 7;
		unsigned disp = mod == 1 ? 1 : mod == 2 ? 4 : 0;
		uint8_t raw[4] = { 0 };

		if (rm == 4) {
			if (n >= len)
				return -ENOTSUP;
			i->sib = insn[n++];
			if (mod == 0 && (i->sib & 7) == 5)
				disp = 4;
		} else if (mod == 0 && rm == 5) {
			disp = 4;
		}
		if (len - n < disp)
			return -ENOTSUP;
		memcpy(raw, insn + n, disp);
		n += disp;
		i->disp = disp == 1 ? (int8_t)raw[0] :
			  (int32_t)((uint32_t)raw[0] | (uint32_t)raw[1] << 8 |
				    (uint32_t)raw[2] << 16 | (uint32_t)raw[3] << 24);
	}
	i->len = (uint8_t)n;
	return 0;
}

static uint64_t gpr(const struct kvm_regs *r, unsigned n)
{
	const uint64_t v[16] = {
		r->rax, r->rcx, r->rdx, r->rbx, r->rsp, r->rbp, r->rsi, r->rdi,
		r->r8, r->r9, r->r10, r->r11, r->r12, r->r13, r->r14, r->r15,
	};

	return v[n & 15];
}

/* Linear address of the memory operand, in 64-bit mode. */
static uint64_t operand(const struct ctx *c)
{
	const struct emul_insn *i = c->i;
	unsigned mod = i->modrm >> 6, rm = i->modrm & 7;
	unsigned b = i->rex & 1 ? 8 : 0, x = i->rex & 2 ? 8 : 0;
	uint64_t at = (uint64_t)(int64_t)i->disp;

	if (rm == 4) {
		unsigned base = i->sib & 7, index = (i->sib >> 3 & 7) | x;

		if (!(mod == 0 && base == 5))
			at += gpr(&c->regs, base | b);
		if (index != 4)
			at += gpr(&c->regs, index) << (i->sib >> 6);
	} else if (mod == 0 && rm == 5) {
		at += c->regs.rip + i->len;
	} else {
		at += gpr(&c->regs, rm | b);
	}
	if (i->addr32)
		at &= 0xffffffffu;
	if (i->seg == 0x64)
		at += c->sregs.fs.base;
	if (i->seg == 0x65)
		at += c->sregs.gs.base;
	return at;
}

static int inject(struct ctx *c, uint8_t vector, bool has_error, uint32_t error)
{
	struct kvm_vcpu_events ev;
	int rc = kvm_get_events(c->m->vcpu, &ev);

	if (rc)
		return rc;
	ev.exception.injected = 1;
	ev.exception.pending = 0;
	ev.exception.nr = vector;
	ev.exception.has_error_code = has_error;
	ev.exception.error_code = error;
	c->faulted = true;
	return kvm_set_events(c->m->vcpu, &ev);
}

static int page_fault(struct ctx *c, uint64_t at, uint32_t error)
{
	int rc;

	c->sregs.cr2 = at;
	rc = kvm_set_sregs(c->m->vcpu, &c->sregs);
	return rc ? rc : inject(c, VEC_PF, true, error);
}

static void mark_entry(const struct ctx *c, uint64_t *pte, uint64_t bits)
{
	__atomic_fetch_or(pte, bits, __ATOMIC_RELAXED);
	gmem_touched(c->m->mem, pte, sizeof(*pte));
}

/*
 * Walk the page tables for linear address @at, as a supervisor. 0 with *pa; 1
 * when the guest was given its #PF. A table outside RAM counts as not present.
 */
static int walk(struct ctx *c, uint64_t at, bool write, uint64_t *pa)
{
	unsigned levels = c->sregs.cr4 & CR4_LA57 ? 5 : 4;
	uint64_t table = c->sregs.cr3 & PTE_ADDR, writable = PTE_W, mask, entry;
	uint64_t *pte;
	int rc;

	for (unsigned level = levels;; level--) {
		unsigned shift = 12 + 9 * (level - 1);
		uint64_t want = PTE_A;

		pte = gmem_ptr(c->m->mem, GPA(table + 8 * (at >> shift & 511)), 8);
		entry = pte ? __atomic_load_n(pte, __ATOMIC_RELAXED) : 0;
		if (!(entry & PTE_P)) {
			rc = page_fault(c, at, write ? PF_W : 0);
			return rc ? rc : 1;
		}
		writable &= entry;
		mask = (1ull << shift) - 1;
		if (level == 1 || (level <= 3 && entry & PTE_PS)) {
			if (write && !writable && c->sregs.cr0 & CR0_WP) {
				rc = page_fault(c, at, PF_P | PF_W);
				return rc ? rc : 1;
			}
			if (write)
				want |= PTE_D;
			if ((entry & want) != want)
				mark_entry(c, pte, want);
			*pa = (entry & PTE_ADDR & ~mask) | (at & mask);
			return 0;
		}
		if (!(entry & PTE_A))
			mark_entry(c, pte, PTE_A);
		table = entry & PTE_ADDR;
	}
}

/* A checked range of linear memory: physical pages of at most KVM_XSAVE_MAX bytes. */
struct span {
	const struct gmem *mem;
	uint64_t at;
	size_t len;
	uint8_t *page[KVM_XSAVE_MAX / 4096 + 1];	/* host address of each page touched */
};

/* All pages of [at, at+len) present and, for @write, writable: 0; 1: the guest has its #PF. */
static int span_open(struct ctx *c, struct span *s, uint64_t at, size_t len, bool write)
{
	unsigned n = 0;

	BUG_ON(len > KVM_XSAVE_MAX);
	*s = (struct span){ .mem = c->m->mem, .at = at, .len = len };
	for (uint64_t page = at & ~4095ull; page - (at & ~4095ull) < (at & 4095) + len;
	     page += 4096) {
		uint64_t pa;
		int rc = walk(c, page < at ? at : page, write, &pa);

		if (rc)
			return rc;
		s->page[n] = gmem_ptr(c->m->mem, GPA(pa & ~4095ull), 4096);
		if (!s->page[n++])
			return -ENOTSUP;	/* XSAVE to a device: nobody does */
	}
	return 0;
}

static void span_copy(const struct span *s, size_t off, void *host, size_t len, bool write)
{
	uint8_t *p = host;

	BUG_ON(off > s->len || len > s->len - off);
	off += s->at & 4095;
	while (len) {
		size_t n = 4096 - off % 4096;
		uint8_t *g = s->page[off / 4096] + off % 4096;

		if (n > len)
			n = len;
		memcpy(write ? g : p, write ? p : g, n);
		gmem_touched(s->mem, g, write ? n : 0);
		off += n, p += n, len -= n;
	}
}

/* Bytes of component @i in the standard format; false if the processor has no such thing. */
static bool component(unsigned i, size_t limit, size_t *off, size_t *len)
{
	unsigned eax, ebx, ecx, edx;

	__cpuid_count(0xd, i, eax, ebx, ecx, edx);
	*off = ebx;
	*len = eax;
	return eax && !(ecx & 1) && eax <= limit && ebx <= limit - eax;
}

/*
 * The operand of XSAVE or XRSTOR: RFBM, and its span. The area is as long as the
 * highest component asked for needs, as the processor would touch.
 */
static int xs_operand(struct ctx *c, struct span *s, uint64_t *rfbm, bool write)
{
	struct kvm_xcrs x;
	size_t len = XS_HEADER + XS_HEADER_LEN, off, n;
	uint64_t at;
	int rc = kvm_get_xcrs(c->m->vcpu, &x);

	if (rc)
		return rc;
	if (!c->sregs.cs.l || !(c->sregs.cr0 & CR0_PG) || !x.nr_xcrs)
		return -ENOTSUP;
	*rfbm = x.xcrs[0].value & ((c->regs.rdx & 0xffffffffu) << 32 | (c->regs.rax & 0xffffffffu));
	for (unsigned i = 2; i < 63; i++)
		if (*rfbm >> i & 1) {
			if (!component(i, c->m->kvm->xsave_len, &off, &n))
				return -ENOTSUP;
			if (off + n > len)
				len = off + n;
		}
	at = operand(c);
	if (at & 63) {
		rc = inject(c, VEC_GP, true, 0);
		return rc ? rc : 1;
	}
	return span_open(c, s, at, len, write);
}

/* Copy component @i between the image and the guest. FP and SSE lie in the legacy region. */
static void xs_copy(const struct ctx *c, const struct span *s, unsigned i, bool write)
{
	uint8_t *img = c->m->xsave;
	size_t off, len;

	if (i == 0) {
		span_copy(s, 0, img, 24, write);
		span_copy(s, 32, img + 32, 128, write);
	} else if (i == 1) {
		span_copy(s, 160, img + 160, 256, write);
	} else if (component(i, c->m->kvm->xsave_len, &off, &len)) {
		span_copy(s, off, img + off, len, write);
	}
}

static int do_xsave(struct ctx *c)
{
	uint8_t *img = c->m->xsave;
	uint64_t rfbm, have, old;
	struct span s;
	int rc = xs_operand(c, &s, &rfbm, true);

	if (rc)
		return rc;
	rc = kvm_get_xsave(c->m->vcpu, img);
	if (rc)
		return rc;
	for (unsigned i = 0; i < 63; i++)
		if (rfbm >> i & 1)
			xs_copy(c, &s, i, true);
	if (rfbm & (XS_SSE | XS_AVX))
		span_copy(&s, 24, img + 24, 8, true);
	memcpy(&have, img + XS_HEADER, sizeof(have));
	span_copy(&s, XS_HEADER, &old, sizeof(old), false);
	old = (old & ~rfbm) | (have & rfbm);
	span_copy(&s, XS_HEADER, &old, sizeof(old), true);
	return 0;
}

static int do_xrstor(struct ctx *c)
{
	uint8_t *img = c->m->xsave;
	uint64_t header[XS_HEADER_LEN / 8], rfbm, have;
	struct kvm_xcrs x;
	uint32_t mxcsr, mask;
	struct span s;
	int rc = xs_operand(c, &s, &rfbm, false);

	if (rc)
		return rc;
	rc = kvm_get_xcrs(c->m->vcpu, &x);
	if (!rc)
		rc = kvm_get_xsave(c->m->vcpu, img);
	if (rc)
		return rc;
	span_copy(&s, XS_HEADER, header, sizeof(header), false);
	span_copy(&s, 24, &mxcsr, sizeof(mxcsr), false);
	memcpy(&mask, img + 28, sizeof(mask));
	if (header[0] & ~x.xcrs[0].value || header[1] || header[2] ||
	    (rfbm & (XS_SSE | XS_AVX) && mxcsr & ~mask)) {
		rc = inject(c, VEC_GP, true, 0);
		return rc ? rc : 1;
	}
	memcpy(&have, img + XS_HEADER, sizeof(have));
	for (unsigned i = 0; i < 63; i++) {
		if (!(rfbm >> i & 1))
			continue;
		have &= ~(1ull << i);
		if (header[0] >> i & 1) {
			xs_copy(c, &s, i, false);
			have |= 1ull << i;
		}
	}
	if (rfbm & (XS_SSE | XS_AVX)) {
		memcpy(img + 24, &mxcsr, sizeof(mxcsr));
		/* KVM takes MXCSR only with one of the components that use it. */
		if (mxcsr != MXCSR_INIT && !(have & (XS_FP | XS_SSE | XS_AVX))) {
			memset(img + 160, 0, 256);
			have |= XS_SSE;
		}
	}
	memcpy(img + XS_HEADER, &have, sizeof(have));
	return kvm_set_xsave(c->m->vcpu, img);
}

static int do_xgetbv(struct ctx *c)
{
	struct kvm_xcrs x;
	int rc = kvm_get_xcrs(c->m->vcpu, &x);

	if (rc)
		return rc;
	if ((uint32_t)c->regs.rcx || !x.nr_xcrs) {
		rc = inject(c, VEC_GP, true, 0);
		return rc ? rc : 1;
	}
	c->regs.rax = (uint32_t)x.xcrs[0].value;
	c->regs.rdx = x.xcrs[0].value >> 32;
	return 0;
}

/* Pending x87 faults are not raised: the kernel runs with none of them unmasked. */
static int do_fwait(struct ctx *c)
{
	(void)c;
	return 0;
}

static int do_clac(struct ctx *c)
{
	c->regs.rflags &= ~FLAGS_AC;
	return 0;
}

static int do_stac(struct ctx *c)
{
	c->regs.rflags |= FLAGS_AC;
	return 0;
}

/* A trap: the saved RIP is the next instruction's. */
static int do_int3(struct ctx *c)
{
	int rc = inject(c, VEC_BP, false, 0);

	c->faulted = false;
	return rc;
}

enum operand_kind { OPERAND_NONE, OPERAND_EXACT, OPERAND_MEM };

static const struct {
	uint32_t opcode;
	enum operand_kind kind;
	uint8_t modrm;			/* EXACT: the whole byte; MEM: the reg field */
	int (*fn)(struct ctx *c);
} table[] = {
	{ 0x9b,   OPERAND_NONE,  0,    do_fwait },
	{ 0xcc,   OPERAND_NONE,  0,    do_int3 },
	{ 0x0f01, OPERAND_EXACT, 0xca, do_clac },
	{ 0x0f01, OPERAND_EXACT, 0xcb, do_stac },
	{ 0x0f01, OPERAND_EXACT, 0xd0, do_xgetbv },
	{ 0x0fae, OPERAND_MEM,   4,    do_xsave },
	{ 0x0fae, OPERAND_MEM,   5,    do_xrstor },
};

static bool matches(const struct emul_insn *i, enum operand_kind kind, uint8_t modrm)
{
	switch (kind) {
	case OPERAND_NONE:
		return !i->has_modrm;
	case OPERAND_EXACT:
		return i->has_modrm && i->modrm == modrm && !i->opsize && !i->rep && !i->repne;
	case OPERAND_MEM:
		return i->has_modrm && i->modrm >> 6 != 3 && (i->modrm >> 3 & 7) == modrm &&
		       !i->opsize && !i->rep && !i->repne;
	}
	return false;
}

int emul_finish(struct emul *m, const uint8_t *insn, unsigned len)
{
	struct emul_insn i;
	struct ctx c = { .m = m, .i = &i };
	int rc = emul_decode(&i, insn, len);

	for (size_t n = 0; !rc && n < ARRAY_LEN(table); n++) {
		if (table[n].opcode != i.opcode || !matches(&i, table[n].kind, table[n].modrm))
			continue;
		rc = kvm_get_regs(m->vcpu, &c.regs);
		if (!rc)
			rc = kvm_get_sregs(m->vcpu, &c.sregs);
		if (!rc)
			rc = table[n].fn(&c);
		if (rc < 0)
			return rc;
		m->finished++;
		if (c.faulted)
			return 0;
		c.regs.rip += i.len;
		return kvm_set_regs(m->vcpu, &c.regs);
	}
	return rc ? rc : -ENOTSUP;
}
