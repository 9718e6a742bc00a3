/* SPDX-License-Identifier: Apache-2.0 */
/* priv.h - inside of struct client; for this folder and its tests only. */
#ifndef AGENT_CLIENT_PRIV_H
#define AGENT_CLIENT_PRIV_H

#include "agent/client/client.h"

#define CLIENT_TX_LOW 65536u	/* no more stdin is read while that much waits */
#define CLIENT_TX_MAX (PROTO_EXEC_MAX + 4u * PROTO_PAYLOAD_MAX)

/* Where the bytes of stream 1 or 2 go. */
struct client_out {
	int fd;			/* -1: discard */
	bool regular;		/* a file: write(2) does not wait for a reader */
	bool socket, no_nowait;
	bool stopped;		/* its reader is gone; STOP was sent */
	int error;		/* other than EPIPE */
	uint32_t granted;	/* bytes the agent may still send */
	uint32_t owed;		/* written, and not yet granted again */
	uint64_t left;		/* bytes that the agent may send at all */
	uint32_t off, len, cap;	/* of buf: what the descriptor did not take yet */
	uint8_t *buf;
};

struct client {
	int fd;
	int broken;		/* errno value: nothing more can be done with it */
	bool hello;		/* the agent's HELLO has come */
	bool busy;		/* a request is under way */
	bool done;		/* its last message has come */
	bool started, exec, ran;
	bool follow;		/* it was not started here */
	bool start_only;	/* STARTED is the end of the request */
	bool leaving, left;	/* DETACH was sent; the execution goes on without us */
	bool watching;		/* EXEC_INFO may come at any time */
	uint64_t features;
	unsigned version;	/* of the protocol, that the agent chose */
	uint32_t window;	/* of stream 0, from HELLO */
	uint16_t tag, request;	/* of the request under way */

	int in_fd;		/* -1: none */
	bool in_eof, in_stop;
	int in_error;
	uint64_t in_credit;

	struct client_out out[2];
	struct proto_exit res;
	struct proto_job job;		/* STARTED */
	struct client_keys keys;	/* n = 0: none */
	void (*tap)(void *arg, unsigned int stream, const uint8_t *p, size_t n);
	void *tap_arg;
	client_job_fn each_job;
	void *job_arg;
	struct client_stat stat;	/* of the last ENTRY */
	char name[PROTO_PATH_MAX], target[PROTO_PATH_MAX];
	void (*each)(const struct client_stat *st, void *arg);
	void *each_arg;
	struct client_err err;	/* what the agent answered, or what it did wrong */

	uint8_t *tx;
	size_t tx_off, tx_len, tx_cap;
	size_t rx_len;
	uint8_t rx[PROTO_HDR_LEN + PROTO_PAYLOAD_MAX];
};

int client_err_set(struct client_err *e, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Remember what broke the connection, unless something did before. -errno. */
int client_break(struct client *c, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
int64_t client_deadline(int timeout_ms);	/* INT64_MAX: none */
int client_time_left(int64_t deadline);		/* for poll(2) */

struct client *client_new(int fd);
/* Room for `n` bytes of messages in the queue; w is bad when there is none. */
void client_msg(struct client *c, struct proto_wr *w, size_t n);
/* Complete the message and queue it. 0, -EMSGSIZE, -EAGAIN. */
int client_queue(struct client *c, struct proto_wr *w);
/* Make ready for a request of that type. 0, or -errno with *e set. */
int client_begin(struct client *c, uint16_t type, struct client_err *e);
/* Serve the connection until the request is through; *e is set on error. */
int client_run(struct client *c, struct client_watch *watch, size_t n_watch, int64_t deadline,
	       struct client_err *e);
/* Queue a message without payload. */
void client_send(struct client *c, uint16_t type, uint16_t tag);
/* Read from the connection and handle it; true when there may be more. */
bool client_rx(struct client *c);
/* No more stdin. */
void client_in_end(struct client *c);
/* EXEC_INFO has come. */
void client_on_info(struct client *c, const uint8_t *p, size_t len);
/* What is still held back, to `out`. */
size_t client_keys_held(struct client_keys *k, uint8_t *out);
/* Stream goes to fd (-1: nowhere). */
void client_out_attach(struct client_out *o, int fd);
/* Handle the bytes in c->rx: whole messages are used up. */
void client_input(struct client *c);
/* Bytes of stream s (0 = stdout) came. */
void client_output(struct client *c, unsigned int s, const uint8_t *p, size_t n);
#endif
