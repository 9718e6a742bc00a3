/* SPDX-License-Identifier: Apache-2.0 */
/*
 * busy.h - private to the busy guest, a program without a kernel or a library that keeps every
 * device at work, in user mode and so at the processor's own speed, and looks at all that comes
 * of it. It prints, through the log port,
 *
 *	work rng N blk N balloon N console N vsock N
 *
 * from time to time: how many requests of each came back as they should; `bad WHAT` when one
 * did not, and then stands still; `connected`, `gone` about the one connection that it takes.
 */
#ifndef TESTS_VM_BUSY_H
#define TESTS_VM_BUSY_H
#include "tests/vm/driver.h"

#define ENTRIES	16u

struct ring {
	RINGS(ENTRIES);
	unsigned slot, q;
	uint16_t seen;
};

/* As say(), between two texts of the console, which go the same way. */
void print(const char *text);
__attribute__((noreturn)) void bad(const char *what);
/* Begin with the device of this id: its queue @q is r[q], for q < n. */
void begin(uint32_t id, struct ring *r, unsigned n, uint64_t features);
/* Make the chain that begins at descriptor @head available. */
void submit(struct ring *r, unsigned head);
/* The head of a chain that was used, and how much was written; -1: none. */
int reap(struct ring *r, uint32_t *len);

/* A connection to this guest, on which it sends numbers from 0 on, 64 bits each. */
void vsock_begin(void);
uint64_t vsock_work(void);		/* packets sent so far */
#endif
