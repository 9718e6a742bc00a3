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
#include "tests/vm/driver.h"

#define QMAX		4u
#define QSIZE		8u

struct rings { RINGS(QSIZE); };		/* of one queue */

extern struct rings rings[SLOTS][QMAX];
extern struct desc table[2 * QSIZE];	/* the second half stays empty */
extern unsigned char buffer[1 << 20];
extern unsigned neighbour;	/* the slot that has to work while the others are attacked */

/* What a driver does, up to a point. */
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
