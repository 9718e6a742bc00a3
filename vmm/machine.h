/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine.h - the board: which address and which interrupt is what. The guest
 * learns all of it from the device tree.
 */
#ifndef VMM_MACHINE_H
#define VMM_MACHINE_H
#include "vmm/conf.h"

#define MACHINE_HOLE		0xc0000000ull	/* RAM below, then devices, then RAM from 4 GiB */
#define MACHINE_HIGH		0x100000000ull
#define MACHINE_VIRTIO		0xd0000000ull	/* slot 0; one page each */
#define MACHINE_VIRTIO_STRIDE	0x1000ull
#define MACHINE_POWER		0xd0100000ull	/* power register: off and reset */
#define MACHINE_PVPANIC		0xd0101000ull	/* panic event byte */
#define MACHINE_PAGE		0x1000ull

#define MACHINE_VMGENID_GSI	13u		/* the generation id has changed; see vmgenid.h */

/* Ports of the boot-time console: a whole string per exit, and the classic serial port. */
#define MACHINE_PORT_LOG	0xe9u
#define MACHINE_PORT_SERIAL	0x3f8u
#define MACHINE_PORT_KEYBOARD	0x64u		/* 0xfe resets: Linux's reboot=k */

/*
 * I/O APIC pin of a slot: 16 to 23, then 5 to 12. Pins are edge-triggered and not
 * shared. The table is as long as CONF_SLOTS_MAX.
 */
static inline unsigned machine_gsi(unsigned slot)
{
	return slot < 8 ? 16 + slot : slot - 3;
}
#endif
