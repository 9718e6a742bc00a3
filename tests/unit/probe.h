/* SPDX-License-Identifier: Apache-2.0 */
/*
 * probe.h - a device for tests of the core: it notes what it is told, and can
 * keep chains in flight and drain slowly, as one with real I/O does.
 */
#ifndef TESTS_PROBE_H
#define TESTS_PROBE_H
#include "vmm/virtio.h"

#define PROBE_QUEUES	2
#define PROBE_FEATURE	5		/* the one feature bit of its own */
#define PROBE_HELD	64

struct probe {
	struct virtio_dev v;
	uint8_t before, cfg[12], after;	/* configuration space between two canaries */
	bool hold;			/* keep chains until probe_complete() */
	bool slow;			/* stop() with chains held says "later" */
	struct vchain held[PROBE_HELD];
	struct virtq *held_q[PROBE_HELD];
	unsigned nheld, served;
	unsigned starts, stops, closing_stops, kicks[PROBE_QUEUES], cfg_writes;
	size_t cfg_off, cfg_len;
};

/* probe_ops: writable configuration. probe_ro_ops: without. */
extern const struct virtio_ops probe_ops, probe_ro_ops;
extern unsigned probe_opened, probe_closed;

/* What I/O in flight does when it ends: give all chains back; end a slow stop. */
void probe_complete(struct probe *p);
#endif
