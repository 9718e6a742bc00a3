/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fdt.c - the sequential writer and the device nodes of both architectures.
 *
 * Bindings, as in Linux 6.12's Documentation/devicetree/bindings: virtio/mmio,
 * mfd/syscon, power/reset/syscon-{poweroff,reboot}, misc/pvpanic-mmio,
 * rng/microsoft,vmgenid. All nodes are children of the root: Linux makes
 * platform devices of those that have a "compatible" property, no bus node needed.
 */
#include <libfdt.h>

#include "firmware/fdt.h"

#define DO(w, call) do { if (!(w)->err) (w)->err = (call); } while (0)

void fdtw_init(struct fdt_writer *w, void *buf, size_t len)
{
	w->fdt = buf;
	w->err = len > INT32_MAX ? -FDT_ERR_NOSPACE : fdt_create(buf, (int)len);
	DO(w, fdt_finish_reservemap(buf));
}

int fdtw_finish(struct fdt_writer *w, struct err *e)
{
	DO(w, fdt_finish(w->fdt));
	if (!w->err)
		return (int)fdt_totalsize(w->fdt);
	return err_say(e, w->err == -FDT_ERR_NOSPACE ? -EFBIG : -EINVAL, "device tree: %s",
		       fdt_strerror(w->err));
}

void fdtw_begin(struct fdt_writer *w, const char *name)
{
	DO(w, fdt_begin_node(w->fdt, name));
}

void fdtw_begin_at(struct fdt_writer *w, const char *name, uint64_t unit)
{
	char full[64];

	snprintf(full, sizeof(full), "%s@%llx", name, (unsigned long long)unit);
	fdtw_begin(w, full);
}

void fdtw_end(struct fdt_writer *w)
{
	DO(w, fdt_end_node(w->fdt));
}

void fdtw_bytes(struct fdt_writer *w, const char *name, const void *p, size_t len)
{
	DO(w, fdt_property(w->fdt, name, p, (int)len));
}

void fdtw_flag(struct fdt_writer *w, const char *name)
{
	fdtw_bytes(w, name, NULL, 0);
}

void fdtw_str(struct fdt_writer *w, const char *name, const char *value)
{
	fdtw_bytes(w, name, value, strlen(value) + 1);
}

void fdtw_u32(struct fdt_writer *w, const char *name, uint32_t value)
{
	fdtw_cells(w, name, &value, 1);
}

void fdtw_cells(struct fdt_writer *w, const char *name, const uint32_t *cells, size_t n)
{
	fdt32_t be[16];

	BUG_ON(n > ARRAY_LEN(be));
	for (size_t i = 0; i < n; i++)
		be[i] = cpu_to_fdt32(cells[i]);
	fdtw_bytes(w, name, be, n * sizeof(be[0]));
}

void fdtw_reg(struct fdt_writer *w, const uint64_t (*reg)[2], size_t n)
{
	uint32_t cells[16];

	BUG_ON(n > ARRAY_LEN(cells) / 4);
	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < 2; k++) {
			cells[i * 4 + k * 2] = (uint32_t)(reg[i][k] >> 32);
			cells[i * 4 + k * 2 + 1] = (uint32_t)reg[i][k];
		}
	}
	fdtw_cells(w, "reg", cells, n * 4);
}

/* A node of the power register: its word, written with @value, does it. */
static void power_action(struct fdt_writer *w, const char *name, const char *compatible,
			 uint32_t value)
{
	fdtw_begin(w, name);
	fdtw_str(w, "compatible", compatible);
	fdtw_u32(w, "regmap", FDTW_PHANDLE_POWER);
	fdtw_u32(w, "offset", 0);
	fdtw_u32(w, "value", value);
	fdtw_end(w);
}

static void power(struct fdt_writer *w, uint64_t base)
{
	fdtw_begin_at(w, "power", base);
	fdtw_str(w, "compatible", "syscon");
	fdtw_reg(w, &(const uint64_t [2]){ base, 0x1000 }, 1);
	fdtw_u32(w, "reg-io-width", 4);
	fdtw_flag(w, "little-endian");
	fdtw_u32(w, "phandle", FDTW_PHANDLE_POWER);
	fdtw_end(w);
	power_action(w, "poweroff", "syscon-poweroff", FW_POWER_OFF);
	power_action(w, "reboot", "syscon-reboot", FW_POWER_RESET);
}

void fdtw_devices(struct fdt_writer *w, const struct fw_conf *c, gpa_t vmgenid,
		  void (*irq)(struct fdt_writer *w, uint32_t gsi))
{
	for (unsigned i = 0; i < c->nslots; i++) {
		fdtw_begin_at(w, "virtio_mmio", c->slots[i].base);
		fdtw_str(w, "compatible", "virtio,mmio");
		fdtw_reg(w, &(const uint64_t [2]){ c->slots[i].base, c->slots[i].len }, 1);
		irq(w, c->slots[i].gsi);
		fdtw_flag(w, "dma-coherent");
		fdtw_end(w);
	}
	if (c->power_base)
		power(w, c->power_base);
	if (c->pvpanic_base) {
		fdtw_begin_at(w, "pvpanic", c->pvpanic_base);
		fdtw_str(w, "compatible", "qemu,pvpanic-mmio");
		fdtw_reg(w, &(const uint64_t [2]){ c->pvpanic_base, 2 }, 1);
		fdtw_end(w);
	}
	if (vmgenid.v) {
		fdtw_begin_at(w, "vmgenid", vmgenid.v);
		fdtw_str(w, "compatible", "microsoft,vmgenid");
		fdtw_reg(w, &(const uint64_t [2]){ vmgenid.v, 0x1000 }, 1);
		irq(w, c->vmgenid_gsi);
		fdtw_end(w);
	}
}
