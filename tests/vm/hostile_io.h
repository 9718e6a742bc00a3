/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hostile_io.h - what the attacks on disks and shared folders have in common: rings that take
 * many requests at once, each in an indirect table of its own.
 */
#ifndef TESTS_VM_HOSTILE_IO_H
#define TESTS_VM_HOSTILE_IO_H
#include "tests/vm/hostile.h"

#define HEADS		128u		/* of a queue */
#define PARTS		4u		/* of a chain */
#define BIG		0x2000000ul	/* memory that nothing else uses, up to MEM_END */
#define BIG_BYTES	(MEM_END - BIG)

/* Reset, negotiate without the features @without, rings of HEADS for all queues, DRIVER_OK. */
void io_begin(unsigned slot, uint64_t without);
/* Make a chain available at @head of queue @q, without a notification. */
void io_post(unsigned q, unsigned head, const struct desc *part, unsigned parts);
void io_notify(unsigned slot, unsigned q);
/* How many chains of @q came back since io_begin(). */
unsigned io_used(unsigned q);
/* Until all that was posted in @q is back. False: it takes for ever. */
bool io_all(unsigned slot, unsigned q);
/* One chain alone: post, notify, wait. */
bool io_one(unsigned slot, unsigned q, const struct desc *part, unsigned parts);
/* `slot N WORD V`: one line of what the attack found. */
void tell(unsigned slot, const char *word, uint64_t v);
bool is_device(unsigned slot, unsigned id);
bool offers(unsigned slot, unsigned feature);

/*
 * A device as it should be used, after a reset: the first bytes of its disk, of the file
 * `f` in a share that is read-only. Tells `slot N serves V`: these bytes as a number, or an errno.
 */
void disk_serves(unsigned slot);
void shares_serve(unsigned slot);

extern const struct attack disk_attacks[], share_attacks[];
#endif
