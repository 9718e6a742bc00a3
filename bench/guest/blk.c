/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blk.c - a guest without a kernel that keeps a disk busy, in user mode and so at the
 * processor's own speed (hostile_start.S): random blocks of 4 KiB, for a number of
 * requests. The command line has write=0|1, depth=N (1 to 32), count=N. It polls the used
 * ring, asks for no interrupt, and notifies when the device asks for it (event index).
 *
 * It prints `begin`, `end` and stands still; whoever reads that measures.
 */
#include "tests/vm/hostile.h"

#define ID_BLK		2u
#define DEPTH_MAX	32u
#define ENTRIES		128u
#define BLOCK		4096u
#define EVENT_IDX	29u

struct request { uint32_t type, ioprio; uint64_t sector; };

static struct desc descs[ENTRIES] __attribute__((aligned(4096)));
static struct { uint16_t flags, idx, ring[ENTRIES], event; } avail __attribute__((aligned(4096)));
static struct {
	uint16_t flags, idx;
	struct { uint32_t id, len; } ring[ENTRIES];
	uint16_t event;
} used __attribute__((aligned(4096)));
static struct request head[DEPTH_MAX];
static unsigned char data[DEPTH_MAX][BLOCK] __attribute__((aligned(4096)));
static unsigned char status[DEPTH_MAX];
static uint64_t state = 88172645463325252u;

void *memset(void *p, int c, size_t n);
void *memset(void *p, int c, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((volatile unsigned char *)p)[i] = (unsigned char)c;
	return p;
}

static uint32_t get(unsigned slot, unsigned reg)
{
	return *(volatile uint32_t *)(MMIO + slot * STRIDE + reg);
}

static void set(unsigned slot, unsigned reg, uint32_t v)
{
	*(volatile uint32_t *)(MMIO + slot * STRIDE + reg) = v;
}

static uint64_t any(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	return state ^= state << 17;
}

static void print(const char *text)
{
	for (; *text; text++)
		__asm__ volatile("outb %0, %1" : : "a"(*text), "Nd"((uint16_t)0xe9));
}

static uint64_t number(const char *line, const char *name)
{
	uint64_t v = 0;

	for (; *line; line++) {
		const char *n = name, *l = line;

		while (*n && *n == *l)
			n++, l++;
		if (*n)
			continue;
		while (*l >= '0' && *l <= '9')
			v = v * 10 + (uint64_t)(*l++ - '0');
		return v;
	}
	return 0;
}

static void address(unsigned slot, unsigned reg, const void *p)
{
	set(slot, reg, (uint32_t)(uintptr_t)p);
	set(slot, reg + 4, 0);
}

static void begin(unsigned slot)
{
	const uint32_t half[2] = { 1u << EVENT_IDX | 1u << 9, 1 };	/* and FLUSH; VERSION_1 */

	set(slot, R_STATUS, 0);
	set(slot, R_STATUS, S_ACK);
	set(slot, R_STATUS, S_ACK | S_DRIVER);
	for (unsigned i = 0; i < 2; i++) {
		set(slot, R_DRIVER_SEL, i);
		set(slot, R_DRIVER, half[i]);
	}
	set(slot, R_STATUS, S_ACK | S_DRIVER | S_FEATURES);
	set(slot, R_QSEL, 0);
	set(slot, R_QNUM, ENTRIES);
	address(slot, R_DESC, descs);
	address(slot, R_AVAIL, &avail);
	address(slot, R_USED, &used);
	set(slot, R_QREADY, 1);
	set(slot, R_STATUS, S_ACK | S_DRIVER | S_FEATURES | S_OK);
}

static void submit(unsigned i, uint32_t type, uint64_t blocks)
{
	struct desc *d = &descs[3 * i];

	head[i] = (struct request){ .type = type, .sector = any() % blocks * (BLOCK / 512) };
	d[0] = (struct desc){ (uintptr_t)&head[i], sizeof(head[i]), DESC_NEXT,
			      (uint16_t)(3 * i + 1) };
	d[1] = (struct desc){ (uintptr_t)data[i], BLOCK,
			      (uint16_t)(DESC_NEXT | (type ? 0 : DESC_WRITE)),
			      (uint16_t)(3 * i + 2) };
	d[2] = (struct desc){ (uintptr_t)&status[i], 1, DESC_WRITE, 0 };
	avail.ring[avail.idx % ENTRIES] = (uint16_t)(3 * i);
	__atomic_store_n(&avail.idx, (uint16_t)(avail.idx + 1), __ATOMIC_RELEASE);
}

static void notify(unsigned slot, uint16_t before)
{
	uint16_t now = avail.idx, event;

	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	event = *(volatile uint16_t *)&used.event;
	if ((uint16_t)(now - event - 1) < (uint16_t)(now - before))
		set(slot, R_NOTIFY, 0);
}

/* Keep @depth in flight until @count are done. False on an error of the disk. */
static bool run(unsigned slot, uint32_t type, unsigned depth, uint64_t count, uint64_t blocks)
{
	uint16_t seen = 0, before = 0;
	uint64_t started = 0, done = 0;

	avail.event = 0x8000;		/* far from what is used: no interrupt */
	for (unsigned i = 0; i < depth; i++, started++)
		submit(i, type, blocks);
	notify(slot, before);
	while (done < count) {
		before = avail.idx;
		while (seen != __atomic_load_n(&used.idx, __ATOMIC_ACQUIRE)) {
			unsigned i = used.ring[seen++ % ENTRIES].id / 3;

			avail.event = (uint16_t)(seen + 0x8000);
			if (status[i])
				return false;
			done++;
			if (started < count) {
				submit(i, type, blocks);
				started++;
			}
		}
		if (avail.idx != before)
			notify(slot, before);
		else
			__asm__ volatile("pause");
	}
	return true;
}

__attribute__((noreturn)) void hostile(uint32_t cmdline);
__attribute__((noreturn)) void hostile(uint32_t cmdline)
{
	const char *line = (const char *)(uintptr_t)cmdline;
	unsigned slot = 0;
	uint64_t blocks = 0;

	for (; slot < SLOTS; slot++) {
		if (get(slot, R_MAGIC) != 0x74726976 || get(slot, R_DEVICE_ID) != ID_BLK)
			continue;
		blocks = (get(slot, R_CONFIG) | (uint64_t)get(slot, R_CONFIG + 4) << 32) /
			 (BLOCK / 512);
		if (blocks)
			break;
	}
	if (blocks) {
		begin(slot);
		print("begin\n");
		print(run(slot, number(line, "write=") ? 1 : 0, (unsigned)number(line, "depth="),
			  number(line, "count="), blocks) ? "end\n" : "failed\n");
	}
	for (;;)
		__asm__ volatile("pause");
}
