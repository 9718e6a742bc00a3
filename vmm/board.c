/* SPDX-License-Identifier: Apache-2.0 */
/*
 * board.c - handlers for vCPU threads; none of them has any state, so there is
 * nothing to lock and nothing to save.
 */
#include "vmm/board.h"
#include "vmm/log.h"
#include "vmm/machine.h"

#define POWER_OFF	1u		/* values of the power register, as in the device tree */
#define POWER_RESET	2u
#define KEYBOARD_RESET	0xfeu		/* the keyboard controller's one command: pulse reset */
#define SERIAL_LSR	5u
#define LSR_IDLE	0x60u		/* THRE and TEMT: ready for the next byte */

static void power_access(void *owner, uint64_t off, void *data, unsigned len, bool write)
{
	struct board *b = owner;
	uint32_t value = 0;

	if (!write || off)
		return;
	memcpy(&value, data, len < sizeof(value) ? len : sizeof(value));
	if (value == POWER_OFF)
		b->event(b, BOARD_POWEROFF);
	else if (value == POWER_RESET)
		b->event(b, BOARD_RESET);
}

/* pvpanic: a read tells which events are known, bit 0 written is a panic. */
static void pvpanic_access(void *owner, uint64_t off, void *data, unsigned len, bool write)
{
	struct board *b = owner;
	uint8_t *p = data;

	(void)len;
	if (off)
		return;
	if (!write)
		*p = 1;
	else if (*p & 1)
		b->event(b, BOARD_PANIC);
}

/* A read says "input buffer empty", so that the kernel does not wait before it resets. */
static void keyboard_access(void *owner, uint64_t off, void *data, unsigned len, bool write)
{
	struct board *b = owner;
	const uint8_t *p = data;

	(void)off;
	(void)len;
	if (write && *p == KEYBOARD_RESET)
		b->event(b, BOARD_RESET);
}

/* Transmit only and always ready: enough for the kernel's early console. */
static void serial_access(void *owner, uint64_t off, void *data, unsigned len, bool write)
{
	uint8_t *p = data;

	(void)owner;
	(void)len;
	if (write && off == 0)
		log_console(p, 1);
	if (!write)
		*p = off == SERIAL_LSR ? LSR_IDLE : 0;
}

/* A read gives the port's number, which tells the guest that there is something behind it. */
static void log_port_access(void *owner, uint64_t off, void *data, unsigned len, bool write)
{
	(void)owner;
	(void)off;
	if (write)
		log_console(data, len);
	else
		memset(data, MACHINE_PORT_LOG, len);
}

void board_open(struct board *b, struct bus *mmio, struct bus *pio)
{
	const struct { struct bus *bus; uint64_t at, len; bus_fn *fn; } r[] = {
		{ mmio, MACHINE_POWER, MACHINE_PAGE, power_access },
		{ mmio, MACHINE_PVPANIC, MACHINE_PAGE, pvpanic_access },
		{ pio, MACHINE_PORT_KEYBOARD, 1, keyboard_access },
		{ pio, MACHINE_PORT_SERIAL, 8, serial_access },
		{ pio, MACHINE_PORT_LOG, 1, log_port_access },
	};

	for (size_t i = 0; i < ARRAY_LEN(r); i++) {
		int rc = bus_add(r[i].bus, r[i].at, r[i].len, r[i].fn, b);

		BUG_ON(rc);	/* the map is ours and has no overlap */
	}
}
