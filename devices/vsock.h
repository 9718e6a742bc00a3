/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vsock.h - private to devices/vsock*.c and their tests.
 *
 *   vsock.c       the device: queues, packet checks, what goes out to the guest
 *   vsock_conn.c  one connection: table, life cycle, what a guest packet does to it
 *   vsock_flow.c  credit arithmetic and the byte buffer; knows no device
 *   vsock_host.c  the Unix side: listener, CONNECT line, connect, send, receive
 *
 * Everything runs on the loop's thread. Ports are host byte order, lengths bytes.
 */
#ifndef DEVICES_VSOCK_H
#define DEVICES_VSOCK_H
#include <linux/virtio_vsock.h>
#include <sys/queue.h>
#include <sys/un.h>
#include "vmm/virtio.h"

#define VSOCK_HOST_CID	2u
#define VSOCK_PORT_FIRST (1u << 30)	/* host ports of clients; below, ports have a meaning */
#define VSOCK_HDR	((uint32_t)sizeof(struct virtio_vsock_hdr))

/* Caps. */
#define VSOCK_CONNS_MAX	512u		/* for each of the two sides that can open one */
#define VSOCK_BUF_MAX	(256u << 10)	/* credit of a connection, while the pool lasts */
#define VSOCK_BUF_MIN	(16u << 10)	/* and afterwards; both are powers of two */
#define VSOCK_BUF_POOL	(32u << 20)
#define VSOCK_RSTS_MAX	256u		/* answers owed to packets of no connection */
#define VSOCK_LINE_MAX	32u		/* "CONNECT 4294967294\n" and some */
#define VSOCK_PATH_MAX	(sizeof(((struct sockaddr_un *)0)->sun_path) - sizeof("_4294967295"))

/* Fairness. */
#define VSOCK_BATCH	16u		/* chains filled by one receive */
#define VSOCK_TURN	(64u << 10)	/* bytes of one connection per turn */

/* ---- vsock_flow.c ---- */
struct vcredit {
	uint32_t alloc, got, fwd, told;		/* from the guest: capacity, received, passed on,
						 * and the last passed-on count it was told */
	uint32_t peer_alloc, peer_fwd, sent;	/* to the guest: the same as it tells us */
};

enum vcredit_word { VCREDIT_OK, VCREDIT_STALE, VCREDIT_LIE };

/* Account @len bytes that the guest has sent; false if it had no credit for them. */
bool vcredit_take(struct vcredit *c, uint32_t len) must_check;
/* The guest should hear about fwd now: it made progress and knows of less than half the buffer. */
bool vcredit_due(const struct vcredit *c);
/* How many bytes the guest can take. */
uint32_t vcredit_peer_free(const struct vcredit *c);
/*
 * Take what a guest header says. STALE (an older count, from a packet overtaken
 * inside the guest) and LIE (it has read more than was sent) change nothing.
 */
enum vcredit_word vcredit_peer(struct vcredit *c, uint32_t alloc, uint32_t fwd) must_check;

struct vbuf { unsigned char *p; uint32_t cap, head, used; };

/* Append @len bytes of @v from byte @skip on; grows to at most @max. 0 or -ENOMEM. */
int vbuf_put(struct vbuf *b, const struct iovec *v, unsigned n, size_t skip, uint32_t len,
	     uint32_t max) must_check;
/* The bytes held, oldest first: fills @out, returns how many parts. */
unsigned vbuf_peek(const struct vbuf *b, struct iovec out[2]);
void vbuf_drop(struct vbuf *b, uint32_t len);
void vbuf_free(struct vbuf *b);

/* @out = at most @max bytes of @in from byte @skip on, in at most @nout parts; returns those. */
unsigned viov_slice(const struct iovec *in, unsigned n, size_t skip, size_t max,
		    struct iovec *out, unsigned nout);

/* ---- the objects ---- */
enum vconn_state {
	VCONN_HELLO,	/* a Unix client has yet to finish its CONNECT line */
	VCONN_ASKED,	/* the guest was sent REQUEST */
	VCONN_DIALING,	/* the guest sent REQUEST; the Unix listener's backlog is full */
	VCONN_OPEN,
	VCONN_CLOSING,	/* both SHUTDOWN flags were sent; the guest owes RST */
	VCONN_LINGER,	/* the guest has left; what it had sent goes out still */
	VCONN_RESET,	/* the guest is owed RST */
	VCONN_DEAD,	/* freed on the way back to the loop */
};

/* Control packets owed to the guest: flags, so a guest cannot make them pile up. */
#define VOWE_RST	1u
#define VOWE_REQUEST	2u
#define VOWE_RESPONSE	4u
#define VOWE_SHUTDOWN	8u
#define VOWE_CREDIT	16u

struct vsock;
struct vconn {
	struct vsock *s;
	TAILQ_ENTRY(vconn) all, ready;
	struct vconn *next;		/* in its hash bucket */
	enum vconn_state state;
	uint32_t gport, hport;
	bool by_guest, keyed, queued;	/* who opened it; in the table; in the ready list */
	bool readable;			/* the Unix socket may have bytes, or its end */
	bool ending;			/* after those bytes there is no more */
	bool eof, gone;			/* the client sends no more; can receive no more */
	bool wr_shut;			/* we shut SHUT_WR */
	bool watched, watch_out;	/* in the epoll set; for room as well */
	uint8_t guest_shut;		/* VIRTIO_VSOCK_SHUTDOWN_* that the guest has sent */
	uint8_t shut, shut_sent;	/* those that we want to have sent, and have */
	uint8_t owed;			/* VOWE_* */
	uint32_t inq;			/* bytes that vhost_pending() saw in the socket */
	int fd;
	uint64_t deadline;		/* CLOCK_MONOTONIC ns; 0: none */
	struct vcredit credit;
	struct vbuf buf;		/* guest bytes that the Unix socket had no room for */
	unsigned nline;
	char line[VSOCK_LINE_MAX];
};

/* A guest header, checked and in host byte order. */
struct vpkt {
	uint32_t gport, hport, len, flags, buf_alloc, fwd_cnt;
	uint16_t type, op;
};

struct vrst { uint32_t gport, hport; uint16_t type; };

#define VSOCK_BUCKETS 256u
TAILQ_HEAD(vconn_list, vconn);

struct vsock {
	struct virtio_dev v;
	struct virtio_vsock_config cfg;
	uint64_t cid;
	bool running, stopping;
	bool tell;			/* the guest has yet to hear of a restore */
	bool told;			/* it has been told, and has yet to act on it */
	bool backoff;			/* accept failed for want of something: wait a tick */
	/* Unix side */
	int fd, epfd;			/* the listener; all connections */
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	uint64_t dev, ino;		/* of the socket file that we made */
	struct op accept, tick, ready_op;
	uint64_t hello_ns, dial_ns, closing_ns, tick_ns;	/* time limits */
	/* connections */
	struct vconn_list all, ready;
	struct vconn *bucket[VSOCK_BUCKETS];
	unsigned n[2];			/* [by_guest] */
	uint32_t pledged;		/* sum of advertised credit */
	uint32_t next_port;
	struct vrst rst[VSOCK_RSTS_MAX];
	unsigned rst_head, nrst;
	/* What was turned away, and the last reason: for tests and for people. */
	struct {
		uint64_t dropped;	/* packets without an answer */
		uint64_t refused;	/* packets answered by RST because they broke a rule */
		uint64_t rst_lost;	/* RSTs not sent because too many were owed */
		uint64_t hello_bad;	/* clients whose CONNECT line was no good */
		uint64_t opened;	/* connections that were established */
		uint64_t to_guest, from_guest;	/* bytes */
		uint64_t wakeups;	/* of the epoll set */
	} stat;
	const char *why;
	/* Scratch: not valid across a return to the loop. */
	struct vchain tx, rx[VSOCK_BATCH];
	uint32_t cap[VSOCK_BATCH];
	struct iovec iov[2 * VCHAIN_MAX];
};

extern const struct virtio_ops vsock_ops;

/* ---- vsock.c ---- */
/* Every entry from the loop ends here: sends what is owed, frees what is dead, accepts more. */
void vsock_settle(struct vsock *s);
/* Make sure that the tick comes that ends what has waited too long. */
void vsock_want_tick(struct vsock *s);
uint64_t vsock_now(void);

/* ---- vsock_conn.c ---- */
/* Takes @fd. NULL, with @fd closed, when the side has VSOCK_CONNS_MAX or memory is short. */
struct vconn *vconn_new(struct vsock *s, bool by_guest, int fd, enum vconn_state state) must_check;
struct vconn *vconn_find(const struct vsock *s, uint32_t gport, uint32_t hport);
/* Give it its ports; the pair must be free. */
void vconn_key(struct vconn *c, uint32_t gport, uint32_t hport);
/* A free host port for a connection to @gport. */
uint32_t vconn_port(struct vsock *s, uint32_t gport);
void vconn_owe(struct vconn *c, unsigned what);
/* There may be bytes for the guest. */
void vconn_readable(struct vconn *c);
/* Owe the guest the VIRTIO_VSOCK_SHUTDOWN_* flags @how. */
void vconn_shut(struct vconn *c, unsigned how);
/* Our SHUTDOWN packet is in the guest's queue. */
void vconn_shut_sent(struct vconn *c);
/* Both sides' states may have changed: pass on ends of stream, finish what is finished. */
void vconn_advance(struct vconn *c);
/* Hang up the Unix side and owe the guest RST. */
void vconn_reset(struct vconn *c);
/* Forget it now; the guest hears nothing. Freed by vconn_reap(). */
void vconn_kill(struct vconn *c);
/* Free the dead. */
void vconn_reap(struct vsock *s);
/* A guest packet for @c; @ch is its chain, payload after the header. */
void vconn_packet(struct vconn *c, const struct vpkt *p, const struct vchain *ch);
/* A deadline may have passed. */
void vconn_timeout(struct vconn *c, uint64_t now);

/* ---- vsock_host.c ---- */
int vhost_open(struct vsock *s, const char *path, struct err *e) must_check;
void vhost_close(struct vsock *s);
/* Accept, if the device runs and the cap allows it. */
void vhost_accept(struct vsock *s);
/* Wait for events of the connections. */
void vhost_wait(struct vsock *s);
/* One half is shut: has the client gone altogether? */
void vhost_look(struct vconn *c);
/* The guest agreed: tell the client. */
void vhost_agreed(struct vconn *c);
/* Connect to <path>_<hport>; again from the tick while the backlog is full. */
void vhost_dial(struct vconn *c);
/* Bytes that can go to the guest now, at most VSOCK_TURN; finds the end of the stream too. */
uint32_t vhost_pending(struct vconn *c) must_check;
/* Receive into s->iov[0..n) the @want bytes that vhost_pending() promised; returns bytes. */
uint32_t vhost_recv(struct vconn *c, unsigned n, uint32_t want) must_check;
/* @len bytes of the chain's payload, credit already taken. */
void vhost_send(struct vconn *c, const struct vchain *ch, uint32_t len);
#endif
