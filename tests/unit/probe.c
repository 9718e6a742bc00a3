/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/probe.h"

unsigned probe_opened, probe_closed;

static struct probe *probe_of(struct virtio_dev *d)
{
	return container_of(d, struct probe, v);
}

static int probe_open(struct virtio_dev *d, const struct conf_dev *c, struct err *e)
{
	struct probe *p = probe_of(d);

	if (c && c->cid == 666)
		return err_say(e, -EIO, "the probe was told to fail");
	p->before = p->after = 0xcc;
	for (unsigned i = 0; i < sizeof(p->cfg); i++)
		p->cfg[i] = (uint8_t)(0x10 + i);
	probe_opened++;
	return 0;
}

static void probe_start(struct virtio_dev *d)
{
	probe_of(d)->starts++;
}

static void probe_kick(struct virtio_dev *d, struct virtq *q)
{
	struct probe *p = probe_of(d);
	struct vchain c;

	p->kicks[q->index]++;
	while (p->nheld < PROBE_HELD && virtio_next(d, q, &c)) {
		p->served++;
		if (p->hold) {
			p->held_q[p->nheld] = q;
			p->held[p->nheld++] = c;
		} else {
			virtio_done(d, q, &c);
		}
	}
	virtio_flush(d, q);
}

static bool probe_stop(struct virtio_dev *d)
{
	struct probe *p = probe_of(d);

	p->stops++;
	p->closing_stops += d->closing;
	if (p->slow && p->nheld)
		return false;
	p->nheld = 0;
	return true;
}

void probe_complete(struct probe *p)
{
	for (unsigned i = 0; i < p->nheld; i++) {
		virtio_done(&p->v, p->held_q[i], &p->held[i]);
		virtio_flush(&p->v, p->held_q[i]);
	}
	p->nheld = 0;
	if (p->v.stopping)
		virtio_stopped(&p->v);
}

static void probe_cfg_written(struct virtio_dev *d, size_t off, size_t len)
{
	struct probe *p = probe_of(d);

	p->cfg_writes++;
	p->cfg_off = off;
	p->cfg_len = len;
}

static void probe_close(struct virtio_dev *d)
{
	(void)d;
	probe_closed++;
}

#define COMMON \
	.name = "probe", .id = 42, .nqueues = PROBE_QUEUES, .qsize = 128, \
	.features = 1ULL << PROBE_FEATURE, .size = sizeof(struct probe), \
	.cfg_off = offsetof(struct probe, cfg), .cfg_len = sizeof(((struct probe *)0)->cfg), \
	.open = probe_open, .start = probe_start, .kick = probe_kick, .stop = probe_stop, \
	.close = probe_close

const struct virtio_ops probe_ops = { COMMON, .cfg_written = probe_cfg_written };
const struct virtio_ops probe_ro_ops = { COMMON };
