/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio_mmio.c - the register file (virtio 1.2, 4.2.2), on the loop's thread.
 *
 * Registers are 32 bits wide; any other access to one reads zero or is dropped.
 * While a reset drains, and from virtio_mmio_stop() on, writes are dropped, but
 * for one more STATUS = 0, which waits with the first.
 *
 * #syscalls:loop write
 * #syscalls:vcpu futex
 * #uring:loop READ
 */
#include <endian.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <sys/eventfd.h>
#include "vmm/virtio_mmio.h"

#define MAGIC	0x74726976u		/* "virt" */
#define VENDOR	0x584f4253u		/* "SBOX" */

static void listen_kick(struct virtio_mmio_kick *k);

/* ---- interrupts --------------------------------------------------------------------------- */

static void interrupt(struct virtio_mmio *m, uint32_t bit)
{
	__atomic_fetch_or(&m->isr, bit, __ATOMIC_SEQ_CST);
	/* The counter cannot be full: nothing is lost if it were, it is readable then. */
	(void)!eventfd_write(m->irqfd, 1);
}

static struct virtio_mmio *owner(const struct virtio_dev *d)
{
	return d->transport;
}

static void on_irq(struct virtio_dev *d)
{
	interrupt(owner(d), VIRTIO_MMIO_INT_VRING);
}

static void on_cfg_irq(struct virtio_dev *d)
{
	struct virtio_mmio *m = owner(d);

	m->generation++;
	if (d->status & VIRTIO_CONFIG_S_DRIVER_OK)
		interrupt(m, VIRTIO_MMIO_INT_CONFIG);
}

/* ---- registers ---------------------------------------------------------------------------- */

/* The selected queue, or NULL: queue_sel is the guest's. */
static struct virtq *selected(const struct virtio_mmio *m)
{
	return m->queue_sel < m->dev->ops->nqueues ? &m->dev->q[m->queue_sel] : NULL;
}

static uint32_t half(uint64_t v, uint32_t sel)
{
	return sel > 1 ? 0 : (uint32_t)(v >> 32 * sel);
}

static void set_half(uint64_t *v, unsigned sel, uint32_t x)
{
	*v = sel ? (*v & UINT32_MAX) | (uint64_t)x << 32 : (*v & ~(uint64_t)UINT32_MAX) | x;
}

static uint32_t reg_read(const struct virtio_mmio *m, uint64_t off)
{
	const struct virtio_dev *d = m->dev;
	const struct virtq *q = selected(m);

	switch (off) {
	case VIRTIO_MMIO_MAGIC_VALUE:
		return MAGIC;
	case VIRTIO_MMIO_VERSION:
		return 2;
	case VIRTIO_MMIO_DEVICE_ID:
		return d->ops->id;
	case VIRTIO_MMIO_VENDOR_ID:
		return VENDOR;
	case VIRTIO_MMIO_DEVICE_FEATURES:
		return half(virtio_features(d), m->dev_features_sel);
	case VIRTIO_MMIO_QUEUE_NUM_MAX:
		return q ? d->ops->qsize : 0;
	case VIRTIO_MMIO_QUEUE_READY:
		return q ? q->asked : 0;
	case VIRTIO_MMIO_INTERRUPT_STATUS:
		return __atomic_load_n(&m->isr, __ATOMIC_SEQ_CST);
	case VIRTIO_MMIO_STATUS:
		return d->status;
	case VIRTIO_MMIO_SHM_LEN_LOW:		/* no shared memory region: all ones */
	case VIRTIO_MMIO_SHM_LEN_HIGH:
	case VIRTIO_MMIO_SHM_BASE_LOW:
	case VIRTIO_MMIO_SHM_BASE_HIGH:
		return UINT32_MAX;
	case VIRTIO_MMIO_CONFIG_GENERATION:
		return m->generation;
	default:
		return 0;
	}
}

/* A write to a register of the selected queue. */
static void queue_write(struct virtio_mmio *m, uint64_t off, uint32_t v)
{
	struct virtio_dev *d = m->dev;
	struct virtq *q = selected(m);
	bool live = d->status & VIRTIO_CONFIG_S_DRIVER_OK;

	if (!q) return virtio_fault(d, "no such queue");		/* guard: queue-sel */
	if (live) return virtio_fault(d, "queue changed after DRIVER_OK"); /* guard: frozen */
	if (off == VIRTIO_MMIO_QUEUE_READY) {
		q->asked = v & 1;
		return;
	}
	if (q->asked) return virtio_fault(d, "queue changed while ready"); /* guard: ready-frozen */
	switch (off) {
	case VIRTIO_MMIO_QUEUE_NUM:		/* 0, refused at DRIVER_OK, for what does not fit */
		q->size = v <= d->ops->qsize ? (uint16_t)v : 0;
		break;
	case VIRTIO_MMIO_QUEUE_DESC_LOW:
	case VIRTIO_MMIO_QUEUE_DESC_HIGH:
		set_half(&q->desc_at.v, off == VIRTIO_MMIO_QUEUE_DESC_HIGH, v);
		break;
	case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
	case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
		set_half(&q->avail_at.v, off == VIRTIO_MMIO_QUEUE_AVAIL_HIGH, v);
		break;
	case VIRTIO_MMIO_QUEUE_USED_LOW:
	case VIRTIO_MMIO_QUEUE_USED_HIGH:
		set_half(&q->used_at.v, off == VIRTIO_MMIO_QUEUE_USED_HIGH, v);
		break;
	}
}

static void driver_features_write(struct virtio_mmio *m, uint32_t v)
{
	struct virtio_dev *d = m->dev;
	bool late = d->status & VIRTIO_CONFIG_S_FEATURES_OK;

	if (late) return virtio_fault(d, "features after FEATURES_OK");	/* guard: features-frozen */
	if (m->drv_features_sel > 1) return virtio_fault(d, "feature beyond 63"); /* guard: sel */
	set_half(&m->drv_features, m->drv_features_sel, v);
}

/* What a reset does to the transport's own half. */
static void forget(struct virtio_mmio *m)
{
	m->dev_features_sel = m->drv_features_sel = m->queue_sel = 0;
	m->drv_features = 0;
	__atomic_store_n(&m->isr, 0, __ATOMIC_SEQ_CST);
}

/* False if the write is a reset that has yet to drain. */
static bool status_write(struct virtio_mmio *m, uint32_t v)
{
	if (v) {
		virtio_set_status(m->dev, v, m->drv_features);
		return true;
	}
	if (!virtio_stop(m->dev))
		return false;
	forget(m);
	return true;
}

static bool reg_write(struct virtio_mmio *m, uint64_t off, uint32_t v)
{
	if (off == VIRTIO_MMIO_STATUS && !v)
		return status_write(m, v);
	if (m->dev->stopping) return true;			/* guard: write-stopping */
	switch (off) {
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
		m->dev_features_sel = v;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
		m->drv_features_sel = v;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES:
		driver_features_write(m, v);
		break;
	case VIRTIO_MMIO_QUEUE_SEL:
		m->queue_sel = v;
		break;
	case VIRTIO_MMIO_QUEUE_NOTIFY:
		virtio_kick(m->dev, v);
		break;
	case VIRTIO_MMIO_INTERRUPT_ACK:
		__atomic_fetch_and(&m->isr, ~v, __ATOMIC_SEQ_CST);
		break;
	case VIRTIO_MMIO_STATUS:
		return status_write(m, v);
	case VIRTIO_MMIO_QUEUE_NUM:
	case VIRTIO_MMIO_QUEUE_READY:
	case VIRTIO_MMIO_QUEUE_DESC_LOW:
	case VIRTIO_MMIO_QUEUE_DESC_HIGH:
	case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
	case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
	case VIRTIO_MMIO_QUEUE_USED_LOW:
	case VIRTIO_MMIO_QUEUE_USED_HIGH:
		queue_write(m, off, v);
		break;
	}
	return true;
}

/* False if the access has yet to finish, which only a write of STATUS = 0 may. */
static bool access_now(struct virtio_mmio *m, uint64_t off, void *data, unsigned len, bool write)
{
	uint32_t v;

	if (!write)
		memset(data, 0, len);
	if (m->closing) return true;				/* guard: access-closing */
	if (off >= VIRTIO_MMIO_CONFIG) {
		if (!write)
			virtio_cfg_read(m->dev, off - VIRTIO_MMIO_CONFIG, data, len);
		else if (!m->dev->stopping)
			virtio_cfg_write(m->dev, off - VIRTIO_MMIO_CONFIG, data, len);
		return true;
	}
	if (len != sizeof(v) || off % sizeof(v)) return true;	/* guard: width */
	if (!write) {
		v = htole32(reg_read(m, off));
		memcpy(data, &v, sizeof(v));
		return true;
	}
	memcpy(&v, data, sizeof(v));
	return reg_write(m, off, le32toh(v));
}

void virtio_mmio_register(struct virtio_mmio *m, uint64_t off, void *data, unsigned len,
			  bool write)
{
	(void)access_now(m, off, data, len, write);
}

/* ---- from the vCPU threads ---------------------------------------------------------------- */

struct access {
	struct loop_call call;
	struct virtio_mmio *m;
	uint64_t off;
	void *data;
	unsigned len;
	bool write;
};

static void on_access(struct loop_call *c)
{
	struct access *a = container_of(c, struct access, call);
	struct virtio_mmio *m = a->m;

	if (access_now(m, a->off, a->data, a->len, a->write)) {
		loop_call_done(c);
		return;
	}
	c->next = m->reset;		/* the link is free once the call has started */
	m->reset = c;
}

void virtio_mmio_access(void *owner_, uint64_t off, void *data, unsigned len, bool write)
{
	struct virtio_mmio *m = owner_;
	bool direct = len == 4 && (write ? off == VIRTIO_MMIO_INTERRUPT_ACK :
					   off == VIRTIO_MMIO_INTERRUPT_STATUS);
	struct access a = { .call.fn = on_access, .m = m, .off = off, .data = data, .len = len,
			    .write = write };
	uint32_t v;

	if (!direct) {
		loop_call(m->loop, &a.call);
	} else if (write) {
		memcpy(&v, data, sizeof(v));
		__atomic_fetch_and(&m->isr, ~le32toh(v), __ATOMIC_SEQ_CST);
	} else {
		v = htole32(__atomic_load_n(&m->isr, __ATOMIC_SEQ_CST));
		memcpy(data, &v, sizeof(v));
	}
}

static void on_stopped(struct virtio_dev *d)
{
	struct virtio_mmio *m = owner(d);
	struct loop_call *c = m->reset;

	forget(m);
	m->reset = NULL;
	while (c) {			/* every vCPU that wrote STATUS = 0 meanwhile */
		struct loop_call *next = c->next;

		loop_call_done(c);
		c = next;
	}
}

/* ---- kicks -------------------------------------------------------------------------------- */

static void on_kick(struct op *op, int res)
{
	struct virtio_mmio_kick *k = container_of(op, struct virtio_mmio_kick, op);

	(void)res;			/* an eventfd gives eight bytes or was cancelled */
	if (k->m->closing)
		return;
	listen_kick(k);
	virtio_kick(k->m->dev, k->index);
}

static void listen_kick(struct virtio_mmio_kick *k)
{
	int rc = loop_read(k->m->loop, &k->op, k->fd, &k->val, sizeof(k->val), 0, on_kick);

	BUG_ON(rc);			/* a full ring is flushed first */
}

static void on_again(struct virtio_dev *d, uint32_t index)
{
	int rc = eventfd_write(owner(d)->kick[index].fd, 1);

	BUG_ON(rc);
}

/* ---- life --------------------------------------------------------------------------------- */

static void close_fds(struct virtio_mmio *m)
{
	for (unsigned i = 0; i < m->dev->ops->nqueues; i++)
		fd_cleanup(&m->kick[i].fd);
	fd_cleanup(&m->irqfd);
}

int virtio_mmio_init(struct virtio_mmio *m, struct virtio_dev *dev, struct loop *loop,
		     struct err *e)
{
	*m = (struct virtio_mmio){ .dev = dev, .loop = loop };
	m->irqfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	for (unsigned i = 0; i < dev->ops->nqueues; i++) {
		m->kick[i].m = m;
		m->kick[i].index = i;
		m->kick[i].fd = m->irqfd < 0 ? -1 : eventfd(0, EFD_CLOEXEC);
		if (m->kick[i].fd >= 0)
			continue;
		err_set(e, -errno, "%s: eventfd", dev->ops->name);
		close_fds(m);
		return e->code;
	}
	dev->transport = m;
	dev->irq = on_irq;
	dev->cfg_irq = on_cfg_irq;
	dev->stopped = on_stopped;
	dev->again = on_again;
	for (unsigned i = 0; i < dev->ops->nqueues; i++)
		listen_kick(&m->kick[i]);
	return 0;
}

void virtio_mmio_stop(struct virtio_mmio *m)
{
	if (m->closing)
		return;
	m->closing = m->dev->closing = true;
	for (unsigned i = 0; i < m->dev->ops->nqueues; i++)
		loop_cancel(&m->kick[i].op);
	if (virtio_stop(m->dev))
		forget(m);
}

void virtio_mmio_exit(struct virtio_mmio *m)
{
	for (unsigned i = 0; i < m->dev->ops->nqueues; i++)
		BUG_ON(m->kick[i].op.busy);
	BUG_ON(m->reset);
	close_fds(m);
	virtio_free(m->dev);
	m->dev = NULL;
}
