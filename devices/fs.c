/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fs.c - virtio file system device (virtio 1.2, 5.11): the front of the FUSE
 * server, which is another process (devices/fs/, wire.h).
 *
 *   guest chain -> slot of the window -> packet -> server
 *   guest chain <- slot of the window <- packet <- server
 *
 * The server sees no guest memory: a restored machine's is private to this
 * process. Each byte is copied once in each direction. What the slot holds on the
 * way back was written by a process that parses hostile input, so the header of a
 * reply is made here, and the rest is only carried.
 *
 * A slot belongs to the server from its packet to the packet that brings it back,
 * or to the server's death. A reset of the device does not change that: the slot
 * then waits as an orphan, its chain forgotten. When all slots are out, chains
 * stay in the guest's queues until one comes back.
 *
 * A server that has died, or breaks the rules of wire.h, is never asked again:
 * what it had is answered with EIO at once, and so is what follows. A device
 * without a server answers ENODEV. So no guest waits for ever.
 *
 * #syscalls:loop shutdown
 * #uring:loop SEND RECV
 */
#include <endian.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <linux/virtio_fs.h>
#include <linux/virtio_ids.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include "agent/proto.h"
#include "devices/fs/wire.h"
#include "vmm/virtio.h"

enum { HIPRIO, REQUEST, NQUEUES };

enum slot_state {
	SLOT_FREE,
	SLOT_OUT,		/* the server has it, and the guest waits */
	SLOT_ORPHAN,		/* the server has it, and the guest has forgotten */
};

struct fs_slot {
	struct fs *f;
	enum slot_state state;
	struct op send;		/* a slot is not reused while this is busy */
	struct fs_packet packet;
	struct virtq *q;
	uint64_t unique;
	uint32_t room;		/* bytes that the reply can have */
	struct vchain chain;
};

struct fs {
	struct virtio_dev v;
	struct virtio_fs_config cfg;
	int sock, error;	/* to the server; what to answer without one: errno */
	unsigned char *window;
	bool starved;		/* chains wait for a slot */
	bool closing;
	struct op receive;
	struct fs_packet in;
	struct fs_slot slot[FS_SLOTS];
};

static unsigned char *slot_at(const struct fs *f, const struct fs_slot *s)
{
	return f->window ? f->window + (size_t)(s - f->slot) * FS_SLOT_BYTES : NULL;
}

/* ---- to the guest ---- */

/* A reply that is only a header; nothing where the request has no room for one. */
static void answer(struct fs *f, struct virtq *q, struct vchain *c, uint64_t unique, int error)
{
	const struct fuse_out_header h = { .len = sizeof(h), .error = -error, .unique = unique };

	if (c->write_len && vchain_write(c, &h, sizeof(h)))
		virtio_fault(&f->v, "no room for the header of a reply");
	virtio_done(&f->v, q, c);
}

static void slot_back(struct fs *f, struct fs_slot *s)
{
	s->state = SLOT_FREE;
	if (!f->starved || s->send.busy)
		return;
	f->starved = false;
	for (unsigned i = 0; i < NQUEUES; i++)
		virtio_again(&f->v, &f->v.q[i]);
}

/* The server is not to be heard any more: nobody waits for it. */
static void give_up(struct fs *f, const char *why)
{
	if (f->error)
		return;
	log_say(LOG_LEVEL_ERROR, "fs: %s; shared folders give I/O errors from now on", why);
	f->error = EIO;
	shutdown(f->sock, SHUT_RDWR);
	for (unsigned i = 0; i < FS_SLOTS; i++) {
		struct fs_slot *s = &f->slot[i];

		if (s->state == SLOT_OUT)
			answer(f, s->q, &s->chain, s->unique, f->error);
		if (s->state != SLOT_FREE)
			slot_back(f, s);
	}
	for (unsigned i = 0; i < NQUEUES; i++)
		virtio_flush(&f->v, &f->v.q[i]);
}

/* @len bytes of the slot are the server's reply; they can change while they are read. */
static void reply(struct fs *f, struct fs_slot *s, uint32_t len)
{
	const unsigned char *from = slot_at(f, s);
	struct fuse_out_header h;

	if (!len || !s->room) {		/* FORGET, or what the server takes for one */
		virtio_done(&f->v, s->q, &s->chain);
		return;
	}
	if (len < sizeof(h) || len > s->room) {
		virtio_fault(&f->v, "no room for a reply");
		answer(f, s->q, &s->chain, s->unique, EIO);
		return;
	}
	memcpy(&h, from, sizeof(h));
	h.len = len;
	h.unique = s->unique;
	BUG_ON(vchain_write(&s->chain, &h, sizeof(h)) ||
	       vchain_write(&s->chain, from + sizeof(h), len - sizeof(h)));
	virtio_done(&f->v, s->q, &s->chain);
}

/* What is wrong with a packet from the server, or NULL. */
static const char *refusal(const struct fs *f, const struct fs_packet *p, int n)
{
	if (n != (int)sizeof(*p)) return "the server sent a packet of a wrong size";
	if (p->slot >= FS_SLOTS) return "the server named a slot that there is not";
	if (f->slot[p->slot].state == SLOT_FREE)
		return "the server gave a slot back that it did not have";
	if (p->room || p->zero) return "the server sent a packet of another kind";
	if (p->len > FS_SLOT_BYTES) return "the server's reply is longer than a slot";
	return NULL;
}

static void listen_again(struct fs *f);

static void settle(struct fs *f)
{
	if (!f->closing || f->receive.busy)
		return;
	for (unsigned i = 0; i < FS_SLOTS; i++)
		if (f->slot[i].send.busy)
			return;
	f->closing = false;
	virtio_stopped(&f->v);
}

static void on_packet(struct op *op, int res)
{
	struct fs *f = container_of(op, struct fs, receive);
	const char *why = res <= 0 ? "the server has ended" : refusal(f, &f->in, res);
	struct fs_slot *s;

	if (f->closing) {
		settle(f);
		return;
	}
	if (why || f->error) {
		give_up(f, why);
		return;
	}
	s = &f->slot[f->in.slot];
	if (s->state == SLOT_OUT) {
		reply(f, s, f->in.len);
		virtio_flush(&f->v, s->q);
	}
	slot_back(f, s);
	listen_again(f);
}

static void listen_again(struct fs *f)
{
	if (f->error || f->receive.busy || f->closing)
		return;
	if (loop_recv(f->v.loop, &f->receive, f->sock, &f->in, sizeof(f->in), MSG_TRUNC,
		      on_packet))
		give_up(f, "io_uring is full");
}

/* ---- from the guest ---- */

static void on_sent(struct op *op, int res)
{
	struct fs_slot *s = container_of(op, struct fs_slot, send);
	struct fs *f = s->f;

	if (f->closing) {
		settle(f);
		return;
	}
	if (res != (int)sizeof(s->packet))
		give_up(f, "the server has ended");
	if (s->state == SLOT_FREE)		/* its reply was faster */
		slot_back(f, s);
}

/* The chain of @s was taken from @q: into the window, and off. */
static void forward(struct fs *f, struct virtq *q, struct fs_slot *s)
{
	struct vchain *c = &s->chain;
	struct fuse_in_header h;
	unsigned char *to;

	if (vchain_read(c, 0, &h, sizeof(h))) {
		virtio_fault(&f->v, "a request shorter than its header");
		virtio_done(&f->v, q, c);
		return;
	}
	if (c->read_len > FS_SLOT_BYTES) {
		virtio_fault(&f->v, "a request longer than a slot");
		answer(f, q, c, h.unique, EIO);
		return;
	}
	if (!f->window || f->error) {
		answer(f, q, c, h.unique, f->error);
		return;
	}
	to = slot_at(f, s);
	memcpy(to, &h, sizeof(h));
	BUG_ON(vchain_read(c, sizeof(h), to + sizeof(h), c->read_len - sizeof(h)));
	s->q = q;
	s->unique = h.unique;
	s->room = c->write_len < FS_SLOT_BYTES ? c->write_len : FS_SLOT_BYTES;
	s->packet = (struct fs_packet){ .slot = (uint32_t)(s - f->slot), .len = c->read_len,
					.room = s->room };
	if (loop_send(f->v.loop, &s->send, f->sock, &s->packet, sizeof(s->packet), 0, on_sent)) {
		answer(f, q, c, h.unique, EIO);
		return;
	}
	s->state = SLOT_OUT;
}

static struct fs_slot *free_slot(struct fs *f)
{
	for (unsigned i = 0; i < FS_SLOTS; i++)
		if (f->slot[i].state == SLOT_FREE && !f->slot[i].send.busy)
			return &f->slot[i];
	f->starved = true;
	return NULL;
}

static void fs_kick(struct virtio_dev *d, struct virtq *q)
{
	struct fs *f = container_of(d, struct fs, v);
	struct fs_slot *s;

	while ((s = free_slot(f)) && virtio_next(d, q, &s->chain))
		forward(f, q, s);
	virtio_flush(d, q);
}

/* ---- life ---- */

/* The window must keep its size, or reading it could fault. */
static int map_window(struct fs *f, int fd, struct err *e)
{
	const int need = F_SEAL_SHRINK | F_SEAL_SEAL;
	int seals = fcntl(fd, F_GET_SEALS);
	struct stat st;
	void *p;

	if (seals < 0 || (seals & need) != need)
		return err_say(e, -EINVAL, "the window is not a memfd of sealed size");
	if (fstat(fd, &st) || st.st_size != (off_t)FS_WINDOW_BYTES)
		return err_say(e, -EINVAL, "the window has %lld bytes instead of %llu",
			       (long long)st.st_size, (unsigned long long)FS_WINDOW_BYTES);
	p = mmap(NULL, FS_WINDOW_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return err_set(e, -errno, "map the window");
	f->window = p;
	return 0;
}

static int fs_open(struct virtio_dev *d, const struct conf_dev *c, struct err *e)
{
	struct fs *f = container_of(d, struct fs, v);
	int type = 0, rc;
	socklen_t n = sizeof(type);

	memcpy(f->cfg.tag, PROTO_FS_TAG, sizeof(PROTO_FS_TAG) - 1);
	f->cfg.num_request_queues = htole32(NQUEUES - REQUEST);
	for (unsigned i = 0; i < FS_SLOTS; i++)
		f->slot[i].f = f;
	f->sock = -1;
	f->error = ENODEV;
	if (!c->fs_socket)
		return 0;
	if (getsockopt(c->fs_socket, SOL_SOCKET, SO_TYPE, &type, &n) || type != SOCK_SEQPACKET)
		return err_say(e, -EINVAL, "descriptor %d is no SOCK_SEQPACKET socket",
			       c->fs_socket);
	rc = map_window(f, c->fs_window, e);
	if (rc)
		return rc;
	f->sock = c->fs_socket;
	f->error = 0;
	return 0;
}

static void fs_start(struct virtio_dev *d)
{
	listen_again(container_of(d, struct fs, v));
}

/*
 * Replies on their way touch the window only, never the guest's memory, so a
 * reset need not wait for them; the end of the device waits for its operations.
 */
static bool fs_stop(struct virtio_dev *d)
{
	struct fs *f = container_of(d, struct fs, v);
	bool busy = f->receive.busy;

	f->starved = false;
	for (unsigned i = 0; i < FS_SLOTS; i++) {
		struct fs_slot *s = &f->slot[i];

		if (s->state == SLOT_OUT)
			s->state = SLOT_ORPHAN;
		busy |= s->send.busy;
		if (d->closing)
			loop_cancel(&s->send);
	}
	if (!d->closing)
		return true;
	loop_cancel(&f->receive);
	f->closing = busy;
	return !busy;
}

static void fs_close(struct virtio_dev *d)
{
	struct fs *f = container_of(d, struct fs, v);

	if (f->window)
		munmap(f->window, FS_WINDOW_BYTES);
}

extern const struct virtio_ops fs_ops;
const struct virtio_ops fs_ops = {
	.name = "fs", .id = VIRTIO_ID_FS, .nqueues = NQUEUES, .qsize = VIRTQ_MAX,
	.size = sizeof(struct fs),
	.cfg_off = offsetof(struct fs, cfg), .cfg_len = sizeof(struct virtio_fs_config),
	.open = fs_open, .start = fs_start, .kick = fs_kick, .stop = fs_stop, .close = fs_close,
};
