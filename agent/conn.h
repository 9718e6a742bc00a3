/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conn.h - one client's connection: framing, credit, and the job that it runs.
 *
 * A job is an execution or a file request; a connection has at most one at a
 * time. The connection checks every rule of the protocol before a job hears of a
 * message; jobs see valid streams, valid credit and never a message out of place.
 */
#ifndef AGENT_CONN_H
#define AGENT_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/evloop.h"
#include "agent/proto.h"

#define CONN_MAX 200u	/* connections; more are refused */

/* While more than that waits to be sent, a client is not read. */
#define CONN_TX_HIGH 16384u

struct conn;

/* Every operation may be NULL: then the message is ignored. */
struct job_ops {
	void (*data)(struct conn *c, const uint8_t *p, size_t n);	/* stream 0 */
	void (*eof)(struct conn *c);					/* stream 0 */
	void (*stop)(struct conn *c, unsigned int stream);		/* 1 or 2 */
	void (*signal)(struct conn *c, int signo, enum proto_scope scope);
	void (*winch)(struct conn *c, const uint16_t size[4]);
	void (*leave)(struct conn *c);	/* DETACH: the job goes on without it */
	void (*pump)(struct conn *c);	/* there may be room or credit to send */
	void (*gone)(struct conn *c);	/* the connection ends; forget it */
};

/* What starts a job or answers at once. Returns false for a type it does not know. */
typedef bool (*conn_request_fn)(struct conn *c, const struct proto_hdr *h,
				const uint8_t *payload);

struct conn {
	struct watch w;
	struct work work;
	struct timer timer;		/* bounds the time to say HELLO, and to close */
	const struct job_ops *ops;
	void *job;
	uint16_t tag, request;		/* of the job's request: its tag and type */
	bool hello, closing, shut, dead, hup, rx_ready, tx_blocked, eof_seen;
	uint8_t hdr[PROTO_HDR_LEN];
	uint32_t hdr_len;
	struct proto_hdr h;		/* hdr, decoded, when it is complete */
	uint8_t *rx;			/* h.len bytes for a payload that comes in parts */
	uint32_t rx_len;
	uint32_t data_left;		/* of a DATA message being passed on */
	bool data_drop;
	uint32_t in_credit;		/* bytes the client may still send on stream 0 */
	uint32_t in_owed;		/* consumed, and not yet granted again */
	uint32_t out_credit[PROTO_STREAMS];
	uint8_t *tx;
	size_t tx_off, tx_len, tx_cap;
};

/* What is the same for all connections. */
struct conn_env {
	struct proto_hello hello;	/* our answer to HELLO */
	conn_request_fn request;
	unsigned int n;			/* connections */
};
extern struct conn_env conn_env;

/* Own fd (non-blocking). NULL when out of memory or of room; then fd is closed. */
struct conn *conn_new(int fd);
/* Bytes from the client; used by the tests and fuzzers in place of a socket. */
void conn_input(struct conn *c, const uint8_t *p, size_t n);
/* End the connection now; freed later in this turn. */
void conn_kill(struct conn *c);

/* Write what waits, as far as the socket takes it. */
void conn_flush(struct conn *c);
/* True when next to nothing waits to be sent: the moment for a job to send more. */
bool conn_idle(const struct conn *c);
/*
 * PROTO_PAYLOAD_MAX bytes, shared by all, for the payload of the next
 * conn_send_data() or conn_send_msg(). Any other conn_* call may overwrite them.
 */
uint8_t *conn_scratch(void);
/* Send n bytes of conn_scratch() as DATA, and use up that much credit. */
void conn_send_data(struct conn *c, unsigned int stream, size_t n);
/* Begin a message in the scratch buffer; conn_send_msg() completes and sends it. */
struct proto_wr *conn_msg(void);
void conn_send_msg(struct conn *c, struct proto_wr *w);
void conn_send_empty(struct conn *c, uint16_t type, uint16_t tag);
/* The job has consumed n bytes of stream 0. */
void conn_consumed(struct conn *c, uint32_t n);
void conn_error(struct conn *c, const struct proto_hdr *about, int code, const char *msg);

/* Attach a job; its tag is the request's. */
void conn_job_start(struct conn *c, const struct proto_hdr *h, const struct job_ops *ops,
		    void *job);
/* The job has sent its last message. */
void conn_job_end(struct conn *c);
/* Call ops->pump in the next turn. */
void conn_pump_later(struct conn *c);
#endif
