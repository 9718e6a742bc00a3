/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuse_vhost.c - enough of vhost-user (QEMU's docs/interop/vhost-user.rst) to be a
 * virtio-fs driver without a guest: a region of shared memory with one split ring per queue
 * and two buffers. Queue 0 is the one for FORGET and stays empty; requests go to queue 1.
 */
#include <fcntl.h>
#include <linux/virtio_ring.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "bench/fuse_trip.h"

#define QUEUES		2u
#define SIZE		8u		/* of a ring */
#define RING_BYTES	4096u
#define OUT_AT		(QUEUES * RING_BYTES)
#define IN_AT		(OUT_AT + TRIP_ROOM)
#define MEMORY		(IN_AT + TRIP_ROOM)
#define VERSION_1	(1ull << 32)	/* VIRTIO_F_VERSION_1 */

enum { GET_FEATURES = 1, SET_FEATURES = 2, SET_OWNER = 3, SET_MEM_TABLE = 5, SET_VRING_NUM = 8,
       SET_VRING_ADDR = 9, SET_VRING_BASE = 10, SET_VRING_KICK = 12, SET_VRING_CALL = 13 };

struct message {
	uint32_t request, flags, size;
	union {
		uint64_t number;
		struct { uint32_t index, value; } state;
		struct { uint32_t index, flags; uint64_t desc, used, avail, log; } addr;
		struct { uint32_t n, zero; uint64_t guest, size, user, offset; } memory;
	};
} __attribute__((packed));

static struct vhost {
	struct trip t;
	struct vring ring[QUEUES];
	unsigned char *mem;
	int fd, kick, done;
} v;

static void tell(struct message *m, uint32_t size, int pass)
{
	union { struct cmsghdr h; char buf[CMSG_SPACE(sizeof(int))]; } u = {
		.h = { .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS,
		       .cmsg_len = CMSG_LEN(sizeof(int)) } };
	struct iovec vec = { .iov_base = m, .iov_len = 12 + size };
	struct msghdr h = { .msg_iov = &vec, .msg_iovlen = 1 };

	m->flags = 1;
	m->size = size;
	memcpy(CMSG_DATA(&u.h), &pass, sizeof(pass));
	if (pass >= 0) {
		h.msg_control = u.buf;
		h.msg_controllen = sizeof(u.buf);
	}
	MUST(sendmsg(v.fd, &h, 0) == (ssize_t)vec.iov_len);
}

static uint64_t at(const void *p)
{
	return (uint64_t)(uintptr_t)p;
}

/* Returns the queue's kick; its call goes to *call. */
static int start_queue(uint32_t i, int *called)
{
	int kick = eventfd(0, 0), done = eventfd(0, 0);
	struct vring *r = &v.ring[i];
	struct message m;

	MUST(kick >= 0 && done >= 0);
	vring_init(r, SIZE, v.mem + i * RING_BYTES, 64);
	m = (struct message){ .request = SET_VRING_NUM, .state = { i, SIZE } };
	tell(&m, sizeof(m.state), -1);
	m = (struct message){ .request = SET_VRING_BASE, .state = { i, 0 } };
	tell(&m, sizeof(m.state), -1);
	m = (struct message){ .request = SET_VRING_ADDR,
			      .addr = { i, 0, at(r->desc), at(r->used), at(r->avail), 0 } };
	tell(&m, sizeof(m.addr), -1);
	m = (struct message){ .request = SET_VRING_CALL, .number = i };
	tell(&m, sizeof(m.number), done);
	m = (struct message){ .request = SET_VRING_KICK, .number = i };
	tell(&m, sizeof(m.number), kick);
	*called = done;
	return kick;
}

static size_t call(struct trip *t, size_t len)
{
	struct vring *r = &v.ring[1];
	uint64_t one = 1;
	uint16_t idx = r->avail->idx;

	r->desc[0] = (struct vring_desc){ at(t->out), (uint32_t)len, VRING_DESC_F_NEXT, 1 };
	r->desc[1] = (struct vring_desc){ at(t->in), TRIP_ROOM, VRING_DESC_F_WRITE, 0 };
	r->avail->ring[idx % SIZE] = 0;
	__atomic_store_n(&r->avail->idx, (uint16_t)(idx + 1), __ATOMIC_RELEASE);
	MUST(write(v.kick, &one, sizeof(one)) == sizeof(one));
	while (__atomic_load_n(&r->used->idx, __ATOMIC_ACQUIRE) != (uint16_t)(idx + 1))
		MUST(read(v.done, &one, sizeof(one)) == sizeof(one));
	return r->used->ring[idx % SIZE].len;
}

struct trip *trip_vhost(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct message m = { .request = SET_OWNER };
	int memfd = memfd_create("guest", 0), none;

	MUST(memfd >= 0 && !ftruncate(memfd, MEMORY));
	v.mem = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
	MUST(v.mem != MAP_FAILED);
	v.fd = socket(AF_UNIX, SOCK_STREAM, 0);
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	MUST(v.fd >= 0 && !connect(v.fd, (struct sockaddr *)&sa, sizeof(sa)));
	tell(&m, 0, -1);
	m = (struct message){ .request = GET_FEATURES };
	tell(&m, 0, -1);
	MUST(recv(v.fd, &m, 20, MSG_WAITALL) == 20 && (m.number & VERSION_1));
	m = (struct message){ .request = SET_FEATURES, .number = VERSION_1 };
	tell(&m, sizeof(m.number), -1);
	/* Guest addresses are chosen to be ours, so one number serves for both. */
	m = (struct message){ .request = SET_MEM_TABLE,
			      .memory = { 1, 0, at(v.mem), MEMORY, at(v.mem), 0 } };
	tell(&m, sizeof(m.memory), memfd);
	(void)start_queue(0, &none);
	v.kick = start_queue(1, &v.done);
	v.t = (struct trip){ .out = v.mem + OUT_AT, .in = v.mem + IN_AT, .call = call };
	return &v.t;
}
