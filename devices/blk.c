/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blk.c - block device (virtio 1.2, 5.2) on a raw file or a block device.
 *
 *	chain -> slot -> blk_parse() -> limits -> blk_start() .. -> blk_finish()
 *
 * A chain owns a slot from virtio_next() to virtio_done(), so an operation of
 * io_uring always has its own memory (threat-model.md 6); there are as many slots as
 * heads. They are handed out last in, first out: a guest that keeps one request in
 * flight uses one of them.
 *
 * With limits, a checked request waits in one queue until the buckets let it go.
 * A reset forgets what waits and waits for what is in flight (threat-model.md 7).
 *
 * Interrupts are sent once for all requests that end in a round of the loop.
 *
 * #syscalls:loop clock_gettime?
 * #uring:loop TIMEOUT ASYNC_CANCEL
 */
#include <endian.h>
#include <linux/virtio_ids.h>
#include <time.h>
#include "devices/blk.h"

static void on_timer(struct op *op, int res);

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- slots ---- */

/* A slot that was used before is preferred; the memory of the others is never touched. */
static struct blk_req *slot_get(struct blk *b)
{
	struct blk_req *r = b->free;

	if (!r) {
		BUG_ON(b->fresh == BLK_SLOTS);
		r = &b->slot[b->fresh++];
		r->b = b;
		return r;
	}
	b->free = r->next;
	return r;
}

static void slot_put(struct blk_req *r)
{
	r->next = r->b->free;
	r->b->free = r;
}

/* ---- what waits ---- */

static void wait_last(struct blk_req *r)
{
	struct blk *b = r->b;

	r->next = NULL;
	*b->last = r;
	b->last = &r->next;
}

static struct blk_req *wait_take(struct blk *b)
{
	struct blk_req *r = b->first;

	b->first = r->next;
	if (!b->first)
		b->last = &b->first;
	return r;
}

static uint64_t limits_wait(struct blk *b)
{
	uint64_t now, bytes, ops;

	if (!b->bytes.rate && !b->ops.rate)
		return 0;
	if (b->v.held)
		return 0;	/* the debt stays */
	now = now_ns();
	bytes = bucket_wait(&b->bytes, now);
	ops = bucket_wait(&b->ops, now);
	return bytes > ops ? bytes : ops;
}

/* Start what waits, oldest first, as far as the limits and the ring let it. */
static void run_waiting(struct blk *b)
{
	while (b->first && !b->v.stopping && !b->timer.busy) {
		uint64_t ns = limits_wait(b);
		struct blk_req *r;

		if (ns && !loop_timer(b->v.loop, &b->timer, ns, on_timer))
			return;
		r = wait_take(b);
		bucket_take(&b->bytes, r->bytes);
		bucket_take(&b->ops, 1);
		blk_submit(r);
	}
}

/* Also the end of a reset that waited for it. */
static void maybe_stopped(struct blk *b)
{
	if (b->v.stopping && !b->busy && !b->timer.busy)
		virtio_stopped(&b->v);
}

static void on_timer(struct op *op, int res)
{
	struct blk *b = container_of(op, struct blk, timer);

	(void)res;
	if (b->v.stopping)
		maybe_stopped(b);
	else
		run_waiting(b);
}

void blk_submit(struct blk_req *r)
{
	/* The ring stays full only while the kernel is out of memory. */
	if (blk_start(r))
		blk_finish(r, VIRTIO_BLK_S_IOERR);
}

/* ---- requests ---- */

static void on_flush(struct loop_late *late)
{
	struct blk_flush *f = container_of(late, struct blk_flush, late);

	virtio_flush(&f->b->v, &f->b->v.q[f->index]);
}

/* Bytes that are in the buffers from their start on, the status at the end included (2.7.8.2). */
static uint32_t written(const struct blk_req *r)
{
	const struct vchain *c = &r->c;
	uint64_t data = c->done;

	if (r->type == VIRTIO_BLK_T_IN)
		data = r->bytes - r->left;
	return (uint32_t)(data + 1 == c->write_len ? data + 1 : data);
}

void blk_finish(struct blk_req *r, uint8_t status)
{
	struct blk *b = r->b;

	if (!b->v.stopping) {
		*r->status = status;
		gmem_touched(b->v.mem, r->status, 1);	/* parse_read() took it out of the chain */
		r->c.done = written(r);
		virtio_done(&b->v, r->q, &r->c);
		loop_late(b->v.loop, &b->flush[r->q->index].late);
	} else if (r->type == VIRTIO_BLK_T_IN) {	/* it was written to all the same */
		for (unsigned i = r->c.nread; i < (unsigned)r->c.nread + r->c.nwrite; i++)
			gmem_touched(b->v.mem, r->c.iov[i].iov_base, r->c.iov[i].iov_len);
	}
	slot_put(r);
	maybe_stopped(b);
}

static void take(struct blk_req *r, struct virtq *q)
{
	struct blk *b = r->b;
	int rc;

	r->q = q;
	r->nseg = r->seg = 0;
	rc = blk_parse(r);
	if (rc > 0) {
		blk_finish(r, (uint8_t)(rc - 1));
		return;
	}
	if (rc < 0) {
		virtio_fault(&b->v, "a request without room for its status");
		virtio_done(&b->v, q, &r->c);
		loop_late(b->v.loop, &b->flush[q->index].late);
		slot_put(r);
		return;
	}
	wait_last(r);
	run_waiting(b);
}

static void blk_kick(struct virtio_dev *d, struct virtq *q)
{
	struct blk *b = container_of(d, struct blk, v);

	for (;;) {
		struct blk_req *r = slot_get(b);
		bool got = virtio_next(d, q, &r->c);

		if (!got) {
			slot_put(r);
			return;
		}
		take(r, q);
	}
}

static bool blk_stop(struct virtio_dev *d)
{
	struct blk *b = container_of(d, struct blk, v);

	while (b->first)
		slot_put(wait_take(b));
	loop_cancel(&b->timer);
	return !b->busy && !b->timer.busy;
}

/* What waits for the limits goes now: a pause must not last as long as they say. */
static void blk_hold(struct virtio_dev *d)
{
	struct blk *b = container_of(d, struct blk, v);

	loop_cancel(&b->timer);
	if (!b->timer.busy)
		run_waiting(b);		/* otherwise at its end */
}

void blk_init(struct blk *b)
{
	b->last = &b->first;
	for (uint16_t i = 0; i < BLK_QUEUES; i++)
		b->flush[i] = (struct blk_flush){ .late.fn = on_flush, .b = b, .index = i };
}

extern const struct virtio_ops blk_ops;
const struct virtio_ops blk_ops = {
	.name = "blk", .id = VIRTIO_ID_BLOCK, .nqueues = BLK_QUEUES, .qsize = BLK_QSIZE,
	.features = 1ULL << VIRTIO_BLK_F_SEG_MAX | 1ULL << VIRTIO_BLK_F_BLK_SIZE |
		    1ULL << VIRTIO_BLK_F_TOPOLOGY | 1ULL << VIRTIO_BLK_F_FLUSH |
		    1ULL << VIRTIO_BLK_F_MQ | 1ULL << VIRTIO_BLK_F_DISCARD |
		    1ULL << VIRTIO_BLK_F_WRITE_ZEROES,
	.size = sizeof(struct blk),
	.cfg_off = offsetof(struct blk, cfg), .cfg_len = sizeof(struct virtio_blk_config),
	.open = blk_open, .kick = blk_kick, .stop = blk_stop, .hold = blk_hold, .close = blk_close,
};
