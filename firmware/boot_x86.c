/* SPDX-License-Identifier: Apache-2.0 */
/*
 * boot_x86.c - boot parameters and entry state for x86-64.
 *
 * Linux's 64-bit boot protocol (Documentation/arch/x86/boot.rst): the CPU enters
 * in long mode with RSI pointing to struct boot_params, which holds the setup
 * header (the kernel's own, from a bzImage; written here for a vmlinux), the
 * memory map, command line, initrd and a chain of setup_data. Chained are the
 * RNG seed and the device tree. Addresses: layout_x86.h.
 *
 * Everything fixed lies below 1 MiB; kernel and initrd lie above and are told
 * apart by intervals: the kernel in [1 MiB, min(end of RAM, mapped)), the
 * initrd between the kernel's end and the end of RAM below the hole.
 */
#include <asm/bootparam.h>

#include "firmware/boot_x86.h"
#include "firmware/fdt.h"
#include "firmware/image.h"
#include "firmware/layout_x86.h"

#define PAGE		0x1000ull
#define E820_RAM	1u
#define E820_RESERVED	2u
#define CMDLINE_MIN	256u	/* what a header without a limit stands for */

_Static_assert(offsetof(struct boot_params, hdr) == IMAGE_X86_HDR_OFF, "zero page");
_Static_assert(sizeof(struct setup_header) <= IMAGE_X86_HDR_MAX, "zero page");
_Static_assert(sizeof(struct boot_params) == PAGE, "zero page");
_Static_assert(FW_X86_CMDLINE + FW_X86_CMDLINE_LEN <= FW_X86_SEED, "layout");
_Static_assert(FW_X86_FDT + FW_X86_FDT_LEN <= FW_X86_LOW_END, "layout");

/* What the placement decided. */
struct plan {
	uint64_t top;		/* end of RAM below the hole */
	uint64_t usable;	/* the same without the vmgenid page */
	struct image img;
	struct initrd rd;
};

/* The first region is the guest's low RAM; the caller built it, so check it once. */
static int plan_ram(struct plan *p, const struct gmem *m, const struct fw_conf *c, struct err *e)
{
	if (!m->n || m->r[0].base || m->r[0].len < 2 * FW_X86_HIGH_RAM ||
	    m->r[0].len > FW_X86_HOLE || m->r[0].len % PAGE)
		return err_say(e, -EINVAL, "guest memory has to start at 0, with 2 MiB or "
			       "more in whole pages below 0x%llx", FW_X86_HOLE);
	p->top = m->r[0].len;
	p->usable = p->top - (c->vmgenid ? PAGE : 0);
	return 0;
}

static int check_conf(const struct fw_conf *c, struct err *e)
{
	if (!c->ncpus || c->ncpus > FW_MAX_CPUS)
		return err_say(e, -EINVAL, "%u CPUs: 1 to %u are possible", c->ncpus, FW_MAX_CPUS);
	if (c->nslots > FW_MAX_SLOTS)
		return err_say(e, -EINVAL, "%u virtio slots: %u are possible", c->nslots,
			       FW_MAX_SLOTS);
	for (unsigned i = 0; i < c->nslots; i++)
		if (c->slots[i].gsi >= FW_X86_IOAPIC_PINS)
			return err_say(e, -EINVAL, "virtio slot %u: the I/O APIC has no pin %u", i,
				       c->slots[i].gsi);
	return 0;
}

static int load_kernel(struct plan *p, const struct gmem *m, const struct fw_conf *c,
		       struct err *e)
{
	uint64_t hi = p->usable < FW_X86_MAPPED ? p->usable : FW_X86_MAPPED;
	struct fw_src s;
	int rc = fw_src_init(&s, &c->kernel, e);

	if (rc)
		return rc;
	rc = elf_probe(&s, e);
	if (rc > 0)
		return elf_load(m, &s, FW_X86_HIGH_RAM, hi, &p->img, e);
	if (!rc)
		rc = bzimage_probe(&s, e);
	if (rc > 0)
		return bzimage_load(m, &s, FW_X86_HIGH_RAM, hi, &p->img, e);
	return rc ? rc : fw_src_refuse(&s, "a bzImage or an x86-64 ELF vmlinux", e);
}

static void add_e820(struct boot_params *bp, uint64_t from, uint64_t to, uint32_t type)
{
	BUG_ON(bp->e820_entries >= E820_MAX_ENTRIES_ZEROPAGE);
	if (from < to)
		bp->e820_table[bp->e820_entries++] =
			(struct boot_e820_entry){ .addr = from, .size = to - from, .type = type };
}

static void fill_e820(struct boot_params *bp, const struct plan *p, const struct gmem *m)
{
	add_e820(bp, 0, FW_X86_LOW_END, E820_RAM);
	add_e820(bp, FW_X86_LOW_END, FW_X86_HIGH_RAM, E820_RESERVED);
	add_e820(bp, FW_X86_HIGH_RAM, p->usable, E820_RAM);
	add_e820(bp, p->usable, p->top, E820_RESERVED);
	for (unsigned i = 1; i < m->n; i++)
		add_e820(bp, m->r[i].base, m->r[i].base + m->r[i].len, E820_RAM);
}

static void fill_boot_params(struct boot_params *bp, const struct plan *p, const struct gmem *m)
{
	struct setup_header *h = &bp->hdr;

	memset(bp, 0, sizeof(*bp));
	if (p->img.hdr_len) {
		/* It may be longer than the one known here; the zero page has room. */
		memcpy((uint8_t *)bp + IMAGE_X86_HDR_OFF, p->img.hdr, p->img.hdr_len);
	} else {
		h->boot_flag = 0xaa55;
		h->header = 0x53726448;
		h->version = 0x020f;
		h->kernel_alignment = 0x200000;
	}
	h->type_of_loader = 0xff;
	h->loadflags = LOADED_HIGH;
	h->cmd_line_ptr = (uint32_t)FW_X86_CMDLINE;
	h->ramdisk_image = (uint32_t)p->rd.at;
	h->ramdisk_size = (uint32_t)p->rd.len;
	bp->ext_ramdisk_image = (uint32_t)(p->rd.at >> 32);
	bp->ext_ramdisk_size = (uint32_t)(p->rd.len >> 32);
	h->setup_data = FW_X86_SEED;
	fill_e820(bp, p, m);
}

static int put(const struct gmem *m, uint64_t at, const void *p, size_t len, struct err *e)
{
	int rc = gmem_write(m, GPA(at), p, len);

	return rc ? err_say(e, rc, "guest memory at 0x%llx", (unsigned long long)at) : 0;
}

static int put_setup_data(const struct gmem *m, const struct fw_conf *c, gpa_t vmgenid,
			  struct err *e)
{
	struct setup_data seed = { .next = FW_X86_FDT, .type = SETUP_RNG_SEED,
				   .len = sizeof(c->rng_seed) };
	struct setup_data dtb = { .type = SETUP_DTB };
	unsigned char *tree = gmem_ptr(m, GPA(FW_X86_FDT + sizeof(dtb)),
				       FW_X86_FDT_LEN - sizeof(dtb));
	int rc;

	BUG_ON(!tree);
	rc = fdt_x86_build(c, vmgenid, tree, FW_X86_FDT_LEN - sizeof(dtb), e);
	if (rc < 0)
		return rc;
	dtb.len = (uint32_t)rc;
	rc = put(m, FW_X86_FDT, &dtb, sizeof(dtb), e);
	if (!rc)
		rc = put(m, FW_X86_SEED, &seed, sizeof(seed), e);
	return rc ? rc : put(m, FW_X86_SEED + sizeof(seed), c->rng_seed, sizeof(c->rng_seed), e);
}

static int put_cmdline(const struct gmem *m, const struct fw_conf *c, const struct image *img,
		       struct err *e)
{
	size_t max = img->cmdline_max ? img->cmdline_max : CMDLINE_MIN - 1;
	size_t len = strlen(c->cmdline);

	if (max > FW_X86_CMDLINE_LEN - 1)
		max = FW_X86_CMDLINE_LEN - 1;
	if (len > max)
		return err_say(e, -EINVAL, "the kernel command line has %zu bytes, %s takes %zu",
			       len, c->kernel.name, max);
	return put(m, FW_X86_CMDLINE, c->cmdline, len + 1, e);
}

/* Flat segments and an identity map of FW_X86_MAPPED bytes. */
int boot_x86_cpu_state(const struct gmem *m, struct fw_entry_x86 *out, struct err *e)
{
	static const uint64_t gdt[] = { 0, 0, 0x00af9b000000ffff, 0x00cf93000000ffff };
	const uint64_t pml4 = FW_X86_PDPT | 3, pdpt = FW_X86_PD | 3;	/* present, writable */
	uint64_t pd[512];
	int rc;

	for (unsigned i = 0; i < ARRAY_LEN(pd); i++)
		pd[i] = (uint64_t)i << 21 | 0x83;	/* ... and a 2 MiB page */
	rc = put(m, FW_X86_GDT, gdt, sizeof(gdt), e);
	if (!rc)
		rc = put(m, FW_X86_PML4, &pml4, sizeof(pml4), e);
	if (!rc)
		rc = put(m, FW_X86_PDPT, &pdpt, sizeof(pdpt), e);
	if (!rc)
		rc = put(m, FW_X86_PD, pd, sizeof(pd), e);
	out->cr3 = FW_X86_PML4;
	out->gdt_base = FW_X86_GDT;
	out->gdt_limit = sizeof(gdt) - 1;
	out->cs = FW_X86_CS;
	out->ds = FW_X86_DS;
	out->rsp = FW_X86_STACK_TOP;
	return rc;
}

int fw_load_x86(const struct gmem *m, const struct fw_conf *c, struct fw_entry_x86 *out,
		struct err *e)
{
	struct plan p = { 0 };
	struct boot_params bp;
	int rc = check_conf(c, e);

	*out = (struct fw_entry_x86){ 0 };
	if (!rc)
		rc = plan_ram(&p, m, c, e);
	if (!rc)
		rc = load_kernel(&p, m, c, e);
	if (!rc)
		rc = initrd_load(m, &c->initrd, &p.img, p.usable, &p.rd, e);
	if (!rc)
		rc = put_cmdline(m, c, &p.img, e);
	if (!rc && c->vmgenid) {
		out->vmgenid = GPA(p.usable);
		rc = put(m, p.usable, c->vmgenid_value, sizeof(c->vmgenid_value), e);
	}
	if (!rc)
		rc = put_setup_data(m, c, out->vmgenid, e);
	if (!rc)
		rc = boot_x86_cpu_state(m, out, e);
	if (rc)
		return rc;
	fill_boot_params(&bp, &p, m);
	out->rip = p.img.entry;
	out->rsi = FW_X86_ZERO_PAGE;
	return put(m, FW_X86_ZERO_PAGE, &bp, sizeof(bp), e);
}
