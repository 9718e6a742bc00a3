/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rig.h - a driver in plain memory, for tests of devices: real transport, real
 * loop, no KVM. Every step that should not fail is asserted inside.
 *
 *	struct rig r;
 *	rig_open(&r, &ops, &conf);
 *	rig_start(&r, 0);
 *	rig_add(&r, 0, (struct rig_part[]){ { "x", 1, 0 }, { NULL, 64, 1 } }, 2);
 *	rig_kick(&r, 0);
 *	rig_run(&r);
 *	n = rig_used(&r, 0, &len) ...
 *	rig_close(&r);
 *
 * Guest memory is one block of RIG_RAM bytes from the heap at RIG_BASE, so that a
 * sanitizer sees what goes past its end. Queue i has its rings in the block's
 * i-th RIG_QUEUE bytes; buffers come from the rest and are never reused.
 */
#ifndef TESTS_RIG_H
#define TESTS_RIG_H
#include <criterion/criterion.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include "vmm/virtio_mmio.h"

#define RIG_BASE	0x40000000ull
#define RIG_RAM		0x100000u
#define RIG_QUEUE	0x4000u		/* descriptors, +0x2000 avail, +0x3000 used */
#define RIG_SIZE	16u		/* entries per queue */
#define RIG_OK		(VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | \
			 VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK)

struct rig_queue {
	struct vring_desc *desc;
	uint16_t *avail;		/* [0] flags, [1] index, [2..] ring; then used_event */
	uint16_t *used;			/* [0] flags, [1] index */
	uint16_t size, next_desc, seen;
};

struct rig {
	unsigned char *ram;
	uint32_t next_buf;		/* offset of the first free byte of ram */
	struct gmem mem;
	struct loop *loop;
	bool own_loop;
	struct virtio_mmio m;
	struct virtio_dev *d;
	struct rig_queue q[VIRTIO_QUEUES_MAX];
};

/* One descriptor: @data (or zeroes) of @len bytes, which the device may write or only read. */
struct rig_part { const void *data; uint32_t len; bool writable; };

/* Memory, loop, device, transport; nothing is negotiated yet. @conf may be NULL. */
void rig_open(struct rig *r, const struct virtio_ops *ops, const struct conf_dev *conf);
/* The same on the loop of another rig, which must be closed after this one. */
void rig_open_beside(struct rig *r, const struct virtio_ops *ops, const struct conf_dev *conf,
		     struct rig *other);
/* Negotiate VERSION_1 and @features (bits), set up all queues, DRIVER_OK. */
void rig_start(struct rig *r, uint64_t features);
/* The two halves of it: up to FEATURES_OK; and the registers and rings of queue @i. */
void rig_negotiate(struct rig *r, uint64_t features);
void rig_queue(struct rig *r, unsigned i);
void rig_close(struct rig *r);

/* A 32-bit register. */
uint32_t rig_get(struct rig *r, uint64_t off);
void rig_set(struct rig *r, uint64_t off, uint32_t v);
/* STATUS as rig_get(), ORed with @bits and written; returns what is read afterwards. */
uint32_t rig_status(struct rig *r, uint32_t bits);

/* A fresh zeroed buffer: its guest address, and where it is here. */
gpa_t rig_buf(struct rig *r, uint32_t len, void **here);
void *rig_at(struct rig *r, gpa_t at);
/* Chain @n parts and make them available; returns the head. Descriptors are used round robin. */
uint16_t rig_add(struct rig *r, unsigned queue, const struct rig_part *part, unsigned n);
/* Where part @n of the chain at @head is in memory. */
unsigned char *rig_part_at(struct rig *r, unsigned queue, uint16_t head, unsigned n);
/* Make a head available as it is; for chains that the test builds by hand. */
void rig_offer(struct rig *r, unsigned queue, uint16_t head);
void rig_kick(struct rig *r, unsigned queue);
/* Rounds of the loop until no kick is pending. */
void rig_run(struct rig *r);
/* Next used chain: its head, or -1; *len (may be NULL): bytes written. */
int rig_used(struct rig *r, unsigned queue, uint32_t *len);
/* Interrupts since the last call: INTERRUPT_STATUS, acknowledged. *raised (may be NULL): irqfd. */
uint32_t rig_irq(struct rig *r, bool *raised);
#endif
