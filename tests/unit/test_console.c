/* SPDX-License-Identifier: Apache-2.0 */
#include <linux/virtio_console.h>
#include <sys/mman.h>
#include "devices/registry.h"
#include "tests/unit/rig.h"

enum { RX, TX };

static struct rig r;
static int screen;

/* All that the console said so far: how much, into @out. */
static size_t shown(char *out, size_t len)
{
	ssize_t n = pread(screen, out, len, 0);

	cr_assert_geq(n, 0);
	return (size_t)n;
}

static void set_up(void)
{
	screen = memfd_create("screen", MFD_CLOEXEC);
	cr_assert_geq(screen, 0);
	log_console_tee(screen);
	rig_open(&r, virtio_ops_find("console"), NULL);
}

static void tear_down(void)
{
	rig_close(&r);
	log_console_tee(-1);
	close(screen);
}

TestSuite(console, .init = set_up, .fini = tear_down, .timeout = 20);

Test(console, what_is_transmitted_is_shown_in_order)
{
	char out[64];
	uint32_t len;

	rig_start(&r, 0);
	rig_add(&r, TX, (struct rig_part[]){ { "hello ", 6, false }, { "wor", 3, false } }, 2);
	rig_add(&r, TX, &(struct rig_part){ "ld\n", 3, false }, 1);
	rig_kick(&r, TX);
	rig_run(&r);
	cr_assert_eq(shown(out, sizeof(out)), 12);
	cr_assert_arr_eq(out, "hello world\n", 12);
	cr_assert_eq(rig_used(&r, TX, &len), 0);
	cr_assert_eq(len, 0);
	cr_assert_eq(rig_used(&r, TX, &len), 2);
	cr_assert_eq(rig_irq(&r, NULL), VIRTIO_MMIO_INT_VRING);
}

/* threat-model.md 14: a long text goes out in pieces, a few per round of the loop, none lost. */
Test(console, a_long_chain_is_shown_over_several_rounds)
{
	const uint32_t n = 60000;
	char *in = malloc(n), *out = malloc(n);

	for (uint32_t i = 0; i < n; i++)
		in[i] = (char)('!' + i * 7 % 90);
	rig_start(&r, 0);
	rig_add(&r, TX, (struct rig_part[]){ { in, 1, false }, { in + 1, n - 1, false } }, 2);
	virtio_kick(r.d, TX);		/* one wake-up: one round's worth */
	cr_assert_eq(shown(out, n), 16384);
	cr_assert_eq(rig_used(&r, TX, NULL), -1);
	rig_run(&r);
	cr_assert_eq(shown(out, n), n);
	cr_assert_arr_eq(out, in, n);
	cr_assert_eq(rig_used(&r, TX, NULL), 0);
	free(in);
	free(out);
}

/* threat-model.md 7: a chain that was being shown is forgotten with the reset. */
Test(console, a_reset_in_the_middle_of_a_chain_ends_it)
{
	static char text[40000], out[40000];

	memset(text, 'a', sizeof(text));
	rig_start(&r, 0);
	rig_add(&r, TX, &(struct rig_part){ text, sizeof(text), false }, 1);
	virtio_kick(r.d, TX);
	rig_set(&r, VIRTIO_MMIO_STATUS, 0);
	cr_assert_eq(rig_get(&r, VIRTIO_MMIO_STATUS), 0);
	rig_start(&r, 0);
	rig_add(&r, TX, &(struct rig_part){ "b", 1, false }, 1);
	rig_kick(&r, TX);
	rig_run(&r);
	cr_assert_eq(rig_used(&r, TX, NULL), 0);
	cr_assert_eq(rig_used(&r, TX, NULL), -1);
	cr_assert_eq(shown(out, sizeof(out)), 16384 + 1);
	cr_assert_eq(out[16384], 'b');
}

Test(console, receive_buffers_stay_where_they_are)
{
	rig_start(&r, 0);
	rig_add(&r, RX, &(struct rig_part){ NULL, 64, true }, 1);
	rig_kick(&r, RX);
	rig_run(&r);
	cr_assert_eq(rig_used(&r, RX, NULL), -1);
	cr_assert_eq(rig_irq(&r, NULL), 0);
	cr_assert(virtio_live(r.d));
}

Test(console, chains_without_text_come_back)
{
	rig_start(&r, 0);
	rig_add(&r, TX, &(struct rig_part){ NULL, 64, true }, 1);
	rig_add(&r, TX, &(struct rig_part){ NULL, 0, false }, 1);
	rig_kick(&r, TX);
	rig_run(&r);
	cr_assert_eq(rig_used(&r, TX, NULL), 0);
	cr_assert_eq(rig_used(&r, TX, NULL), 1);
}

Test(console, an_emergency_write_needs_no_driver)
{
	const uint64_t at = VIRTIO_MMIO_CONFIG + offsetof(struct virtio_console_config, emerg_wr);
	char out[8];

	cr_assert(virtio_features(r.d) >> VIRTIO_CONSOLE_F_EMERG_WRITE & 1);
	rig_set(&r, at, 'p');
	rig_set(&r, VIRTIO_MMIO_CONFIG, 'x');		/* the screen's size is not the guest's */
	rig_set(&r, at, 'q');
	cr_assert_eq(shown(out, sizeof(out)), 2);
	cr_assert_arr_eq(out, "pq", 2);
	cr_assert_eq(rig_get(&r, VIRTIO_MMIO_CONFIG), 0);
	cr_assert_eq(rig_get(&r, at), 0);
}
