/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fdt_arm64.c - the device tree of the arm64 guest.
 *
 * Linux takes everything from it: memory, command line, initrd, seed, CPUs
 * (started by PSCI over HVC), GICv3, the architected timer and the devices.
 * CPU i has the affinity that KVM gives to vCPU i: 16 to a cluster.
 */
#include "firmware/fdt.h"
#include "firmware/layout_arm64.h"

#define GIC_SPI		0u
#define GIC_PPI		1u
#define EDGE_RISING	1u
#define LEVEL_HIGH	4u

static void irq(struct fdt_writer *w, uint32_t gsi)
{
	fdtw_cells(w, "interrupts", (const uint32_t []){ GIC_SPI, gsi, EDGE_RISING }, 3);
}

static void cpus(struct fdt_writer *w, unsigned n)
{
	fdtw_begin(w, "cpus");
	fdtw_u32(w, "#address-cells", 1);
	fdtw_u32(w, "#size-cells", 0);
	for (unsigned i = 0; i < n; i++) {
		uint32_t mpidr = (i & 15) | i >> 4 << 8;

		fdtw_begin_at(w, "cpu", mpidr);
		fdtw_str(w, "device_type", "cpu");
		fdtw_str(w, "compatible", "arm,armv8");
		fdtw_str(w, "enable-method", "psci");
		fdtw_u32(w, "reg", mpidr);
		fdtw_end(w);
	}
	fdtw_end(w);
	fdtw_begin(w, "psci");
	fdtw_bytes(w, "compatible", "arm,psci-1.0\0arm,psci-0.2", 26);
	fdtw_str(w, "method", "hvc");
	fdtw_end(w);
}

static void gic_and_timer(struct fdt_writer *w, unsigned ncpus)
{
	const uint64_t reg[][2] = {
		{ FW_ARM64_GICD, FW_ARM64_GICD_LEN },
		{ FW_ARM64_GICR, ncpus * FW_ARM64_GICR_STRIDE },
	};
	/* secure, non-secure, virtual, hypervisor */
	const uint32_t ppi[] = { GIC_PPI, 13, LEVEL_HIGH, GIC_PPI, 14, LEVEL_HIGH,
				 GIC_PPI, 11, LEVEL_HIGH, GIC_PPI, 10, LEVEL_HIGH };

	fdtw_begin_at(w, "interrupt-controller", FW_ARM64_GICD);
	fdtw_str(w, "compatible", "arm,gic-v3");
	fdtw_reg(w, reg, ARRAY_LEN(reg));
	fdtw_flag(w, "interrupt-controller");
	fdtw_u32(w, "#interrupt-cells", 3);
	fdtw_u32(w, "#address-cells", 0);
	fdtw_u32(w, "phandle", FDTW_PHANDLE_INTC);
	fdtw_end(w);

	fdtw_begin(w, "timer");
	fdtw_str(w, "compatible", "arm,armv8-timer");
	fdtw_cells(w, "interrupts", ppi, ARRAY_LEN(ppi));
	fdtw_flag(w, "always-on");
	fdtw_end(w);
}

static void memory(struct fdt_writer *w, const struct gmem *m, gpa_t vmgenid)
{
	for (unsigned i = 0; i < m->n; i++) {
		fdtw_begin_at(w, "memory", m->r[i].base);
		fdtw_str(w, "device_type", "memory");
		fdtw_reg(w, &(const uint64_t [2]){ m->r[i].base, m->r[i].len }, 1);
		fdtw_end(w);
	}
	if (!vmgenid.v)
		return;
	/* The driver maps it as a device, which Linux refuses for RAM of its own. */
	fdtw_begin(w, "reserved-memory");
	fdtw_u32(w, "#address-cells", 2);
	fdtw_u32(w, "#size-cells", 2);
	fdtw_flag(w, "ranges");
	fdtw_begin_at(w, "vmgenid", vmgenid.v);
	fdtw_reg(w, &(const uint64_t [2]){ vmgenid.v, 0x1000 }, 1);
	fdtw_flag(w, "no-map");
	fdtw_end(w);
	fdtw_end(w);
}

static void chosen(struct fdt_writer *w, const struct fw_conf *c, const struct initrd *rd)
{
	uint64_t end = rd->at + rd->len;

	fdtw_begin(w, "chosen");
	fdtw_str(w, "bootargs", c->cmdline);
	fdtw_bytes(w, "rng-seed", c->rng_seed, sizeof(c->rng_seed));
	if (rd->len) {
		fdtw_cells(w, "linux,initrd-start",
			   (const uint32_t []){ (uint32_t)(rd->at >> 32), (uint32_t)rd->at }, 2);
		fdtw_cells(w, "linux,initrd-end",
			   (const uint32_t []){ (uint32_t)(end >> 32), (uint32_t)end }, 2);
	}
	fdtw_end(w);
}

int fdt_arm64_build(const struct fw_conf *c, const struct gmem *m, const struct initrd *rd,
		    gpa_t vmgenid, void *buf, size_t len, struct err *e)
{
	struct fdt_writer w;

	fdtw_init(&w, buf, len);
	fdtw_begin(&w, "");
	fdtw_str(&w, "compatible", "linux,dummy-virt");
	fdtw_str(&w, "model", "sandbox");
	fdtw_u32(&w, "#address-cells", 2);
	fdtw_u32(&w, "#size-cells", 2);
	fdtw_u32(&w, "interrupt-parent", FDTW_PHANDLE_INTC);
	cpus(&w, c->ncpus);
	memory(&w, m, vmgenid);
	chosen(&w, c, rd);
	gic_and_timer(&w, c->ncpus);
	fdtw_devices(&w, c, vmgenid, irq);
	fdtw_end(&w);
	return fdtw_finish(&w, e);
}
