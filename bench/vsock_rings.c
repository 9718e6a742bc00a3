/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vsock_rings - what the socket device itself can carry: no KVM and no guest
 * kernel, but a thread that drives the rings in plain memory, another that is
 * the Unix client, and the device's loop as it is in the monitor.
 *
 *   vsock_rings [MIB]        prints a line of JSON for each case
 *
 * The guest offers buffers like Linux's (a page less its own overhead), then
 * large ones; it announces credit when less than 64 KiB of 256 are known.
 */
#include <endian.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <time.h>
#include "devices/vsock.h"
#include "vmm/virtio_mmio.h"

#define RAM	(64u << 20)
#define BASE	0x40000000ull
#define SIZE	256u
#define ALLOC	(256u << 10)
#define CHUNK	(64u << 10)
#define PORT	1024u

struct ring {
	struct vring_desc *desc;
	uint16_t *avail, *used, seen;
};

static struct bench {
	unsigned char *ram;
	struct loop loop;
	struct virtio_mmio m;
	struct ring q[3];
	char dir[32], path[48];
	uint64_t bytes;			/* to carry */
	uint32_t rx_len;
	bool up;			/* from the guest */
	int stop, finished;
	double seconds;
	uint32_t hport, fwd, told, sent, peer_alloc, peer_fwd;
	bool open;
	struct loop_call end;
} b;

/* What this thread, the loop's, has used of a processor. */
static double loop_cpu(void)
{
	struct rusage u;

	getrusage(RUSAGE_THREAD, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- the driver ---- */

static void set(uint64_t off, uint32_t v)
{
	virtio_mmio_register(&b.m, off, &v, sizeof(v), true);
}

static void start(void)
{
	uint64_t features = 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_EVENT_IDX;

	set(VIRTIO_MMIO_STATUS, 1);
	set(VIRTIO_MMIO_STATUS, 3);
	for (uint32_t i = 0; i < 2; i++) {
		set(VIRTIO_MMIO_DRIVER_FEATURES_SEL, i);
		set(VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(features >> 32 * i));
	}
	set(VIRTIO_MMIO_STATUS, 11);
	for (unsigned i = 0; i < 3; i++) {
		unsigned char *at = b.ram + i * 0x4000;

		memset(at, 0, 0x4000);
		b.q[i] = (struct ring){ .desc = (void *)at, .avail = (void *)(at + 0x2000),
					.used = (void *)(at + 0x3000) };
		set(VIRTIO_MMIO_QUEUE_SEL, i);
		set(VIRTIO_MMIO_QUEUE_NUM, SIZE);
		set(VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)(BASE + i * 0x4000));
		set(VIRTIO_MMIO_QUEUE_AVAIL_LOW, (uint32_t)(BASE + i * 0x4000 + 0x2000));
		set(VIRTIO_MMIO_QUEUE_USED_LOW, (uint32_t)(BASE + i * 0x4000 + 0x3000));
		set(VIRTIO_MMIO_QUEUE_READY, 1);
	}
	set(VIRTIO_MMIO_STATUS, 15);
}

static void offer(unsigned q, uint16_t head)
{
	uint16_t i = b.q[q].avail[1];

	b.q[q].avail[2 + i % SIZE] = head;
	__atomic_store_n(&b.q[q].avail[1], (uint16_t)(i + 1), __ATOMIC_RELEASE);
}

/* Kick if the device has asked for it since the ring held @old chains. */
static void kick(unsigned q, uint16_t old)
{
	uint16_t event;

	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	event = __atomic_load_n(&b.q[q].used[2 + 4 * SIZE], __ATOMIC_RELAXED);
	if (vring_need_event(event, b.q[q].avail[1], old))
		eventfd_write(b.m.kick[q].fd, 1);
}

static bool fresh(unsigned q)
{
	return __atomic_load_n(&b.q[q].used[1], __ATOMIC_ACQUIRE) != b.q[q].seen;
}

static uint16_t next_used(unsigned q)
{
	struct vring_used_elem e;

	memcpy(&e, (unsigned char *)b.q[q].used + 4 + sizeof(e) * (b.q[q].seen++ % SIZE),
	       sizeof(e));
	return (uint16_t)e.id;
}

/* ---- the guest ---- */

static unsigned char *tx_buf(unsigned i)
{
	return b.ram + (1u << 20) + (size_t)i * (CHUNK + 4096);
}

static unsigned char *rx_buf(unsigned i)
{
	return b.ram + (32u << 20) + (size_t)i * (CHUNK + 4096);
}

static void send_packet(uint16_t op, uint32_t len)
{
	uint16_t old = b.q[1].avail[1], i = old % SIZE;
	struct virtio_vsock_hdr h = {
		.src_cid = htole64(3), .dst_cid = htole64(2), .src_port = htole32(PORT),
		.dst_port = htole32(b.hport), .type = htole16(1), .op = htole16(op),
		.len = htole32(len), .buf_alloc = htole32(ALLOC), .fwd_cnt = htole32(b.fwd),
	};

	while ((uint16_t)(old - b.q[1].seen) == SIZE)
		if (fresh(1))
			next_used(1);
	memcpy(tx_buf(i), &h, sizeof(h));
	b.q[1].desc[i] = (struct vring_desc){ .addr = BASE + (uint64_t)(tx_buf(i) - b.ram),
					      .len = VSOCK_HDR + len };
	b.told = b.fwd;
	b.sent += len;
	offer(1, i);
	kick(1, old);
}

static void receive(void)
{
	uint16_t old = b.q[0].avail[1];
	struct virtio_vsock_hdr h;

	while (fresh(0)) {
		uint16_t head = next_used(0);

		memcpy(&h, b.ram + (b.q[0].desc[head].addr - BASE), sizeof(h));
		offer(0, head);
		b.peer_alloc = le32toh(h.buf_alloc);
		b.peer_fwd = le32toh(h.fwd_cnt);
		if (le16toh(h.op) == VIRTIO_VSOCK_OP_REQUEST) {
			b.hport = le32toh(h.src_port);
			send_packet(VIRTIO_VSOCK_OP_RESPONSE, 0);
			b.open = true;
		}
		b.fwd += le32toh(h.len);
		if (ALLOC - (b.fwd - b.told) < CHUNK)
			send_packet(VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0);
	}
	kick(0, old);
}

static void *guest(void *arg)
{
	uint64_t left = b.bytes;

	(void)arg;
	while (!__atomic_load_n(&b.stop, __ATOMIC_ACQUIRE)) {
		uint32_t room = b.peer_alloc - (b.sent - b.peer_fwd);
		struct pollfd w = { .fd = b.m.irqfd, .events = POLLIN };
		eventfd_t n;

		if (fresh(0)) {
			receive();
		} else if (b.up && b.open && left && room) {
			room = room < CHUNK ? room : CHUNK;
			room = room < left ? room : (uint32_t)left;
			send_packet(VIRTIO_VSOCK_OP_RW, room);
			left -= room;
		} else {	/* used_event: at the next one */
			__atomic_store_n(&b.q[0].avail[2 + SIZE], b.q[0].seen, __ATOMIC_SEQ_CST);
			if (!fresh(0))
				poll(&w, 1, 10);
			(void)!eventfd_read(b.m.irqfd, &n);
		}
	}
	return NULL;
}

/* ---- the client ---- */

static void finish(struct loop_call *c)
{
	b.finished = 1;
	loop_call_done(c);
}

static void *client(void *arg)
{
	static char block[256 << 10];
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	uint64_t done = 0;
	double t;

	(void)arg;
	memcpy(sa.sun_path, b.path, sizeof(b.path));
	BUG_ON(connect(fd, (struct sockaddr *)&sa, sizeof(sa)));
	dprintf(fd, "CONNECT %u\n", PORT);
	BUG_ON(recv(fd, block, 14, MSG_WAITALL) != 14);
	t = now();
	while (done < b.bytes) {
		ssize_t n = b.up ? recv(fd, block, sizeof(block), 0) :
				   send(fd, block, sizeof(block), MSG_NOSIGNAL);

		BUG_ON(n <= 0);
		done += (uint64_t)n;
	}
	while (!b.up && __atomic_load_n(&b.fwd, __ATOMIC_RELAXED) != (uint32_t)done)
		usleep(100);
	b.seconds = now() - t;
	close(fd);
	__atomic_store_n(&b.stop, 1, __ATOMIC_RELEASE);
	b.end.fn = finish;
	loop_call(&b.loop, &b.end);
	return NULL;
}

static void measure(const char *name, bool up, uint32_t rx_len, uint64_t bytes)
{
	struct gmem mem = { .n = 1, .r = { { BASE, RAM, b.ram } }, .fd = -1 };
	struct conf_dev c = { .dev = "vsock", .path = b.path, .cid = 3 };
	double cpu, gbit = (double)bytes * 8 / 1e9;
	pthread_t g, cl;
	struct err e = { 0 };
	struct virtio_dev *d = virtio_new(&vsock_ops, &mem, &b.loop, &c, &e);

	BUG_ON(!d || virtio_mmio_init(&b.m, d, &b.loop, &e));
	b.fwd = b.told = b.sent = b.peer_alloc = b.peer_fwd = 0;
	b.open = false;
	b.stop = b.finished = 0;
	b.up = up;
	b.bytes = bytes;
	start();
	for (unsigned i = 0; i < SIZE; i++) {
		b.q[0].desc[i] = (struct vring_desc){
			.addr = BASE + (uint64_t)(rx_buf(i) - b.ram), .len = rx_len,
			.flags = VRING_DESC_F_WRITE,
		};
		offer(0, (uint16_t)i);
	}
	eventfd_write(b.m.kick[0].fd, 1);
	pthread_create(&g, NULL, guest, NULL);
	pthread_create(&cl, NULL, client, NULL);
	cpu = loop_cpu();
	while (!b.finished)
		BUG_ON(loop_once(&b.loop) < 0);
	cpu = loop_cpu() - cpu;
	pthread_join(g, NULL);
	pthread_join(cl, NULL);
	printf("{\"case\": \"%s\", \"mib\": %llu, \"gbit_per_s\": %.1f, "
	       "\"gbit_per_cpu_second_of_the_loop\": %.1f}\n", name,
	       (unsigned long long)bytes >> 20, gbit / b.seconds, gbit / cpu);
	virtio_mmio_stop(&b.m);
	while (b.loop.busy)
		BUG_ON(loop_once(&b.loop) < 0);
	virtio_mmio_exit(&b.m);
}

int main(int argc, char **argv)
{
	uint64_t bytes = (argc > 1 ? strtoull(argv[1], NULL, 10) : 2048) << 20;
	struct err e = { 0 };

	strcpy(b.dir, "/tmp/vsock-bench-XXXXXX");
	b.ram = aligned_alloc(4096, RAM);
	BUG_ON(!mkdtemp(b.dir) || !b.ram || loop_init(&b.loop, 128, &e));
	memset(b.ram, 1, RAM);
	snprintf(b.path, sizeof(b.path), "%s/s", b.dir);
	measure("to guest, 4 KiB buffers", false, 3776, bytes);
	measure("to guest, 64 KiB buffers", false, CHUNK + VSOCK_HDR, bytes);
	measure("from guest, 64 KiB packets", true, 3776, bytes);
	loop_exit(&b.loop);
	free(b.ram);
	rmdir(b.dir);
	return 0;
}
