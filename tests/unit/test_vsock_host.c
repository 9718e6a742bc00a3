/* SPDX-License-Identifier: Apache-2.0 */
/* The Unix side: CONNECT lines, refusals, time limits, caps, resets. */
#include <endian.h>
#include <sys/resource.h>
#include "tests/unit/test_vsock_guest.h"

enum { REQUEST = VIRTIO_VSOCK_OP_REQUEST, RESPONSE = VIRTIO_VSOCK_OP_RESPONSE,
       RST = VIRTIO_VSOCK_OP_RST, SHUTDOWN = VIRTIO_VSOCK_OP_SHUTDOWN,
       RW = VIRTIO_VSOCK_OP_RW };

static char junk[64];

/* ---- the CONNECT line ---- */

Test(vsock_host, a_line_in_single_bytes_with_data_behind_it)
{
	static const char line[] = "CONNECT 4294967294\nhello";
	char buf[16];
	struct vg g;
	int fd;

	vg_open(&g, 4);
	fd = vg_client(&g);
	for (const char *p = line; *p; p++) {
		cr_assert_eq(write(fd, p, 1), 1);
		vg_run(&g);
	}
	vg_expect(&g, REQUEST);
	cr_assert_eq(g.p.gport, 4294967294u);
	cr_assert_geq(g.p.hport, 1u << 30);
	cr_assert_eq(g.p.alloc, VSOCK_BUF_MAX);
	vg_silent(&g);
	vg_send(&g, g.p.gport, g.p.hport, RESPONSE);
	cr_assert_gt(vg_read(fd, buf, sizeof(buf)), 4);
	cr_assert_eq(memcmp(buf, "OK ", 3), 0);
	vg_expect(&g, RW);
	cr_assert_eq(g.p.len, 5);
	cr_assert_eq(memcmp(g.p.data, "hello", 5), 0);
	close(fd);
	vg_close(&g);
}

Test(vsock_host, a_bad_line_closes_the_connection_with_its_reason)
{
	static const struct { const char *line, *why; } bad[] = {
		{ "GET / HTTP/1.1\r\n\r\n", "not a CONNECT line" },
		{ "\n", "not a CONNECT line" },
		{ "CONNECT \n", "not a CONNECT line" },
		{ "CONNECT\n", "not a CONNECT line" },
		{ "connect 1\n", "not a CONNECT line" },
		{ "CONNECT 1x\n", "not a CONNECT line" },
		{ "CONNECT -1\n", "not a CONNECT line" },
		{ "CONNECT  1\n", "not a CONNECT line" },
		{ "CONNECT 4294967295\n", "not a CONNECT line" },
		{ "CONNECT 4294967297\n", "not a CONNECT line" },
		{ "CONNECT 00000000001\n", "not a CONNECT line" },
		{ "CONNECT 1234567890123456789012345", "CONNECT line too long" },
		{ "CONNECT 12", "client left before its CONNECT line" },
		{ "", "client left before its CONNECT line" },
	};
	struct vg g;

	vg_open(&g, 4);
	for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
		int fd = vg_client(&g);
		size_t n = strlen(bad[i].line);

		cr_assert_eq(write(fd, bad[i].line, n), (ssize_t)n);
		if (strstr(bad[i].why, "left"))
			shutdown(fd, SHUT_WR);
		vg_run(&g);
		cr_assert_eq(g.s->stat.hello_bad, i + 1);
		cr_assert_str_eq(g.s->why, bad[i].why);
		cr_assert(vg_read(fd, junk, 1) == 0 || vg_read(fd, junk, 1) == 0);
		cr_assert(TAILQ_EMPTY(&g.s->all));
		close(fd);
	}
	vg_silent(&g);
	vg_close(&g);
}

Test(vsock_host, a_client_that_never_finishes_its_line_is_hung_up_on)
{
	struct vg g;
	int fd;

	vg_open(&g, 4);
	g.s->hello_ns = 20000000;
	g.s->tick_ns = 1000000;
	fd = vg_client(&g);
	cr_assert_eq(write(fd, "CONN", 4), 4);
	vg_wait(&g, vg_read(fd, junk, 1) == 0);
	cr_assert_str_eq(g.s->why, "no CONNECT line in time");
	close(fd);
	vg_close(&g);
}

Test(vsock_host, a_guest_that_refuses_closes_the_client)
{
	struct vg g;
	int fd;

	vg_open(&g, 4);
	fd = vg_connect(&g, 1024);
	vg_expect(&g, REQUEST);
	vg_send(&g, 1024, g.p.hport, RST);
	cr_assert_eq(vg_read(fd, junk, 1), 0);
	vg_silent(&g);
	cr_assert(TAILQ_EMPTY(&g.s->all));
	close(fd);
	vg_close(&g);
}

Test(vsock_host, a_client_that_leaves_before_the_answer_costs_the_guest_a_rst)
{
	struct vg g;
	int fd;

	vg_open(&g, 4);
	fd = vg_connect(&g, 1024);
	vg_expect(&g, REQUEST);
	close(fd);
	vg_expect(&g, RST);
	vg_send(&g, 1024, g.p.hport, RESPONSE);
	vg_expect(&g, RST);
	cr_assert(TAILQ_EMPTY(&g.s->all));
	vg_close(&g);
}

/* printf 'CONNECT ...' | nc -NU: the end of input is no reason to give up. */
Test(vsock_host, a_client_may_shut_its_half_before_the_answer)
{
	uint32_t hport;
	struct vg g;
	int fd;

	vg_open(&g, 4);
	fd = vg_connect(&g, 1024);
	cr_assert_eq(write(fd, "question", 8), 8);
	shutdown(fd, SHUT_WR);
	vg_expect(&g, REQUEST);
	hport = g.p.hport;
	vg_silent(&g);
	vg_send(&g, 1024, hport, RESPONSE);
	vg_expect(&g, RW);
	cr_assert_eq(g.p.len, 8);
	vg_expect(&g, SHUTDOWN);
	cr_assert_eq(g.p.flags, VIRTIO_VSOCK_SHUTDOWN_SEND);
	vg_data(&g, 1024, hport, "answer", 6);
	cr_assert_eq(vg_read(fd, junk, 14), 14);	/* OK <ten digits>\n first */
	cr_assert_eq(vg_read(fd, junk, sizeof(junk)), 6);
	close(fd);
	vg_close(&g);
}

/* Clients may come before the guest: they wait in the backlog. */
Test(vsock_host, nothing_is_accepted_before_the_driver_runs)
{
	struct vg g;
	int fd;

	vg_open(&g, 4);
	rig_set(&g.r, VIRTIO_MMIO_STATUS, 0);
	vg_run(&g);
	fd = vg_connect(&g, 1024);
	vg_run(&g);
	cr_assert_eq(g.s->n[false], 0);
	vg_start(&g, 4);
	vg_expect(&g, REQUEST);
	close(fd);
	vg_close(&g);
}

/* ---- the guest connects ---- */

Test(vsock_host, the_guest_reaches_a_unix_listener)
{
	char path[64];
	struct vg g;
	int l, fd;

	vg_open(&g, 4);
	l = vg_listen(&g, 80, 4);
	vg_send(&g, 5000, 80, REQUEST);
	vg_expect(&g, RESPONSE);
	cr_assert_eq(g.p.gport, 5000);
	cr_assert_eq(g.p.hport, 80);
	cr_assert_eq(g.p.alloc, VSOCK_BUF_MAX);
	fd = accept(l, NULL, NULL);
	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, "hi", 2), 2);	/* the REQUEST carried credit */
	vg_expect(&g, RW);
	cr_assert_eq(g.p.len, 2);
	vg_data(&g, 5000, 80, "ping", 4);
	cr_assert_eq(vg_read(fd, junk, sizeof(junk)), 4);
	cr_assert_eq(memcmp(junk, "ping", 4), 0);
	cr_assert_eq(write(fd, "pong", 4), 4);
	vg_expect(&g, RW);
	cr_assert_eq(memcmp(g.p.data, "pong", 4), 0);
	close(fd);
	close(l);
	snprintf(path, sizeof(path), "%s_80", g.path);
	unlink(path);
	vg_close(&g);
}

/* The guest can see which host port comes next, and take it first. */
Test(vsock_host, a_port_that_the_guest_took_is_passed_over)
{
	uint32_t hport, port;
	char path[64];
	struct vg g;
	int l, fd;

	vg_open(&g, 4);
	fd = vg_pair(&g, 1024, &hport);
	close(fd);
	l = vg_listen(&g, hport + 1, 4);
	vg_expect(&g, SHUTDOWN);
	vg_send(&g, 1024, hport + 1, REQUEST);
	vg_expect(&g, RESPONSE);
	fd = vg_pair(&g, 1024, &port);
	cr_assert_eq(port, hport + 2);
	close(fd);
	close(l);
	snprintf(path, sizeof(path), "%s_%u", g.path, hport + 1);
	unlink(path);
	vg_close(&g);
}

Test(vsock_host, nobody_listens)
{
	struct vg g;

	vg_open(&g, 4);
	vg_send(&g, 5000, 80, REQUEST);
	vg_expect(&g, RST);
	cr_assert_eq(g.p.gport, 5000);
	cr_assert(TAILQ_EMPTY(&g.s->all));
	vg_close(&g);
}

Test(vsock_host, a_full_backlog_is_tried_again_and_then_given_up)
{
	int l, fd[16], n = 0;
	char path[64];
	struct vg g;

	vg_open(&g, 4);
	g.s->tick_ns = 1000000;
	g.s->dial_ns = 50000000;
	l = vg_listen(&g, 80, 1);
	while (vg_send(&g, 5000 + (unsigned)n, 80, REQUEST), vg_get(&g)) {
		cr_assert_eq(g.p.op, RESPONSE);
		n++;
	}
	cr_assert_eq(vconn_find(g.s, 5000 + (unsigned)n, 80)->state, VCONN_DIALING);
	fd[0] = accept(l, NULL, NULL);
	vg_wait(&g, vconn_find(g.s, 5000 + (unsigned)n, 80)->state == VCONN_OPEN);
	vg_expect(&g, RESPONSE);
	vg_send(&g, 6000, 80, REQUEST);
	vg_wait(&g, !vconn_find(g.s, 6000, 80));
	vg_expect(&g, RST);
	cr_assert_eq(g.p.gport, 6000);
	close(fd[0]);
	close(l);
	snprintf(path, sizeof(path), "%s_80", g.path);
	unlink(path);
	vg_close(&g);
}

/* ---- resets and caps ---- */

/* threat-model.md 7: a poll, an accept and a timer are in flight when the driver resets. */
Test(vsock_host, a_reset_drains_everything_and_nothing_survives_it)
{
	static unsigned char block[VG_MAX];
	uint32_t hport[4];
	int fd[6];
	struct vg g;

	for (int round = 0; round < 3; round++) {
		if (round)
			vg_start(&g, 8);
		else
			vg_open(&g, 8);
		for (int i = 0; i < 4; i++)
			fd[i] = vg_pair(&g, 1024, &hport[i]);
		while (vconn_find(g.s, 1024, hport[0])->buf.used < 50000)
			vg_data(&g, 1024, hport[0], block, VG_MAX);
		cr_assert(vconn_find(g.s, 1024, hport[0])->watch_out);
		fd[4] = vg_connect(&g, 7);		/* no answer yet */
		fd[5] = vg_client(&g);			/* no line yet */
		vg_run(&g);
		cr_assert(g.s->accept.busy && g.s->tick.busy && g.s->ready_op.busy);
		cr_assert_eq(g.s->n[false], 6);

		rig_set(&g.r, VIRTIO_MMIO_STATUS, 0);
		cr_assert(g.r.d->stopping, "operations are in flight: not finished yet");
		for (int i = 0; g.r.d->stopping; i++) {
			cr_assert_lt(i, 1000);
			cr_assert_geq(loop_once(g.r.loop), 0);
		}
		cr_assert_eq(rig_get(&g.r, VIRTIO_MMIO_STATUS), 0);
		cr_assert(TAILQ_EMPTY(&g.s->all) && TAILQ_EMPTY(&g.s->ready));
		cr_assert(!g.s->accept.busy && !g.s->tick.busy && !g.s->ready_op.busy);
		cr_assert_eq(g.s->n[false] + g.s->n[true], 0);
		cr_assert_eq(g.s->pledged, 0);
		for (unsigned i = 0; i < ARRAY_LEN(fd); i++) {
			while (vg_read(fd[i], block, sizeof(block)) > 0)
				;
			cr_assert_eq(vg_read(fd[i], block, 1), 0, "client %u", i);
			close(fd[i]);
		}
	}
	vg_close(&g);
}

/* threat-model.md 8: connections, descriptors and pledged bytes per guest. */
Test(vsock_host, the_guest_can_open_so_many_connections)
{
	struct rlimit lim = { 4096, 4096 };
	char path[64];
	struct vg g;
	int l;

	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &lim), 0);
	vg_open(&g, 16);
	l = vg_listen(&g, 80, 4096);
	for (unsigned i = 0; i < VSOCK_CONNS_MAX; i++) {
		vg_send(&g, i, 80, REQUEST);
		vg_expect(&g, RESPONSE);
		cr_assert_eq(g.p.alloc, i < VSOCK_BUF_POOL / VSOCK_BUF_MAX ? VSOCK_BUF_MAX :
									     VSOCK_BUF_MIN);
	}
	vg_send(&g, 9999, 80, REQUEST);
	cr_assert_str_eq(g.s->why, "too many connections");
	vg_expect(&g, RST);
	cr_assert_eq(g.p.gport, 9999);
	cr_assert_leq(g.s->pledged, VSOCK_BUF_POOL + VSOCK_CONNS_MAX * VSOCK_BUF_MIN);
	close(vg_connect(&g, 1024));		/* and the host is not locked out by them */
	vg_expect(&g, REQUEST);
	vg_send(&g, 0, 80, RST);
	vg_expect(&g, RST);			/* for the client that has left */
	vg_send(&g, 9999, 80, REQUEST);
	vg_expect(&g, RESPONSE);
	close(l);
	snprintf(path, sizeof(path), "%s_80", g.path);
	unlink(path);
	vg_close(&g);
}

Test(vsock_host, clients_beyond_the_cap_wait_in_the_backlog)
{
	struct rlimit lim = { 4096, 4096 };
	static int fd[VSOCK_CONNS_MAX + 20];
	struct vg g;

	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &lim), 0);
	vg_open(&g, 16);
	for (unsigned i = 0; i < ARRAY_LEN(fd); i++) {
		fd[i] = vg_connect(&g, 1024);
		vg_run(&g);
	}
	cr_assert_eq(g.s->n[false], VSOCK_CONNS_MAX);
	for (unsigned i = 0; i < VSOCK_CONNS_MAX; i++)
		vg_expect(&g, REQUEST);
	vg_silent(&g);
	for (unsigned i = 0; i < 20; i++)
		close(fd[i]);
	for (unsigned i = 0, n = 0; n < 20; i++) {
		cr_assert_lt(i, 40);
		cr_assert(vg_get(&g));
		n += g.p.op == REQUEST;
	}
	cr_assert_eq(g.s->n[false], VSOCK_CONNS_MAX);
	for (unsigned i = 20; i < ARRAY_LEN(fd); i++)
		close(fd[i]);
	vg_close(&g);
}

Test(vsock_host, out_of_descriptors_is_waited_out)
{
	struct rlimit lim, few;
	struct vg g;
	int fd[2];

	vg_open(&g, 4);
	g.s->tick_ns = 100000000;
	fd[0] = vg_connect(&g, 1);
	fd[1] = vg_connect(&g, 2);
	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &lim), 0);
	few = (struct rlimit){ 3, lim.rlim_max };
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
	vg_expect(&g, REQUEST);		/* this accept had begun before */
	vg_silent(&g);
	cr_assert(g.s->backoff && g.s->tick.busy);
	cr_assert(!g.s->accept.busy, "not before the tick");
	cr_assert_eq(g.s->n[false], 1);
	vg_send(&g, 5000, 80, REQUEST);
	vg_expect(&g, RST);
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &lim), 0);
	vg_wait(&g, g.s->n[false] == 2);
	vg_expect(&g, REQUEST);
	close(fd[0]);
	close(fd[1]);
	vg_close(&g);
}
