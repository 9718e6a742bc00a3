/* SPDX-License-Identifier: Apache-2.0 */
/*
 * registry.h - every device that was configured in, by name. A new device is one
 * entry in registry.c; tests and fuzzers find it by walking the list.
 */
#ifndef DEVICES_REGISTRY_H
#define DEVICES_REGISTRY_H
#include "vmm/virtio.h"

extern const struct virtio_ops *const virtio_registry[];	/* ends with NULL */

/* The device called @name, or NULL. */
const struct virtio_ops *virtio_ops_find(const char *name) must_check;
#endif
