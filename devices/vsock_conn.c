/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vsock_conn.c - one connection, from either side.
 *
 *   client:  HELLO -> ASKED -> OPEN -> CLOSING -> dead
 *   guest:   (DIALING ->)      OPEN -> RESET ---> dead
 *
 * OPEN ends in one of three ways. The guest has shut both directions, or each
 * side has shut its own: what is buffered goes out, then the guest gets RST
 * (5.10.6.6; Linux waits for it). The client is gone: the guest gets SHUTDOWN
 * with both flags and answers RST, or is sent one after closing_ns. A rule was
 * broken: RST at once.
 *
 * An object is never freed under the feet of its caller: vconn_kill() only takes
 * it out of the table and hangs up, vconn_reap() frees it on the way back to the
 * loop.
 *
 * Linux sends RST without SHUTDOWN before it only where no bytes can be owed to
 * the client, so such an RST drops the buffer; after SHUTDOWN(SEND) it does not
 * (VCONN_LINGER): a guest gives up waiting for our RST after eight seconds, and a
 * slow client must get its last bytes still.
 *
 * #syscalls:loop shutdown close
 */
#include "devices/vsock.h"

#define BOTH (VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND)

static uint32_t bucket(uint32_t gport, uint32_t hport)
{
	uint32_t h = (gport * 0x9e3779b1u) ^ (hport * 0x85ebca6bu);

	return (h ^ h >> 15) % VSOCK_BUCKETS;
}

struct vconn *vconn_new(struct vsock *s, bool by_guest, int fd, enum vconn_state state)
{
	struct vconn *c = s->n[by_guest] < VSOCK_CONNS_MAX ? calloc(1, sizeof(*c)) : NULL;

	if (!c) {
		if (fd >= 0)
			close(fd);
		return NULL;
	}
	c->s = s;
	c->fd = fd;
	c->state = state;
	c->by_guest = by_guest;
	c->credit.alloc = s->pledged <= VSOCK_BUF_POOL - VSOCK_BUF_MAX ? VSOCK_BUF_MAX :
									  VSOCK_BUF_MIN;
	s->pledged += c->credit.alloc;
	s->n[by_guest]++;
	TAILQ_INSERT_TAIL(&s->all, c, all);
	return c;
}

struct vconn *vconn_find(const struct vsock *s, uint32_t gport, uint32_t hport)
{
	struct vconn *c = s->bucket[bucket(gport, hport)];

	while (c && (c->gport != gport || c->hport != hport))
		c = c->next;
	return c;
}

void vconn_key(struct vconn *c, uint32_t gport, uint32_t hport)
{
	struct vconn **b = &c->s->bucket[bucket(gport, hport)];

	BUG_ON(c->keyed || vconn_find(c->s, gport, hport));
	c->gport = gport;
	c->hport = hport;
	c->next = *b;
	*b = c;
	c->keyed = true;
}

static void unkey(struct vconn *c)
{
	struct vconn **p = &c->s->bucket[bucket(c->gport, c->hport)];

	if (!c->keyed)
		return;
	while (*p != c)
		p = &(*p)->next;
	*p = c->next;
	c->keyed = false;
}

/* Ends: at most 2 * VSOCK_CONNS_MAX pairs are taken. */
uint32_t vconn_port(struct vsock *s, uint32_t gport)
{
	do
		s->next_port = s->next_port + 1 < UINT32_MAX && s->next_port >= VSOCK_PORT_FIRST ?
			       s->next_port + 1 : VSOCK_PORT_FIRST;
	while (vconn_find(s, gport, s->next_port));
	return s->next_port;
}

static void enqueue(struct vconn *c)
{
	if (c->queued)
		return;
	c->queued = true;
	TAILQ_INSERT_TAIL(&c->s->ready, c, ready);
}

void vconn_owe(struct vconn *c, unsigned what)
{
	c->owed |= (uint8_t)what;
	enqueue(c);
}

void vconn_readable(struct vconn *c)
{
	c->readable = true;
	enqueue(c);
}

void vconn_shut(struct vconn *c, unsigned how)
{
	c->shut |= (uint8_t)how;
	if (c->shut != c->shut_sent)
		vconn_owe(c, VOWE_SHUTDOWN);
}

/* Close the Unix side and drop what was buffered for it. */
static void hang_up(struct vconn *c)
{
	vbuf_free(&c->buf);
	if (c->fd >= 0)
		close(c->fd);		/* which takes it out of the epoll set */
	c->fd = -1;
}

void vconn_shut_sent(struct vconn *c)
{
	c->shut_sent = c->shut;
	if (c->shut_sent != BOTH || c->state != VCONN_OPEN) {
		vconn_advance(c);
		return;
	}
	c->state = VCONN_CLOSING;
	c->deadline = vsock_now() + c->s->closing_ns;
	vsock_want_tick(c->s);
	hang_up(c);
}

void vconn_reset(struct vconn *c)
{
	c->state = VCONN_RESET;
	c->owed = 0;
	c->deadline = 0;
	hang_up(c);
	vconn_owe(c, VOWE_RST);
}

void vconn_kill(struct vconn *c)
{
	unkey(c);
	if (c->queued)
		TAILQ_REMOVE(&c->s->ready, c, ready);
	c->queued = false;
	c->owed = 0;
	c->deadline = 0;
	c->state = VCONN_DEAD;
	hang_up(c);
}

void vconn_reap(struct vsock *s)
{
	struct vconn *c = TAILQ_FIRST(&s->all);

	while (c) {
		struct vconn *next = TAILQ_NEXT(c, all);

		if (c->state == VCONN_DEAD) {
			TAILQ_REMOVE(&s->all, c, all);
			s->pledged -= c->credit.alloc;
			s->n[c->by_guest]--;
			free(c);
		}
		c = next;
	}
}

void vconn_advance(struct vconn *c)
{
	bool sent = (c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_SEND) && !c->buf.used;

	if (c->state == VCONN_LINGER && !c->buf.used)
		vconn_kill(c);
	if (c->state != VCONN_OPEN)
		return;
	if (sent && !c->wr_shut) {
		c->wr_shut = true;
		shutdown(c->fd, SHUT_WR);
	}
	if (sent && ((c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_RCV) ||
		     (c->shut_sent & VIRTIO_VSOCK_SHUTDOWN_SEND)))
		vconn_reset(c);
}

void vconn_timeout(struct vconn *c, uint64_t now)
{
	bool late = c->deadline && (int64_t)(now - c->deadline) >= 0;

	switch (c->state) {
	case VCONN_HELLO:
		if (late) {
			c->s->why = "no CONNECT line in time";
			c->s->stat.hello_bad++;
			vconn_kill(c);
		}
		break;
	case VCONN_DIALING:
		if (late)
			vconn_reset(c);
		else
			vhost_dial(c);
		break;
	case VCONN_CLOSING:
		if (late)
			vconn_reset(c);
		break;
	case VCONN_ASKED:
	case VCONN_OPEN:
	case VCONN_LINGER:
	case VCONN_RESET:
	case VCONN_DEAD:
		break;
	}
}

/* ---- packets ---- */

/* The guest broke a rule on this connection. */
static void refuse(struct vconn *c, const char *why)
{
	c->s->why = why;
	c->s->stat.refused++;
	virtio_fault(&c->s->v, why);
	vconn_reset(c);
}

static void on_rst(struct vconn *c)
{
	if (c->state != VCONN_OPEN || !c->buf.used ||
	    !(c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_SEND)) {
		vconn_kill(c);
		return;
	}
	unkey(c);
	if (c->queued)
		TAILQ_REMOVE(&c->s->ready, c, ready);
	c->queued = false;
	c->owed = 0;
	c->state = VCONN_LINGER;
	shutdown(c->fd, SHUT_RD);
}

static void on_shutdown(struct vconn *c, uint32_t flags)
{
	uint8_t was = c->guest_shut;

	if (c->state != VCONN_OPEN && c->state != VCONN_CLOSING) {
		refuse(c, "SHUTDOWN before the connection was open");
		return;
	}
	c->guest_shut |= flags & BOTH;
	if (c->state == VCONN_CLOSING) {	/* both have closed: no one will answer but us */
		if (c->guest_shut == BOTH)
			vconn_reset(c);
		return;
	}
	if (~was & c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_RCV) {
		shutdown(c->fd, SHUT_RD);	/* the client's writes fail from now on */
		vhost_look(c);
	}
	vconn_advance(c);
}

static void on_data(struct vconn *c, const struct vchain *ch, uint32_t len)
{
	if (c->state == VCONN_CLOSING)
		return;		/* it crossed our SHUTDOWN */
	if (c->state != VCONN_OPEN)
		refuse(c, "data before the connection was open");
	else if (c->guest_shut & VIRTIO_VSOCK_SHUTDOWN_SEND)
		refuse(c, "data after SHUTDOWN");
	else if (!vcredit_take(&c->credit, len))
		refuse(c, "data beyond credit");
	else if (len)
		vhost_send(c, ch, len);
}

void vconn_packet(struct vconn *c, const struct vpkt *p, const struct vchain *ch)
{
	if (p->op == VIRTIO_VSOCK_OP_RST) {
		on_rst(c);
		return;
	}
	if (c->state == VCONN_RESET)
		return;		/* RST is on its way */
	if (vcredit_peer(&c->credit, p->buf_alloc, p->fwd_cnt) == VCREDIT_LIE) {
		refuse(c, "more bytes acknowledged than sent");
		return;
	}
	if (c->readable && c->state == VCONN_OPEN)
		enqueue(c);	/* perhaps there is credit now */
	switch (p->op) {
	case VIRTIO_VSOCK_OP_RESPONSE:
		if (c->state == VCONN_ASKED)
			vhost_agreed(c);
		else
			refuse(c, "RESPONSE to nothing");
		break;
	case VIRTIO_VSOCK_OP_SHUTDOWN:
		on_shutdown(c, p->flags);
		break;
	case VIRTIO_VSOCK_OP_RW:
		on_data(c, ch, p->len);
		break;
	case VIRTIO_VSOCK_OP_CREDIT_UPDATE:
		break;
	case VIRTIO_VSOCK_OP_CREDIT_REQUEST:
		if (c->state == VCONN_OPEN)
			vconn_owe(c, VOWE_CREDIT);
		break;
	case VIRTIO_VSOCK_OP_REQUEST:
		refuse(c, "REQUEST for a pair of ports in use");
		break;
	default:
		refuse(c, "unknown operation");
	}
}
