/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fdt.h - the device trees (Devicetree Specification 0.4).
 *
 * A tree is written front to back with libfdt's sequential calls. The writer
 * below remembers the first error, so that a builder is a list of calls with
 * one check at its end.
 */
#ifndef FIRMWARE_FDT_H
#define FIRMWARE_FDT_H
#include "firmware/image.h"

struct fdt_writer { void *fdt; int err; };

/*
 * fdt_x86_build, fdt_arm64_build - write the tree for @c into the @len bytes at
 * @buf, which are part of guest memory or of a test. @vmgenid: address of the
 * page, 0 for none. Return the tree's size or -errno with @e (-EFBIG: no room).
 */
int fdt_x86_build(const struct fw_conf *c, gpa_t vmgenid, void *buf, size_t len,
		  struct err *e) must_check;
int fdt_arm64_build(const struct fw_conf *c, const struct gmem *m, const struct initrd *rd,
		    gpa_t vmgenid, void *buf, size_t len, struct err *e) must_check;

/* Writer calls: no effect after the first error. */
void fdtw_init(struct fdt_writer *w, void *buf, size_t len);
int fdtw_finish(struct fdt_writer *w, struct err *e) must_check;	/* size or -errno */
void fdtw_begin(struct fdt_writer *w, const char *name);
void fdtw_begin_at(struct fdt_writer *w, const char *name, uint64_t unit);
void fdtw_end(struct fdt_writer *w);
void fdtw_flag(struct fdt_writer *w, const char *name);
void fdtw_str(struct fdt_writer *w, const char *name, const char *value);
void fdtw_u32(struct fdt_writer *w, const char *name, uint32_t value);
void fdtw_cells(struct fdt_writer *w, const char *name, const uint32_t *cells, size_t n);
void fdtw_bytes(struct fdt_writer *w, const char *name, const void *p, size_t len);
/* reg with two address and two size cells, @n pairs of (address, length) */
void fdtw_reg(struct fdt_writer *w, const uint64_t (*reg)[2], size_t n);

/*
 * fdtw_devices - the nodes that both architectures share: virtio-mmio slots,
 * power register with poweroff and reboot, pvpanic, vmgenid. @irq writes the
 * "interrupts" property for an edge-triggered @gsi. Uses phandle
 * FDTW_PHANDLE_POWER; FDTW_PHANDLE_INTC is the root's interrupt-parent.
 */
#define FDTW_PHANDLE_INTC	1u
#define FDTW_PHANDLE_POWER	2u
void fdtw_devices(struct fdt_writer *w, const struct fw_conf *c, gpa_t vmgenid,
		  void (*irq)(struct fdt_writer *w, uint32_t gsi));
#endif
