/* SPDX-License-Identifier: Apache-2.0 */
/* The register file, and what vCPU threads meet in it. */
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include "tests/unit/probe_rig.h"

TestSuite(virtio_mmio, .init = probe_rig_open, .fini = probe_rig_close, .timeout = 20);

static uint64_t access_at(uint64_t off, unsigned len, bool write, uint64_t v)
{
	virtio_mmio_register(&r.m, off, &v, len, write);
	return v;
}

static bool readable(int fd)
{
	struct pollfd f = { .fd = fd, .events = POLLIN };

	return poll(&f, 1, 0) == 1;
}

/* ---- registers (4.2.2) -------------------------------------------------------------------- */

Test(virtio_mmio, what_a_fresh_device_shows)
{
	static const struct { uint32_t off, want; } t[] = {
		{ VIRTIO_MMIO_MAGIC_VALUE, 0x74726976 }, { VIRTIO_MMIO_VERSION, 2 },
		{ VIRTIO_MMIO_DEVICE_ID, 42 }, { VIRTIO_MMIO_VENDOR_ID, 0x584f4253 },
		{ VIRTIO_MMIO_QUEUE_NUM_MAX, 128 }, { VIRTIO_MMIO_QUEUE_READY, 0 },
		{ VIRTIO_MMIO_INTERRUPT_STATUS, 0 }, { VIRTIO_MMIO_STATUS, 0 },
		{ VIRTIO_MMIO_SHM_LEN_LOW, UINT32_MAX }, { VIRTIO_MMIO_SHM_LEN_HIGH, UINT32_MAX },
		{ VIRTIO_MMIO_SHM_BASE_LOW, UINT32_MAX }, { VIRTIO_MMIO_SHM_BASE_HIGH, UINT32_MAX },
		{ VIRTIO_MMIO_CONFIG_GENERATION, 0 },
		/* Write-only, legacy and reserved ones read zero. */
		{ VIRTIO_MMIO_DRIVER_FEATURES, 0 }, { VIRTIO_MMIO_QUEUE_NOTIFY, 0 },
		{ VIRTIO_MMIO_QUEUE_SEL, 0 }, { VIRTIO_MMIO_QUEUE_DESC_LOW, 0 },
		{ 0x028, 0 }, { 0x040, 0 }, { 0x0c0, 0 }, { 0x0f8, 0 },
	};

	for (size_t i = 0; i < ARRAY_LEN(t); i++)
		cr_expect_eq(rig_get(&r, t[i].off), t[i].want, "register %#x", t[i].off);
}

Test(virtio_mmio, registers_answer_only_aligned_32_bit_accesses)
{
	static const struct { uint64_t off; unsigned len; } t[] = {
		{ 0, 1 }, { 0, 2 }, { 0, 8 }, { 2, 4 }, { 1, 1 }, { 0x6e, 4 }, { 0xfc, 8 },
		{ 0xfd, 4 }, { 0xff, 1 },
	};

	rig_start(&r, 0);
	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		uint64_t mask = t[i].len == 8 ? ~0ull : (1ull << 8 * t[i].len) - 1;

		cr_expect_eq(access_at(t[i].off, t[i].len, false, ~0ull) & mask, 0, "case %zu", i);
		access_at(t[i].off, t[i].len, true, 0);
	}
	access_at(VIRTIO_MMIO_STATUS, 1, true, 0);
	access_at(VIRTIO_MMIO_STATUS, 2, true, 0);
	access_at(VIRTIO_MMIO_STATUS, 8, true, 0);
	cr_assert_eq(rig_get(&r, VIRTIO_MMIO_STATUS), RIG_OK);
}

Test(virtio_mmio, features_come_in_two_halves_and_no_more)
{
	rig_set(&r, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
	cr_assert_eq(rig_get(&r, VIRTIO_MMIO_DEVICE_FEATURES), (uint32_t)virtio_features(r.d));
	rig_set(&r, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	cr_assert_eq(rig_get(&r, VIRTIO_MMIO_DEVICE_FEATURES), 1);	/* VERSION_1 is bit 32 */
	for (uint32_t sel = 2; sel; sel <<= 1) {
		rig_set(&r, VIRTIO_MMIO_DEVICE_FEATURES_SEL, sel);
		cr_expect_eq(rig_get(&r, VIRTIO_MMIO_DEVICE_FEATURES), 0);
		rig_set(&r, VIRTIO_MMIO_DRIVER_FEATURES_SEL, sel);
		rig_set(&r, VIRTIO_MMIO_DRIVER_FEATURES, UINT32_MAX);
		cr_expect_str_eq(r.d->why, "feature beyond 63");
		cr_expect_eq(r.m.drv_features, 0);
	}
	rig_start(&r, 1ull << PROBE_FEATURE);
	cr_assert_eq(r.d->acked, V1 | 1ull << PROBE_FEATURE);
	rig_set(&r, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	rig_set(&r, VIRTIO_MMIO_DRIVER_FEATURES, 0);
	cr_assert_str_eq(r.d->why, "features after FEATURES_OK");
	cr_assert_eq(r.m.drv_features, V1 | 1ull << PROBE_FEATURE);
	cr_assert_eq(r.d->acked, V1 | 1ull << PROBE_FEATURE);
}

Test(virtio_mmio, features_can_be_chosen_again_after_a_refusal)
{
	rig_negotiate(&r, 1ull << 20);
	cr_assert_eq(rig_get(&r, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_FEATURES_OK, 0);
	cr_assert_str_eq(r.d->why, "feature not offered");
	rig_negotiate(&r, 0);
	cr_assert_eq(rig_get(&r, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_FEATURES_OK,
		     VIRTIO_CONFIG_S_FEATURES_OK);
}

/* threat-model.md 2: QUEUE_SEL is the guest's. */
Test(virtio_mmio, a_selector_out_of_range_selects_nothing)
{
	static const uint32_t sel[] = { PROBE_QUEUES, VIRTIO_QUEUES_MAX, 1 << 16, UINT32_MAX };
	static const uint32_t reg[] = {
		VIRTIO_MMIO_QUEUE_NUM, VIRTIO_MMIO_QUEUE_READY, VIRTIO_MMIO_QUEUE_DESC_LOW,
		VIRTIO_MMIO_QUEUE_DESC_HIGH, VIRTIO_MMIO_QUEUE_AVAIL_LOW,
		VIRTIO_MMIO_QUEUE_AVAIL_HIGH, VIRTIO_MMIO_QUEUE_USED_LOW,
		VIRTIO_MMIO_QUEUE_USED_HIGH,
	};
	struct virtq before[VIRTIO_QUEUES_MAX];

	memcpy(before, r.d->q, sizeof(before));
	for (size_t i = 0; i < ARRAY_LEN(sel); i++) {
		rig_set(&r, VIRTIO_MMIO_QUEUE_SEL, sel[i]);
		cr_expect_eq(rig_get(&r, VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
		cr_expect_eq(rig_get(&r, VIRTIO_MMIO_QUEUE_READY), 0);
		for (size_t k = 0; k < ARRAY_LEN(reg); k++) {
			r.d->why = NULL;
			rig_set(&r, reg[k], 1);
			cr_expect(r.d->why && !strcmp(r.d->why, "no such queue"));
		}
	}
	cr_assert_eq(memcmp(before, r.d->q, sizeof(before)), 0);
}

Test(virtio_mmio, queue_registers_reach_the_selected_queue)
{
	rig_set(&r, VIRTIO_MMIO_QUEUE_SEL, 1);
	rig_set(&r, VIRTIO_MMIO_QUEUE_NUM, 32);
	rig_set(&r, VIRTIO_MMIO_QUEUE_DESC_HIGH, 1);
	rig_set(&r, VIRTIO_MMIO_QUEUE_DESC_LOW, 0x10);
	rig_set(&r, VIRTIO_MMIO_QUEUE_AVAIL_LOW, 0x20);
	rig_set(&r, VIRTIO_MMIO_QUEUE_AVAIL_HIGH, 2);
	rig_set(&r, VIRTIO_MMIO_QUEUE_USED_LOW, 0x30);
	rig_set(&r, VIRTIO_MMIO_QUEUE_USED_HIGH, 3);
	rig_set(&r, VIRTIO_MMIO_QUEUE_READY, 1);
	cr_assert_eq(rig_get(&r, VIRTIO_MMIO_QUEUE_READY), 1);
	cr_assert(r.d->q[1].size == 32 && r.d->q[1].desc_at.v == 0x100000010 &&
		  r.d->q[1].avail_at.v == 0x200000020 && r.d->q[1].used_at.v == 0x300000030);
	cr_assert(r.d->q[0].size == 128 && !r.d->q[0].desc_at.v && !r.d->q[0].asked);
	/* While it is ready, nothing but that may change. */
	rig_set(&r, VIRTIO_MMIO_QUEUE_NUM, 8);
	cr_assert_str_eq(r.d->why, "queue changed while ready");
	cr_assert_eq(r.d->q[1].size, 32);
	rig_set(&r, VIRTIO_MMIO_QUEUE_READY, 0);
	rig_set(&r, VIRTIO_MMIO_QUEUE_NUM, 8);
	cr_assert_eq(r.d->q[1].size, 8);
}

/* A size that does not fit 16 bits, or that is above QueueNumMax, is not cut to one that fits. */
Test(virtio_mmio, a_size_above_the_maximum_never_becomes_live)
{
	static const uint32_t t[] = { 256, 0x10008, 0x80000000, UINT32_MAX, 0 };

	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		rig_set(&r, VIRTIO_MMIO_STATUS, 0);
		rig_negotiate(&r, 0);
		rig_queue(&r, 0);
		rig_set(&r, VIRTIO_MMIO_QUEUE_READY, 0);
		rig_set(&r, VIRTIO_MMIO_QUEUE_NUM, t[i]);
		rig_set(&r, VIRTIO_MMIO_QUEUE_READY, 1);
		rig_status(&r, VIRTIO_CONFIG_S_DRIVER_OK);
		cr_expect(r.d->failed, "%#x", t[i]);
		cr_expect_str_eq(r.d->why, "queue size");
	}
}

/* threat-model.md 1 (CVE-2026-5747): queue fields are frozen from DRIVER_OK to the reset. */
Test(virtio_mmio, queue_registers_are_frozen_after_driver_ok)
{
	static const uint32_t reg[] = {
		VIRTIO_MMIO_QUEUE_NUM, VIRTIO_MMIO_QUEUE_READY, VIRTIO_MMIO_QUEUE_DESC_LOW,
		VIRTIO_MMIO_QUEUE_DESC_HIGH, VIRTIO_MMIO_QUEUE_AVAIL_LOW,
		VIRTIO_MMIO_QUEUE_AVAIL_HIGH, VIRTIO_MMIO_QUEUE_USED_LOW,
		VIRTIO_MMIO_QUEUE_USED_HIGH,
	};
	struct virtq before[VIRTIO_QUEUES_MAX];

	rig_negotiate(&r, 0);
	rig_queue(&r, 0);		/* queue 1 is left alone, and has to stay so */
	rig_status(&r, VIRTIO_CONFIG_S_DRIVER_OK);
	memcpy(before, r.d->q, sizeof(before));
	for (uint32_t sel = 0; sel < PROBE_QUEUES; sel++) {
		rig_set(&r, VIRTIO_MMIO_QUEUE_SEL, sel);
		for (size_t k = 0; k < ARRAY_LEN(reg); k++) {
			uint64_t bad = r.d->stat.bad;

			r.d->why = NULL;
			rig_set(&r, reg[k], sel ? 1 : 0);
			cr_expect(r.d->why && !strcmp(r.d->why, "queue changed after DRIVER_OK"));
			cr_expect_eq(r.d->stat.bad, bad + 1);
		}
	}
	cr_assert_eq(memcmp(before, r.d->q, sizeof(before)), 0);
	rig_add(&r, 0, &(struct rig_part){ NULL, 4, true }, 1);
	rig_kick(&r, 0);
	rig_run(&r);
	cr_assert_eq(rig_used(&r, 0, NULL), 0);
}

Test(virtio_mmio, configuration_space_takes_any_width)
{
	cr_assert_eq(access_at(0x100, 1, false, 0), 0x10);
	cr_assert_eq(access_at(0x101, 2, false, 0), 0x1211);
	cr_assert_eq(access_at(0x104, 4, false, 0), 0x17161514);
	cr_assert_eq(access_at(0x103, 8, false, 0), 0x1a19181716151413);
	cr_assert_eq(access_at(0x109, 4, false, ~0ull) & UINT32_MAX, 0);	/* over the end */
	cr_assert_eq(access_at(VIRTIO_MMIO_SIZE - 1, 1, false, 0), 0);
	access_at(0x102, 2, true, 0xbeef);
	cr_assert(p->cfg_off == 2 && p->cfg_len == 2 && p->cfg[2] == 0xef && p->cfg[3] == 0xbe);
}

Test(virtio_mmio, a_change_of_configuration_is_told_after_driver_ok_only)
{
	bool raised;

	virtio_cfg_changed(r.d);
	cr_assert_eq(rig_get(&r, VIRTIO_MMIO_CONFIG_GENERATION), 1);
	cr_assert_eq(rig_irq(&r, &raised), 0);
	cr_assert(!raised);
	rig_start(&r, 0);
	virtio_cfg_changed(r.d);
	cr_assert_eq(rig_get(&r, VIRTIO_MMIO_CONFIG_GENERATION), 2);
	cr_assert_eq(rig_irq(&r, &raised), VIRTIO_MMIO_INT_CONFIG);
	cr_assert(raised);
}

Test(virtio_mmio, interrupts_are_bits_that_stay_until_acknowledged)
{
	rig_start(&r, 0);
	rig_add(&r, 0, &(struct rig_part){ NULL, 4, true }, 1);
	rig_kick(&r, 0);
	rig_run(&r);
	virtio_cfg_changed(r.d);
	cr_assert_eq(rig_get(&r, VIRTIO_MMIO_INTERRUPT_STATUS), 3);
	rig_set(&r, VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_VRING);
	cr_assert_eq(rig_get(&r, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_CONFIG);
	rig_set(&r, VIRTIO_MMIO_STATUS, 0);
	cr_assert_eq(rig_get(&r, VIRTIO_MMIO_INTERRUPT_STATUS), 0);
}

Test(virtio_mmio, a_notify_that_no_eventfd_caught_is_a_kick)
{
	rig_start(&r, 0);
	rig_add(&r, 1, &(struct rig_part){ NULL, 4, true }, 1);
	rig_set(&r, VIRTIO_MMIO_QUEUE_NOTIFY, 1);
	cr_assert_eq(rig_used(&r, 1, NULL), 0);
	rig_set(&r, VIRTIO_MMIO_QUEUE_NOTIFY, 0x10001);
	cr_assert_str_eq(r.d->why, "no such queue");
}

Test(virtio_mmio, a_reset_forgets_the_selectors_too)
{
	rig_start(&r, 0);
	rig_set(&r, VIRTIO_MMIO_QUEUE_SEL, 1);
	rig_set(&r, VIRTIO_MMIO_STATUS, 0);
	rig_set(&r, VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	rig_set(&r, VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	/* The features of before are not those of now. */
	cr_assert_eq(rig_status(&r, VIRTIO_CONFIG_S_FEATURES_OK) & VIRTIO_CONFIG_S_FEATURES_OK, 0);
	cr_assert_str_eq(r.d->why, "no VERSION_1");
	rig_set(&r, VIRTIO_MMIO_QUEUE_NUM, 4);
	cr_assert_eq(r.d->q[0].size, 4);
}

/* threat-model.md 7: while a reset drains, every other access is harmless. */
Test(virtio_mmio, writes_during_a_reset_are_dropped)
{
	struct virtq before;

	rig_start(&r, 0);
	p->hold = p->slow = true;
	rig_add(&r, 0, &(struct rig_part){ NULL, 4, true }, 1);
	rig_kick(&r, 0);
	rig_run(&r);
	rig_set(&r, VIRTIO_MMIO_STATUS, 0);
	before = r.d->q[0];
	for (uint64_t off = 0; off < 0x110; off += 4)
		if (off != VIRTIO_MMIO_STATUS)
			rig_set(&r, off, 1);
	rig_set(&r, VIRTIO_MMIO_STATUS, RIG_OK | VIRTIO_CONFIG_S_FAILED);
	cr_assert_eq(rig_get(&r, VIRTIO_MMIO_STATUS), RIG_OK);
	cr_assert_eq(memcmp(&before, &r.d->q[0], sizeof(before)), 0);
	cr_assert_eq(p->cfg_writes, 0);
	cr_assert(r.m.queue_sel == 1 && r.m.dev_features_sel == 0);
	probe_complete(p);
	cr_assert_eq(rig_get(&r, VIRTIO_MMIO_STATUS), 0);
}

Test(virtio_mmio, after_stop_registers_read_zero)
{
	rig_start(&r, 0);
	virtio_mmio_stop(&r.m);
	virtio_mmio_stop(&r.m);
	cr_assert_eq(rig_get(&r, VIRTIO_MMIO_MAGIC_VALUE), 0);
	rig_set(&r, VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	cr_assert_eq(r.d->status, 0);
	cr_assert_eq(p->closing_stops, 1);
	rig_kick(&r, 0);
	while (r.loop->busy)		/* the kick reads end, and are not armed again */
		cr_assert_geq(loop_once(r.loop), 0);
}

/* ---- vCPU threads ------------------------------------------------------------------------- */

struct vcpu { pthread_t t; uint64_t off; uint32_t v; bool write; bool returned; };

static void *vcpu_main(void *arg)
{
	struct vcpu *v = arg;

	virtio_mmio_access(&r.m, v->off, &v->v, sizeof(v->v), v->write);
	__atomic_store_n(&v->returned, true, __ATOMIC_RELEASE);
	return NULL;
}

static void vcpu_begin(struct vcpu *v)
{
	cr_assert_eq(pthread_create(&v->t, NULL, vcpu_main, v), 0);
}

static bool returned(struct vcpu *v)
{
	return __atomic_load_n(&v->returned, __ATOMIC_ACQUIRE);
}

Test(virtio_mmio, a_register_is_answered_by_the_loop)
{
	struct vcpu v = { .off = VIRTIO_MMIO_MAGIC_VALUE };

	vcpu_begin(&v);
	while (!returned(&v))
		rig_run(&r);
	pthread_join(v.t, NULL);
	cr_assert_eq(v.v, 0x74726976);
}

Test(virtio_mmio, interrupt_registers_need_no_loop)
{
	struct vcpu v = { .off = VIRTIO_MMIO_INTERRUPT_STATUS };
	struct vcpu ack = { .off = VIRTIO_MMIO_INTERRUPT_ACK, .write = true, .v = 1 };

	rig_start(&r, 0);
	r.m.isr = 3;
	vcpu_begin(&v);			/* the loop is not running: this would not return */
	pthread_join(v.t, NULL);
	cr_assert_eq(v.v, 3);
	vcpu_begin(&ack);
	pthread_join(ack.t, NULL);
	cr_assert_eq(r.m.isr, 2);
}

/* threat-model.md 7: STATUS = 0 returns, to every vCPU that wrote it, when nothing is in flight. */
Test(virtio_mmio, a_reset_holds_its_vcpus_until_it_has_drained)
{
	struct vcpu a = { .off = VIRTIO_MMIO_STATUS, .write = true }, b = a;
	struct vcpu reader = { .off = VIRTIO_MMIO_STATUS };

	rig_start(&r, 0);
	p->hold = p->slow = true;
	rig_add(&r, 0, &(struct rig_part){ NULL, 4, true }, 1);
	rig_kick(&r, 0);
	rig_run(&r);
	vcpu_begin(&a);
	vcpu_begin(&b);
	while (!r.m.reset || !r.m.reset->next)
		cr_assert_geq(loop_once(r.loop), 0);
	vcpu_begin(&reader);		/* a third vCPU is served meanwhile */
	while (!returned(&reader))
		rig_run(&r);
	pthread_join(reader.t, NULL);
	cr_assert_eq(reader.v, RIG_OK);
	cr_assert(!returned(&a) && !returned(&b));
	cr_assert_eq(p->nheld, 1);
	probe_complete(p);
	pthread_join(a.t, NULL);
	pthread_join(b.t, NULL);
	cr_assert_eq(r.d->status, 0);
	cr_assert_eq(r.m.reset, NULL);
}

Test(virtio_mmio, teardown_lets_a_waiting_vcpu_go)
{
	struct vcpu a = { .off = VIRTIO_MMIO_STATUS, .write = true };

	rig_start(&r, 0);
	p->hold = p->slow = true;
	rig_add(&r, 0, &(struct rig_part){ NULL, 4, true }, 1);
	rig_kick(&r, 0);
	rig_run(&r);
	vcpu_begin(&a);
	while (!r.m.reset)
		cr_assert_geq(loop_once(r.loop), 0);
	virtio_mmio_stop(&r.m);
	cr_assert(!returned(&a));
	probe_complete(p);
	pthread_join(a.t, NULL);
}

Test(virtio_mmio, kicks_and_resets_of_two_vcpus_at_once_are_harmless)
{
	struct vcpu v[2] = { { .off = VIRTIO_MMIO_STATUS, .write = true },
			     { .off = VIRTIO_MMIO_QUEUE_NOTIFY, .write = true } };

	for (unsigned i = 0; i < 200; i++) {
		rig_start(&r, 0);
		rig_add(&r, 0, &(struct rig_part){ NULL, 4, true }, 1);
		rig_kick(&r, 0);
		v[0].returned = v[1].returned = false;
		vcpu_begin(&v[0]);
		vcpu_begin(&v[1]);
		while (!returned(&v[0]) || !returned(&v[1]))
			rig_run(&r);
		pthread_join(v[0].t, NULL);
		pthread_join(v[1].t, NULL);
		cr_assert_eq(r.d->status, 0);
		r.next_buf = VIRTIO_QUEUES_MAX * RIG_QUEUE;
	}
	cr_assert(!readable(r.m.kick[0].fd));
}
