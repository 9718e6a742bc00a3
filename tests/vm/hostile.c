/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hostile.c - rings, and the order of things: every slot but one is
 * attacked, that one has to work meanwhile, then it is attacked itself, and another
 * one has to work after a reset.
 */
#include "tests/vm/hostile_io.h"

struct rings rings[SLOTS][QMAX];
struct desc table[2 * QSIZE] __attribute__((aligned(16)));
unsigned char buffer[1 << 20];
unsigned neighbour;

static bool same(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return !*a && (!*b || *b == ' ');
}

/* ---- a driver ---- */

void reset(unsigned slot)
{
	wr(slot, R_STATUS, 0);
	memset(rings[slot], 0, sizeof(rings[slot]));
}

void negotiate(unsigned slot, uint64_t without)
{
	agree(slot, offered(slot) & ~without);
}

void set_up(unsigned slot)
{
	for (unsigned q = 0; q < QMAX; q++)
		if (!give_rings(slot, q, &rings[slot][q]))
			return;
}

void start(unsigned slot)
{
	reset(slot);
	negotiate(slot, F_EVENT_IDX);		/* so that every notification counts */
	set_up(slot);
	driver_ok(slot);
}

void offer(unsigned slot, unsigned heads)
{
	for (unsigned q = 0; q < QMAX; q++) {
		uint16_t *idx = &rings[slot][q].avail.idx;

		__atomic_store_n(idx, (uint16_t)(*idx + heads), __ATOMIC_SEQ_CST);
		wr(slot, R_NOTIFY, q);
	}
}

/* Notifications are events, so the loop may come to them later than to a register. */
void wait_a_little(unsigned slot)
{
	for (unsigned i = 0; i < 400; i++)
		if (rd(slot, R_STATUS) & S_NEEDS_RESET)
			return;
}

/* rng fills a buffer; console takes one. */
bool works(unsigned slot)
{
	bool rng = rd(slot, R_DEVICE_ID) == ID_RNG;
	unsigned q = rng ? 0 : 1;
	struct rings *r = &rings[slot][q];
	volatile unsigned char *p = buffer;
	unsigned sum = 0;

	memset(buffer, 0, 64);
	if (!rng)
		memcpy(buffer, "spoken\n", 7);
	start(slot);
	r->desc[0] = (struct desc){ (uintptr_t)buffer, rng ? 64 : 7, rng ? DESC_WRITE : 0, 0 };
	r->avail.idx = 1;
	wr(slot, R_NOTIFY, q);
	for (unsigned i = 0; i < 20000; i++)
		if (__atomic_load_n(&r->used.idx, __ATOMIC_SEQ_CST) == 1)
			break;
		else
			rd(slot, R_STATUS);
	for (unsigned i = 0; i < 64; i++)
		sum += p[i] != 0;
	return r->used.idx == 1 && sum && !(rd(slot, R_STATUS) & S_NEEDS_RESET);
}

/* ---- the course of a case ---- */

static void attack(const struct attack *a, unsigned slot)
{
	a->run(slot);
	say("slot ");
	say_number(slot);
	say(" id ");
	say_number(rd(slot, R_DEVICE_ID));
	say(" status ");
	say_number(rd(slot, R_STATUS));
	say("\n");
}

static const struct attack *attack_named(const char *name)
{
	const struct attack *const all[] = { attacks, disk_attacks, share_attacks };

	for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		for (const struct attack *a = all[i]; a->name; a++)
			if (same(a->name, name))
				return a;
	return NULL;
}

void guest_main(uint32_t cmdline)
{
	const char *line = (const char *)(uintptr_t)cmdline;
	const struct attack *a = attack_named(option(line, "case="));
	unsigned rng = find(ID_RNG), console = find(ID_CONSOLE);

	neighbour = rng;
	rnd_seed(option(line, "seed="));
	if (!a) {
		say("no such case\n");
	} else {
		for (unsigned slot = 0; slot < SLOTS; slot++)
			if (slot != rng && present(slot))
				attack(a, slot);
		say(works(rng) ? "alive\n" : "the neighbour is dead\n");
		attack(a, rng);
		say(works(console) ? "alive\n" : "the console is dead\n");
	}
	say("done\n");
	stand_still();
}
