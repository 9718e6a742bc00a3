/* SPDX-License-Identifier: Apache-2.0 */
/* The device: set-up, configuration, and every rule about a packet with its reason. */
#include <endian.h>
#include <fcntl.h>
#include <sys/stat.h>
#include "tests/unit/test_vsock_guest.h"

enum { REQUEST = VIRTIO_VSOCK_OP_REQUEST, RESPONSE = VIRTIO_VSOCK_OP_RESPONSE,
       RST = VIRTIO_VSOCK_OP_RST, SHUTDOWN = VIRTIO_VSOCK_OP_SHUTDOWN, RW = VIRTIO_VSOCK_OP_RW,
       UPDATE = VIRTIO_VSOCK_OP_CREDIT_UPDATE, ASK = VIRTIO_VSOCK_OP_CREDIT_REQUEST };

/* ---- set-up ---- */

static struct virtio_dev *try_open(const char *path, uint64_t cid, struct err *e)
{
	struct conf_dev c = { .dev = "vsock", .path = path, .cid = cid };
	static struct gmem none;
	static struct loop l;

	return virtio_new(&vsock_ops, &none, &l, &c, e);
}

Test(vsock, refuses_a_cid_that_is_reserved)
{
	const uint64_t bad[] = { 0, 1, 2, UINT32_MAX, 1ull << 32 };
	struct err e = { 0 };

	for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
		cr_assert_null(try_open("/tmp/unused", bad[i], &e));
		cr_assert_str_eq(e.msg, "vsock: a guest's CID is 3 to 4294967294");
	}
}

Test(vsock, refuses_a_path_that_leaves_no_room_for_the_ports)
{
	char path[128] = "/tmp/";
	struct err e = { 0 };

	memset(path + 5, 'x', VSOCK_PATH_MAX + 1 - 5);
	cr_assert_null(try_open(path, 3, &e));
	cr_assert_eq(e.code, -ENAMETOOLONG);
	cr_assert(strstr(e.msg, "socket path of 97 bytes; at most 96 fit"), "%s", e.msg);
	cr_assert_null(try_open("", 3, &e));
	cr_assert_str_eq(e.msg, "vsock: no socket path given");
	cr_assert_null(try_open("/nonexistent/s", 3, &e));
	cr_assert_str_eq(e.msg, "vsock: listen on /nonexistent/s: No such file or directory");
}

Test(vsock, socket_is_private_and_goes_away_if_it_is_still_ours)
{
	char dir[] = "/tmp/vsock-XXXXXX", path[64];
	struct virtio_dev *d;
	struct err e = { 0 };
	struct stat st;

	cr_assert(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/s", dir);
	umask(0);
	d = try_open(path, 3, &e);
	cr_assert(d, "%s", e.msg);
	cr_assert_eq(stat(path, &st), 0);
	cr_assert_eq(st.st_mode & 07777, 0600);

	cr_assert_null(try_open(path, 3, &e));
	cr_assert(strstr(e.msg, "(left over? then remove it): Address already in use"), "%s",
		  e.msg);
	cr_assert_eq(access(path, F_OK), 0, "a failed open must not remove what it found");

	cr_assert_eq(unlink(path), 0);
	close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	virtio_free(d);
	cr_assert_eq(access(path, F_OK), 0, "not ours");
	unlink(path);

	d = try_open(path, 3, &e);
	cr_assert(d);
	virtio_free(d);
	cr_assert_neq(access(path, F_OK), 0);
	rmdir(dir);
}

Test(vsock, configuration_is_the_cid)
{
	struct vg g;

	vg_open(&g, 1);
	cr_assert_eq(rig_get(&g.r, VIRTIO_MMIO_DEVICE_ID), 19);
	cr_assert_eq(rig_get(&g.r, VIRTIO_MMIO_CONFIG), VG_CID);
	cr_assert_eq(rig_get(&g.r, VIRTIO_MMIO_CONFIG + 4), 0);
	rig_set(&g.r, VIRTIO_MMIO_CONFIG, 7);
	cr_assert_eq(rig_get(&g.r, VIRTIO_MMIO_CONFIG), VG_CID);
	vg_close(&g);
}

/* ---- packets of no connection ---- */

Test(vsock, a_bad_packet_is_dropped_with_its_reason)
{
	static const struct {
		uint64_t src, dst; uint32_t len, cut; const char *why;
	} bad[] = {
		{ VG_CID, 2, 0, 1, "shorter than a header" },
		{ VG_CID + 1, 2, 0, 0, "not from this guest's CID" },
		{ VG_CID | 1ull << 32, 2, 0, 0, "not from this guest's CID" },
		{ 2, 2, 0, 0, "not from this guest's CID" },
		{ VG_CID, 3, 0, 0, "not to the host's CID" },
		{ VG_CID, 2 | 1ull << 32, 0, 0, "not to the host's CID" },
		{ VG_CID, 2, 11, 0, "length beyond the buffer" },
		{ VG_CID, 2, UINT32_MAX, 0, "length beyond the buffer" },
	};
	struct vg g;

	vg_open(&g, 2);
	for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
		struct virtio_vsock_hdr h = vg_hdr(1000, 2000, RW);

		h.src_cid = htole64(bad[i].src);
		h.dst_cid = htole64(bad[i].dst);
		h.len = htole32(bad[i].len);
		if (bad[i].cut) {
			const struct rig_part p = { &h, sizeof(h) - bad[i].cut, false };

			rig_add(&g.r, 1, &p, 1);
			rig_kick(&g.r, 1);
			vg_run(&g);
			cr_assert_geq(rig_used(&g.r, 1, NULL), 0);
		} else {
			vg_raw(&g, h, "0123456789", 10);
		}
		cr_assert_eq(g.s->stat.dropped, i + 1);
		cr_assert_str_eq(g.s->why, bad[i].why);
		vg_silent(&g);
		cr_assert(!g.r.d->failed);
	}
	cr_assert_eq(g.r.d->stat.bad, ARRAY_LEN(bad));
	vg_close(&g);
}

Test(vsock, what_belongs_to_no_connection_is_answered_by_rst)
{
	const uint16_t op[] = { RESPONSE, SHUTDOWN, RW, UPDATE, ASK, 0, 8, 65535 };
	struct virtio_vsock_hdr h;
	struct vg g;

	vg_open(&g, 2);
	for (unsigned i = 0; i < ARRAY_LEN(op); i++) {
		vg_send(&g, 1000 + i, 2000, op[i]);
		cr_assert_str_eq(g.s->why, "no such connection");
		cr_assert_eq(g.s->stat.refused, i + 1);
		vg_expect(&g, RST);
		cr_assert_eq(g.p.gport, 1000 + i);
		cr_assert_eq(g.p.hport, 2000);
		cr_assert_eq(g.p.type, VIRTIO_VSOCK_TYPE_STREAM);
		vg_silent(&g);
	}
	vg_send(&g, 1000, 2000, RST);		/* RST is never answered */
	vg_silent(&g);
	h = vg_hdr(1000, 2000, REQUEST);	/* Linux drops an RST of a type not its socket's */
	h.type = htole16(VIRTIO_VSOCK_TYPE_SEQPACKET);
	vg_raw(&g, h, NULL, 0);
	cr_assert_str_eq(g.s->why, "not a stream socket");
	vg_expect(&g, RST);
	cr_assert_eq(g.p.type, VIRTIO_VSOCK_TYPE_SEQPACKET);
	h.op = htole16(RST);
	vg_raw(&g, h, NULL, 0);
	vg_silent(&g);
	cr_assert(TAILQ_EMPTY(&g.s->all));
	vg_close(&g);
}

/* threat-model.md 8: answers to strangers are bounded, and the newest are given up. */
Test(vsock, rsts_that_are_owed_have_a_cap)
{
	struct vg g;

	vg_open(&g, 0);
	for (unsigned i = 0; i < VSOCK_RSTS_MAX + 10; i++)
		vg_send(&g, i, 2000, RW);
	cr_assert_eq(g.s->nrst, VSOCK_RSTS_MAX);
	cr_assert_eq(g.s->stat.rst_lost, 10);
	vg_rx(&g, 16);
	for (unsigned i = 0; i < VSOCK_RSTS_MAX; i++) {
		vg_expect(&g, RST);
		cr_assert_eq(g.p.gport, i);
	}
	vg_silent(&g);
	vg_close(&g);
}

Test(vsock, an_rx_buffer_without_room_for_a_header_fails_the_device)
{
	const struct rig_part small = { NULL, VSOCK_HDR - 1, true };
	struct vg g;
	char b;
	int fd;

	vg_open(&g, 0);
	fd = vg_connect(&g, 1024);
	vg_run(&g);
	rig_add(&g.r, 0, &small, 1);
	rig_kick(&g.r, 0);
	vg_run(&g);
	cr_assert(g.r.d->failed);
	cr_assert_str_eq(g.r.d->why, "rx buffer smaller than a header");
	cr_assert_eq(vg_read(fd, &b, 1), 0, "the client must not wait for this guest");
	close(fd);
	vg_close(&g);
}

/* A buffer of a header's size can carry control packets; bytes wait for a better one. */
Test(vsock, a_header_sized_buffer_carries_no_data_but_loses_none)
{
	const struct rig_part bare = { NULL, VSOCK_HDR, true };
	uint32_t hport;
	struct vg g;
	int fd;

	vg_open(&g, 1);
	fd = vg_pair(&g, 1024, &hport);
	vg_run(&g);
	cr_assert_eq(g.r.q[0].avail[1], 2);
	/* Use up the good one, so that the bare one is next. */
	vg_send(&g, 1024, hport, ASK);
	vg_run(&g);
	rig_add(&g.r, 0, &bare, 1);
	rig_kick(&g.r, 0);
	cr_assert_eq(write(fd, "hello", 5), 5);
	vg_expect(&g, UPDATE);
	vg_expect(&g, UPDATE);
	vg_expect(&g, RW);
	cr_assert_eq(g.p.len, 5);
	cr_assert_eq(memcmp(g.p.data, "hello", 5), 0);
	close(fd);
	vg_close(&g);
}

/* ---- packets of a connection ---- */

/* Each rule, its reason, and that the connection is gone on both sides afterwards. */
static void breaks(struct vg *g, int fd, uint32_t hport, const char *why)
{
	char b;

	cr_assert_str_eq(g->s->why, why);
	cr_assert_eq(g->s->stat.refused, 1);
	cr_assert_eq(g->r.d->stat.bad, 1);
	vg_expect(g, RST);
	cr_assert_eq(g->p.gport, 1024);
	cr_assert_eq(g->p.hport, hport);
	vg_silent(g);
	cr_assert_leq(vg_read(fd, &b, 1), 0);
	cr_assert_neq(vg_read(fd, &b, 1), -1, "the client's connection is closed");
	cr_assert(TAILQ_EMPTY(&g->s->all));
	cr_assert(!g->r.d->failed);
	close(fd);
	vg_close(g);
}

Test(vsock, a_request_for_ports_in_use)
{
	uint32_t hport;
	struct vg g;
	int fd;

	vg_open(&g, 4);
	fd = vg_pair(&g, 1024, &hport);
	vg_send(&g, 1024, hport, REQUEST);
	breaks(&g, fd, hport, "REQUEST for a pair of ports in use");
}

Test(vsock, a_second_response)
{
	uint32_t hport;
	struct vg g;
	int fd;

	vg_open(&g, 4);
	fd = vg_pair(&g, 1024, &hport);
	vg_send(&g, 1024, hport, RESPONSE);
	breaks(&g, fd, hport, "RESPONSE to nothing");
}

Test(vsock, an_unknown_operation)
{
	uint32_t hport;
	struct vg g;
	int fd;

	vg_open(&g, 4);
	fd = vg_pair(&g, 1024, &hport);
	vg_send(&g, 1024, hport, 77);
	breaks(&g, fd, hport, "unknown operation");
}

Test(vsock, data_or_shutdown_before_the_response)
{
	for (int i = 0; i < 2; i++) {
		struct vg g;
		int fd;

		vg_open(&g, 4);
		fd = vg_connect(&g, 1024);
		vg_expect(&g, REQUEST);
		if (i)
			vg_shut(&g, 1024, g.p.hport, 3);
		else
			vg_data(&g, 1024, g.p.hport, "x", 1);
		breaks(&g, fd, g.p.hport, i ? "SHUTDOWN before the connection was open" :
						"data before the connection was open");
	}
}

Test(vsock, data_after_shutdown)
{
	uint32_t hport;
	struct vg g;
	int fd;

	vg_open(&g, 4);
	fd = vg_pair(&g, 1024, &hport);
	vg_shut(&g, 1024, hport, VIRTIO_VSOCK_SHUTDOWN_SEND);
	vg_data(&g, 1024, hport, "x", 1);
	breaks(&g, fd, hport, "data after SHUTDOWN");
}

/* One answer is enough, and what comes before the guest has read it is nothing new. */
Test(vsock, nothing_counts_while_a_rst_is_owed)
{
	uint32_t hport;
	struct vg g;
	int fd;

	vg_open(&g, 1);
	fd = vg_pair(&g, 1024, &hport);
	close(vg_connect(&g, 7));
	vg_run(&g);			/* REQUEST has the only buffer, and keeps it */
	vg_send(&g, 1024, hport, 77);
	cr_assert_eq(vconn_find(g.s, 1024, hport)->state, VCONN_RESET);
	vg_send(&g, 1024, hport, REQUEST);
	vg_data(&g, 1024, hport, "x", 1);
	vg_shut(&g, 1024, hport, 3);
	cr_assert_eq(g.s->stat.refused, 1);
	vg_rx(&g, 8);
	vg_expect(&g, REQUEST);
	cr_assert_eq(g.p.gport, 7);
	for (int i = 0; i < 2; i++) {	/* the other client has left */
		vg_expect(&g, RST);
		cr_assert(g.p.gport == 7 || g.p.gport == 1024);
	}
	vg_silent(&g);
	close(fd);
	vg_close(&g);
}

Test(vsock, an_acknowledgement_of_more_than_was_sent)
{
	struct virtio_vsock_hdr h;
	uint32_t hport;
	struct vg g;
	int fd;

	vg_open(&g, 4);
	fd = vg_pair(&g, 1024, &hport);
	h = vg_hdr(1024, hport, UPDATE);
	h.fwd_cnt = htole32(1);
	vg_raw(&g, h, NULL, 0);
	breaks(&g, fd, hport, "more bytes acknowledged than sent");
}

/* threat-model.md 8: what is buffered for a client that does not read is bounded by the credit. */
Test(vsock, data_beyond_credit)
{
	static unsigned char block[VG_MAX];
	struct vconn *c;
	uint32_t hport;
	struct vg g;
	int fd;

	vg_open(&g, 4);
	fd = vg_pair(&g, 1024, &hport);
	c = vconn_find(g.s, 1024, hport);
	cr_assert_eq(c->credit.alloc, VSOCK_BUF_MAX);
	while (c->credit.alloc - (c->credit.got - c->credit.fwd) >= VG_MAX)
		vg_data(&g, 1024, hport, block, VG_MAX);
	vg_data(&g, 1024, hport, block, c->credit.alloc - (c->credit.got - c->credit.fwd));
	cr_assert_eq(g.s->stat.refused, 0);
	cr_assert_eq(c->buf.used, VSOCK_BUF_MAX);
	while (g.r.q[0].used[1] != g.r.q[0].seen)
		vg_expect(&g, UPDATE);
	vg_data(&g, 1024, hport, block, 1);
	cr_assert_str_eq(g.s->why, "data beyond credit");
	vg_expect(&g, RST);
	close(fd);
	vg_close(&g);
}

/*
 * A guest resets whatever it has when it comes to the event, so a client that
 * connects right after a restore must not meet it before.
 */
Test(vsock, after_a_restore_clients_wait_until_the_guest_has_reset)
{
	const struct rig_part ev = { "\xff\xff\xff\xff", 4, true };
	uint32_t hport;
	struct vg g;
	int fd;

	vg_open(&g, 4);
	fd = vg_pair(&g, 1024, &hport);		/* there is life before */
	close(fd);
	rig_set(&g.r, VIRTIO_MMIO_STATUS, 0);
	vg_run(&g);
	g.s->tell = true;			/* as restored() leaves it, before start() */
	vg_start(&g, 4);
	fd = vg_connect(&g, 1024);
	rig_add(&g.r, 2, &ev, 1);
	rig_kick(&g.r, 2);
	vg_run(&g);
	cr_assert(g.s->told);
	vg_silent(&g);
	rig_add(&g.r, 2, &ev, 1);		/* the guest gives its buffer back */
	rig_kick(&g.r, 2);
	vg_run(&g);
	vg_expect(&g, REQUEST);
	close(fd);
	vg_close(&g);
}

/* 5.10.6.7: the guest is told as soon as it has a buffer for it. */
Test(vsock, after_a_restore_the_guest_is_told_and_nothing_is_left)
{
	const struct rig_part ev = { "\xff\xff\xff\xff", 4, true };
	uint32_t hport, len;
	struct vg g;
	char b;

	vg_open(&g, 4);
	for (int late = 0; late < 2; late++) {
		int fd = vg_pair(&g, 1024, &hport), head;

		if (late)
			vsock_ops.restored(g.r.d);
		head = rig_add(&g.r, 2, &ev, 1);
		if (!late)
			vsock_ops.restored(g.r.d);
		rig_kick(&g.r, 2);
		vg_run(&g);
		cr_assert_eq(rig_used(&g.r, 2, &len), head);
		cr_assert_eq(len, 4);
		cr_assert_eq(memcmp(rig_part_at(&g.r, 2, (uint16_t)head, 0), "\0\0\0\0", 4), 0);
		cr_assert_eq(vg_read(fd, &b, 1), 0);
		cr_assert(TAILQ_EMPTY(&g.s->all));
		vg_silent(&g);
		cr_assert_neq(g.s->next_port, hport, "the guest may still know that pair");
		cr_assert_geq(g.s->next_port, VSOCK_PORT_FIRST);
		cr_assert(g.s->told, "no client is taken until the guest has acted on it");
		rig_kick(&g.r, 2);
		vg_run(&g);
		cr_assert(g.s->told, "a kick without a buffer means nothing");
		rig_add(&g.r, 2, &ev, 1);
		rig_kick(&g.r, 2);
		vg_run(&g);
		cr_assert(!g.s->told);
		cr_assert_eq(rig_used(&g.r, 2, &len), -1, "once is enough");
		close(fd);
		if (!late) {	/* take back the buffer that is left */
			rig_set(&g.r, VIRTIO_MMIO_STATUS, 0);
			vg_run(&g);
			vg_start(&g, 4);
		}
	}
	vg_close(&g);
}
