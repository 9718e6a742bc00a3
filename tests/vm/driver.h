/* SPDX-License-Identifier: Apache-2.0 */
/*
 * driver.h - a virtio driver for guest programs that have neither a kernel nor a library:
 * they run in user mode, so at the processor's own speed, with 64 MiB of memory and the
 * devices mapped one to one (driver_start.S), and talk through the log port.
 *
 * A program is one guest_main(); this has what is the same in all of them. Nothing here
 * decides what a driver does next: some keep to the specification, others attack.
 */
#ifndef TESTS_VM_DRIVER_H
#define TESTS_VM_DRIVER_H
#include <linux/virtio_blk.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MMIO		0xd0000000ul
#define STRIDE		0x1000ul
#define SLOTS		16u
#define MEM_END		0x4000000ul	/* 64 MiB, as the machine is asked for */

#define ID_BLK		2u
#define ID_CONSOLE	3u
#define ID_RNG		4u
#define ID_BALLOON	5u
#define ID_VSOCK	19u
#define ID_FS		26u

enum reg {
	R_MAGIC = 0, R_DEVICE_ID = 8, R_FEATURES = 0x10, R_FEATURES_SEL = 0x14, R_DRIVER = 0x20,
	R_DRIVER_SEL = 0x24, R_QSEL = 0x30, R_QMAX = 0x34, R_QNUM = 0x38, R_QREADY = 0x44,
	R_NOTIFY = 0x50, R_STATUS = 0x70, R_DESC = 0x80, R_AVAIL = 0x90, R_USED = 0xa0,
	R_CONFIG = 0x100,
};

#define S_ACK		1u
#define S_DRIVER	2u
#define S_OK		4u
#define S_FEATURES	8u
#define S_NEEDS_RESET	0x40u

#define F_EVENT_IDX	(1ull << 29)
#define F_VERSION_1	(1ull << 32)

#define DESC_NEXT	1u
#define DESC_WRITE	2u
#define DESC_INDIRECT	4u

struct desc { uint64_t addr; uint32_t len; uint16_t flags, next; };

/*
 * The members of a struct that holds a queue's rings of @n entries (virtio 1.2, 2.7), in lines
 * of the cache that are their own.
 */
#define RINGS(n) \
	struct desc desc[n] __attribute__((aligned(64))); \
	struct { uint16_t flags, idx, ring[n], event; } avail __attribute__((aligned(64))); \
	struct { \
		uint16_t flags, idx; \
		struct { uint32_t id, len; } ring[n]; \
		uint16_t event; \
	} used __attribute__((aligned(64)))

/* The program; whoever starts it does not expect it back. @cmdline: address of its words. */
__attribute__((noreturn)) void guest_main(uint32_t cmdline);
__attribute__((noreturn)) void stand_still(void);

/* The compiler makes calls of these. */
void *memset(void *p, int c, size_t n);
void *memcpy(void *d, const void *s, size_t n);

/* To the log port. */
void say(const char *text);
void say_number(uint64_t v);
/* What follows @name (as in "case=") on the command line; "" without it. */
const char *option(const char *line, const char *name);
/* A number at the start of @text; 0 if there is none. */
uint64_t to_number(const char *text);
/* Pseudo-random numbers, always the same ones for a seed, which is decimal digits. */
void rnd_seed(const char *digits);
uint64_t rnd(void);

uint32_t rd(unsigned slot, unsigned reg);
void wr(unsigned slot, unsigned reg, uint32_t v);
bool present(unsigned slot);
/* The first slot with such a device, and, of a disk, with a size. SLOTS: there is none. */
unsigned find(uint32_t id);
uint64_t config_u64(unsigned slot, unsigned off);
uint64_t offered(unsigned slot);		/* features */

/* What a driver does in turn, from a device that was reset. */
void agree(unsigned slot, uint64_t features);	/* ACKNOWLEDGE, DRIVER, these, FEATURES_OK */
/* False if the device has no such queue. */
bool give_queue(unsigned slot, unsigned q, uint32_t size, const void *desc, const void *avail,
		const void *used);
#define give_rings(slot, q, r) \
	give_queue(slot, q, sizeof((r)->desc) / sizeof((r)->desc[0]), (r)->desc, &(r)->avail, \
		   &(r)->used)
void driver_ok(unsigned slot);

/* The three descriptors of a disk's request, from @d[0], which is number @first of its table. */
void blk_chain(struct desc *d, unsigned first, const struct virtio_blk_outhdr *head,
	       const void *data, uint32_t len, unsigned char *status);
#endif
