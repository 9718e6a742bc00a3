/* SPDX-License-Identifier: Apache-2.0 */
/* Ends of stream: half-close both ways, who closes first, what is still delivered. */
#include <endian.h>
#include "tests/unit/test_vsock_guest.h"

enum { RST = VIRTIO_VSOCK_OP_RST, SHUTDOWN = VIRTIO_VSOCK_OP_SHUTDOWN, RW = VIRTIO_VSOCK_OP_RW,
       UPDATE = VIRTIO_VSOCK_OP_CREDIT_UPDATE };
enum { NO_RCV = VIRTIO_VSOCK_SHUTDOWN_RCV, NO_SEND = VIRTIO_VSOCK_SHUTDOWN_SEND, NEITHER = 3 };

static char junk[64];

Test(vsock_close, the_guest_shuts_its_half_and_the_client_goes_on)
{
	uint32_t hport;
	struct vg g;
	int fd;

	vg_open(&g, 4);
	fd = vg_pair(&g, 1024, &hport);
	vg_data(&g, 1024, hport, "last", 4);
	vg_shut(&g, 1024, hport, NO_SEND);
	vg_shut(&g, 1024, hport, NO_SEND);	/* twice means once */
	cr_assert_eq(vg_read(fd, junk, sizeof(junk)), 4);
	cr_assert_eq(vg_read(fd, junk, sizeof(junk)), 0);
	cr_assert_eq(write(fd, "more", 4), 4);
	vg_expect(&g, RW);
	vg_silent(&g);
	cr_assert_eq(write(fd, "end", 3), 3);
	close(fd);
	vg_expect(&g, RW);
	vg_expect(&g, SHUTDOWN);
	vg_expect(&g, RST);			/* both halves are done */
	vg_silent(&g);
	cr_assert(TAILQ_EMPTY(&g.s->all));
	vg_close(&g);
}

Test(vsock_close, the_client_shuts_its_half_and_the_guest_goes_on)
{
	uint32_t hport;
	struct vg g;
	int fd;

	vg_open(&g, 4);
	fd = vg_pair(&g, 1024, &hport);
	cr_assert_eq(write(fd, "q", 1), 1);
	shutdown(fd, SHUT_WR);
	vg_expect(&g, RW);
	vg_expect(&g, SHUTDOWN);
	cr_assert_eq(g.p.flags, NO_SEND);
	vg_silent(&g);
	vg_data(&g, 1024, hport, "answer", 6);
	cr_assert_eq(vg_read(fd, junk, sizeof(junk)), 6);
	vg_shut(&g, 1024, hport, NEITHER);
	cr_assert_eq(vg_read(fd, junk, sizeof(junk)), 0);
	vg_expect(&g, RST);			/* a Linux guest waits for it, up to 8 s */
	vg_silent(&g);
	cr_assert(TAILQ_EMPTY(&g.s->all));
	close(fd);
	vg_close(&g);
}

Test(vsock_close, a_client_that_closes_is_told_in_one_packet)
{
	uint32_t hport;
	struct vg g;
	int fd;

	vg_open(&g, 4);
	fd = vg_pair(&g, 1024, &hport);
	cr_assert_eq(write(fd, "bye", 3), 3);
	close(fd);
	vg_expect(&g, RW);
	vg_expect(&g, SHUTDOWN);
	cr_assert_eq(g.p.flags, NEITHER);
	vg_silent(&g);
	vg_data(&g, 1024, hport, "crossing", 8);
	vg_silent(&g);
	vg_send(&g, 1024, hport, RST);		/* what Linux answers */
	vg_silent(&g);
	cr_assert(TAILQ_EMPTY(&g.s->all));
	cr_assert_eq(g.s->stat.refused, 0);
	vg_close(&g);
}

Test(vsock_close, both_close_at_once)
{
	uint32_t hport;
	struct vg g;
	int fd;

	vg_open(&g, 4);
	fd = vg_pair(&g, 1024, &hport);
	close(fd);
	vg_expect(&g, SHUTDOWN);
	vg_shut(&g, 1024, hport, NEITHER);
	vg_expect(&g, RST);
	cr_assert(TAILQ_EMPTY(&g.s->all));
	vg_close(&g);
}

Test(vsock_close, half_closed_then_closed)
{
	uint32_t hport;
	struct vg g;
	int fd;

	vg_open(&g, 4);
	fd = vg_pair(&g, 1024, &hport);
	shutdown(fd, SHUT_WR);
	vg_expect(&g, SHUTDOWN);
	cr_assert_eq(g.p.flags, NO_SEND);
	vg_silent(&g);
	close(fd);				/* an idle guest hears of it all the same */
	vg_expect(&g, SHUTDOWN);
	cr_assert_eq(g.p.flags, NEITHER);
	vg_close(&g);
}

Test(vsock_close, a_client_that_stops_receiving)
{
	uint32_t hport;
	struct vg g;
	int fd;

	vg_open(&g, 4);
	fd = vg_pair(&g, 1024, &hport);
	shutdown(fd, SHUT_RD);
	vg_data(&g, 1024, hport, "lost", 4);
	vg_expect(&g, SHUTDOWN);
	cr_assert_eq(g.p.flags, NO_RCV);
	cr_assert_eq(g.p.fwd, 4);
	vg_data(&g, 1024, hport, "crossing", 8);
	vg_silent(&g);
	cr_assert_eq(write(fd, "still", 5), 5);
	vg_expect(&g, RW);
	cr_assert_eq(g.p.fwd, 12, "what is thrown away is credit all the same");
	close(fd);
	vg_expect(&g, SHUTDOWN);
	cr_assert_eq(g.p.flags, NEITHER);
	vg_close(&g);
}

Test(vsock_close, a_guest_that_stops_receiving)
{
	uint32_t hport;
	struct vg g;
	int fd;

	vg_open(&g, 4);
	fd = vg_pair(&g, 1024, &hport);
	vg_shut(&g, 1024, hport, NO_RCV);
	cr_assert_lt(send(fd, "x", 1, MSG_NOSIGNAL), 0);
	cr_assert_eq(errno, EPIPE);
	vg_data(&g, 1024, hport, "still", 5);
	cr_assert_eq(vg_read(fd, junk, sizeof(junk)), 5);
	close(fd);
	vg_expect(&g, SHUTDOWN);
	cr_assert_eq(g.p.flags, NEITHER);
	vg_close(&g);
}

/* The client left while its bytes waited for credit; the guest does not want them. */
Test(vsock_close, a_guest_that_stops_receiving_from_no_one)
{
	struct virtio_vsock_hdr h;
	uint32_t hport;
	struct vg g;
	int fd;

	vg_open(&g, 4);
	fd = vg_pair(&g, 1024, &hport);
	h = vg_hdr(1024, hport, UPDATE);
	h.buf_alloc = 0;
	vg_raw(&g, h, NULL, 0);
	cr_assert_eq(write(fd, "unread", 6), 6);
	close(fd);
	vg_silent(&g);
	h.op = htole16(SHUTDOWN);
	h.flags = htole32(NO_RCV);
	vg_raw(&g, h, NULL, 0);
	vg_expect(&g, SHUTDOWN);
	cr_assert_eq(g.p.flags, NEITHER);
	vg_close(&g);
}

Test(vsock_close, a_guest_that_never_answers_shutdown_is_reset)
{
	uint32_t hport;
	struct vg g;
	int fd;

	vg_open(&g, 4);
	g.s->closing_ns = 20000000;
	fd = vg_pair(&g, 1024, &hport);
	g.s->tick_ns = 1000000;
	close(fd);
	vg_expect(&g, SHUTDOWN);
	vg_wait(&g, TAILQ_EMPTY(&g.s->all));
	vg_expect(&g, RST);
	vg_close(&g);
}

/* threat-model.md 14: a socket that is always ready for something we do not wait for. */
Test(vsock_close, a_half_closed_client_that_does_not_read_costs_nothing)
{
	static unsigned char block[VG_MAX];
	struct vconn *c;
	uint32_t hport;
	uint64_t before;
	struct vg g;
	int fd, n = 0;

	vg_open(&g, 4);
	fd = vg_pair(&g, 1024, &hport);
	c = vconn_find(g.s, 1024, hport);
	shutdown(fd, SHUT_WR);
	vg_expect(&g, SHUTDOWN);
	while (c->buf.used < 100000)
		vg_data(&g, 1024, hport, block, VG_MAX);
	vg_run(&g);
	before = g.s->stat.wakeups;
	for (int i = 0; i < 100; i++)
		vg_run(&g);
	cr_assert_leq(g.s->stat.wakeups - before, 1);
	for (uint32_t got = 0, want = c->credit.got; got < want; got += (uint32_t)n)
		vg_wait(&g, (n = vg_read(fd, block, sizeof(block))) > 0);
	cr_assert_eq(c->credit.fwd, c->credit.got);
	close(fd);
	vg_close(&g);
}

/* A slow client gets what was sent before a close, though the guest stopped waiting. */
Test(vsock_close, bytes_outlive_the_guest_that_sent_them)
{
	static unsigned char block[VG_MAX];
	uint32_t hport, sent = 0;
	struct vconn *c;
	struct vg g;
	int fd, n;

	vg_open(&g, 4);
	fd = vg_pair(&g, 1024, &hport);
	c = vconn_find(g.s, 1024, hport);
	while (c->buf.used < 100000) {
		memset(block, (int)(sent / VG_MAX), sizeof(block));
		vg_data(&g, 1024, hport, block, VG_MAX);
		sent += VG_MAX;
	}
	vg_shut(&g, 1024, hport, NEITHER);
	while (vg_get(&g))
		cr_assert_eq(g.p.op, UPDATE);
	vg_send(&g, 1024, hport, RST);
	cr_assert_null(vconn_find(g.s, 1024, hport), "the ports are free again");
	cr_assert_eq(g.s->n[false], 1, "and the bytes are not lost");
	for (uint32_t got = 0; got < sent; got += (uint32_t)n) {
		vg_wait(&g, (n = vg_read(fd, block, sizeof(block))) != -1);
		cr_assert_gt(n, 0);
		for (int i = 0; i < n; i++)
			cr_assert_eq(block[i], (unsigned char)((got + (uint32_t)i) / VG_MAX));
	}
	vg_wait(&g, vg_read(fd, block, 1) == 0);
	cr_assert(TAILQ_EMPTY(&g.s->all));
	vg_silent(&g);
	close(fd);
	vg_close(&g);
}

/* RST without SHUTDOWN is an abort: nothing more comes out. */
Test(vsock_close, a_reset_drops_what_is_buffered)
{
	static unsigned char block[VG_MAX];
	struct vconn *c;
	uint32_t hport;
	struct vg g;
	int fd;

	vg_open(&g, 4);
	fd = vg_pair(&g, 1024, &hport);
	c = vconn_find(g.s, 1024, hport);
	while (c->buf.used < 100000)
		vg_data(&g, 1024, hport, block, VG_MAX);
	vg_send(&g, 1024, hport, RST);
	cr_assert(TAILQ_EMPTY(&g.s->all));
	close(fd);
	vg_close(&g);
}
