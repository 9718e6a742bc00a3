/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hostile.c - registers, rings, and the order of things: every slot but one is
 * attacked, that one has to work meanwhile, then it is attacked itself, and another
 * one has to work after a reset.
 */
#include "tests/vm/hostile_io.h"

struct rings rings[SLOTS][QMAX];
struct desc table[2 * QSIZE] __attribute__((aligned(16)));
unsigned char buffer[1 << 20];
unsigned neighbour;
static uint64_t state = 88172645463325252u;

/* The compiler makes calls of these. */
void *memset(void *p, int c, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((volatile unsigned char *)p)[i] = (unsigned char)c;
	return p;
}

void *memcpy(void *d, const void *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((volatile unsigned char *)d)[i] = ((const unsigned char *)s)[i];
	return d;
}

uint32_t rd(unsigned slot, unsigned reg)
{
	return *(volatile uint32_t *)(MMIO + slot * STRIDE + reg);
}

void wr(unsigned slot, unsigned reg, uint32_t v)
{
	*(volatile uint32_t *)(MMIO + slot * STRIDE + reg) = v;
}

uint64_t rnd(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	return state ^= state << 17;
}

static void put(char c)
{
	__asm__ volatile("outb %0, %1" : : "a"(c), "Nd"((uint16_t)0xe9));
}

void say(const char *text)
{
	while (*text)
		put(*text++);
}

void say_number(uint64_t v)
{
	char digits[20];
	unsigned n = 0;

	do
		digits[n++] = (char)('0' + v % 10);
	while (v /= 10);
	while (n)
		put(digits[--n]);
}

bool same(const char *a, const char *b)
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
	uint64_t offered = 0;

	wr(slot, R_STATUS, S_ACK);
	wr(slot, R_STATUS, S_ACK | S_DRIVER);
	for (unsigned half = 0; half < 2; half++) {
		wr(slot, R_FEATURES_SEL, half);
		offered |= (uint64_t)rd(slot, R_FEATURES) << 32 * half;
	}
	offered &= ~without;
	for (unsigned half = 0; half < 2; half++) {
		wr(slot, R_DRIVER_SEL, half);
		wr(slot, R_DRIVER, (uint32_t)(offered >> 32 * half));
	}
	wr(slot, R_STATUS, S_ACK | S_DRIVER | S_FEATURES);
}

void set_address(unsigned slot, unsigned reg, const void *p)
{
	wr(slot, reg, (uint32_t)(uintptr_t)p);
	wr(slot, reg + 4, (uint32_t)((uintptr_t)p >> 32));
}

void set_up(unsigned slot)
{
	for (unsigned q = 0; q < QMAX; q++) {
		wr(slot, R_QSEL, q);
		if (!rd(slot, R_QMAX))
			return;
		wr(slot, R_QNUM, QSIZE);
		set_address(slot, R_DESC, rings[slot][q].desc);
		set_address(slot, R_AVAIL, &rings[slot][q].avail);
		set_address(slot, R_USED, &rings[slot][q].used);
		wr(slot, R_QREADY, 1);
	}
}

void start(unsigned slot)
{
	reset(slot);
	negotiate(slot, 1ul << 29);		/* no event index: every notification counts */
	set_up(slot);
	wr(slot, R_STATUS, S_ACK | S_DRIVER | S_FEATURES | S_OK);
}

void offer(unsigned slot, unsigned heads)
{
	for (unsigned q = 0; q < QMAX; q++) {
		struct avail *a = &rings[slot][q].avail;

		__atomic_store_n(&a->idx, (uint16_t)(a->idx + heads), __ATOMIC_SEQ_CST);
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

static bool present(unsigned slot)
{
	return rd(slot, R_MAGIC) == 0x74726976 && rd(slot, R_DEVICE_ID);
}

static unsigned find(unsigned id)
{
	for (unsigned slot = 0; slot < SLOTS; slot++)
		if (present(slot) && rd(slot, R_DEVICE_ID) == id)
			return slot;
	return SLOTS;
}

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

static const char *option(const char *line, const char *name)
{
	for (; *line; line++) {
		const char *n = name, *l = line;

		while (*n && *n == *l)
			n++, l++;
		if (!*n)
			return l;
	}
	return "";
}

__attribute__((noreturn)) void hostile(uint32_t cmdline);
__attribute__((noreturn)) void hostile(uint32_t cmdline)
{
	const char *line = (const char *)(uintptr_t)cmdline;
	const char *name = option(line, "case="), *seed = option(line, "seed=");
	const struct attack *a = attack_named(name);
	unsigned rng = find(ID_RNG), console = find(ID_CONSOLE);

	neighbour = rng;
	while (*seed >= '0' && *seed <= '9')
		state = state * 10 + (uint64_t)(*seed++ - '0');
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
	for (;;)
		__asm__ volatile("pause");
}
