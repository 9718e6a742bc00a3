/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio_state.h - a virtio device and its transport, to and from a saved state.
 *
 * What backs the device (socket path, file) is not part of it: that is given
 * anew where the state is loaded. Loop's thread, no vCPU runs.
 */
#ifndef VMM_VIRTIO_STATE_H
#define VMM_VIRTIO_STATE_H
#include "vmm/blob.h"
#include "vmm/virtio_mmio.h"

/* Add device @index to @b. -EBUSY while a chain of it is in flight. */
int virtio_state_save(const struct virtio_mmio *m, uint32_t index, struct blob *b,
		      struct err *e) must_check;
/*
 * Into a fresh device of the same kind. The state's words are checked like a
 * driver's: queues that do not fit this memory are refused, -EBADMSG. Then the
 * device is live, ops->restored has been called, and every queue will be kicked
 * once the loop runs, because kicks from before the save may not have been read.
 */
int virtio_state_load(struct virtio_mmio *m, uint32_t index, const struct blob *b,
		      struct err *e) must_check;
#endif
