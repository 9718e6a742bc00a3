/* SPDX-License-Identifier: Apache-2.0 */
/*
 * boot_arm64.c - entry state for arm64 (Linux Documentation/arch/arm64/booting.rst):
 * an Image at a 2 MiB boundary, X0 = the device tree, which tells all the rest.
 * From the top of RAM down: vmgenid page, device tree, initrd; from the bottom
 * up: the kernel. Addresses: layout_arm64.h.
 */
#include "firmware/fdt.h"
#include "firmware/image.h"
#include "firmware/layout_arm64.h"

static int check_conf(const struct gmem *m, const struct fw_conf *c, struct err *e)
{
	if (!c->ncpus || c->ncpus > FW_MAX_CPUS)
		return err_say(e, -EINVAL, "%u CPUs: 1 to %u are possible", c->ncpus, FW_MAX_CPUS);
	if (c->nslots > FW_MAX_SLOTS)
		return err_say(e, -EINVAL, "%u virtio slots: %u are possible", c->nslots,
			       FW_MAX_SLOTS);
	for (unsigned i = 0; i < c->nslots; i++)
		if (c->slots[i].gsi >= FW_ARM64_SPIS)
			return err_say(e, -EINVAL, "virtio slot %u: the GIC has no SPI %u", i,
				       c->slots[i].gsi);
	if (!m->n || m->r[0].base != FW_ARM64_RAM || m->r[0].len < 4 * FW_ARM64_FDT_LEN)
		return err_say(e, -EINVAL, "guest memory has to start at 0x%llx", FW_ARM64_RAM);
	return 0;
}

static int load_kernel(const struct gmem *m, const struct fw_conf *c, uint64_t end,
		       struct image *img, struct err *e)
{
	struct fw_src s;
	int rc = fw_src_init(&s, &c->kernel, e);

	if (!rc)
		rc = image_arm64_probe(&s, e);
	if (rc < 0)
		return rc;
	if (!rc)
		return fw_src_refuse(&s, "an arm64 Image", e);
	rc = image_arm64_load(m, &s, FW_ARM64_RAM, end, img, e);
	if (!rc && strlen(c->cmdline) > img->cmdline_max)
		return err_say(e, -EINVAL, "the kernel command line has %zu bytes, %s takes %u",
			       strlen(c->cmdline), c->kernel.name, img->cmdline_max);
	return rc;
}

int fw_load_arm64(const struct gmem *m, const struct fw_conf *c, struct fw_entry_arm64 *out,
		  struct err *e)
{
	struct image img = { 0 };
	struct initrd rd;
	uint64_t top, fdt;
	int rc = check_conf(m, c, e);

	*out = (struct fw_entry_arm64){ 0 };
	if (rc)
		return rc;
	top = FW_ARM64_RAM + (m->r[0].len & ~(FW_ARM64_FDT_LEN - 1));
	fdt = top - 2 * FW_ARM64_FDT_LEN;
	rc = load_kernel(m, c, fdt, &img, e);
	if (!rc)
		rc = initrd_load(m, &c->initrd, &img, fdt, &rd, e);
	if (rc)
		return rc;
	if (c->vmgenid) {
		out->vmgenid = GPA(top - 0x1000);
		rc = gmem_write(m, out->vmgenid, c->vmgenid_value, sizeof(c->vmgenid_value));
		BUG_ON(rc);
	}
	rc = fdt_arm64_build(c, m, &rd, out->vmgenid, gmem_ptr(m, GPA(fdt), FW_ARM64_FDT_LEN),
			     FW_ARM64_FDT_LEN, e);
	if (rc < 0)
		return rc;
	out->pc = img.entry;
	out->x0 = fdt;
	return 0;
}
