/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio_mmio.h - the memory-mapped transport, version 2 (virtio 1.2, 4.2).
 *
 *  vCPU thread                       loop's thread
 *  register access --- loop_call --> register file, status machine, device
 *  QUEUE_NOTIFY ------ ioeventfd --> virtio_kick
 *  INTERRUPT_STATUS, INTERRUPT_ACK:  one atomic word, answered on the vCPU thread
 *                      <-- irqfd --- virtio_flush
 *
 * A write of STATUS = 0 returns to the guest only when the device has nothing in
 * flight any more: Linux's driver does not poll for it.
 */
#ifndef VMM_VIRTIO_MMIO_H
#define VMM_VIRTIO_MMIO_H
#include "vmm/virtio.h"

#define VIRTIO_MMIO_SIZE 0x1000u	/* bytes of address space per slot */

struct virtio_mmio;
struct virtio_mmio_kick {
	struct op op;
	struct virtio_mmio *m;
	int fd;				/* eventfd of QUEUE_NOTIFY = index; owned here */
	uint64_t val;
	uint32_t index;
};

struct virtio_mmio {
	struct virtio_dev *dev;
	struct loop *loop;
	int irqfd;			/* eventfd, written to interrupt the guest */
	uint32_t isr;			/* atomic; VIRTIO_MMIO_INT_* */
	uint32_t generation;
	uint32_t dev_features_sel, drv_features_sel, queue_sel;	/* guest-written, unchecked */
	uint64_t drv_features;
	struct loop_call *reset;	/* the vCPUs that wait for a reset, by ->next */
	struct virtio_mmio_kick kick[VIRTIO_QUEUES_MAX];
	bool closing;
};

/*
 * Take @dev (freed by virtio_mmio_exit()) and open its eventfds; listening for
 * kicks begins here. On failure @dev stays the caller's. Loop's thread.
 */
int virtio_mmio_init(struct virtio_mmio *m, struct virtio_dev *dev, struct loop *loop,
		     struct err *e) must_check;
/*
 * Stop the device and cancel the kick reads, on the loop's thread; from now on
 * registers read zero. The loop must run until nothing is busy; then exit.
 */
void virtio_mmio_stop(struct virtio_mmio *m);
void virtio_mmio_exit(struct virtio_mmio *m);
/*
 * A bus_fn, for vCPU threads, which wait for the loop: none may be in here when
 * the loop has ended.
 */
void virtio_mmio_access(void *m, uint64_t off, void *data, unsigned len, bool write);
/* The same on the loop's thread, for tests and fuzzers; a reset may then still be pending. */
void virtio_mmio_register(struct virtio_mmio *m, uint64_t off, void *data, unsigned len,
			  bool write);
#endif
