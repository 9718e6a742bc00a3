/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/vm/hostile_io.h"

#define SPINS 3000000u		/* each of them leaves the guest */

struct io { RINGS(HEADS); };

static struct io io[QMAX];
static struct desc tables[QMAX][HEADS][PARTS] __attribute__((aligned(16)));

bool is_device(unsigned slot, unsigned id)
{
	return rd(slot, R_DEVICE_ID) == id;
}

bool offers(unsigned slot, unsigned feature)
{
	return offered(slot) >> feature & 1;
}

void tell(unsigned slot, const char *word, uint64_t v)
{
	say("slot ");
	say_number(slot);
	say(" ");
	say(word);
	say(" ");
	say_number(v);
	say("\n");
}

void io_begin(unsigned slot, uint64_t without)
{
	wr(slot, R_STATUS, 0);
	memset(io, 0, sizeof(io));
	negotiate(slot, without);
	for (unsigned q = 0; q < QMAX && give_rings(slot, q, &io[q]); q++)
		;
	driver_ok(slot);
}

void io_post(unsigned q, unsigned head, const struct desc *part, unsigned parts)
{
	struct io *r = &io[q];
	struct desc *t = tables[q][head];

	for (unsigned i = 0; i < parts; i++) {
		t[i] = part[i];
		t[i].flags = (uint16_t)(t[i].flags | (i + 1 < parts ? DESC_NEXT : 0));
		t[i].next = (uint16_t)(i + 1);
	}
	r->desc[head] = (struct desc){ (uintptr_t)t, parts * (uint32_t)sizeof(*t), DESC_INDIRECT,
				       0 };
	r->avail.ring[r->avail.idx % HEADS] = (uint16_t)head;
	__atomic_store_n(&r->avail.idx, (uint16_t)(r->avail.idx + 1), __ATOMIC_SEQ_CST);
}

void io_notify(unsigned slot, unsigned q)
{
	wr(slot, R_NOTIFY, q);
}

unsigned io_used(unsigned q)
{
	return __atomic_load_n(&io[q].used.idx, __ATOMIC_SEQ_CST);
}

bool io_all(unsigned slot, unsigned q)
{
	for (unsigned i = 0; i < SPINS; i++) {
		if (io_used(q) == io[q].avail.idx)
			return true;
		if (rd(slot, R_STATUS) & S_NEEDS_RESET)
			break;
	}
	tell(slot, "unanswered", (uint16_t)(io[q].avail.idx - io_used(q)));
	return false;
}

bool io_one(unsigned slot, unsigned q, const struct desc *part, unsigned parts)
{
	io_post(q, 0, part, parts);
	io_notify(slot, q);
	return io_all(slot, q);
}
