/* SPDX-License-Identifier: Apache-2.0 */
#include <endian.h>
#include <fcntl.h>
#include "tests/unit/test_vsock_guest.h"

static void add_rx(struct vg *g)
{
	const struct rig_part cut[] = {
		{ NULL, 20, true }, { NULL, 40, true }, { NULL, VG_RX - 16, true }
	};
	const struct rig_part whole = { NULL, VSOCK_HDR + VG_RX, true };

	if (g->split)
		rig_add(&g->r, 0, cut, 3);
	else
		rig_add(&g->r, 0, &whole, 1);
}

void vg_rx(struct vg *g, unsigned n)
{
	while (n--)
		add_rx(g);
	rig_kick(&g->r, 0);
}

void vg_start(struct vg *g, unsigned nrx)
{
	void *p;

	g->r.next_buf = VIRTIO_QUEUES_MAX * RIG_QUEUE;
	rig_start(&g->r, 0);
	g->slot_at = rig_buf(&g->r, VSOCK_HDR + VG_MAX, &p);
	g->slot = p;
	if (nrx)
		vg_rx(g, nrx);
	vg_run(g);
}

static void open_it(struct vg *g, unsigned nrx, bool split)
{
	struct conf_dev c = { .dev = "vsock", .cid = VG_CID };

	*g = (struct vg){ .split = split };
	strcpy(g->dir, "/tmp/vsock-XXXXXX");
	cr_assert(mkdtemp(g->dir));
	snprintf(g->path, sizeof(g->path), "%s/s", g->dir);
	c.path = g->path;
	rig_open(&g->r, &vsock_ops, &c);
	g->s = container_of(g->r.d, struct vsock, v);
	vg_start(g, nrx);
}

void vg_open(struct vg *g, unsigned nrx)
{
	open_it(g, nrx, false);
}

void vg_open_split(struct vg *g, unsigned nrx)
{
	open_it(g, nrx, true);
}

void vg_close(struct vg *g)
{
	rig_close(&g->r);
	cr_assert_neq(access(g->path, F_OK), 0, "the socket file was left behind");
	cr_assert_eq(rmdir(g->dir), 0);
}

void vg_run(struct vg *g)
{
	for (int i = 0; i < 6; i++)	/* a completion may start the next operation */
		rig_run(&g->r);
}

struct virtio_vsock_hdr vg_hdr(uint32_t gport, uint32_t hport, uint16_t op)
{
	return (struct virtio_vsock_hdr){
		.src_cid = htole64(VG_CID), .dst_cid = htole64(2), .src_port = htole32(gport),
		.dst_port = htole32(hport), .type = htole16(VIRTIO_VSOCK_TYPE_STREAM),
		.op = htole16(op), .buf_alloc = htole32(1 << 20),
	};
}

void vg_raw(struct vg *g, struct virtio_vsock_hdr h, const void *data, uint32_t len)
{
	struct rig_queue *q = &g->r.q[1];
	uint32_t first = VSOCK_HDR + len / 3;

	cr_assert_leq(len, VG_MAX);
	memcpy(g->slot, &h, sizeof(h));
	if (len)
		memcpy(g->slot + sizeof(h), data, len);
	q->desc[0] = (struct vring_desc){ .addr = g->slot_at.v, .len = first,
					  .flags = VRING_DESC_F_NEXT, .next = 1 };
	q->desc[1] = (struct vring_desc){ .addr = g->slot_at.v + first,
					  .len = VSOCK_HDR + len - first };
	rig_offer(&g->r, 1, 0);
	rig_kick(&g->r, 1);
	vg_run(g);
	cr_assert_eq(rig_used(&g->r, 1, NULL), 0, "the packet was kept");
}

void vg_send(struct vg *g, uint32_t gport, uint32_t hport, uint16_t op)
{
	vg_raw(g, vg_hdr(gport, hport, op), NULL, 0);
}

void vg_shut(struct vg *g, uint32_t gport, uint32_t hport, uint32_t flags)
{
	struct virtio_vsock_hdr h = vg_hdr(gport, hport, VIRTIO_VSOCK_OP_SHUTDOWN);

	h.flags = htole32(flags);
	vg_raw(g, h, NULL, 0);
}

void vg_data(struct vg *g, uint32_t gport, uint32_t hport, const void *data, uint32_t len)
{
	struct virtio_vsock_hdr h = vg_hdr(gport, hport, VIRTIO_VSOCK_OP_RW);

	h.len = htole32(len);
	vg_raw(g, h, data, len);
}

static uint32_t gather(struct vg *g, uint16_t head, unsigned char *out, uint32_t room)
{
	const struct vring_desc *d = &g->r.q[0].desc[head];
	uint32_t at = 0;

	for (;; d = &g->r.q[0].desc[d->next]) {
		cr_assert_leq(d->len, room - at);
		memcpy(out + at, rig_at(&g->r, GPA(d->addr)), d->len);
		at += d->len;
		if (!(d->flags & VRING_DESC_F_NEXT))
			return at;
	}
}

bool vg_get(struct vg *g)
{
	static unsigned char raw[VSOCK_HDR + VG_RX];
	struct virtio_vsock_hdr h;
	uint32_t len;
	int head;

	vg_run(g);
	head = rig_used(&g->r, 0, &len);
	if (head < 0)
		return false;
	gather(g, (uint16_t)head, raw, sizeof(raw));
	memcpy(&h, raw, sizeof(h));
	cr_assert_eq(le64toh(h.src_cid), 2);
	cr_assert_eq(le64toh(h.dst_cid), VG_CID);
	cr_assert_eq(len, VSOCK_HDR + le32toh(h.len));
	g->p = (struct vg_pkt){
		.gport = le32toh(h.dst_port), .hport = le32toh(h.src_port), .len = le32toh(h.len),
		.flags = le32toh(h.flags), .alloc = le32toh(h.buf_alloc),
		.fwd = le32toh(h.fwd_cnt), .op = le16toh(h.op), .type = le16toh(h.type),
	};
	memcpy(g->p.data, raw + sizeof(h), g->p.len);
	rig_offer(&g->r, 0, (uint16_t)head);
	rig_kick(&g->r, 0);
	return true;
}

static int unix_socket(const char *path, int backlog)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int rc;

	cr_assert_geq(fd, 0);
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	if (backlog >= 0)
		rc = bind(fd, (struct sockaddr *)&sa, sizeof(sa)) || listen(fd, backlog);
	else
		rc = connect(fd, (struct sockaddr *)&sa, sizeof(sa));
	cr_assert_eq(rc, 0, "%s: %s", path, strerror(errno));
	return fd;
}

int vg_client(struct vg *g)
{
	return unix_socket(g->path, -1);
}

int vg_listen(struct vg *g, uint32_t port, int backlog)
{
	char path[64];

	snprintf(path, sizeof(path), "%s_%u", g->path, port);
	return unix_socket(path, backlog);
}

int vg_connect(struct vg *g, uint32_t port)
{
	int fd = vg_client(g);

	cr_assert_gt(dprintf(fd, "CONNECT %u\n", port), 0);
	return fd;
}

int vg_read(int fd, void *buf, size_t len)
{
	ssize_t n = recv(fd, buf, len, MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN ? -1 : -2;
	return (int)n;
}

int vg_pair(struct vg *g, uint32_t port, uint32_t *hport)
{
	int fd = vg_connect(g, port), n;
	char line[32], want[32];

	vg_expect(g, VIRTIO_VSOCK_OP_REQUEST);
	cr_assert_eq(g->p.gport, port);
	*hport = g->p.hport;
	vg_send(g, port, *hport, VIRTIO_VSOCK_OP_RESPONSE);
	n = vg_read(fd, line, sizeof(line) - 1);
	cr_assert_gt(n, 0);
	line[n] = 0;
	snprintf(want, sizeof(want), "OK %u\n", *hport);
	cr_assert_str_eq(line, want);
	return fd;
}
