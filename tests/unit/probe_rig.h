/* SPDX-License-Identifier: Apache-2.0 */
/* probe_rig.h - a probe on the rig, made before each test of a file and gone after it. */
#ifndef TESTS_PROBE_RIG_H
#define TESTS_PROBE_RIG_H
#include "tests/unit/probe.h"
#include "tests/unit/rig.h"

#define ACK	VIRTIO_CONFIG_S_ACKNOWLEDGE
#define DRV	VIRTIO_CONFIG_S_DRIVER
#define FEAT	VIRTIO_CONFIG_S_FEATURES_OK
#define OK	VIRTIO_CONFIG_S_DRIVER_OK
#define NEEDS	VIRTIO_CONFIG_S_NEEDS_RESET
#define GONE	VIRTIO_CONFIG_S_FAILED
#define V1	(1ull << VIRTIO_F_VERSION_1)
#define EVENT	(1ull << VIRTIO_RING_F_EVENT_IDX)

static struct rig r;
static struct probe *p;

static inline void probe_rig_open(void)
{
	log_level(LOG_LEVEL_ERROR);
	rig_open(&r, &probe_ops, NULL);
	p = container_of(r.d, struct probe, v);
}

static inline void probe_rig_close(void)
{
	rig_close(&r);
}

/* A chain of one part that the device may write. Returns its head. */
static inline uint16_t add(unsigned queue)
{
	return rig_add(&r, queue, &(struct rig_part){ NULL, 64, true }, 1);
}
#endif
