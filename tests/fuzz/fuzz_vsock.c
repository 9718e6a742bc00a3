/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A socket device between a hostile guest and erratic clients. The input is a
 * script, a byte for what to do and bytes for how: packets whose every header
 * field can be a lie (ports, credit and lengths are mostly near the truth, or
 * nothing would get far), rx buffers of any size, bytes thrown into the rings,
 * clients that connect, write, read, shut and close at any time, resets.
 *
 * Checked after each step: what is buffered, counted and pledged stays under its
 * cap, and every packet that came out is one a guest can parse. At the end a
 * reset drains everything.
 */
#include <endian.h>
#include <linux/virtio_config.h>
#include <sys/ioctl.h>
#include "devices/vsock.h"

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t n);

#define BASE	0x10000ull
#define RAM	0x40000u
#define SIZE	64u
#define CLIENTS	8
#define AVAIL(q) ((q) * 0x1000u + 0x400)
#define USED(q)	((q) * 0x1000u + 0x800)
#define TX_BUF	0x4000u			/* one packet at a time */
#define RX_BUF	0x20000u		/* SIZE buffers of up to 2 KiB */

static struct fz {
	const uint8_t *in;
	size_t n;
	unsigned char *ram;
	struct loop loop;
	struct virtio_dev *d;
	struct vsock *s;
	int client[CLIENTS], listener;
	uint16_t used[2];
	uint32_t hport[CLIENTS], gport[CLIENTS];	/* pairs seen lately */
	unsigned npairs;
	char dir[32], path[48], path80[56];
	bool up;
} f;

static uint32_t take(unsigned bytes)
{
	uint32_t v = 0;

	while (bytes-- && f.n) {
		v = v << 8 | *f.in++;
		f.n--;
	}
	return v;
}

static void nothing(struct loop_call *c)
{
	loop_call_done(c);
}

static void run(void)
{
	for (int i = 0; i < 3; i++) {
		struct loop_call c = { .fn = nothing };

		loop_post(&f.loop, &c);
		while (!c.state)
			BUG_ON(loop_once(&f.loop) < 0);
	}
}

static void stopped(struct virtio_dev *d)
{
	(void)d;
}

static void start(void)
{
	const uint32_t ok = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
			    VIRTIO_CONFIG_S_FEATURES_OK;
	uint64_t features = 1ull << VIRTIO_F_VERSION_1 | (uint64_t)take(1) << 28;

	memset(f.ram, 0, 0x3000);
	memset(f.used, 0, sizeof(f.used));
	for (unsigned i = 0; i < 3; i++) {
		struct virtq *q = &f.d->q[i];

		q->size = SIZE;
		q->desc_at = GPA(BASE + i * 0x1000);
		q->avail_at = GPA(BASE + AVAIL(i));
		q->used_at = GPA(BASE + USED(i));
		q->asked = true;
	}
	virtio_set_status(f.d, ok, features & virtio_features(f.d));
	virtio_set_status(f.d, ok | VIRTIO_CONFIG_S_DRIVER_OK, 0);
}

static void stop(void)
{
	if (!virtio_stop(f.d))
		while (f.d->stopping)
			BUG_ON(loop_once(&f.loop) < 0);
	BUG_ON(!TAILQ_EMPTY(&f.s->all) || f.s->pledged || f.s->n[0] || f.s->n[1] ||
	       f.s->accept.busy || f.s->tick.busy || f.s->ready_op.busy);
}

static void offer(unsigned q, uint16_t head)
{
	uint16_t *avail = (uint16_t *)(void *)(f.ram + AVAIL(q));

	avail[2 + avail[1] % SIZE] = head;
	avail[1]++;
	virtio_kick(f.d, q);
}

static struct vring_desc *desc(unsigned q)
{
	return (struct vring_desc *)(void *)(f.ram + q * 0x1000);
}

/* ---- what the guest does ---- */

static void packet(void)
{
	uint32_t how = take(1), len = how & 1 ? take(2) : take(1) & 31, lie = take(1);
	unsigned i = f.npairs ? take(1) % (f.npairs < CLIENTS ? f.npairs : CLIENTS) : 0;
	const struct vconn *c = vconn_find(f.s, f.gport[i], f.hport[i]);
	struct virtio_vsock_hdr h = {
		.src_cid = htole64(42), .dst_cid = htole64(2), .type = htole16(1),
		.src_port = htole32(f.gport[i]), .dst_port = htole32(f.hport[i]),
		.op = htole16((uint16_t)(take(1) % 9)), .flags = htole32(take(1) & 3),
		.buf_alloc = htole32(how & 2 ? take(4) : 4096),
		.fwd_cnt = htole32(c ? c->credit.sent - (how & 4 ? take(1) : 0) : 0),
	};

	len %= 0x8000;
	h.len = htole32(len);
	if (how & 8)	/* to the listener, or to nobody */
		h.src_port = htole32(take(1)), h.dst_port = htole32(how & 16 ? 80 : take(1));
	if (lie & 1)
		h.len = htole32(take(4));
	if (lie & 2)
		h.fwd_cnt = htole32(take(4));
	if (lie & 4)
		((unsigned char *)&h)[take(1) % sizeof(h)] ^= (unsigned char)take(1);
	memcpy(f.ram + TX_BUF, &h, sizeof(h));
	desc(1)[0] = (struct vring_desc){ .addr = BASE + TX_BUF,
					  .len = lie & 8 ? take(1) : VSOCK_HDR + len };
	if (lie & 16)
		desc(1)[0] = (struct vring_desc){ .addr = BASE + TX_BUF, .len = take(1) % 60,
						  .flags = VRING_DESC_F_NEXT, .next = 1 };
	desc(1)[1] = (struct vring_desc){ .addr = BASE + TX_BUF + desc(1)[0].len, .len = len };
	if (f.s->running && !vconn_find(f.s, le32toh(h.src_port), le32toh(h.dst_port))) {
		f.gport[f.npairs % CLIENTS] = le32toh(h.src_port);
		f.hport[f.npairs++ % CLIENTS] = le32toh(h.dst_port);
	}
	offer(1, 0);
}

static void buffer(void)
{
	const uint16_t *avail = (uint16_t *)(void *)(f.ram + AVAIL(0));
	uint16_t i = avail[1] % SIZE;
	uint32_t len = take(1);

	len = len < 4 ? 40 + len * 2 : len * 8;
	desc(0)[i] = (struct vring_desc){ .addr = BASE + RX_BUF + i * 2048u, .len = len,
					  .flags = VRING_DESC_F_WRITE };
	offer(0, i);
}

/* Packets that have come: each must be whole. */
static void receive(void)
{
	const uint16_t *used = (uint16_t *)(void *)(f.ram + USED(0));

	for (; f.used[0] != used[1]; f.used[0]++) {
		struct vring_used_elem e;
		struct virtio_vsock_hdr h;

		memcpy(&e, (const unsigned char *)used + 4 + sizeof(e) * (f.used[0] % SIZE),
		       sizeof(e));
		if (!f.up || e.id >= SIZE || desc(0)[e.id].addr < BASE + RX_BUF ||
		    desc(0)[e.id].addr - BASE > RAM - 2048)
			continue;	/* the rings were thrown at */
		memcpy(&h, f.ram + (desc(0)[e.id].addr - BASE), sizeof(h));
		BUG_ON(e.len != VSOCK_HDR + le32toh(h.len));
		BUG_ON(le64toh(h.src_cid) != 2 || le64toh(h.dst_cid) != 42);
		BUG_ON(!le16toh(h.op) || le16toh(h.op) > VIRTIO_VSOCK_OP_CREDIT_UPDATE);
		if (le16toh(h.op) == VIRTIO_VSOCK_OP_REQUEST) {
			f.gport[f.npairs % CLIENTS] = le32toh(h.dst_port);
			f.hport[f.npairs++ % CLIENTS] = le32toh(h.src_port);
		}
	}
}

/* ---- what the clients do ---- */

static void client(void)
{
	static unsigned char block[65536];
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	unsigned i = take(1), what = i >> 3 & 7;
	int *fd = &f.client[i % CLIENTS];
	unsigned n;

	memcpy(sa.sun_path, f.path, sizeof(f.path));
	if (*fd < 0) {
		if (what == 7) {
			*fd = accept4(f.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
			return;
		}
		*fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		BUG_ON(*fd < 0);
		if (connect(*fd, (struct sockaddr *)&sa, sizeof(sa)))
			what = 7;
		if (what > 1)
			dprintf(*fd, "CONNECT %u\n", 1000 + take(1) % 4);
		else if (what)
			(void)!write(*fd, f.in, f.n < 40 ? f.n : 40);
		return;
	}
	switch (what) {
	case 0:
		shutdown(*fd, SHUT_WR);
		break;
	case 1:
		shutdown(*fd, SHUT_RD);
		break;
	case 2:
		close(*fd);
		*fd = -1;
		break;
	case 3:
	case 4:
		(void)!recv(*fd, block, take(2), MSG_DONTWAIT);
		break;
	default:
		n = what == 5 ? take(2) : take(1);
		(void)!send(*fd, block, n, MSG_DONTWAIT | MSG_NOSIGNAL);
	}
}

/* ---- */

static void check(void)
{
	const struct vsock *s = f.s;
	const struct vconn *c;
	uint32_t pledged = 0;
	unsigned n = 0;

	TAILQ_FOREACH(c, &s->all, all) {
		BUG_ON(c->credit.got - c->credit.fwd > c->credit.alloc);
		BUG_ON(c->buf.used > c->credit.alloc || c->buf.cap > VSOCK_BUF_MAX);
		BUG_ON(c->owed && !c->queued);
		pledged += c->credit.alloc;
		n++;
	}
	BUG_ON(pledged != s->pledged || n != s->n[0] + s->n[1] || s->nrst > VSOCK_RSTS_MAX);
}

static void once(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct err e = { 0 };

	strcpy(f.dir, "/tmp/fuzz-vsock-XXXXXX");
	BUG_ON(!mkdtemp(f.dir));
	snprintf(f.path, sizeof(f.path), "%s/s", f.dir);
	snprintf(f.path80, sizeof(f.path80), "%s_80", f.path);
	memcpy(sa.sun_path, f.path80, sizeof(f.path80));
	f.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	BUG_ON(f.listener < 0 || bind(f.listener, (struct sockaddr *)&sa, sizeof(sa)) ||
	       listen(f.listener, 4));
	BUG_ON(loop_init(&f.loop, 64, &e));
	f.ram = malloc(RAM);		/* its own block: ASan sees what goes past its end */
	BUG_ON(!f.ram);
	memset(f.ram, 0, RAM);
	log_level(LOG_LEVEL_ERROR);
}

static void step(void)
{
	uint32_t what = take(1);

	switch (what % 16) {
	case 0:
		stop();
		start();
		f.up = true;
		break;
	case 1:
		f.ram[take(2) % 0x3000] = (unsigned char)take(1);
		f.up = false;
		break;
	case 2:
	case 3:
	case 4:
		for (uint32_t k = 1 + what / 16; k; k--)
			buffer();
		break;
	case 5:
	case 6:
	case 7:
	case 8:
		client();
		break;
	case 9:
		run();
		break;
	case 10:
		if (f.s->running)
			vsock_ops.restored(f.d);
		break;
	default:
		packet();
	}
	if (what & 128)
		run();
	receive();
	check();
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t n)
{
	struct gmem mem = { .n = 1, .r = { { BASE, RAM, NULL } }, .fd = -1 };
	struct conf_dev conf = { .dev = "vsock", .cid = 42 };
	struct err e = { 0 };
	int fd;

	if (!f.ram)
		once();
	mem.r[0].hva = f.ram;
	conf.path = f.path;
	f.in = in;
	f.n = n;
	f.npairs = 0;
	f.d = virtio_new(&vsock_ops, &mem, &f.loop, &conf, &e);
	BUG_ON(!f.d);
	f.s = container_of(f.d, struct vsock, v);
	f.d->stopped = stopped;
	f.s->hello_ns = f.s->dial_ns = f.s->closing_ns = 300000;
	f.s->tick_ns = 100000;
	memset(f.client, -1, sizeof(f.client));
	start();
	f.up = true;
	for (unsigned steps = 0; f.n && steps < 400; steps++)
		step();
	run();
	stop();
	for (unsigned i = 0; i < CLIENTS; i++)
		if (f.client[i] >= 0)
			close(f.client[i]);
	while ((fd = accept(f.listener, NULL, NULL)) >= 0)
		close(fd);
	virtio_free(f.d);
	BUG_ON(f.loop.busy);
	return 0;
}
