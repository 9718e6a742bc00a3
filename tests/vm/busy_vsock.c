/* SPDX-License-Identifier: Apache-2.0 */
/* busy_vsock.c - one stream connection, as the side that is connected to (virtio 1.2, 5.10). */
#include "tests/vm/busy.h"

#define PIECE		1024u
#define BUFFER		4096u
#define RX_BUFFERS	8u
#define TX_HEADS	8u

enum { RX, TX, EVENT, QUEUES };
enum { REQUEST = 1, RESPONSE, RST, SHUTDOWN, RW, CREDIT_UPDATE, CREDIT_REQUEST };

struct __attribute__((packed)) packet {
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port, len;
	uint16_t type, op;
	uint32_t flags, buf_alloc, fwd_cnt;
	uint64_t data[PIECE / 8];
};
#define HEADER (sizeof(struct packet) - PIECE)

static struct ring ring[QUEUES];
static unsigned char in[RX_BUFFERS][BUFFER] __attribute__((aligned(8)));
static struct packet out[TX_HEADS];
static uint32_t event[2];
static unsigned busy;			/* a bit for each head that is in flight */
static struct packet peer;		/* its addresses, as of its last packet */
static bool connected;
static uint32_t sent, received;
static uint64_t number, packets;

static void give(unsigned i)
{
	ring[RX].desc[i] = (struct desc){ (uintptr_t)in[i], BUFFER, DESC_WRITE, 0 };
	submit(&ring[RX], i);
}

static void give_event(void)
{
	ring[EVENT].desc[0] = (struct desc){ (uintptr_t)event, sizeof(event), DESC_WRITE, 0 };
	submit(&ring[EVENT], 0);
}

/* False if all heads are in flight. */
static bool send(uint16_t op, uint32_t len)
{
	unsigned i = 0;
	struct packet *p;

	while (i < TX_HEADS && busy >> i & 1)
		i++;
	if (i == TX_HEADS)
		return false;
	p = &out[i];
	p->src_cid = peer.dst_cid;
	p->dst_cid = peer.src_cid;
	p->src_port = peer.dst_port;
	p->dst_port = peer.src_port;
	p->len = len;
	p->type = 1;
	p->op = op;
	p->flags = 0;
	p->buf_alloc = 65536;
	p->fwd_cnt = received;
	for (unsigned k = 0; k < len / 8; k++)
		p->data[k] = number++;
	sent += len;
	busy |= 1u << i;
	ring[TX].desc[i] = (struct desc){ (uintptr_t)p, (uint32_t)HEADER + len, 0, 0 };
	submit(&ring[TX], i);
	return true;
}

static void gone(void)
{
	if (connected)
		print("gone\n");
	connected = false;
}

static void take(const struct packet *p)
{
	memcpy(&peer, p, HEADER);
	switch (p->op) {
	case REQUEST:
		number = sent = received = 0;
		connected = send(RESPONSE, 0);
		print("connected\n");
		break;
	case RST:
		gone();
		break;
	case SHUTDOWN:
		gone();
		(void)send(RST, 0);
		break;
	case RW:
		received += p->len;
		break;
	case CREDIT_REQUEST:
		(void)send(CREDIT_UPDATE, 0);
		break;
	default:
		break;
	}
}

void vsock_begin(void)
{
	begin(ID_VSOCK, ring, QUEUES, 0);
	for (unsigned i = 0; i < RX_BUFFERS; i++)
		give(i);
	give_event();
}

uint64_t vsock_work(void)
{
	uint32_t len;
	int i = reap(&ring[RX], &len);

	if (i >= 0) {
		if (len < HEADER)
			bad("packet of the vsock");
		take((const struct packet *)(const void *)in[i]);
		give((unsigned)i);
	}
	i = reap(&ring[TX], &len);
	if (i >= 0) {
		busy &= ~(1u << i);
		packets++;
	}
	if (reap(&ring[EVENT], &len) >= 0) {	/* TRANSPORT_RESET is the only one there is */
		if (len < 4 || event[0])
			bad("event of the vsock");
		gone();
		give_event();
	}
	if (connected && peer.buf_alloc - (sent - peer.fwd_cnt) >= PIECE)
		(void)send(RW, PIECE);
	return packets;
}
