// SPDX-License-Identifier: Apache-2.0
/*
 * conn.c - the state machine of a connection.
 *
 * Input. Messages are parsed where they were read when they are whole;
 * otherwise the part that is there moves into a buffer of the message's size. DATA is
 * never collected: its bytes go to the job as they come, since its length was
 * checked against the client's credit when its header was seen.
 *
 * A client that breaks the protocol gets an ERROR, and its connection ends:
 * the write side is shut, its input is read and dropped until it closes or a timer ends
 * that, so that the ERROR is not lost to a reset.
 *
 * Memory: a connection holds at most one message (64 KiB; EXEC up to 1 MiB, and
 * RX_BUDGET for all of them together), plus its queue.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/conn.h"

#define RX_BUDGET	(8u << 20)
#define HELLO_NS	60000000000u	/* a loaded host that emulates us needs seconds for it */
#define CLOSE_NS	5000000000u
#define READ_TURNS	4	/* reads per turn, then the others have theirs */

struct conn_env conn_env;

static uint8_t in_buf[PROTO_PAYLOAD_MAX];
static size_t rx_total;

/* ---- rules ------------------------------------------------------------- */

/* The client broke the protocol: say so and end the connection. */
static void violation(struct conn *c, const struct proto_hdr *h, const char *msg)
{
	if (c->closing || c->dead)
		return;
	conn_error(c, h, EPROTO, msg);
	c->closing = true;
	evloop_timer(&c->timer, evloop_now() + CLOSE_NS);
	evloop_queue(&c->work);
}

/* ---- jobs -------------------------------------------------------------- */

void conn_job_start(struct conn *c, const struct proto_hdr *h, const struct job_ops *ops, void *job)
{
	c->ops = ops;
	c->job = job;
	c->tag = h->tag;
	c->request = h->type;
	c->in_credit = PROTO_STDIN_WINDOW;
	c->in_owed = 0;
	c->eof_seen = false;
	for (int i = 0; i < PROTO_STREAMS; i++)
		c->out_credit[i] = PROTO_OUT_WINDOW;
}

void conn_job_end(struct conn *c)
{
	c->ops = NULL;
	c->job = NULL;
}

void conn_pump_later(struct conn *c)
{
	evloop_queue(&c->work);
}

/* ---- input ------------------------------------------------------------- */

static void on_hello(struct conn *c, const struct proto_hdr *h, const uint8_t *payload)
{
	struct proto_hello hello;
	struct proto_wr *w;
	uint16_t v;

	if (h->type != PROTO_HELLO || proto_hello_read(payload, h->len, false, &hello) < 0) {
		violation(c, h, "the first message is not a HELLO of this protocol");
		return;
	}
	v = hello.max < PROTO_VERSION_MAX ? hello.max : PROTO_VERSION_MAX;
	if (v < hello.min || v < PROTO_VERSION_MIN) {
		violation(c, h, "no version of the protocol in common");
		return;
	}
	c->hello = true;
	evloop_timer_stop(&c->timer);
	hello = conn_env.hello;
	hello.min = v;
	hello.max = v;
	w = conn_msg();
	proto_wr_hello(w, PROTO_HELLO, true, &hello);
	conn_send_msg(c, w);
}

static void on_credit(struct conn *c, const struct proto_hdr *h, const uint8_t *payload)
{
	struct proto_rd r;
	uint32_t n;

	proto_rd_init(&r, payload, h->len);
	n = proto_rd_u32(&r);
	if (r.bad || (h->tag != PROTO_STDOUT && h->tag != PROTO_STDERR)) {
		violation(c, h, "bad CREDIT");
	} else if (c->ops) {
		if (n > PROTO_CREDIT_MAX - c->out_credit[h->tag])
			violation(c, h, "more credit than the protocol allows");
		else
			c->out_credit[h->tag] += n;
		evloop_queue(&c->work);
	}
}

static void on_signal(struct conn *c, const struct proto_hdr *h, const uint8_t *payload)
{
	uint32_t signo, scope;
	struct proto_rd r;

	proto_rd_init(&r, payload, h->len);
	signo = proto_rd_u32(&r);
	scope = proto_rd_u32(&r);
	if (r.bad || signo < 1 || signo > 64 || scope > PROTO_SCOPE_TREE)
		violation(c, h, "bad SIGNAL");
	else if (c->ops && c->ops->signal)
		c->ops->signal(c, (int)signo, (enum proto_scope)scope);
}

static void on_winch(struct conn *c, const struct proto_hdr *h, const uint8_t *payload)
{
	struct proto_rd r;
	uint16_t size[4];

	proto_rd_init(&r, payload, h->len);
	for (int i = 0; i < 4; i++)
		size[i] = proto_rd_u16(&r);
	if (r.bad)
		violation(c, h, "bad WINCH");
	else if (c->ops && c->ops->winch)
		c->ops->winch(c, size);
}

static void on_ping(struct conn *c, const struct proto_hdr *h, const uint8_t *payload)
{
	struct proto_wr *w = conn_msg();

	if (h->len > 64) {
		violation(c, h, "PING is larger than 64 bytes");
		return;
	}
	proto_wr_begin(w, PROTO_PONG, h->tag);
	proto_wr_raw(w, payload, h->len);
	conn_send_msg(c, w);
}

static void on_message(struct conn *c, const struct proto_hdr *h, const uint8_t *payload)
{
	if (c->closing || c->dead)
		return;
	if (!c->hello) {
		on_hello(c, h, payload);
		return;
	}
	switch (h->type) {
	case PROTO_PING:
		on_ping(c, h, payload);
		break;
	case PROTO_CREDIT:
		on_credit(c, h, payload);
		break;
	case PROTO_SIGNAL:
		on_signal(c, h, payload);
		break;
	case PROTO_WINCH:
		on_winch(c, h, payload);
		break;
	case PROTO_EOF:
		if (h->tag != PROTO_STDIN)
			violation(c, h, "EOF of a stream that the agent sends");
		else if (c->ops && !c->eof_seen && c->ops->eof)
			c->ops->eof(c);
		c->eof_seen = true;
		break;
	case PROTO_STOP:
		if (h->tag != PROTO_STDOUT && h->tag != PROTO_STDERR)
			violation(c, h, "STOP of a stream that the agent does not send");
		else if (c->ops && c->ops->stop)
			c->ops->stop(c, h->tag);
		break;
	case PROTO_DETACH:
		if (c->ops && c->ops->leave)
			c->ops->leave(c);
		break;
	default:
		if (c->ops)
			conn_error(c, h, EBUSY, "the connection is busy with a request");
		else if (!conn_env.request(c, h, payload))
			conn_error(c, h, EOPNOTSUPP, "the agent does not know this request");
	}
}

/* A header was read: refuse what no message may be. False when the connection ends. */
static bool check_header(struct conn *c, const struct proto_hdr *h)
{
	if (h->len > proto_type_max(h->type)) {
		violation(c, h, "the message is too long");
	} else if (!c->hello && (h->type != PROTO_HELLO || h->len > 4096)) {
		violation(c, h, "the first message is not a HELLO of this protocol");
	} else if (h->type == PROTO_DATA && c->ops) {
		if (h->tag != PROTO_STDIN || !h->len)
			violation(c, h, "DATA is empty or of a stream that the agent sends");
		else if (c->eof_seen)
			violation(c, h, "DATA after EOF");
		else if (h->len > c->in_credit)
			violation(c, h, "more DATA than was granted");
		else
			c->in_credit -= h->len;
	}
	return !c->closing && !c->dead;
}

static void rx_free(struct conn *c)
{
	if (c->rx)
		rx_total -= c->h.len;
	free(c->rx);
	c->rx = NULL;
	c->rx_len = 0;
}

/* Pass on bytes of the DATA message that is being received. */
static size_t feed_data(struct conn *c, const uint8_t *p, size_t n)
{
	if (n > c->data_left)
		n = c->data_left;
	c->data_left -= (uint32_t)n;
	if (c->ops && !c->data_drop && c->ops->data)
		c->ops->data(c, p, n);
	return n;
}

static void start_data(struct conn *c, const struct proto_hdr *h)
{
	c->data_left = h->len;
	/* Bytes under way to a job that has ended are not for the next one. */
	c->data_drop = !c->ops;
}

/* The header, which may come in pieces. */
static size_t take_header(struct conn *c, const uint8_t *p, size_t n)
{
	size_t k = PROTO_HDR_LEN - c->hdr_len;

	k = n < k ? n : k;
	memcpy(c->hdr + c->hdr_len, p, k);
	c->hdr_len += (uint32_t)k;
	if (c->hdr_len < PROTO_HDR_LEN)
		return k;
	proto_hdr_read(c->hdr, &c->h);
	if (!check_header(c, &c->h))
		return k;
	if (c->h.type == PROTO_DATA) {
		c->hdr_len = 0;
		start_data(c, &c->h);
	} else if (!c->h.len) {
		c->hdr_len = 0;
		on_message(c, &c->h, p);
	}
	return k;
}

/* The payload: in place when all of it is there, otherwise collected. */
static size_t take_payload(struct conn *c, const uint8_t *p, size_t n)
{
	size_t k;

	if (!c->rx && n >= c->h.len) {
		c->hdr_len = 0;
		on_message(c, &c->h, p);
		return c->h.len;
	}
	if (!c->rx) {
		if (c->h.len <= RX_BUDGET - rx_total)
			c->rx = malloc(c->h.len);
		if (!c->rx) {
			conn_kill(c);
			return n;
		}
		rx_total += c->h.len;
	}
	k = c->h.len - c->rx_len;
	k = n < k ? n : k;
	memcpy(c->rx + c->rx_len, p, k);
	c->rx_len += (uint32_t)k;
	if (c->rx_len == c->h.len) {
		c->hdr_len = 0;
		on_message(c, &c->h, c->rx);
		rx_free(c);
	}
	return k;
}

void conn_input(struct conn *c, const uint8_t *p, size_t n)
{
	while (n && !c->closing && !c->dead) {
		size_t k;

		if (c->data_left)
			k = feed_data(c, p, n);
		else if (c->hdr_len < PROTO_HDR_LEN)
			k = take_header(c, p, n);
		else
			k = take_payload(c, p, n);
		p += k;
		n -= k;
	}
}

/* ---- life -------------------------------------------------------------- */

static void read_some(struct conn *c)
{
	for (int turn = 0; c->rx_ready && !c->dead && turn < READ_TURNS; turn++) {
		ssize_t n;

		if (c->tx_len - c->tx_off > CONN_TX_HIGH && !c->closing)
			return;	/* it does not read our answers: no more questions */
		n = read(c->w.fd, in_buf, sizeof(in_buf));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			c->rx_ready = false;
		} else if (n <= 0) {
			conn_kill(c);
		} else {
			conn_input(c, in_buf, (size_t)n);
			if ((size_t)n < sizeof(in_buf) && !c->hup)
				c->rx_ready = false;	/* the next byte makes an edge */
		}
	}
	if (c->rx_ready && !c->dead)
		evloop_queue(&c->work);
}

static void conn_free(struct conn *c)
{
	const struct job_ops *ops = c->ops;

	if (ops && ops->gone)
		ops->gone(c);
	evloop_timer_stop(&c->timer);
	evloop_unqueue(&c->work);
	evloop_del(&c->w);
	rx_free(c);
	free(c->tx);
	free(c);
	conn_env.n--;
}

static void conn_work(struct work *w)
{
	struct conn *c = container_of(w, struct conn, work);

	if (!c->tx_blocked && !conn_idle(c))
		conn_flush(c);
	if (!c->dead && c->rx_ready)
		read_some(c);
	if (!c->dead && !c->closing && c->ops && c->ops->pump)
		c->ops->pump(c);
	if (!c->dead && !c->tx_blocked && c->tx_off < c->tx_len) {
		bool waited = !conn_idle(c);

		conn_flush(c);
		if (waited && c->ops && conn_idle(c))
			evloop_queue(&c->work);	/* the job has waited for that */
	}
	if (c->closing && !c->tx_blocked)
		conn_flush(c);
	if (c->dead)
		conn_free(c);
}

static void conn_event(struct watch *w, uint32_t events)
{
	struct conn *c = container_of(w, struct conn, w);

	if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		c->hup = true;
	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		c->rx_ready = true;
	if (events & EPOLLOUT)
		c->tx_blocked = false;
	evloop_queue(&c->work);
}

static void conn_timer(struct timer *t)
{
	conn_kill(container_of(t, struct conn, timer));
}

void conn_kill(struct conn *c)
{
	c->dead = true;
	evloop_queue(&c->work);
}

struct conn *conn_new(int fd)
{
	struct conn *c = conn_env.n < CONN_MAX ? calloc(1, sizeof(*c)) : NULL;

	if (!c || evloop_add(&c->w, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET) < 0) {
		free(c);
		close(fd);
		return NULL;
	}
	c->w.fn = conn_event;
	c->work.fn = conn_work;
	c->timer.fn = conn_timer;
	conn_env.n++;
	evloop_timer(&c->timer, evloop_now() + HELLO_NS);
	return c;
}
