/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/registry.h"

extern const struct virtio_ops balloon_ops, blk_ops, console_ops, fs_ops, rng_ops, vsock_ops;

const struct virtio_ops *const virtio_registry[] = {
#ifdef CONFIG_VIRTIO_BLK
	&blk_ops,
#endif
#ifdef CONFIG_VIRTIO_CONSOLE
	&console_ops,
#endif
#ifdef CONFIG_VIRTIO_FS
	&fs_ops,
#endif
#ifdef CONFIG_VIRTIO_RNG
	&rng_ops,
#endif
#ifdef CONFIG_VIRTIO_VSOCK
	&vsock_ops,
#endif
#ifdef CONFIG_VIRTIO_BALLOON
	&balloon_ops,
#endif
	NULL
};

const struct virtio_ops *virtio_ops_find(const char *name)
{
	for (const struct virtio_ops *const *o = virtio_registry; *o; o++)
		if (!strcmp((*o)->name, name))
			return *o;
	return NULL;
}
