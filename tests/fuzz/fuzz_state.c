/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A saved state from nowhere: the container, and a device's section in it. The
 * first byte chooses whether the checksum is made right, so that the fuzzer gets
 * behind it.
 */
#include <string.h>
#include "devices/registry.h"
#include "vmm/virtio_state.h"
#include "vmm/vmgenid.h"

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t n);

static void load_device(const struct blob *b, const struct virtio_ops *ops)
{
	static struct loop loop;
	static bool started;
	unsigned char *ram = calloc(1, 0x10000);
	struct gmem mem = { .n = 1, .r = { { 0, 0x10000, ram } }, .fd = -1 };
	struct conf_dev c = { .dev = ops->name };
	struct virtio_mmio m;
	struct virtio_dev *d;
	struct err e = { 0 };

	if (!started && loop_init(&loop, 64, &e))
		abort();
	started = true;
	loop.stop = false;
	d = virtio_new(ops, &mem, &loop, &c, &e);
	if (!d || virtio_mmio_init(&m, d, &loop, &e))
		abort();
	if (!virtio_state_load(&m, 0, b, &e) && loop_once(&loop))
		abort();
	virtio_mmio_stop(&m);
	loop.stop = true;
	if (loop_run(&loop))
		abort();
	virtio_mmio_exit(&m);
	free(ram);
}

/* Whatever address is accepted can be written to. */
static void load_genid(const struct blob *b)
{
	unsigned char *ram = calloc(1, 0x10000);
	struct gmem mem = { .n = 1, .r = { { 0, 0x10000, ram } }, .fd = -1 };
	struct vmgenid g = { 0 };
	struct err e = { 0 };

	if (!vmgenid_load(&g, &mem, b, &e) && g.at.v &&
	    gmem_write(&mem, g.at, "0123456789abcdef", VMGENID_LEN))
		abort();
	free(ram);
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t n)
{
	struct blob b;
	struct err e = { 0 };
	uint8_t *copy;
	uint64_t len;
	uint32_t crc;

	if (!n)
		return 0;
	copy = malloc(n);
	memcpy(copy, in + 1, n - 1);
	if (in[0] & 1 && n - 1 >= 24) {
		memcpy(copy, "SBXSTATE\0\0\0", 12);
		copy[8] = BLOB_VERSION;
		len = n - 1;
		memcpy(copy + 16, &len, 8);
		crc = blob_crc(copy + 16, n - 1 - 16);
		memcpy(copy + 12, &crc, 4);
	}
	if (!blob_open(&b, copy, n - 1, &e)) {
		static const char *const names[] = { "rng", "console", "balloon", "console" };
		const struct virtio_ops *ops = virtio_ops_find(names[in[0] >> 1 & 3]);

		if (ops)
			load_device(&b, ops);
		load_genid(&b);
	}
	blob_free(&b);
	return 0;
}
