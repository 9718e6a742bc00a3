/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_devices.c - a hostile driver for each device of the registry, behind the
 * real transport and on a real loop, without KVM. The first byte picks the
 * device, the rest is a program of one-byte operations with operands:
 *
 *	0 register write	1 any access		2 memory write
 *	3 kick			4 round of the loop	5 reset and start over, properly
 *	6 offer a chain		7 status write
 *	8 packet to the file system's device, as from its server	9 the server ends
 *
 * Guest memory is two blocks of exact size, so that a sanitizer sees what leaves
 * them. The rules that the guest must not get around are checked at each step:
 * status bits only grow and queues are frozen from DRIVER_OK to a reset.
 */
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/mman.h>
#include "devices/fs/wire.h"
#include "devices/registry.h"
#include "vmm/virtio_mmio.h"

#define RAM	0x10000u
#define HIGH	0x1000u
#define STRIDE	0x3000u		/* of a queue's rings: descriptors, +0x1000 avail, +0x2000 used */

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *in, size_t n);

static struct loop loop;
static char folder[64], path[80];
static const uint8_t *at, *end;
static struct virtio_mmio mmio;
static struct virtio_dev *dev;
static unsigned char *ram;
static int window, server[2];		/* of the file system: memfd; device's and server's end */
static uint16_t next_desc[VIRTIO_QUEUES_MAX];

static void clean_up(void)
{
	rmdir(folder);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct err e;

	(void)argc;
	(void)argv;
	log_level(LOG_LEVEL_ERROR);
	strcpy(folder, "/tmp/sandbox-fuzz-XXXXXX");
	BUG_ON(!mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/vsock", folder);
	atexit(clean_up);
	BUG_ON(loop_init(&loop, 64, &e));
	window = memfd_create("window", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	BUG_ON(ftruncate(window, FS_WINDOW_BYTES) ||
	       fcntl(window, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_SEAL));
	return 0;
}

/* ---- the input ---------------------------------------------------------------------------- */

static uint64_t take(unsigned bytes)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < bytes && at < end; i++)
		v |= (uint64_t)*at++ << 8 * i;
	return v;
}

/* ---- the machine -------------------------------------------------------------------------- */

static void nothing(struct loop_call *c)
{
	loop_call_done(c);
}

static void round_trip(void)
{
	struct loop_call c = { .fn = nothing };

	loop_post(&loop, &c);
	while (!c.state)
		BUG_ON(loop_once(&loop) < 0);
}

static void settle(void)
{
	while (dev->stopping)
		BUG_ON(loop_once(&loop) < 0);
}

static void access_at(uint64_t off, void *data, unsigned len, bool write)
{
	struct virtq q[VIRTIO_QUEUES_MAX];
	uint32_t status = dev->status;
	uint64_t resets = dev->stat.resets;

	memcpy(q, dev->q, sizeof(q));
	virtio_mmio_register(&mmio, off, data, len, write);
	if (dev->stat.resets != resets)
		return;
	BUG_ON(status & ~dev->status);
	for (unsigned i = 0; (status & VIRTIO_CONFIG_S_DRIVER_OK) && i < VIRTIO_QUEUES_MAX; i++)
		BUG_ON(q[i].size != dev->q[i].size || q[i].ready != dev->q[i].ready ||
		       q[i].desc_at.v != dev->q[i].desc_at.v ||
		       q[i].avail_at.v != dev->q[i].avail_at.v ||
		       q[i].used_at.v != dev->q[i].used_at.v);
}

static void set(uint64_t off, uint32_t v)
{
	access_at(off, &v, sizeof(v), true);
}

/* Reset and negotiate as a driver should, with what the input picks of what is offered. */
static void start_over(void)
{
	uint64_t features = virtio_features(dev) & (take(1) | 0xffffffff00000000u |
						   take(1) << VIRTIO_RING_F_INDIRECT_DESC);
	uint32_t size = 1u << take(1) % 9, status = 0;

	set(VIRTIO_MMIO_STATUS, 0);
	settle();
	set(VIRTIO_MMIO_STATUS, status |= VIRTIO_CONFIG_S_ACKNOWLEDGE);
	set(VIRTIO_MMIO_STATUS, status |= VIRTIO_CONFIG_S_DRIVER);
	for (uint32_t sel = 0; sel < 2; sel++) {
		set(VIRTIO_MMIO_DRIVER_FEATURES_SEL, sel);
		set(VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(features >> 32 * sel));
	}
	set(VIRTIO_MMIO_STATUS, status |= VIRTIO_CONFIG_S_FEATURES_OK);
	for (uint32_t i = 0; i < dev->ops->nqueues; i++) {
		set(VIRTIO_MMIO_QUEUE_SEL, i);
		set(VIRTIO_MMIO_QUEUE_NUM, size < dev->ops->qsize ? size : dev->ops->qsize);
		set(VIRTIO_MMIO_QUEUE_DESC_LOW, i * STRIDE);
		set(VIRTIO_MMIO_QUEUE_AVAIL_LOW, i * STRIDE + 0x1000);
		set(VIRTIO_MMIO_QUEUE_USED_LOW, i * STRIDE + 0x2000);
		set(VIRTIO_MMIO_QUEUE_READY, 1);
		memset(ram + i * STRIDE, 0, STRIDE);
		next_desc[i] = 0;
	}
	set(VIRTIO_MMIO_STATUS, status | VIRTIO_CONFIG_S_DRIVER_OK);
	BUG_ON(!virtio_live(dev));
}

/* Descriptors from the input, linked as a driver links them, and one more available head. */
static void offer(void)
{
	uint32_t i = (uint32_t)take(1) % dev->ops->nqueues, parts = 1 + (uint32_t)take(1) % 4;
	struct vring_desc *desc = (void *)(ram + i * STRIDE);
	uint16_t *avail = (void *)(ram + i * STRIDE + 0x1000);
	uint16_t size = dev->q[i].size ? dev->q[i].size : 1, head = next_desc[i];

	for (uint32_t k = 0; k < parts; k++) {
		struct vring_desc d = {
			.addr = 0x9000 + take(2) % 0x8000, .len = (uint32_t)take(2),
			.flags = (uint16_t)(take(1) & 7), .next = (uint16_t)(next_desc[i] + 1),
		};

		d.flags = (uint16_t)(k + 1 < parts ? d.flags | VRING_DESC_F_NEXT :
						     d.flags & ~VRING_DESC_F_NEXT);
		d.next = (uint16_t)(d.next % size);
		desc[next_desc[i] % 256] = d;
		next_desc[i] = d.next;
	}
	avail[2 + avail[1] % size] = head;
	avail[1]++;
}

/* A server in hostile hands; often enough about a slot that is in flight. */
static void server_speaks(void)
{
	struct fs_packet p = { .slot = (uint32_t)take(1) % (FS_SLOTS + 1) };
	unsigned odd = (unsigned)take(1);

	if (odd & 1)
		(void)!recv(server[1], &p, sizeof(p), MSG_DONTWAIT);
	p.len = (uint32_t)take(3);
	p.room = odd == 0xff;
	p.zero = odd == 0xfe;
	(void)!send(server[1], &p, odd == 0xfd ? 9 : sizeof(p), MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void step(unsigned op)
{
	uint64_t v, off;
	unsigned len;

	switch (op % (!strcmp(dev->ops->name, "fs") ? 10 : 8)) {
	case 0:
		off = 4 * take(1);
		set(off, (uint32_t)take(4));
		break;
	case 1:
		off = take(2) % VIRTIO_MMIO_SIZE;
		len = 1u << take(1) % 4;
		v = take(8);
		access_at(off, &v, len, len & 1 || off & 1);
		break;
	case 2:
		off = take(2);
		len = (unsigned)take(1) % 32;
		for (unsigned i = 0; i < len && off + i < RAM; i++)
			ram[off + i] = (unsigned char)take(1);
		break;
	case 3:
		BUG_ON(eventfd_write(mmio.kick[take(1) % dev->ops->nqueues].fd, 1));
		break;
	case 4:
		round_trip();
		break;
	case 5:
		start_over();
		break;
	case 6:
		offer();
		break;
	case 7:
		set(VIRTIO_MMIO_STATUS, dev->status | (uint32_t)take(1));
		break;
	case 8:
		server_speaks();
		break;
	case 9:
		shutdown(server[1], SHUT_RDWR);
		break;
	}
}

/* A disk of 64 KiB, at times with limits, or read-only. */
static struct conf_dev disk(unsigned pick)
{
	struct conf_dev c = { .fd = memfd_create("disk", MFD_CLOEXEC), .id = "disk" };

	BUG_ON(c.fd < 0 || ftruncate(c.fd, 0x10000));
	c.ro = pick & 0x80;
	c.iops = pick & 0x40 ? 20000 : 0;
	return c;
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t n)
{
	struct conf_dev c = { .path = path, .cid = 3 };
	unsigned char *high;
	unsigned count = 0;
	struct gmem mem;
	struct err e;

	while (virtio_registry[count])
		count++;
	if (n < 2 || n > 4096)
		return 0;
	at = in + 1;
	end = in + n;
	ram = calloc(1, RAM);
	high = calloc(1, HIGH);
	mem = (struct gmem){ .n = 2, .fd = -1,
			     .r = { { 0, RAM, ram }, { 0ull - HIGH, HIGH, high } } };
	if (!strcmp(virtio_registry[in[0] % count]->name, "blk"))
		c = disk(in[0]);
	BUG_ON(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, server));
	c.fs_window = window;
	c.fs_socket = server[0];
	dev = virtio_new(virtio_registry[in[0] % count], &mem, &loop, &c, &e);
	BUG_ON(!dev || virtio_mmio_init(&mmio, dev, &loop, &e));
	while (at < end)
		step((unsigned)take(1));
	round_trip();
	virtio_mmio_stop(&mmio);
	while (loop.busy || dev->stopping)
		BUG_ON(loop_once(&loop) < 0);
	virtio_mmio_exit(&mmio);
	close(server[0]);
	close(server[1]);
	free(ram);
	free(high);
	return 0;
}
