/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes: many connections at once, and a guest on a thread of its own. */
#include <endian.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include "tests/unit/test_vsock_guest.h"

enum { REQUEST = VIRTIO_VSOCK_OP_REQUEST, RESPONSE = VIRTIO_VSOCK_OP_RESPONSE,
       RST = VIRTIO_VSOCK_OP_RST, SHUTDOWN = VIRTIO_VSOCK_OP_SHUTDOWN, RW = VIRTIO_VSOCK_OP_RW,
       UPDATE = VIRTIO_VSOCK_OP_CREDIT_UPDATE };

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
