/* SPDX-License-Identifier: Apache-2.0 */
/* blk_ask.h - one request to a block device on a rig, to its end. */
#ifndef TESTS_BLK_ASK_H
#define TESTS_BLK_ASK_H
#include <endian.h>
#include <linux/virtio_blk.h>
#include "tests/unit/rig.h"

/* @data of @len bytes goes out, or is wanted (@in). */
struct blk_ask { uint32_t type; uint64_t sector; const void *data; uint32_t len; bool in; };

/* Its status. What came @back and how much was @used are stored there, if that is not NULL. */
static inline int blk_ask(struct rig *r, unsigned queue, const struct blk_ask *a, void *back,
			  uint32_t *used)
{
	const struct virtio_blk_outhdr h = { .type = htole32(a->type),
					     .sector = htole64(a->sector) };
	const char none = 0x7f;
	struct rig_part p[3] = { { &h, sizeof(h), false }, { a->data, a->len, a->in },
				 { &none, 1, true } };
	unsigned n = a->len ? 3 : 2;
	uint16_t head;

	if (!a->len)
		p[1] = p[2];
	head = rig_add(r, queue, p, n);
	rig_kick(r, queue);
	do
		rig_run(r);
	while (r->d->q[queue].inflight[0]);
	cr_assert_eq(rig_used(r, queue, used), head);
	if (back)
		memcpy(back, rig_part_at(r, queue, head, 1), a->len);
	return *rig_part_at(r, queue, head, n - 1);
}
#endif
