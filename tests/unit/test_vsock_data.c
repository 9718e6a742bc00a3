/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes: many connections at once, flow control both ways, and a guest on a thread of its own. */
#include <endian.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include "tests/unit/test_vsock_guest.h"

enum { REQUEST = VIRTIO_VSOCK_OP_REQUEST, RESPONSE = VIRTIO_VSOCK_OP_RESPONSE,
       RST = VIRTIO_VSOCK_OP_RST, SHUTDOWN = VIRTIO_VSOCK_OP_SHUTDOWN, RW = VIRTIO_VSOCK_OP_RW,
       UPDATE = VIRTIO_VSOCK_OP_CREDIT_UPDATE };

/* ---- flow control ---- */

Test(vsock_data, the_guest_is_sent_what_it_has_room_for_and_no_byte_more)
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
Test(vsock_data, counters_of_a_connection_wrap)
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
Test(vsock_data, a_slow_client_holds_up_no_one)
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

/* security.md 14: a client that never stops gets its turn, and so does everyone else. */
Test(vsock_data, busy_connections_take_turns)
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

/* ---- a hundred at once ---- */

#define N	100u
#define BYTES	60000u
#define ALLOC	7000u			/* the guest's buffer: smaller than two packets */

struct end {
	uint32_t gport, hport, fwd, got, sent, alloc, peer_fwd;
	int fd;
	uint32_t in, out;		/* the client's */
	bool open, ended, reset;
};

static unsigned char nth(const struct end *e, uint32_t k, bool up)
{
	return (unsigned char)(k * 13 + k / 251 + e->gport * 7 + e->hport + up);
}

static struct end *of_packet(struct end *all, const struct vg_pkt *p)
{
	for (unsigned i = 0; i < N; i++)
		if (all[i].gport == p->gport && all[i].hport == p->hport)
			return &all[i];
	cr_assert(false, "a packet of no connection");
	return NULL;
}

static struct virtio_vsock_hdr hdr_of(const struct end *e, uint16_t op)
{
	struct virtio_vsock_hdr h = vg_hdr(e->gport, e->hport, op);

	h.buf_alloc = htole32(ALLOC);
	h.fwd_cnt = htole32(e->fwd);
	return h;
}

static void take(struct vg *g, struct end *all, unsigned *seed)
{
	while (vg_get(g)) {
		struct end *e = of_packet(all, &g->p);

		e->alloc = g->p.alloc;
		e->peer_fwd = g->p.fwd;
		e->ended |= g->p.op == SHUTDOWN && (g->p.flags & VIRTIO_VSOCK_SHUTDOWN_SEND);
		e->reset |= g->p.op == RST;
		if (g->p.op != RW)
			continue;
		for (uint32_t i = 0; i < g->p.len; i++)
			cr_assert_eq(g->p.data[i], nth(e, e->got + i, false));
		e->got += g->p.len;
		cr_assert_leq(e->got - e->fwd, ALLOC, "more than the guest has room for");
		if (rand_r(seed) % 2) {
			e->fwd = e->got - (e->got < BYTES ? (e->got - e->fwd) / 3 : 0);
			vg_raw(g, hdr_of(e, UPDATE), NULL, 0);
		}
	}
}

static bool step(struct vg *g, struct end *e, unsigned *seed)
{
	static unsigned char block[VG_MAX];
	uint32_t n = (uint32_t)rand_r(seed) % 9000, room = e->alloc - (e->sent - e->peer_fwd);
	struct virtio_vsock_hdr h = hdr_of(e, RW);
	int k;

	n = n < BYTES - e->sent ? n : BYTES - e->sent;
	n = n < room ? n : room;
	for (uint32_t i = 0; i < n; i++)
		block[i] = nth(e, e->sent + i, true);
	h.len = htole32(n);
	e->fwd = e->got;
	vg_raw(g, h, block, n);
	e->sent += n;

	n = (uint32_t)rand_r(seed) % 20000;
	n = n < BYTES - e->out ? n : BYTES - e->out;
	for (uint32_t i = 0; i < n; i++)
		block[i] = nth(e, e->out + i, false);
	k = n ? (int)send(e->fd, block, n, MSG_DONTWAIT) : 0;
	e->out += k > 0 ? (uint32_t)k : 0;
	k = vg_read(e->fd, block, (size_t)rand_r(seed) % 12000 + 1);
	for (int i = 0; i < k; i++)
		cr_assert_eq(block[i], nth(e, e->in + (uint32_t)i, true));
	e->in += k > 0 ? (uint32_t)k : 0;
	return e->in == BYTES && e->got == BYTES;
}

static void open_all(struct vg *g, struct end *all, int l)
{
	for (unsigned i = 0; i < N; i++) {
		struct end *e = &all[i];

		*e = (struct end){ .gport = 1000 + i / 3, .alloc = VSOCK_BUF_MIN };
		if (i % 2) {
			e->fd = vg_pair(g, e->gport, &e->hport);
			vg_raw(g, hdr_of(e, UPDATE), NULL, 0);
		} else {
			e->gport = 5000 + i;
			e->hport = 80;
			vg_raw(g, hdr_of(e, REQUEST), NULL, 0);
			vg_expect(g, RESPONSE);
			e->fd = accept4(l, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
			cr_assert_geq(e->fd, 0);
		}
	}
}

Test(vsock_data, a_hundred_connections_both_ways)
{
	static struct end all[N];
	unsigned seed = 7, done = 0;
	char path[64], b;
	struct vg g;
	int l;

	vg_open_split(&g, 5);
	l = vg_listen(&g, 80, 128);
	open_all(&g, all, l);
	for (unsigned round = 0; done < N; round++) {
		cr_assert_lt(round, 2000, "no progress");
		done = 0;
		for (unsigned i = 0; i < N; i++)
			done += step(&g, &all[i], &seed);
		take(&g, all, &seed);
	}
	for (unsigned i = 0; i < N; i++) {	/* either side may end it */
		if (i % 3)
			shutdown(all[i].fd, SHUT_WR);
		vg_shut(&g, all[i].gport, all[i].hport, i % 3 == 1 ? 2 : 3);
		take(&g, all, &seed);
		vg_wait(&g, vg_read(all[i].fd, &b, 1) == 0);
		take(&g, all, &seed);
		cr_assert(all[i].reset, "connection %u was not finished", i);
		close(all[i].fd);
	}
	cr_assert(TAILQ_EMPTY(&g.s->all));
	cr_assert_eq(g.s->stat.refused, 0);
	cr_assert_eq(g.s->stat.from_guest, (uint64_t)N * BYTES);
	cr_assert_eq(g.s->stat.to_guest, (uint64_t)N * BYTES);
	close(l);
	snprintf(path, sizeof(path), "%s_80", g.path);
	unlink(path);
	vg_close(&g);
}

/* ---- three threads: the guest echoes, a client checks, the loop carries ---- */

#define ECHO (3u << 20)

struct echo { struct vg g; int fd, stop, finished; bool wrong; struct loop_call end; };

static void *guest_thread(void *arg)
{
	struct echo *x = arg;
	struct rig *r = &x->g.r;
	unsigned char *slot = x->g.slot;
	uint32_t fwd = 0;
	int head;

	while (!__atomic_load_n(&x->stop, __ATOMIC_ACQUIRE)) {
		struct virtio_vsock_hdr h, out;
		unsigned char *p;

		head = rig_used(r, 0, NULL);
		if (head < 0) {
			struct pollfd w = { .fd = r->m.irqfd, .events = POLLIN };
			eventfd_t n;

			poll(&w, 1, 1);
			(void)!eventfd_read(r->m.irqfd, &n);
			continue;
		}
		p = rig_part_at(r, 0, (uint16_t)head, 0);
		memcpy(&h, p, sizeof(h));
		fwd += le32toh(h.len);
		out = vg_hdr(le32toh(h.dst_port), le32toh(h.src_port),
			     le16toh(h.op) == REQUEST ? RESPONSE : RW);
		out.len = h.len;
		out.fwd_cnt = htole32(fwd);
		memcpy(slot, &out, sizeof(out));
		memcpy(slot + sizeof(out), p + sizeof(h), le32toh(h.len));
		rig_offer(r, 0, (uint16_t)head);
		r->q[1].desc[0] = (struct vring_desc){ .addr = x->g.slot_at.v,
						       .len = VSOCK_HDR + le32toh(h.len) };
		if (le16toh(h.op) != REQUEST && le16toh(h.op) != RW)
			continue;
		rig_offer(r, 1, 0);
		eventfd_write(r->m.kick[1].fd, 1);
		while (rig_used(r, 1, NULL) < 0 && !__atomic_load_n(&x->stop, __ATOMIC_ACQUIRE))
			usleep(10);
		eventfd_write(r->m.kick[0].fd, 1);
	}
	return NULL;
}

static void finish(struct loop_call *c)
{
	container_of(c, struct echo, end)->finished = 1;
	loop_call_done(c);
}

static void *client_thread(void *arg)
{
	static unsigned char out[50000], in[50000];
	struct echo *x = arg;
	uint32_t sent = 0, got = 0;
	bool ok = false;

	while (got < ECHO && !x->wrong) {
		struct pollfd w = { .fd = x->fd, .events = POLLIN };
		ssize_t n;

		/* As much ahead as the guest's and our buffers surely hold. */
		w.events |= sent < ECHO && sent - got < 100000 ? POLLOUT : 0;
		poll(&w, 1, -1);
		if (w.revents & POLLOUT) {
			uint32_t k = ECHO - sent < sizeof(out) ? ECHO - sent : sizeof(out);

			for (uint32_t i = 0; i < k; i++)
				out[i] = (unsigned char)((sent + i) * 11 + (sent + i) / 253);
			n = send(x->fd, out, k, MSG_DONTWAIT);
			sent += n > 0 ? (uint32_t)n : 0;
		}
		n = recv(x->fd, in, sizeof(in), MSG_DONTWAIT);
		if (n <= 0) {
			x->wrong = !n;
			continue;
		}
		if (!ok) {		/* OK <ten digits>\n */
			ok = true;
			memmove(in, in + 14, (size_t)(n -= 14));
		}
		for (ssize_t i = 0; i < n; i++, got++)
			x->wrong |= in[i] != (unsigned char)(got * 11 + got / 253);
	}
	x->end.fn = finish;
	loop_call(x->g.r.loop, &x->end);
	return NULL;
}

Test(vsock_data, guest_client_and_loop_on_threads_of_their_own)
{
	static struct echo x;
	pthread_t guest, client;

	vg_open(&x.g, 16);
	x.fd = vg_connect(&x.g, 1024);
	pthread_create(&guest, NULL, guest_thread, &x);
	pthread_create(&client, NULL, client_thread, &x);
	while (!x.finished)
		cr_assert_geq(loop_once(x.g.r.loop), 0);
	__atomic_store_n(&x.stop, 1, __ATOMIC_RELEASE);
	pthread_join(client, NULL);
	pthread_join(guest, NULL);
	cr_assert(!x.wrong);
	cr_assert_geq(x.g.s->stat.to_guest, ECHO);
	cr_assert_geq(x.g.s->stat.from_guest, ECHO);
	close(x.fd);
	vg_close(&x.g);
}
