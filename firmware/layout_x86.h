/* SPDX-License-Identifier: Apache-2.0 */
/*
 * layout_x86.h - the guest physical address map on x86-64.
 *
 *	0x0000_0000  left alone (real-mode vectors; Linux never uses page 0)
 *	0x0000_1000  GDT
 *	0x0000_2000  one page of stack for the entry state
 *	0x0000_7000  struct boot_params, the "zero page"
 *	0x0000_9000  PML4, PDPT, PD: identity map of the first GiB in 2 MiB pages
 *	0x0001_0000  CPUID probe: code and table, only before the kernel starts
 *	0x0002_0000  command line
 *	0x0002_f000  setup_data: RNG seed
 *	0x0003_0000  setup_data: flattened device tree
 *	0x0009_fc00  end of the first piece of RAM in e820; reserved up to
 *	0x0010_0000  RAM; kernel at its preferred address, else at 1 MiB aligned up
 *	             ... initrd, page aligned, as high as the kernel allows
 *	top - 4 KiB  page of the VM generation id (if any), reserved in e820: above
 *	             1 MiB, because Linux keeps drivers out of everything below
 *	0xc000_0000  hole for devices
 *	0xd000_0000  virtio-mmio slots, 4 KiB apart
 *	0xd00f_0000  power register
 *	0xd00f_1000  pvpanic
 *	0xfec0_0000  I/O APIC
 *	0xfee0_0000  local APIC
 *	0x1_0000_0000  the rest of RAM
 */
#ifndef FIRMWARE_LAYOUT_X86_H
#define FIRMWARE_LAYOUT_X86_H

#define FW_X86_GDT		0x1000ull
#define FW_X86_STACK_TOP	0x3000ull
#define FW_X86_ZERO_PAGE	0x7000ull
#define FW_X86_PML4		0x9000ull
#define FW_X86_PDPT		0xa000ull
#define FW_X86_PD		0xb000ull
#define FW_X86_PROBE		0x10000ull
#define FW_X86_PROBE_LEN	0x2000ull
#define FW_X86_CMDLINE		0x20000ull
#define FW_X86_CMDLINE_LEN	0x1000ull	/* room; the kernel's own limit is lower */
#define FW_X86_SEED		0x2f000ull
#define FW_X86_FDT		0x30000ull	/* the setup_data header; the tree follows it */
#define FW_X86_FDT_LEN		0x20000ull
#define FW_X86_LOW_END		0x9fc00ull
#define FW_X86_HIGH_RAM		0x100000ull	/* nothing of a kernel may lie below */
#define FW_X86_MAPPED		0x40000000ull	/* what the entry page tables cover */

#define FW_X86_HOLE		0xc0000000ull	/* RAM below 4 GiB ends here at the latest */
#define FW_X86_IOAPIC		0xfec00000ull
#define FW_X86_LAPIC		0xfee00000ull
#define FW_X86_IOAPIC_PINS	24u
#define FW_X86_RAM2		0x100000000ull

#define FW_X86_CS		0x10u		/* __BOOT_CS, __BOOT_DS of the boot protocol */
#define FW_X86_DS		0x18u
#endif
