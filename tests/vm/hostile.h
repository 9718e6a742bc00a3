/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hostile.h - private to the hostile guest, a program without a kernel or a library
 * that attacks every virtio device it finds. Its command line says how:
 *
 *	case=NAME [seed=N]
 *
 * It talks through the log port, one line each:
 *
 *	slot N id D status S	what a device's status was after the attack
 *	alive			a device that was reset, or was not attacked, gave what was asked
 *	done			the end; then it stands still
 */
#ifndef TESTS_VM_HOSTILE_H
#define TESTS_VM_HOSTILE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MMIO		0xd0000000ul
#define STRIDE		0x1000ul
#define SLOTS		16u
#define MEM_END		0x4000000ul	/* 64 MiB, as the test asks for */
#define QMAX		4u
#define QSIZE		8u

#define ID_RNG		4u
#define ID_CONSOLE	3u
#define ID_BALLOON	5u

#define DESC_NEXT	1u
#define DESC_WRITE	2u
#define DESC_INDIRECT	4u

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

struct desc { uint64_t addr; uint32_t len; uint16_t flags, next; };
struct avail { uint16_t flags, idx, ring[QSIZE], event; };
struct used { uint16_t flags, idx; struct { uint32_t id, len; } ring[QSIZE]; uint16_t event; };

/* Rings of one queue. */
struct rings {
	struct desc desc[QSIZE] __attribute__((aligned(16)));
	struct avail avail __attribute__((aligned(4)));
	struct used used __attribute__((aligned(4)));
};

extern struct rings rings[SLOTS][QMAX];
extern struct desc table[2 * QSIZE];	/* the second half stays empty */
extern unsigned char buffer[1 << 20];
extern unsigned neighbour;	/* the slot that has to work while the others are attacked */

void *memset(void *p, int c, size_t n);
void *memcpy(void *d, const void *s, size_t n);
uint32_t rd(unsigned slot, unsigned reg);
void wr(unsigned slot, unsigned reg, uint32_t v);
uint64_t rnd(void);
void say(const char *text);
void say_number(uint64_t v);
bool same(const char *a, const char *b);

/* What a driver does, up to a point. */
void set_address(unsigned slot, unsigned reg, const void *p);
void reset(unsigned slot);
/* ACKNOWLEDGE, DRIVER, all features but those of @without, FEATURES_OK. */
void negotiate(unsigned slot, uint64_t without);
/* Give all queues their rings. */
void set_up(unsigned slot);
void start(unsigned slot);		/* all of these, and DRIVER_OK */
/* Make head 0 of every queue available, and notify. */
void offer(unsigned slot, unsigned heads);
/* Some time for the other side. */
void wait_a_little(unsigned slot);
/* A device as it should be used: does it still do its work? */
bool works(unsigned slot);

struct attack { const char *name; void (*run)(unsigned slot); };
extern const struct attack attacks[];
#endif
