/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fdt_x86.c - the device tree of the x86-64 guest.
 *
 * Linux on x86 takes from it, with CONFIG_OF (arch/x86/kernel/devicetree.c): the
 * CPUs (reg = APIC id), the local APIC, the I/O APIC and the platform devices.
 * Memory, command line, initrd and seed come in boot_params instead, so there
 * are no memory and chosen nodes. The APIC bindings are those of the one x86
 * platform that ever had a device tree, hence "intel,ce4100-*".
 *
 * An interrupt is <pin type>, and the types are an order of that file's own:
 * 0 falling edge, 1 level high, 2 level low, 3 rising edge.
 */
#include "firmware/fdt.h"
#include "firmware/layout_x86.h"

#define IOAPIC_EDGE_RISING 3u

static void irq(struct fdt_writer *w, uint32_t gsi)
{
	fdtw_cells(w, "interrupts", (const uint32_t []){ gsi, IOAPIC_EDGE_RISING }, 2);
}

static void cpus(struct fdt_writer *w, unsigned n)
{
	fdtw_begin(w, "cpus");
	fdtw_u32(w, "#address-cells", 1);
	fdtw_u32(w, "#size-cells", 0);
	for (unsigned i = 0; i < n; i++) {
		fdtw_begin_at(w, "cpu", i);
		fdtw_str(w, "device_type", "cpu");
		fdtw_u32(w, "reg", i);
		fdtw_end(w);
	}
	fdtw_end(w);
}

static void apics(struct fdt_writer *w)
{
	fdtw_begin_at(w, "lapic", FW_X86_LAPIC);
	fdtw_str(w, "compatible", "intel,ce4100-lapic");
	fdtw_reg(w, &(const uint64_t [2]){ FW_X86_LAPIC, 0x1000 }, 1);
	/* No IMCR to switch over: the PIC, if there is one, is wired to LINT0. */
	fdtw_flag(w, "intel,virtual-wire-mode");
	fdtw_end(w);

	fdtw_begin_at(w, "ioapic", FW_X86_IOAPIC);
	fdtw_str(w, "compatible", "intel,ce4100-ioapic");
	fdtw_reg(w, &(const uint64_t [2]){ FW_X86_IOAPIC, 0x1000 }, 1);
	fdtw_flag(w, "interrupt-controller");
	fdtw_u32(w, "#interrupt-cells", 2);
	fdtw_u32(w, "#address-cells", 0);
	fdtw_u32(w, "phandle", FDTW_PHANDLE_INTC);
	fdtw_end(w);
}

int fdt_x86_build(const struct fw_conf *c, gpa_t vmgenid, void *buf, size_t len, struct err *e)
{
	struct fdt_writer w;

	fdtw_init(&w, buf, len);
	fdtw_begin(&w, "");
	fdtw_str(&w, "compatible", "linux,sandbox-x86");
	fdtw_str(&w, "model", "sandbox");
	fdtw_u32(&w, "#address-cells", 2);
	fdtw_u32(&w, "#size-cells", 2);
	fdtw_u32(&w, "interrupt-parent", FDTW_PHANDLE_INTC);
	cpus(&w, c->ncpus);
	apics(&w);
	fdtw_devices(&w, c, vmgenid, irq);
	fdtw_end(&w);
	return fdtw_finish(&w, e);
}
