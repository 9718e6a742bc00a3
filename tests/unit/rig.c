/* SPDX-License-Identifier: Apache-2.0 */
#include <poll.h>
#include <sys/eventfd.h>
#include "tests/unit/rig.h"

void rig_open_beside(struct rig *r, const struct virtio_ops *ops, const struct conf_dev *conf,
		     struct rig *other)
{
	static const struct conf_dev none;
	struct err e = { 0 };

	*r = (struct rig){ .ram = aligned_alloc(4096, RIG_RAM), .own_loop = !other,
			   .next_buf = VIRTIO_QUEUES_MAX * RIG_QUEUE };
	cr_assert(r->ram);
	memset(r->ram, 0, RIG_RAM);
	r->mem = (struct gmem){ .n = 1, .r = { { RIG_BASE, RIG_RAM, r->ram } }, .fd = -1 };
	if (other) {
		r->loop = other->loop;
	} else {
		r->loop = calloc(1, sizeof(*r->loop));
		cr_assert(r->loop);
		cr_assert_eq(loop_init(r->loop, 32, &e), 0, "%s", e.msg);
	}
	r->d = virtio_new(ops, &r->mem, r->loop, conf ? conf : &none, &e);
	cr_assert(r->d, "%s", e.msg);
	cr_assert_eq(virtio_mmio_init(&r->m, r->d, r->loop, &e), 0, "%s", e.msg);
}

void rig_open(struct rig *r, const struct virtio_ops *ops, const struct conf_dev *conf)
{
	rig_open_beside(r, ops, conf, NULL);
}

static void nothing(struct loop_call *c)
{
	loop_call_done(c);
}

/* Let the loop handle all that is there now. */
static void round_trip(struct loop *l)
{
	struct loop_call c = { .fn = nothing };

	loop_post(l, &c);
	while (!c.state)
		cr_assert_geq(loop_once(l), 0);
}

static bool readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

void rig_run(struct rig *r)
{
	bool more = true;

	for (unsigned n = 0; more; n++) {
		cr_assert_lt(n, 10000, "the device never comes to rest");
		round_trip(r->loop);
		more = false;
		for (unsigned i = 0; i < r->d->ops->nqueues; i++)
			more |= readable(r->m.kick[i].fd);
	}
}

void rig_close(struct rig *r)
{
	virtio_mmio_stop(&r->m);
	while (r->d->stopping)
		cr_assert_geq(loop_once(r->loop), 0);
	for (unsigned i = 0; i < r->d->ops->nqueues; i++)
		while (r->m.kick[i].op.busy)
			cr_assert_geq(loop_once(r->loop), 0);
	if (r->own_loop) {
		while (r->loop->busy)
			cr_assert_geq(loop_once(r->loop), 0);
	}
	virtio_mmio_exit(&r->m);
	if (r->own_loop) {
		loop_exit(r->loop);
		free(r->loop);
	}
	free(r->ram);
}

uint32_t rig_get(struct rig *r, uint64_t off)
{
	uint32_t v = 0x5a5a5a5a;

	virtio_mmio_register(&r->m, off, &v, sizeof(v), false);
	return v;
}

void rig_set(struct rig *r, uint64_t off, uint32_t v)
{
	virtio_mmio_register(&r->m, off, &v, sizeof(v), true);
}

uint32_t rig_status(struct rig *r, uint32_t bits)
{
	rig_set(r, VIRTIO_MMIO_STATUS, rig_get(r, VIRTIO_MMIO_STATUS) | bits);
	return rig_get(r, VIRTIO_MMIO_STATUS);
}

void rig_negotiate(struct rig *r, uint64_t features)
{
	features |= 1ull << VIRTIO_F_VERSION_1;
	rig_status(r, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	rig_status(r, VIRTIO_CONFIG_S_DRIVER);
	for (uint32_t sel = 0; sel < 2; sel++) {
		rig_set(r, VIRTIO_MMIO_DRIVER_FEATURES_SEL, sel);
		rig_set(r, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(features >> 32 * sel));
	}
	rig_status(r, VIRTIO_CONFIG_S_FEATURES_OK);
}

static void set_address(struct rig *r, uint64_t low, uint64_t at)
{
	rig_set(r, low, (uint32_t)at);
	rig_set(r, low + 4, (uint32_t)(at >> 32));
}

void rig_queue(struct rig *r, unsigned i)
{
	uint64_t off = i * RIG_QUEUE;

	memset(r->ram + off, 0, RIG_QUEUE);
	r->q[i] = (struct rig_queue){
		.desc = (void *)(r->ram + off), .avail = (void *)(r->ram + off + 0x2000),
		.used = (void *)(r->ram + off + 0x3000), .size = RIG_SIZE,
	};
	rig_set(r, VIRTIO_MMIO_QUEUE_SEL, i);
	rig_set(r, VIRTIO_MMIO_QUEUE_NUM, RIG_SIZE);
	set_address(r, VIRTIO_MMIO_QUEUE_DESC_LOW, RIG_BASE + off);
	set_address(r, VIRTIO_MMIO_QUEUE_AVAIL_LOW, RIG_BASE + off + 0x2000);
	set_address(r, VIRTIO_MMIO_QUEUE_USED_LOW, RIG_BASE + off + 0x3000);
	rig_set(r, VIRTIO_MMIO_QUEUE_READY, 1);
}

void rig_start(struct rig *r, uint64_t features)
{
	rig_negotiate(r, features);
	for (unsigned i = 0; i < r->d->ops->nqueues; i++)
		rig_queue(r, i);
	cr_assert_eq(rig_status(r, VIRTIO_CONFIG_S_DRIVER_OK), RIG_OK, "%s", r->d->why);
}

gpa_t rig_buf(struct rig *r, uint32_t len, void **here)
{
	uint32_t off = r->next_buf;

	cr_assert_leq(len, RIG_RAM - off);
	r->next_buf += (len + 15) & ~15u;
	memset(r->ram + off, 0, len);
	if (here)
		*here = r->ram + off;
	return GPA(RIG_BASE + off);
}

void *rig_at(struct rig *r, gpa_t at)
{
	return r->ram + (at.v - RIG_BASE);
}

void rig_offer(struct rig *r, unsigned queue, uint16_t head)
{
	struct rig_queue *q = &r->q[queue];
	uint16_t idx = q->avail[1];

	q->avail[2 + idx % q->size] = head;
	__atomic_store_n(&q->avail[1], (uint16_t)(idx + 1), __ATOMIC_RELEASE);
}

uint16_t rig_add(struct rig *r, unsigned queue, const struct rig_part *part, unsigned n)
{
	struct rig_queue *q = &r->q[queue];
	uint16_t head = q->next_desc % q->size;

	for (unsigned i = 0; i < n; i++) {
		void *here;
		gpa_t at = rig_buf(r, part[i].len, &here);

		if (part[i].data)
			memcpy(here, part[i].data, part[i].len);
		q->desc[q->next_desc % q->size] = (struct vring_desc){
			.addr = at.v, .len = part[i].len,
			.flags = (uint16_t)((part[i].writable ? VRING_DESC_F_WRITE : 0) |
					    (i + 1 < n ? VRING_DESC_F_NEXT : 0)),
			.next = (uint16_t)((q->next_desc + 1) % q->size),
		};
		q->next_desc++;
	}
	rig_offer(r, queue, head);
	return head;
}

unsigned char *rig_part_at(struct rig *r, unsigned queue, uint16_t head, unsigned n)
{
	const struct vring_desc *d = &r->q[queue].desc[head];

	while (n--)
		d = &r->q[queue].desc[d->next];
	return rig_at(r, GPA(d->addr));
}

void rig_kick(struct rig *r, unsigned queue)
{
	cr_assert_eq(eventfd_write(r->m.kick[queue].fd, 1), 0);
}

int rig_used(struct rig *r, unsigned queue, uint32_t *len)
{
	struct rig_queue *q = &r->q[queue];
	struct vring_used_elem e;

	if (__atomic_load_n(&q->used[1], __ATOMIC_ACQUIRE) == q->seen)
		return -1;
	memcpy(&e, (unsigned char *)q->used + 4 + sizeof(e) * (q->seen % q->size), sizeof(e));
	q->seen++;
	if (len)
		*len = e.len;
	return (int)e.id;
}

uint32_t rig_irq(struct rig *r, bool *raised)
{
	uint32_t isr = rig_get(r, VIRTIO_MMIO_INTERRUPT_STATUS);
	eventfd_t n;

	rig_set(r, VIRTIO_MMIO_INTERRUPT_ACK, isr);
	if (raised)
		*raised = !eventfd_read(r->m.irqfd, &n);
	else
		(void)!eventfd_read(r->m.irqfd, &n);
	return isr;
}
