/* SPDX-License-Identifier: Apache-2.0 */
/*
 * layout_arm64.h - the guest physical address map on arm64.
 *
 *	0x0800_0000  GICv3 distributor, 64 KiB
 *	0x080a_0000  GICv3 redistributors, 128 KiB per CPU
 *	0x0d00_0000  virtio-mmio slots, 4 KiB apart
 *	0x0d0f_0000  power register
 *	0x0d0f_1000  pvpanic
 *	0x4000_0000  RAM; kernel at the next 2 MiB boundary plus its text_offset
 *	             ... initrd, page aligned
 *	top - 128 K  device tree, 64 KiB, so that it crosses no 2 MiB boundary
 *	top - 4 KiB  page of the VM generation id, if any
 *
 * "top" is the end of the first RAM region rounded down to 64 KiB.
 */
#ifndef FIRMWARE_LAYOUT_ARM64_H
#define FIRMWARE_LAYOUT_ARM64_H

#define FW_ARM64_GICD		0x08000000ull
#define FW_ARM64_GICD_LEN	0x10000ull
#define FW_ARM64_GICR		0x080a0000ull
#define FW_ARM64_GICR_STRIDE	0x20000ull
#define FW_ARM64_VIRTIO		0x0d000000ull
#define FW_ARM64_RAM		0x40000000ull
#define FW_ARM64_FDT_LEN	0x10000ull
#define FW_ARM64_SPIS		988u	/* INTIDs 32..1019 */

_Static_assert(FW_ARM64_GICR + 255 * FW_ARM64_GICR_STRIDE <= FW_ARM64_VIRTIO, "layout");
#endif
