/* SPDX-License-Identifier: Apache-2.0 */
/*
 * console.c - virtio console (virtio 1.2, 5.3), one port, output only.
 *
 * What the guest transmits goes to the bounded ring of log.h, CONSOLE_PIECE bytes
 * at a time and CONSOLE_ROUND bytes per wake-up; a chain that is longer is held
 * and continued in the next round of the loop. Buffers on the receive queue stay
 * where they are: nothing is typed yet.
 *
 * The emergency write needs no queue, so a guest that fails early can speak.
 */
#include <endian.h>
#include <linux/virtio_console.h>
#include <linux/virtio_ids.h>
#include "vmm/virtio.h"

#define CONSOLE_PIECE 4096u
#define CONSOLE_ROUND (4 * CONSOLE_PIECE)

enum { RX, TX, NQUEUES };

struct console {
	struct virtio_dev v;
	struct virtio_console_config cfg;
	struct vchain out;		/* being shown, if @held */
	uint32_t off;			/* bytes of it that were */
	bool held;
};

static bool have_chain(struct console *c, struct virtq *q)
{
	if (!c->held) {
		c->held = virtio_next(&c->v, q, &c->out);
		c->off = 0;
	}
	return c->held;
}

static void console_kick(struct virtio_dev *d, struct virtq *q)
{
	struct console *c = container_of(d, struct console, v);
	uint32_t left = CONSOLE_ROUND;
	char buf[CONSOLE_PIECE];

	if (q->index != TX)
		return;
	while (left && have_chain(c, q)) {
		uint32_t n = c->out.read_len - c->off;

		n = n < left ? n : left;
		n = n < sizeof(buf) ? n : (uint32_t)sizeof(buf);
		if (vchain_read(&c->out, c->off, buf, n))
			BUG_ON(true);	/* off + n <= read_len */
		log_console(buf, n);
		c->off += n;
		left -= n;
		if (c->off == c->out.read_len) {
			virtio_done(d, q, &c->out);
			c->held = false;
		}
	}
	if (!left)
		virtio_again(d, q);
	virtio_flush(d, q);
}

static bool console_stop(struct virtio_dev *d)
{
	container_of(d, struct console, v)->held = false;
	return true;
}

static void console_cfg_written(struct virtio_dev *d, size_t off, size_t len)
{
	struct console *c = container_of(d, struct console, v);
	const size_t at = offsetof(struct virtio_console_config, emerg_wr);
	char ch = (char)le32toh(c->cfg.emerg_wr);

	if (off <= at && at < off + len)
		log_console(&ch, 1);
	c->cfg = (struct virtio_console_config){ 0 };
}

extern const struct virtio_ops console_ops;
const struct virtio_ops console_ops = {
	.name = "console", .id = VIRTIO_ID_CONSOLE, .nqueues = NQUEUES, .qsize = 64,
	.features = 1ULL << VIRTIO_CONSOLE_F_EMERG_WRITE, .size = sizeof(struct console),
	.cfg_off = offsetof(struct console, cfg), .cfg_len = sizeof(struct virtio_console_config),
	.kick = console_kick, .stop = console_stop, .cfg_written = console_cfg_written,
};
