/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every device of the registry, found by walking it: its declaration, and what a
 * hostile driver can do to it and to its neighbour on the same loop.
 */
#include <sys/eventfd.h>
#include <sys/mman.h>
#include "devices/registry.h"
#include "tests/unit/rig.h"

static char folder[64], path[80];

static void set_up(void)
{
	log_level(LOG_LEVEL_ERROR);
	strcpy(folder, "/tmp/sandbox-test-XXXXXX");
	cr_assert(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/s", folder);
}

static void tear_down(void)
{
	rmdir(folder);
}

TestSuite(devices, .init = set_up, .fini = tear_down, .timeout = 60);

/* What backs the device @i; a file is the device's own from then on. */
static const struct conf_dev *conf(unsigned i)
{
	static struct conf_dev c;

	if (!strcmp(virtio_registry[i]->name, "blk")) {
		c = (struct conf_dev){ .fd = memfd_create("disk", MFD_CLOEXEC) };
		cr_assert_eq(ftruncate(c.fd, 1 << 20), 0);
	} else {
		c = (struct conf_dev){ .path = path, .cid = 3 };
	}
	return &c;
}

Test(devices, names_are_unique_and_found)
{
	cr_assert(virtio_registry[0]);
	for (unsigned i = 0; virtio_registry[i]; i++) {
		cr_expect_eq(virtio_ops_find(virtio_registry[i]->name), virtio_registry[i]);
		for (unsigned k = 0; k < i; k++)
			cr_expect_neq(virtio_registry[i]->id, virtio_registry[k]->id);
	}
	cr_assert_eq(virtio_ops_find("rn"), NULL);
	cr_assert_eq(virtio_ops_find("rng0"), NULL);
	cr_assert_eq(virtio_ops_find(""), NULL);
}

Test(devices, each_starts_resets_and_starts_again)
{
	for (unsigned i = 0; virtio_registry[i]; i++) {
		struct rig r;

		rig_open(&r, virtio_registry[i], conf(i));
		for (unsigned k = 0; k < 3; k++) {
			rig_start(&r, virtio_features(r.d));
			rig_run(&r);
			cr_expect(virtio_live(r.d));
			rig_set(&r, VIRTIO_MMIO_STATUS, 0);
			while (r.d->stopping)
				cr_assert_geq(loop_once(r.loop), 0);
			cr_expect_eq(rig_get(&r, VIRTIO_MMIO_STATUS), 0);
		}
		rig_close(&r);
	}
}

/* ---- a hostile driver --------------------------------------------------------------------- */

static uint64_t seed;

static uint64_t any(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static uint64_t nasty(void)
{
	static const uint64_t t[] = { 0, 1, 2, 3, 0xf, 0xffff, 0x10000, RIG_BASE, UINT32_MAX };

	return any() % 3 ? t[any() % ARRAY_LEN(t)] : any() >> any() % 64;
}

static void set_up_again(struct rig *r)
{
	rig_set(r, VIRTIO_MMIO_STATUS, 0);
	while (r->d->stopping)
		cr_assert_geq(loop_once(r->loop), 0);
	r->next_buf = VIRTIO_QUEUES_MAX * RIG_QUEUE;
	rig_start(r, virtio_features(r->d) & any());
}

/* Descriptors that are nearly right: a few of them are not. */
static void scribble(struct rig *r)
{
	unsigned queue = (unsigned)any() % r->d->ops->nqueues;
	struct rig_queue *q = &r->q[queue];

	if (!q->desc)
		return;
	for (unsigned i = 0; i < RIG_SIZE; i++)
		q->desc[i] = (struct vring_desc){
			.addr = any() % 50 ? RIG_BASE + 0x20000 + any() % 0x10000 : nasty(),
			.len = (uint32_t)(any() % 50 ? any() % 600 : any() % (1 << 18)),
			.flags = (uint16_t)(any() % 40 ? any() % 4 : any()),
			.next = (uint16_t)(any() % 60 ? any() % RIG_SIZE : any()),
		};
	for (unsigned i = 0; i < 1 + any() % 8; i++)
		rig_offer(r, queue, (uint16_t)(any() % 60 ? any() % RIG_SIZE : any()));
	if (any() % 60 == 0)
		q->avail[1] = (uint16_t)any();
}

static void hostile_step(struct rig *r)
{
	uint64_t v = nasty();

	switch (any() % 10) {
	case 0:
		set_up_again(r);
		break;
	case 1:
		virtio_mmio_register(&r->m, any() % VIRTIO_MMIO_SIZE, &v, 1u << any() % 4,
				     any() & 1);
		break;
	case 2:
		rig_set(r, 4 * (any() % 0x48), (uint32_t)v);
		break;
	case 3:
	case 4:
		rig_kick(r, (unsigned)any() % r->d->ops->nqueues);
		break;
	case 5:
		r->ram[any() % RIG_RAM] = (unsigned char)v;
		break;
	default:
		scribble(r);
	}
}

static void neighbour_works(struct rig *n, unsigned step)
{
	uint32_t len = 0;
	uint16_t head;

	n->next_buf = VIRTIO_QUEUES_MAX * RIG_QUEUE;
	head = rig_add(n, 0, &(struct rig_part){ NULL, 32, true }, 1);
	rig_kick(n, 0);
	rig_run(n);
	cr_assert_eq(rig_used(n, 0, &len), head, "after step %u", step);
	cr_assert_eq(len, 32);
}

/* threat-model.md, "what must hold": a device in hostile hands is no one else's trouble. */
Test(devices, a_hostile_driver_of_one_leaves_its_neighbour_working)
{
	for (unsigned i = 0; virtio_registry[i]; i++) {
		uint64_t chains = 0, bad;
		struct rig n, r;

		seed = 88172645463325252u + i;
		rig_open(&n, virtio_ops_find("rng"), NULL);
		rig_start(&n, 0);
		rig_open_beside(&r, virtio_registry[i], conf(i), &n);
		for (unsigned step = 0; step < 4000; step++) {
			hostile_step(&r);
			if (step % 8 == 0)
				neighbour_works(&n, step);
		}
		chains = r.d->stat.chains;
		bad = r.d->stat.bad;
		/* The sequence did reach the device, and was refused where it had to be. */
		cr_expect_gt(chains, 20, "%s: %lu chains", r.d->ops->name, chains);
		cr_expect_gt(bad, 100, "%s: %lu faults", r.d->ops->name, bad);
		set_up_again(&r);
		rig_run(&r);
		cr_expect(virtio_live(r.d), "%s", r.d->ops->name);
		rig_close(&r);
		rig_close(&n);
	}
}
