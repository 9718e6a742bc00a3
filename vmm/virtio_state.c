/* SPDX-License-Identifier: Apache-2.0 */
#include <linux/virtio_config.h>
#include <sys/eventfd.h>
#include "vmm/virtio_state.h"

#define TAG_VIRTIO BLOB_TAG('V', 'I', 'O', ' ')

struct saved_queue {
	uint64_t desc, avail, used;
	uint16_t size, next_avail, next_used, signalled;
	uint8_t asked, ready, pad[6];
};

struct saved {
	uint32_t id, status;
	uint64_t acked, drv_features;
	uint32_t isr, generation, dev_features_sel, drv_features_sel, queue_sel, nqueues;
	uint8_t failed, pad[7];
	uint64_t config;		/* hash of the configuration space that the guest saw */
	struct saved_queue q[VIRTIO_QUEUES_MAX];
};

/* FNV-1a; not against anybody, just to see a change. */
static uint64_t config_hash(const struct virtio_dev *d)
{
	const uint8_t *p = (const uint8_t *)d + d->ops->cfg_off;
	uint64_t hash = 0xcbf29ce484222325u;

	for (size_t i = 0; i < d->ops->cfg_len; i++)
		hash = (hash ^ p[i]) * 0x100000001b3u;
	return hash;
}

static bool in_flight(const struct virtq *q)
{
	for (size_t i = 0; i < ARRAY_LEN(q->inflight); i++)
		if (q->inflight[i])
			return true;
	return false;
}

int virtio_state_save(const struct virtio_mmio *m, uint32_t index, struct blob *b, struct err *e)
{
	const struct virtio_dev *d = m->dev;
	struct saved s;

	memset(&s, 0, sizeof(s));
	s.id = d->ops->id;
	s.status = d->status;
	s.acked = d->acked;
	s.drv_features = m->drv_features;
	s.isr = __atomic_load_n(&m->isr, __ATOMIC_SEQ_CST);
	s.generation = m->generation;
	s.dev_features_sel = m->dev_features_sel;
	s.drv_features_sel = m->drv_features_sel;
	s.queue_sel = m->queue_sel;
	s.nqueues = d->ops->nqueues;
	s.failed = d->failed;
	s.config = config_hash(d);
	if (d->stopping)
		return err_say(e, -EBUSY, "%s is being reset", d->ops->name);
	for (unsigned i = 0; i < d->ops->nqueues; i++) {
		const struct virtq *q = &d->q[i];

		if (q->ready && in_flight(q))
			return err_say(e, -EBUSY, "%s has requests in flight", d->ops->name);
		s.q[i] = (struct saved_queue){
			.desc = q->desc_at.v, .avail = q->avail_at.v, .used = q->used_at.v,
			.size = q->size, .next_avail = q->next_avail, .next_used = q->next_used,
			.signalled = q->signalled, .asked = q->asked, .ready = q->ready,
		};
	}
	blob_put(b, TAG_VIRTIO, index, &s, sizeof(s));
	return 0;
}

static int load_queue(struct virtio_dev *d, struct virtq *q, const struct saved_queue *s,
		      struct err *e)
{
	q->desc_at = GPA(s->desc);
	q->avail_at = GPA(s->avail);
	q->used_at = GPA(s->used);
	q->size = s->size <= d->ops->qsize ? s->size : 0;
	q->asked = s->asked & 1;
	q->event_idx = virtio_has(d, VIRTIO_RING_F_EVENT_IDX);
	q->indirect = virtio_has(d, VIRTIO_RING_F_INDIRECT_DESC);
	if (!s->ready)
		return 0;
	if (virtq_enable(q))
		return err_say(e, -EBADMSG, "%s, queue %u: %s", d->ops->name, q->index, q->why);
	q->next_avail = s->next_avail;
	q->next_used = s->next_used;
	q->signalled = s->signalled;
	return 0;
}

/* What the status machine of virtio.c guarantees has to be true of a saved status, too. */
static bool plausible(const struct virtio_dev *d, const struct saved *s)
{
	bool ok = s->status & VIRTIO_CONFIG_S_DRIVER_OK;
	bool feat = s->status & VIRTIO_CONFIG_S_FEATURES_OK;

	return s->id == d->ops->id && s->nqueues == d->ops->nqueues && (!ok || feat) &&
	       !(s->acked & ~virtio_features(d)) && s->failed <= 1;
}

int virtio_state_load(struct virtio_mmio *m, uint32_t index, const struct blob *b, struct err *e)
{
	struct virtio_dev *d = m->dev;
	struct saved s;
	int rc = blob_get(b, TAG_VIRTIO, index, &s, sizeof(s), e);

	if (rc)
		return rc;
	if (!plausible(d, &s))
		return err_say(e, -EBADMSG, "slot %u holds no usable state of %s", index,
			       d->ops->name);
	m->drv_features = s.drv_features;
	__atomic_store_n(&m->isr, s.isr, __ATOMIC_SEQ_CST);
	m->generation = s.generation;
	m->dev_features_sel = s.dev_features_sel;
	m->drv_features_sel = s.drv_features_sel;
	m->queue_sel = s.queue_sel;
	d->acked = s.acked;
	d->failed = s.failed;
	for (unsigned i = 0; !rc && i < d->ops->nqueues; i++)
		rc = load_queue(d, &d->q[i], &s.q[i], e);
	if (rc)
		return rc;
	d->status = s.status;
	if (!virtio_live(d))
		return 0;
	if (s.config != config_hash(d))	/* another disk than before */
		virtio_cfg_changed(d);
	if (d->ops->restored)
		d->ops->restored(d);
	if (d->ops->start)
		d->ops->start(d);
	for (unsigned i = 0; i < d->ops->nqueues; i++)
		if (d->q[i].ready && d->again)
			d->again(d, i);
	return 0;
}
