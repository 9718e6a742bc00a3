/* SPDX-License-Identifier: Apache-2.0 */
/*
 * board.h - the few devices that are not virtio: how a guest switches itself
 * off, asks for a reset, reports a panic, and prints before it has drivers.
 */
#ifndef VMM_BOARD_H
#define VMM_BOARD_H
#include "vmm/bus.h"

enum board_event { BOARD_POWEROFF = 1, BOARD_RESET, BOARD_PANIC };

struct board {
	/* Called on a vCPU thread, as often as the guest likes. */
	void (*event)(struct board *b, enum board_event ev);
};

/* Put the devices on the buses; machine.h says where. @b must outlive the buses. */
void board_open(struct board *b, struct bus *mmio, struct bus *pio);
#endif
