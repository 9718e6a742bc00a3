/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_vsock_guest.h - a guest's half of a socket device, in plain memory: it
 * sends packets as it is told to, right or wrong, and shows those that come.
 * Every packet sent is asserted to be given back at once.
 */
#ifndef TESTS_TEST_VSOCK_GUEST_H
#define TESTS_TEST_VSOCK_GUEST_H
#include "devices/vsock.h"
#include "tests/unit/rig.h"

#define VG_CID	42u
#define VG_MAX	32768u			/* payload of one packet sent */
#define VG_RX	4096u			/* payload of one packet received */

struct vg_pkt {
	uint32_t gport, hport, len, flags, alloc, fwd;
	uint16_t op, type;
	unsigned char data[VG_RX];
};

struct vg {
	struct rig r;
	struct vsock *s;
	char dir[32], path[48];
	unsigned char *slot;		/* the packet being sent */
	gpa_t slot_at;
	bool split;			/* rx buffers in parts that cut through the header */
	struct vg_pkt p;		/* the last one received */
};

/* A device that listens on a fresh path; started, with @nrx rx buffers (at most 16). */
void vg_open(struct vg *g, unsigned nrx);
void vg_open_split(struct vg *g, unsigned nrx);		/* at most 5 */
/* The driver again, after a reset. */
void vg_start(struct vg *g, unsigned nrx);
void vg_close(struct vg *g);
void vg_run(struct vg *g);
/* Offer @n more rx buffers. */
void vg_rx(struct vg *g, unsigned n);

/* A header from the guest as it should be. */
struct virtio_vsock_hdr vg_hdr(uint32_t gport, uint32_t hport, uint16_t op);
/* Send @h with @len bytes behind it, which need not be what @h says. Runs the loop. */
void vg_raw(struct vg *g, struct virtio_vsock_hdr h, const void *data, uint32_t len);
void vg_send(struct vg *g, uint32_t gport, uint32_t hport, uint16_t op);
void vg_shut(struct vg *g, uint32_t gport, uint32_t hport, uint32_t flags);
void vg_data(struct vg *g, uint32_t gport, uint32_t hport, const void *data, uint32_t len);

/* Run; the next packet into g->p, its buffer offered again. False when there is none. */
bool vg_get(struct vg *g);
/* The next packet must be @op. */
#define vg_expect(g, want) do { \
	cr_assert(vg_get(g), "no packet"); \
	cr_assert_eq((g)->p.op, (want), "operation %u, not %u", (g)->p.op, (unsigned)(want)); \
} while (0)
#define vg_silent(g) cr_assert(!vg_get(g), "a packet came: operation %u", (g)->p.op)

/* A Unix client of the device; and one that has said CONNECT @port. */
int vg_client(struct vg *g);
int vg_connect(struct vg *g, uint32_t port);
/* A connection that is open: the client's end, and its host port. */
int vg_pair(struct vg *g, uint32_t port, uint32_t *hport);
/* A listener on <path>_<port>. */
int vg_listen(struct vg *g, uint32_t port, int backlog);
/* Read what there is, non-blocking: bytes, 0 at the end, -1 for nothing yet, -2 on a reset. */
int vg_read(int fd, void *buf, size_t len);
/* Run until @cond, at most five seconds. */
#define vg_wait(g, cond) do { \
	for (int n_ = 0; !(cond); n_++) { \
		cr_assert_lt(n_, 5000, "not in time: %s", #cond); \
		usleep(1000); \
		vg_run(g); \
	} \
} while (0)
#endif
