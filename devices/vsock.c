/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vsock.c - virtio socket device (virtio 1.2, 5.10): stream sockets between the
 * guest and Unix sockets of the host.
 *
 * From the guest, a packet is taken out of the tx queue, checked, acted on and
 * given back at once; there is always room for its payload (vsock_flow.c).
 * To the guest, connections that owe a control packet or have bytes queue up
 * once each in a ready list and take turns: a turn is its control packets, or at
 * most VSOCK_TURN bytes. Control packets are flags of their connection, so they
 * neither pile up nor need memory. When the guest offers no rx buffers the list
 * just waits for the kick.
 *
 * virtio_next() bounds the chains per wake-up; when it says stop, a kick follows
 * and goes on here.
 *
 * Nothing survives a reset: vsock_stop() hangs up every connection, and reports
 * back when accept, timer and poll have completed.
 *
 * #syscalls:loop clock_gettime?
 * #uring:loop TIMEOUT
 */
#include <endian.h>
#include <linux/virtio_ids.h>
#include <time.h>
#include <sys/random.h>
#include "devices/vsock.h"

enum { RX, TX, EVENT };

#define SECOND 1000000000ull

uint64_t vsock_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

static bool live(const struct vsock *s)
{
	return s->running && virtio_live(&s->v);
}

/* ---- later ---- */

static void on_tick(struct op *op, int res)
{
	struct vsock *s = container_of(op, struct vsock, tick);
	uint64_t now = vsock_now();
	bool more = false;
	struct vconn *c;

	(void)res;
	s->backoff = false;
	if (s->running) {
		TAILQ_FOREACH(c, &s->all, all) {
			vconn_timeout(c, now);
			more |= c->deadline != 0;
		}
		if (more)
			vsock_want_tick(s);
	}
	vsock_settle(s);
}

void vsock_want_tick(struct vsock *s)
{
	/* Should the ring be full, the next one who wants it starts it. */
	if (!s->tick.busy && loop_timer(s->v.loop, &s->tick, s->tick_ns, on_tick))
		return;
}

/* ---- to the guest ---- */

/* A buffer of the guest that can take at least a header. */
static bool rx_next(struct vsock *s, struct vchain *ch)
{
	if (!virtio_next(&s->v, &s->v.q[RX], ch))
		return false;
	if (ch->write_len >= VSOCK_HDR)
		return true;
	virtio_fail(&s->v, "rx buffer smaller than a header");
	return false;
}

static void rx_done(struct vsock *s, struct vchain *ch, const struct virtio_vsock_hdr *h)
{
	BUG_ON(ch->done || vchain_write(ch, h, sizeof(*h)));
	ch->done += le32toh(h->len);		/* the payload is there already */
	virtio_done(&s->v, &s->v.q[RX], ch);
}

static struct virtio_vsock_hdr header(const struct vsock *s, uint32_t gport, uint32_t hport,
				      uint16_t op)
{
	return (struct virtio_vsock_hdr){
		.src_cid = htole64(VSOCK_HOST_CID), .dst_cid = htole64(s->cid),
		.src_port = htole32(hport), .dst_port = htole32(gport),
		.type = htole16(VIRTIO_VSOCK_TYPE_STREAM), .op = htole16(op),
	};
}

/* One packet of @c; every one of them carries our credit. */
static void conn_done(struct vconn *c, struct vchain *ch, uint16_t op, uint32_t flags, uint32_t len)
{
	struct virtio_vsock_hdr h = header(c->s, c->gport, c->hport, op);

	h.flags = htole32(flags);
	h.len = htole32(len);
	h.buf_alloc = htole32(c->credit.alloc);
	h.fwd_cnt = htole32(c->credit.fwd);
	c->credit.told = c->credit.fwd;
	c->owed &= (uint8_t)~VOWE_CREDIT;
	rx_done(c->s, ch, &h);
}

/* Into one buffer: RST to a packet that belongs to no connection. */
static bool send_rst(struct vsock *s)
{
	struct vchain *ch = &s->rx[0];
	const struct vrst *r = &s->rst[s->rst_head];
	struct virtio_vsock_hdr h = header(s, r->gport, r->hport, VIRTIO_VSOCK_OP_RST);

	if (!rx_next(s, ch))
		return false;
	h.type = htole16(r->type);
	s->rst_head = (s->rst_head + 1) % VSOCK_RSTS_MAX;
	s->nrst--;
	rx_done(s, ch, &h);
	return true;
}

/* The control packet of @c that goes first. */
static bool send_control(struct vsock *s, struct vconn *c)
{
	struct vchain *ch = &s->rx[0];
	unsigned what = c->owed & -c->owed;

	if (!rx_next(s, ch))
		return false;
	c->owed &= (uint8_t)~what;
	switch (what) {
	case VOWE_RST:
		conn_done(c, ch, VIRTIO_VSOCK_OP_RST, 0, 0);
		vconn_kill(c);
		break;
	case VOWE_REQUEST:
		conn_done(c, ch, VIRTIO_VSOCK_OP_REQUEST, 0, 0);
		break;
	case VOWE_RESPONSE:
		conn_done(c, ch, VIRTIO_VSOCK_OP_RESPONSE, 0, 0);
		break;
	case VOWE_SHUTDOWN:
		conn_done(c, ch, VIRTIO_VSOCK_OP_SHUTDOWN, c->shut, 0);
		vconn_shut_sent(c);
		break;
	default:
		conn_done(c, ch, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0, 0);
		break;
	}
	return true;
}

/* Up to @want bytes, which are in the socket, over as many buffers as they take. */
static bool send_data(struct vsock *s, struct vconn *c, uint32_t want)
{
	unsigned n = 0, nv = 0;
	uint32_t room = 0, got;

	while (room < want && n < VSOCK_BATCH && nv + VCHAIN_MAX <= ARRAY_LEN(s->iov) &&
	       rx_next(s, &s->rx[n])) {
		struct vchain *ch = &s->rx[n];
		uint32_t cap = ch->write_len - VSOCK_HDR;

		cap = cap < want - room ? cap : want - room;
		nv += viov_slice(ch->iov + ch->nread, ch->nwrite, VSOCK_HDR, cap, s->iov + nv,
				 VCHAIN_MAX);
		s->cap[n++] = cap;
		room += cap;
	}
	got = room ? vhost_recv(c, nv, room) : 0;
	for (unsigned i = 0; i < n; i++) {
		uint32_t len = got < s->cap[i] ? got : s->cap[i];

		/* A receive that came up short leaves buffers over: they carry credit. */
		conn_done(c, &s->rx[i], len ? VIRTIO_VSOCK_OP_RW : VIRTIO_VSOCK_OP_CREDIT_UPDATE,
			  0, len);
		got -= len;
	}
	return n;
}

/* Everything that is owed or waits for the guest, as far as its buffers go. */
static void rx_run(struct vsock *s)
{
	struct vconn *c;
	bool sent;

	while (s->nrst && send_rst(s))
		;
	while (!s->nrst && (c = TAILQ_FIRST(&s->ready))) {
		uint32_t want = c->owed ? 0 : vhost_pending(c);

		if (!want && !c->owed) {	/* nothing after all, or it waits for credit */
			TAILQ_REMOVE(&s->ready, c, ready);
			c->queued = false;
			continue;
		}
		sent = want ? send_data(s, c, want) : send_control(s, c);
		if (!sent)
			break;		/* no buffers: a kick goes on from here */
		if (want && c->queued) {	/* the next one's turn */
			TAILQ_REMOVE(&s->ready, c, ready);
			TAILQ_INSERT_TAIL(&s->ready, c, ready);
		}
	}
	virtio_flush(&s->v, &s->v.q[RX]);
}

/* ---- from the guest ---- */

/* Owe RST to the sender of a packet that belongs to no connection. */
static void owe_rst(struct vsock *s, const struct vpkt *p)
{
	if (s->nrst == VSOCK_RSTS_MAX)
		rx_run(s);
	if (s->nrst == VSOCK_RSTS_MAX) {
		s->stat.rst_lost++;
		return;
	}
	s->rst[(s->rst_head + s->nrst++) % VSOCK_RSTS_MAX] =
		(struct vrst){ .gport = p->gport, .hport = p->hport, .type = p->type };
}

static void drop(struct vsock *s, const char *why)
{
	s->why = why;
	s->stat.dropped++;
	virtio_fault(&s->v, why);
}

static void guest_connects(struct vsock *s, const struct vpkt *p)
{
	struct vconn *c = vconn_new(s, true, -1, VCONN_DIALING);

	if (!c) {
		s->why = "too many connections";
		s->stat.refused++;
		owe_rst(s, p);
		return;
	}
	vconn_key(c, p->gport, p->hport);
	c->credit.peer_alloc = p->buf_alloc;
	vhost_dial(c);
}

/* A packet of no connection: only REQUEST makes one. */
static void stray(struct vsock *s, const struct vpkt *p)
{
	if (p->op == VIRTIO_VSOCK_OP_RST)
		return;
	if (p->op == VIRTIO_VSOCK_OP_REQUEST) {
		guest_connects(s, p);
		return;
	}
	s->why = "no such connection";
	s->stat.refused++;
	owe_rst(s, p);
}

static void packet(struct vsock *s, const struct vchain *ch)
{
	struct virtio_vsock_hdr h;
	struct vconn *c;
	struct vpkt p;

	if (vchain_read(ch, 0, &h, sizeof(h))) {
		drop(s, "shorter than a header");
		return;
	}
	p = (struct vpkt){
		.gport = le32toh(h.src_port), .hport = le32toh(h.dst_port), .len = le32toh(h.len),
		.flags = le32toh(h.flags), .buf_alloc = le32toh(h.buf_alloc),
		.fwd_cnt = le32toh(h.fwd_cnt), .type = le16toh(h.type), .op = le16toh(h.op),
	};
	if (le64toh(h.src_cid) != s->cid) {
		drop(s, "not from this guest's CID");
	} else if (le64toh(h.dst_cid) != VSOCK_HOST_CID) {
		drop(s, "not to the host's CID");
	} else if (p.len > ch->read_len - VSOCK_HDR) {
		drop(s, "length beyond the buffer");
	} else if (p.type != VIRTIO_VSOCK_TYPE_STREAM) {
		s->why = "not a stream socket";
		s->stat.refused++;
		if (p.op != VIRTIO_VSOCK_OP_RST)
			owe_rst(s, &p);
	} else {
		c = vconn_find(s, p.gport, p.hport);
		if (c)
			vconn_packet(c, &p, ch);
		else
			stray(s, &p);
	}
}

static void tx_run(struct vsock *s)
{
	while (virtio_next(&s->v, &s->v.q[TX], &s->tx)) {
		packet(s, &s->tx);
		virtio_done(&s->v, &s->v.q[TX], &s->tx);
	}
	virtio_flush(&s->v, &s->v.q[TX]);
}

/* ---- life ---- */

static bool idle(const struct vsock *s)
{
	return TAILQ_EMPTY(&s->all) && !s->accept.busy && !s->tick.busy && !s->ready_op.busy;
}

static void drop_all(struct vsock *s)
{
	struct vconn *c;

	TAILQ_FOREACH(c, &s->all, all)
		vconn_kill(c);
	s->nrst = s->rst_head = 0;
}

/*
 * The guest's connections are those of another machine's past: tell it (5.10.6.7).
 * It resets every connection that it has when it comes to the event, so none may
 * be made before: clients wait in the backlog until the guest has given its event
 * buffers back. All of them are taken, so that their return is sure to kick.
 */
static void tell(struct vsock *s)
{
	const struct virtio_vsock_event ev = { htole32(VIRTIO_VSOCK_EVENT_TRANSPORT_RESET) };
	struct virtq *q = &s->v.q[EVENT];
	struct vchain *ch = &s->rx[0];

	while (virtio_next(&s->v, q, ch)) {	/* the first one's kick comes by here */
		if (s->tell && vchain_write(ch, &ev, sizeof(ev)))
			virtio_fail(&s->v, "event buffer smaller than an event");
		virtio_done(&s->v, q, ch);
		s->tell = false;
		s->told = true;
	}
	virtio_flush(&s->v, q);
}

void vsock_settle(struct vsock *s)
{
	if (live(s) && s->tell)
		tell(s);
	if (live(s))
		rx_run(s);
	if (s->running && s->v.failed)
		drop_all(s);	/* no client should wait for a guest that cannot answer */
	vconn_reap(s);
	vhost_accept(s);
	vhost_wait(s);
	if (s->stopping && idle(s)) {
		s->stopping = false;
		virtio_stopped(&s->v);
	}
}

static void vsock_restored(struct virtio_dev *d)
{
	struct vsock *s = container_of(d, struct vsock, v);

	drop_all(s);
	s->tell = true;
	/* The guest may know connections still that it has not closed: be another host to it. */
	if (getrandom(&s->next_port, sizeof(s->next_port), GRND_NONBLOCK) != sizeof(s->next_port))
		s->next_port = (uint32_t)vsock_now();
	s->next_port |= VSOCK_PORT_FIRST;
	vsock_settle(s);
}

static int vsock_open(struct virtio_dev *d, const struct conf_dev *c, struct err *e)
{
	struct vsock *s = container_of(d, struct vsock, v);

	TAILQ_INIT(&s->all);
	TAILQ_INIT(&s->ready);
	s->hello_ns = 10 * SECOND;
	s->dial_ns = 2 * SECOND;	/* Linux guests give up then, too */
	s->closing_ns = 60 * SECOND;
	s->tick_ns = SECOND / 4;
	if (c->cid <= VSOCK_HOST_CID || c->cid >= UINT32_MAX)
		return err_say(e, -EINVAL, "a guest's CID is 3 to 4294967294");
	s->cid = c->cid;
	s->cfg.guest_cid = htole64(c->cid);
	return vhost_open(s, c->path, e);
}

static void vsock_start(struct virtio_dev *d)
{
	struct vsock *s = container_of(d, struct vsock, v);

	s->running = true;
	vsock_settle(s);
}

static void vsock_kick(struct virtio_dev *d, struct virtq *q)
{
	struct vsock *s = container_of(d, struct vsock, v);

	if (q->index == TX)
		tx_run(s);
	if (q->index == EVENT && s->told && virtq_offered(q))
		s->told = false;
	vsock_settle(s);
}

static bool vsock_stop(struct virtio_dev *d)
{
	struct vsock *s = container_of(d, struct vsock, v);

	s->running = s->backoff = s->tell = s->told = false;
	drop_all(s);
	vconn_reap(s);
	loop_cancel(&s->accept);
	loop_cancel(&s->tick);
	loop_cancel(&s->ready_op);
	s->stopping = !idle(s);
	return !s->stopping;
}

static void vsock_close(struct virtio_dev *d)
{
	struct vsock *s = container_of(d, struct vsock, v);

	BUG_ON(!idle(s));
	vhost_close(s);
}

const struct virtio_ops vsock_ops = {
	.name = "vsock", .id = VIRTIO_ID_VSOCK, .nqueues = 3, .qsize = VIRTQ_MAX,
	.size = sizeof(struct vsock),
	.cfg_off = offsetof(struct vsock, cfg), .cfg_len = sizeof(struct virtio_vsock_config),
	.open = vsock_open, .start = vsock_start, .restored = vsock_restored,
	.kick = vsock_kick, .stop = vsock_stop,
	.close = vsock_close,
};
