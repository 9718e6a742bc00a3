/* SPDX-License-Identifier: Apache-2.0 */
/* Flow control both ways, order, and whose turn it is. */
#include <endian.h>
#include "tests/unit/test_vsock_guest.h"

enum { SHUTDOWN = VIRTIO_VSOCK_OP_SHUTDOWN, RW = VIRTIO_VSOCK_OP_RW,
       UPDATE = VIRTIO_VSOCK_OP_CREDIT_UPDATE, ASK = VIRTIO_VSOCK_OP_CREDIT_REQUEST };

Test(vsock_credit, the_guest_is_sent_what_it_has_room_for_and_no_byte_more)
{
	static char block[3000];
	struct virtio_vsock_hdr h;
	uint32_t hport;
	struct vg g;
	int fd;

	vg_open(&g, 8);
	fd = vg_pair(&g, 1024, &hport);
	h = vg_hdr(1024, hport, UPDATE);
	h.buf_alloc = htole32(1000);
	vg_raw(&g, h, NULL, 0);
	cr_assert_eq(write(fd, block, sizeof(block)), sizeof(block));
	vg_expect(&g, RW);
	cr_assert_eq(g.p.len, 1000);
	vg_silent(&g);
	h.fwd_cnt = htole32(1);
	vg_raw(&g, h, NULL, 0);
	vg_expect(&g, RW);
	cr_assert_eq(g.p.len, 1);
	h.fwd_cnt = htole32(0);			/* overtaken on its way: no news */
	h.buf_alloc = htole32(5000);
	vg_raw(&g, h, NULL, 0);
	vg_silent(&g);
	h.fwd_cnt = htole32(1001);
	h.buf_alloc = htole32(0);		/* a buffer can shrink to nothing */
	vg_raw(&g, h, NULL, 0);
	vg_silent(&g);
	h.buf_alloc = htole32(5000);
	vg_raw(&g, h, NULL, 0);
	vg_expect(&g, RW);
	cr_assert_eq(g.p.len, 1999);
	cr_assert_eq(g.s->stat.refused, 0);
	close(fd);
	vg_close(&g);
}

/* The counters are 32 bits wide and a connection may live longer than that. */
Test(vsock_credit, counters_of_a_connection_wrap)
{
	static char block[3000], back[3000];
	struct virtio_vsock_hdr h;
	struct vconn *c;
	uint32_t hport;
	struct vg g;
	int fd;

	vg_open(&g, 8);
	fd = vg_pair(&g, 1024, &hport);
	c = vconn_find(g.s, 1024, hport);
	c->credit.sent = c->credit.peer_fwd = UINT32_MAX - 999;
	c->credit.got = c->credit.fwd = c->credit.told = UINT32_MAX - 1999;
	h = vg_hdr(1024, hport, RW);
	h.fwd_cnt = htole32(UINT32_MAX - 999);
	h.len = htole32(sizeof(block));
	for (unsigned i = 0; i < sizeof(block); i++)
		block[i] = (char)(i * 31);
	vg_raw(&g, h, block, sizeof(block));
	cr_assert_eq(vg_read(fd, back, sizeof(back)), sizeof(back));
	cr_assert_eq(memcmp(block, back, sizeof(back)), 0);
	cr_assert_eq(c->credit.fwd, 1000);
	cr_assert_eq(write(fd, block, sizeof(block)), sizeof(block));
	vg_expect(&g, RW);
	cr_assert_eq(g.p.len, 3000);
	cr_assert_eq(g.p.fwd, 1000);
	cr_assert_eq(c->credit.sent, 2000);
	h = vg_hdr(1024, hport, UPDATE);
	h.fwd_cnt = htole32(2000);
	vg_raw(&g, h, NULL, 0);
	cr_assert_eq(g.s->stat.refused, 0);
	cr_assert_eq(vcredit_peer_free(&c->credit), 1 << 20);
	close(fd);
	vg_close(&g);
}

/* One client that does not read: the others' packets pass it by. */
Test(vsock_credit, a_slow_client_holds_up_no_one)
{
	static unsigned char block[VG_MAX];
	uint32_t slow_port, port, updates = 0;
	struct vconn *c;
	int slow, fd, n;
	struct vg g;

	vg_open(&g, 8);
	slow = vg_pair(&g, 1024, &slow_port);
	fd = vg_pair(&g, 1024, &port);
	c = vconn_find(g.s, 1024, slow_port);
	while (c->credit.alloc - (c->credit.got - c->credit.fwd) >= VG_MAX)
		vg_data(&g, 1024, slow_port, block, VG_MAX);
	vg_data(&g, 1024, port, "quick", 5);
	cr_assert_eq(vg_read(fd, block, sizeof(block)), 5);
	while (vg_get(&g))
		;
	/* It reads at last: half the buffer at least is announced before it is empty. */
	for (uint32_t got = 0; got < c->credit.got; got += (uint32_t)n) {
		vg_wait(&g, (n = vg_read(slow, block, sizeof(block))) > 0);
		while (vg_get(&g)) {
			cr_assert_eq(g.p.op, UPDATE);
			cr_assert_eq(g.p.hport, slow_port);
			updates++;
		}
	}
	cr_assert_eq(c->credit.fwd, c->credit.got);
	cr_assert_geq(updates, 1);
	cr_assert_leq(updates, 8, "news of every few bytes would flood the guest");
	close(slow);
	close(fd);
	vg_close(&g);
}

/* There may be room in the socket again before the buffer has had its turn. */
Test(vsock_credit, what_was_buffered_goes_first)
{
	static unsigned char block[VG_MAX];
	uint32_t hport, sent = 0, got = 0;
	struct vconn *c;
	struct vg g;
	int fd, n;

	vg_open(&g, 8);
	fd = vg_pair(&g, 1024, &hport);
	c = vconn_find(g.s, 1024, hport);
	for (int more = 3; more; more -= c->buf.used > 30000) {
		if (c->buf.used > 30000) {
			n = vg_read(fd, block, VG_MAX);
			for (int i = 0; i < n; i++, got++)
				cr_assert_eq(block[i], (unsigned char)(got / 1024));
		}
		for (uint32_t i = 0; i < VG_MAX; i++)
			block[i] = (unsigned char)((sent + i) / 1024);
		vg_data(&g, 1024, hport, block, VG_MAX);
		sent += VG_MAX;
	}
	while (got < sent) {
		vg_wait(&g, (n = vg_read(fd, block, VG_MAX)) > 0);
		for (int i = 0; i < n; i++, got++)
			cr_assert_eq(block[i], (unsigned char)(got / 1024), "byte %u", got);
	}
	close(fd);
	vg_close(&g);
}

/* Once the buffer is empty, a client that reads is no event. */
Test(vsock_credit, a_reading_client_does_not_wake_the_device)
{
	static unsigned char block[VG_MAX];
	struct vconn *c;
	uint64_t before;
	uint32_t hport;
	struct vg g;
	int fd;

	vg_open(&g, 8);
	fd = vg_pair(&g, 1024, &hport);
	c = vconn_find(g.s, 1024, hport);
	while (!c->buf.used)
		vg_data(&g, 1024, hport, block, VG_MAX);
	for (uint32_t got = 0, n; got < c->credit.got; got += n)
		vg_wait(&g, (n = (uint32_t)vg_read(fd, block, VG_MAX)) <= VG_MAX);
	while (vg_get(&g))
		;
	before = g.s->stat.wakeups;
	for (int i = 0; i < 20; i++) {
		vg_data(&g, 1024, hport, block, VG_MAX);
		cr_assert_eq(vg_read(fd, block, VG_MAX), (int)VG_MAX);
		vg_run(&g);
	}
	cr_assert_leq(g.s->stat.wakeups - before, 1);
	close(fd);
	vg_close(&g);
}

/* threat-model.md 14: the same with large buffers, where bytes are counted and not chains. */
Test(vsock_credit, a_turn_is_so_many_bytes)
{
	static char block[100000];
	const struct rig_part big = { NULL, 150000, true };
	uint32_t hport, len;
	struct vg g;
	int fd;

	vg_open(&g, 1);
	fd = vg_pair(&g, 1024, &hport);
	rig_add(&g.r, 0, &big, 1);	/* behind the small one */
	cr_assert_eq(write(fd, block, sizeof(block)), sizeof(block));
	rig_kick(&g.r, 0);
	vg_run(&g);
	cr_assert_geq(rig_used(&g.r, 0, &len), 0);
	cr_assert_eq(len, VSOCK_HDR + VG_RX);
	cr_assert_geq(rig_used(&g.r, 0, &len), 0);
	cr_assert_eq(len, VSOCK_HDR + VSOCK_TURN - VG_RX);
	close(fd);
	vg_close(&g);
}

/* threat-model.md 14: a client that never stops gets its turn, and so does everyone else. */
Test(vsock_credit, busy_connections_take_turns)
{
	static char block[150000];
	uint32_t hport[3];
	unsigned rounds = 0;
	struct vg g;
	int fd[3];

	vg_open(&g, 16);
	for (int i = 0; i < 3; i++)
		fd[i] = vg_pair(&g, 1024, &hport[i]);
	for (int i = 0; i < 3; i++)
		cr_assert_gt(write(fd[i], block, sizeof(block)), 100000);
	/* With a budget of 64 buffers and 16 a turn each must show up in any 33 + 16. */
	for (unsigned last[3] = { 0 }; vg_get(&g); rounds++) {
		if (g.p.op != RW || rounds > 70)
			continue;
		for (int i = 0; i < 3; i++) {
			last[i] = g.p.hport == hport[i] ? rounds : last[i];
			cr_assert_leq(rounds - last[i], 49, "connection %d starves", i);
		}
	}
	cr_assert_gt(rounds, 100);
	for (int i = 0; i < 3; i++)
		close(fd[i]);
	vg_close(&g);
}

/* Every header says how much room there is, and a request for it is answered. */
Test(vsock_credit, a_credit_request_is_answered_once_each)
{
	uint32_t hport;
	struct vg g;
	int fd;

	vg_open(&g, 4);
	fd = vg_pair(&g, 1024, &hport);
	vg_data(&g, 1024, hport, "12345", 5);
	vg_silent(&g);
	vg_send(&g, 1024, hport, ASK);
	vg_expect(&g, UPDATE);
	cr_assert_eq(g.p.alloc, VSOCK_BUF_MAX);
	cr_assert_eq(g.p.fwd, 5);
	vg_silent(&g);
	close(fd);
	vg_close(&g);
}

Test(vsock_credit, any_packet_answers_a_credit_request)
{
	uint32_t hport;
	struct vg g;
	int fd;

	vg_open(&g, 1);
	fd = vg_pair(&g, 1024, &hport);
	cr_assert_eq(write(fd, "x", 1), 1);
	vg_run(&g);			/* which takes the only buffer */
	vg_send(&g, 1024, hport, ASK);
	shutdown(fd, SHUT_WR);
	vg_run(&g);
	vconn_shut(vconn_find(g.s, 1024, hport), VIRTIO_VSOCK_SHUTDOWN_SEND);
	vg_rx(&g, 8);
	vg_expect(&g, RW);
	vg_expect(&g, SHUTDOWN);
	vg_silent(&g);
	close(fd);
	vg_close(&g);
}
