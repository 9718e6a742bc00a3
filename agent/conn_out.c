// SPDX-License-Identifier: Apache-2.0
/*
 * conn_out.c - what a connection sends.
 *
 * One queue, so the order of messages is the order of calls. It is
 * written at the end of a turn, so that small messages share a write; large ones go
 * directly when nothing waits. A job sends only when almost nothing waits (conn_idle),
 * so the queue holds at most one DATA message and some small ones. Those are answers
 * to the client's own messages: while more than CONN_TX_HIGH bytes wait, nothing more
 * is read from it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/conn.h"

#define TX_LOW 4096u

static uint8_t out_buf[PROTO_HDR_LEN + PROTO_PAYLOAD_MAX];
static struct proto_wr out_wr;

bool conn_idle(const struct conn *c)
{
	return c->tx_len - c->tx_off < TX_LOW && !c->tx_blocked && !c->dead && !c->closing;
}

static void tx_reset(struct conn *c)
{
	c->tx_off = 0;
	c->tx_len = 0;
	if (c->tx_cap > CONN_TX_HIGH) {
		free(c->tx);
		c->tx = NULL;
		c->tx_cap = 0;
	}
}

void conn_flush(struct conn *c)
{
	while (c->tx_off < c->tx_len && !c->dead) {
		ssize_t n = write(c->w.fd, c->tx + c->tx_off, c->tx_len - c->tx_off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			c->tx_blocked = true;
			return;
		}
		if (n < 0) {
			conn_kill(c);
			return;
		}
		c->tx_off += (size_t)n;
	}
	tx_reset(c);
	if (c->closing && !c->shut && !c->dead) {
		c->shut = true;
		shutdown(c->w.fd, SHUT_WR);
	}
}

static void send_bytes(struct conn *c, const uint8_t *p, size_t n)
{
	uint8_t *tx;
	size_t cap;

	evloop_queue(&c->work);
	while (n >= TX_LOW && !c->dead && !c->tx_blocked && c->tx_off == c->tx_len) {
		ssize_t k = write(c->w.fd, p, n);

		if (k < 0 && errno == EAGAIN) {
			c->tx_blocked = true;
		} else if (k < 0 && errno != EINTR) {
			conn_kill(c);
		} else if (k > 0) {
			p += k;
			n -= (size_t)k;
		}
	}
	if (!n || c->dead)
		return;
	if (n > c->tx_cap - c->tx_len) {
		cap = c->tx_len + n < 4096 ? 4096 : c->tx_len + n;
		tx = realloc(c->tx, cap);
		if (!tx) {
			conn_kill(c);
			return;
		}
		c->tx = tx;
		c->tx_cap = cap;
	}
	memcpy(c->tx + c->tx_len, p, n);
	c->tx_len += n;
}

uint8_t *conn_scratch(void)
{
	return out_buf + PROTO_HDR_LEN;
}

void conn_send_data(struct conn *c, unsigned int stream, size_t n)
{
	struct proto_wr w;

	proto_wr_init(&w, out_buf, sizeof(out_buf));
	proto_wr_begin(&w, PROTO_DATA, (uint16_t)stream);
	w.len += n;
	if (proto_wr_end(&w) < 0 || n > c->out_credit[stream])
		abort();	/* a job's mistake, never the client's */
	c->out_credit[stream] -= (uint32_t)n;
	send_bytes(c, out_buf, w.len);
}

struct proto_wr *conn_msg(void)
{
	proto_wr_init(&out_wr, out_buf, sizeof(out_buf));
	return &out_wr;
}

void conn_send_msg(struct conn *c, struct proto_wr *w)
{
	if (proto_wr_end(w) < 0)
		conn_kill(c);
	else
		send_bytes(c, w->buf, w->len);
}

void conn_send_empty(struct conn *c, uint16_t type, uint16_t tag)
{
	struct proto_wr *w = conn_msg();

	proto_wr_begin(w, type, tag);
	conn_send_msg(c, w);
}

void conn_error(struct conn *c, const struct proto_hdr *about, int code, const char *msg)
{
	struct proto_wr *w = conn_msg();

	proto_wr_error(w, about->tag, about->type, code, msg);
	conn_send_msg(c, w);
}

void conn_consumed(struct conn *c, uint32_t n)
{
	struct proto_wr *w;

	c->in_owed += n;
	if (c->in_owed < PROTO_STDIN_WINDOW / 2 || c->dead || c->closing)
		return;
	w = conn_msg();
	proto_wr_begin(w, PROTO_CREDIT, PROTO_STDIN);
	proto_wr_u32(w, c->in_owed);
	c->in_credit += c->in_owed;
	c->in_owed = 0;
	conn_send_msg(c, w);
}
