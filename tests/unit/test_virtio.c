/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a device: negotiation, failure, reset, configuration space. */
#include <signal.h>
#include "tests/unit/probe_rig.h"

TestSuite(virtio, .init = probe_rig_open, .fini = probe_rig_close, .timeout = 20);

/* ---- making ------------------------------------------------------------------------------- */

Test(virtio, a_device_that_cannot_open_says_why_and_leaves_nothing)
{
	struct conf_dev c = { .dev = "probe", .cid = 666 };
	struct err e = { 0 };
	unsigned closed = probe_closed;

	cr_assert_eq(virtio_new(&probe_ops, &r.mem, r.loop, &c, &e), NULL);
	cr_assert_eq(e.code, -EIO);
	cr_assert_str_eq(e.msg, "probe: the probe was told to fail");
	cr_assert_eq(probe_closed, closed);
	virtio_free(NULL);
}

/* ---- status (2.1, 3.1.1) ------------------------------------------------------------------ */

/* threat-model.md 1: status bits only grow, each after the one before it. */
Test(virtio, a_status_out_of_order_is_refused_by_its_rule)
{
	static const struct { uint32_t from, write, want; const char *why; } t[] = {
		{ 0, DRV, 0, "DRIVER before ACKNOWLEDGE" },
		{ 0, OK, 0, "DRIVER_OK before FEATURES_OK" },
		{ 0, FEAT, 0, "FEATURES_OK before DRIVER" },
		{ ACK, ACK | FEAT, ACK, "FEATURES_OK before DRIVER" },
		{ ACK | DRV, ACK | DRV | OK, ACK | DRV, "DRIVER_OK before FEATURES_OK" },
		{ ACK | DRV, ACK, ACK | DRV, "status bit cleared" },
		{ ACK | DRV | FEAT, ACK | DRV, ACK | DRV | FEAT, "status bit cleared" },
		{ RIG_OK, ACK | DRV | FEAT, RIG_OK, "status bit cleared" },
		{ ACK, ACK | 0x10, ACK, "unknown status bit" },
		{ ACK, ACK | DRV | 0x100, ACK, "unknown status bit" },
	};

	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		uint64_t bad;

		cr_assert(virtio_stop(r.d));
		for (uint32_t bit = 1, now = 0; bit < 0x100; bit <<= 1) {
			static const uint32_t order[] = { ACK, DRV, FEAT, OK };
			uint32_t next = bit < 16 ? order[__builtin_ctz(bit)] : 0;

			if (!(t[i].from & next))
				continue;
			now |= next;
			virtio_set_status(r.d, now, V1);
		}
		cr_assert_eq(r.d->status, t[i].from);
		bad = r.d->stat.bad;
		virtio_set_status(r.d, t[i].write, V1);
		cr_expect_eq(r.d->status, t[i].want, "case %zu", i);
		cr_expect(r.d->why && !strcmp(r.d->why, t[i].why), "%s: got %s", t[i].why,
			  r.d->why);
		cr_expect_eq(r.d->stat.bad, bad + 1);
		cr_expect(!r.d->failed);
	}
}

Test(virtio, the_whole_order_at_once_is_fine_and_repeats_change_nothing)
{
	virtio_set_status(r.d, RIG_OK, V1);
	virtio_set_status(r.d, RIG_OK, V1);
	cr_assert(virtio_live(r.d));
	cr_assert_eq(p->starts, 1);
	cr_assert_eq(r.d->stat.bad, 0);
}

Test(virtio, only_offered_features_with_version_1_are_taken)
{
	static const struct { uint64_t driver; const char *why; } t[] = {
		{ 0, "no VERSION_1" }, { EVENT, "no VERSION_1" },
		{ V1 | 1, "feature not offered" }, { V1 | 1ull << 63, "feature not offered" },
		{ V1 | 1ull << (PROBE_FEATURE + 1), "feature not offered" },
		{ V1, NULL }, { V1 | EVENT | 1ull << PROBE_FEATURE, NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		cr_assert(virtio_stop(r.d));
		virtio_set_status(r.d, ACK | DRV | FEAT, t[i].driver);
		cr_expect_eq(r.d->status, ACK | DRV | (t[i].why ? 0 : FEAT), "case %zu", i);
		cr_expect_eq(r.d->acked, t[i].why ? 0 : t[i].driver);
		if (t[i].why)
			cr_expect(r.d->why && !strcmp(r.d->why, t[i].why), "%s", t[i].why);
		/* DRIVER_OK in the same breath gets no further. */
		cr_assert(virtio_stop(r.d));
		virtio_set_status(r.d, RIG_OK, t[i].driver);
		cr_expect_eq(virtio_live(r.d), !t[i].why);
	}
	cr_assert(virtio_has(r.d, PROBE_FEATURE));
	cr_assert_eq(virtio_features(r.d), V1 | EVENT | 1ull << VIRTIO_RING_F_INDIRECT_DESC |
		     1ull << PROBE_FEATURE);
}

/* threat-model.md 1: the rings are checked whole at DRIVER_OK; one wrong ring and none is live. */
Test(virtio, a_wrong_ring_at_driver_ok_needs_a_reset)
{
	bool raised;

	rig_negotiate(&r, 0);
	rig_queue(&r, 0);
	rig_queue(&r, 1);
	r.d->q[1].used_at.v = RIG_BASE + RIG_RAM;
	rig_add(&r, 0, &(struct rig_part){ NULL, 4, true }, 1);
	cr_assert_eq(rig_status(&r, OK), RIG_OK | NEEDS);
	cr_assert_str_eq(r.d->why, "used ring outside memory");
	cr_assert(!virtio_live(r.d) && !r.d->q[0].ready && !r.d->q[1].ready);
	cr_assert_eq(p->starts, 0);
	cr_assert_eq(rig_irq(&r, &raised), VIRTIO_MMIO_INT_CONFIG);
	cr_assert(raised);
	rig_kick(&r, 0);
	rig_run(&r);
	cr_assert_eq(p->kicks[0] + p->kicks[1], 0);
}

Test(virtio, a_queue_that_was_not_made_ready_stays_dead)
{
	rig_negotiate(&r, 0);
	rig_queue(&r, 1);
	cr_assert_eq(rig_status(&r, OK), RIG_OK);
	virtio_kick(r.d, 0);
	cr_assert_eq(p->kicks[0], 0);
	cr_assert_eq(p->kicks[1], 1);		/* by DRIVER_OK */
}

Test(virtio, failed_ends_the_device_until_a_reset)
{
	rig_start(&r, 0);
	add(0);
	cr_assert_eq(rig_status(&r, GONE), RIG_OK | GONE);
	cr_assert(!virtio_live(r.d));
	rig_kick(&r, 0);
	rig_run(&r);
	cr_assert_eq(rig_used(&r, 0, NULL), -1);
	rig_set(&r, VIRTIO_MMIO_STATUS, 0);
	cr_assert_eq(rig_get(&r, VIRTIO_MMIO_STATUS), 0);
	rig_start(&r, 0);
	add(0);
	rig_kick(&r, 0);
	rig_run(&r);
	cr_assert_neq(rig_used(&r, 0, NULL), -1);
}

/* ---- failure ------------------------------------------------------------------------------ */

/* threat-model.md 4: a broken chain fails the device, with its rule, until it is reset. */
Test(virtio, a_broken_chain_needs_a_reset_and_nothing_runs_until_then)
{
	unsigned kicks;
	bool raised;

	rig_start(&r, 0);
	rig_offer(&r, 0, 999);
	rig_kick(&r, 0);
	rig_run(&r);
	cr_assert_str_eq(r.d->why, "head index");
	kicks = p->kicks[1];
	cr_assert_eq(rig_get(&r, VIRTIO_MMIO_STATUS), RIG_OK | NEEDS);
	cr_assert_eq(rig_irq(&r, &raised), VIRTIO_MMIO_INT_CONFIG);
	cr_assert(raised);
	add(1);				/* the other queue is as dead */
	rig_kick(&r, 1);
	rig_run(&r);
	cr_assert_eq(rig_used(&r, 1, NULL), -1);
	cr_assert_eq(p->kicks[1], kicks);
	virtio_fault(r.d, "later");	/* the reason that stays is the one that failed it */
	cr_assert_str_eq(r.d->why, "head index");
	virtio_fail(r.d, "again");
	cr_assert_eq(rig_irq(&r, NULL), 0);
	/* Linux writes back what it read; NEEDS_RESET in it means nothing. */
	rig_set(&r, VIRTIO_MMIO_STATUS, RIG_OK);
	cr_assert_eq(rig_get(&r, VIRTIO_MMIO_STATUS), RIG_OK | NEEDS);
	rig_set(&r, VIRTIO_MMIO_STATUS, 0);
	cr_assert_eq(r.d->why, NULL);
	rig_start(&r, 0);
	add(0);
	rig_kick(&r, 0);
	rig_run(&r);
	cr_assert_neq(rig_used(&r, 0, NULL), -1);
}

Test(virtio, a_driver_cannot_set_needs_reset_itself)
{
	rig_start(&r, 0);
	rig_status(&r, NEEDS);
	cr_assert_eq(r.d->status, RIG_OK);
	cr_assert(virtio_live(r.d));
}

/* A device may look for chains whenever its own I/O ends, not only when it is kicked. */
Test(virtio, a_device_that_is_not_live_is_given_no_chain)
{
	struct vchain c;

	rig_start(&r, 0);
	p->hold = p->slow = true;
	add(0);
	rig_kick(&r, 0);
	rig_run(&r);
	add(0);
	virtio_fail(r.d, "enough");
	cr_assert(!virtio_next(r.d, &r.d->q[0], &c));
	rig_set(&r, VIRTIO_MMIO_STATUS, 0);
	cr_assert(r.d->stopping);
	cr_assert(!virtio_next(r.d, &r.d->q[0], &c));
	probe_complete(p);
	rig_start(&r, 0);
	add(0);
	rig_status(&r, GONE);
	r.d->budget[0] = 1;
	cr_assert(!virtio_next(r.d, &r.d->q[0], &c));
}

/* threat-model.md 13: a million faults are a few lines. */
Test(virtio, faults_are_logged_at_a_bounded_rate)
{
	int fd[2];
	char buf[65536];
	ssize_t n;

	cr_assert_eq(pipe(fd), 0);
	log_level(LOG_LEVEL_WARN);
	fflush(stderr);
	cr_assert_eq(dup2(fd[1], STDERR_FILENO), STDERR_FILENO);
	for (unsigned i = 0; i < 100000; i++)
		virtio_fault(r.d, "noise");
	n = read(fd[0], buf, sizeof(buf));
	cr_assert(n > 0 && n < (LOG_BURST + 60) * 80, "%zd bytes", n);
	cr_assert_eq(r.d->stat.bad, 100000);
}

/* ---- reset -------------------------------------------------------------------------------- */

Test(virtio, a_reset_forgets_everything_the_driver_set)
{
	rig_start(&r, EVENT | 1ull << PROBE_FEATURE);
	cr_assert(r.d->q[0].event_idx);
	rig_set(&r, VIRTIO_MMIO_STATUS, 0);
	cr_assert_eq(r.d->status, 0);
	cr_assert_eq(r.d->acked, 0);
	for (unsigned i = 0; i < PROBE_QUEUES; i++) {
		const struct virtq *q = &r.d->q[i];

		cr_assert(!q->ready && !q->asked && !q->event_idx && !q->desc && !q->used);
		cr_assert(!q->desc_at.v && !q->avail_at.v && !q->used_at.v);
		cr_assert_eq(q->size, probe_ops.qsize);
		cr_assert_eq(q->index, i);
	}
	rig_start(&r, 0);
	cr_assert_eq(p->starts, 2);
	cr_assert_eq(r.d->stat.resets, 1);
}

/* threat-model.md 7: a reset ends when nothing is in flight, and kicks nothing meanwhile. */
Test(virtio, a_reset_waits_for_chains_in_flight)
{
	rig_start(&r, 0);
	p->hold = p->slow = true;
	add(0);
	rig_kick(&r, 0);
	rig_run(&r);
	cr_assert_eq(p->nheld, 1);
	cr_assert(!virtio_stop(r.d));
	cr_assert(!virtio_stop(r.d));		/* a second one joins the first */
	cr_assert_eq(p->stops, 1);
	cr_assert_eq(r.d->status, RIG_OK);	/* not zero before it is finished */
	add(0);
	rig_kick(&r, 0);
	rig_run(&r);
	cr_assert_eq(p->nheld, 1);
	virtio_set_status(r.d, RIG_OK | GONE, V1);
	cr_assert_eq(r.d->status, RIG_OK);
	probe_complete(p);
	cr_assert_eq(r.d->status, 0);
	cr_assert(!r.d->stopping);
	cr_assert_eq(r.d->stat.resets, 1);
}

Test(virtio, a_chain_from_before_a_reset_cannot_be_given_back, .signal = SIGABRT)
{
	rig_start(&r, 0);
	p->hold = true;
	add(0);
	rig_kick(&r, 0);
	rig_run(&r);
	cr_assert_eq(p->nheld, 1);
	cr_assert(virtio_stop(r.d));
	rig_start(&r, 0);
	p->nheld = 1;			/* a device that did not forget it */
	probe_complete(p);
}

Test(virtio, teardown_during_a_reset_stops_the_device_once_more)
{
	rig_start(&r, 0);
	p->hold = p->slow = true;
	add(0);
	rig_kick(&r, 0);
	rig_run(&r);
	cr_assert(!virtio_stop(r.d));
	cr_assert_eq(p->closing_stops, 0);
	virtio_mmio_stop(&r.m);
	cr_assert_eq(p->stops, 1);
	probe_complete(p);		/* ends the reset, and begins what teardown asks for */
	cr_assert_eq(p->closing_stops, 1);
	cr_assert(!r.d->stopping);
}

/* ---- configuration space (2.5) ------------------------------------------------------------ */

/* threat-model.md 2: the offset is the guest's; nothing outside the space is read or written. */
Test(virtio, configuration_accesses_stay_inside)
{
	static const struct { uint64_t off; unsigned len; bool in; } t[] = {
		{ 0, 1, true }, { 0, 8, true }, { 4, 8, true }, { 11, 1, true }, { 10, 2, true },
		{ 12, 1, false }, { 11, 2, false }, { 5, 8, false }, { 12, 8, false },
		{ 0xeff, 1, false }, { UINT64_MAX, 1, false }, { UINT64_MAX - 3, 8, false },
		{ UINT64_MAX, 8, false }, { 1ull << 32, 4, false },
	};

	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		uint8_t buf[8], zero[8] = { 0 };
		unsigned writes = p->cfg_writes;

		memset(buf, 0xee, sizeof(buf));
		virtio_cfg_read(r.d, t[i].off, buf, t[i].len);
		if (t[i].in)
			cr_expect_arr_eq(buf, p->cfg + t[i].off, t[i].len);
		else
			cr_expect_arr_eq(buf, zero, t[i].len, "case %zu", i);
		memset(buf, (int)(0x80 + i), sizeof(buf));
		virtio_cfg_write(r.d, t[i].off, buf, t[i].len);
		cr_expect_eq(p->cfg_writes - writes, t[i].in, "case %zu", i);
		if (t[i].in) {
			cr_expect(p->cfg_off == t[i].off && p->cfg_len == t[i].len);
			cr_expect_arr_eq(buf, p->cfg + t[i].off, t[i].len);
		}
		cr_expect(p->before == 0xcc && p->after == 0xcc);
	}
}

Test(virtio, configuration_without_a_writer_is_read_only)
{
	uint8_t v = 0x77;
	struct rig s;

	rig_open_beside(&s, &probe_ro_ops, NULL, &r);
	virtio_cfg_write(s.d, 3, &v, 1);
	cr_assert_eq(container_of(s.d, struct probe, v)->cfg[3], 0x13);
	rig_close(&s);
}
