/* SPDX-License-Identifier: Apache-2.0 */
#include <sys/mman.h>
#include "devices/registry.h"
#include "tests/unit/rig.h"
#include "vmm/virtio_state.h"

#define TAG BLOB_TAG('V', 'I', 'O', ' ')
/* Offsets in the section, as virtio_state.c lays it out. */
#define OFF_ID		0u
#define OFF_STATUS	4u
#define OFF_ACKED	8u
#define OFF_NQUEUES	44u
#define OFF_QUEUE	64u
#define OFF_Q_USED	(OFF_QUEUE + 16u)
#define OFF_Q_SIZE	(OFF_QUEUE + 24u)

static const struct virtio_ops *rng(void)
{
	const struct virtio_ops *ops = virtio_ops_find("rng");

	cr_assert_not_null(ops);
	return ops;
}

/* A device that has served one chain, and its state. */
static void saved(struct rig *r, struct blob *b)
{
	struct err e = { 0 };

	rig_open(r, rng(), NULL);
	rig_start(r, 1ull << VIRTIO_RING_F_EVENT_IDX);
	rig_add(r, 0, (struct rig_part[]){ { NULL, 32, true } }, 1);
	rig_kick(r, 0);
	rig_run(r);
	cr_assert_eq(rig_used(r, 0, NULL), 0);
	blob_init(b);
	cr_assert_eq(virtio_state_save(&r->m, 0, b, &e), 0, "%s", e.msg);
}

/* A second device over the same memory, with the state of the first. */
static int loaded(struct rig *to, const struct rig *from, struct blob *b, struct err *e)
{
	struct blob copy;
	int rc;

	cr_assert_eq(blob_seal(b), 0);
	cr_assert_eq(blob_open(&copy, memcpy(malloc(b->len), b->p, b->len), b->len, e), 0);
	rig_open(to, rng(), NULL);
	memcpy(to->ram, from->ram, RIG_RAM);
	rc = virtio_state_load(&to->m, 0, &copy, e);
	blob_free(&copy);
	return rc;
}

/* The driver's view of the rings goes on in the copy. */
static void follow(struct rig *to, const struct rig *from)
{
	for (unsigned i = 0; i < rng()->nqueues; i++) {
		to->q[i] = from->q[i];
		to->q[i].desc = (struct vring_desc *)(void *)(to->ram + i * RIG_QUEUE);
		to->q[i].avail = (uint16_t *)(void *)(to->ram + i * RIG_QUEUE + 0x2000);
		to->q[i].used = (uint16_t *)(void *)(to->ram + i * RIG_QUEUE + 0x3000);
	}
	to->next_buf = from->next_buf;
}

Test(virtio_state, a_loaded_device_goes_on_where_the_saved_one_was)
{
	struct rig a, b;
	struct blob blob;
	struct err e = { 0 };
	uint32_t len;

	saved(&a, &blob);
	cr_assert_eq(loaded(&b, &a, &blob, &e), 0, "%s", e.msg);
	cr_assert_eq(b.d->acked, a.d->acked);
	cr_assert_eq(rig_get(&b, VIRTIO_MMIO_STATUS), RIG_OK);
	follow(&b, &a);
	rig_add(&b, 0, (struct rig_part[]){ { NULL, 16, true } }, 1);
	rig_kick(&b, 0);
	rig_run(&b);
	cr_assert_eq(rig_used(&b, 0, &len), 1);
	cr_assert_eq(len, 16);
	rig_close(&a);
	rig_close(&b);
	blob_free(&blob);
}

Test(virtio_state, a_kick_that_was_not_read_before_the_save_is_not_lost)
{
	struct rig a, b;
	struct blob blob;
	struct err e = { 0 };

	saved(&a, &blob);
	rig_add(&a, 0, (struct rig_part[]){ { NULL, 16, true } }, 1);	/* and never kicked */
	cr_assert_eq(loaded(&b, &a, &blob, &e), 0, "%s", e.msg);
	follow(&b, &a);
	rig_run(&b);
	cr_assert_eq(rig_used(&b, 0, NULL), 1);
	rig_close(&a);
	rig_close(&b);
	blob_free(&blob);
}

Test(virtio_state, a_chain_in_flight_is_not_saved)
{
	struct rig r;
	struct blob b;
	struct vchain c;
	struct err e = { 0 };

	rig_open(&r, rng(), NULL);
	rig_start(&r, 0);
	rig_add(&r, 0, (struct rig_part[]){ { NULL, 16, true } }, 1);
	cr_assert_eq(virtq_pop(&r.d->q[0], &c), 1);
	blob_init(&b);
	cr_assert_eq(virtio_state_save(&r.m, 0, &b, &e), -EBUSY);
	cr_assert(strstr(e.msg, "in flight"), "%s", e.msg);
	virtq_push(&r.d->q[0], &c);
	blob_free(&b);
	rig_close(&r);
}

/* threat-model.md 9: what a state says of a device is checked like what a driver says. */
Test(virtio_state, each_lie_is_refused_with_its_reason)
{
	static const struct {
		unsigned off;
		uint64_t value;
		unsigned len;
		const char *why;
	} lies[] = {
		{ OFF_ID, 2, 4, "no usable state" },
		{ OFF_NQUEUES, 3, 4, "no usable state" },
		{ OFF_STATUS, VIRTIO_CONFIG_S_DRIVER_OK, 4, "no usable state" },
		{ OFF_ACKED, ~0ull, 8, "no usable state" },
		{ OFF_Q_USED, 0x1000, 8, "rng, queue 0: " },
		{ OFF_Q_USED, ~0ull << 2, 8, "rng, queue 0: " },
		{ OFF_Q_SIZE, 3, 2, "rng, queue 0: " },
		{ OFF_Q_SIZE, 0x8000, 2, "rng, queue 0: " },
	};

	for (size_t i = 0; i < ARRAY_LEN(lies); i++) {
		struct rig a, b;
		struct blob blob;
		struct err e = { 0 };

		saved(&a, &blob);
		memcpy(blob.p + 24 + 16 + lies[i].off, &lies[i].value, lies[i].len);
		cr_assert_eq(loaded(&b, &a, &blob, &e), -EBADMSG, "lie %zu", i);
		cr_assert(strstr(e.msg, lies[i].why), "lie %zu: %s", i, e.msg);
		rig_close(&a);
		rig_close(&b);
		blob_free(&blob);
	}
}

/* A disk with other contents of its configuration space: the driver is told, and else not. */
Test(virtio_state, a_changed_configuration_space_interrupts)
{
	for (unsigned sectors = 8; sectors <= 16; sectors += 8) {
		struct conf_dev c = { .fd = memfd_create("disk", MFD_CLOEXEC) };
		struct rig a, b;
		struct blob blob;
		struct err e = { 0 };

		cr_assert_eq(ftruncate(c.fd, 8 * 512), 0);
		rig_open(&a, virtio_ops_find("blk"), &c);
		rig_start(&a, 0);
		blob_init(&blob);
		cr_assert_eq(virtio_state_save(&a.m, 0, &blob, &e), 0, "%s", e.msg);
		cr_assert_eq(blob_seal(&blob), 0);
		c.fd = memfd_create("disk", MFD_CLOEXEC);
		cr_assert_eq(ftruncate(c.fd, (off_t)sectors * 512), 0);
		rig_open(&b, virtio_ops_find("blk"), &c);
		memcpy(b.ram, a.ram, RIG_RAM);
		cr_assert_eq(virtio_state_load(&b.m, 0, &blob, &e), 0, "%s", e.msg);
		cr_expect_eq(rig_irq(&b, NULL), sectors == 8 ? 0 : VIRTIO_MMIO_INT_CONFIG);
		cr_expect_eq(rig_get(&b, VIRTIO_MMIO_CONFIG), sectors);
		rig_close(&a);
		rig_close(&b);
		blob_free(&blob);
	}
}
