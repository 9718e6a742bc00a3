/* SPDX-License-Identifier: Apache-2.0 */
/* busy.c - rng, disk, balloon and console, and the round over all of them. */
#include "tests/vm/busy.h"

#define ID_BLK		2u
#define ID_BALLOON	5u
#define REPORTING	2u		/* the queue, and 5 the feature, of the balloon */
#define BLOCK		4096u
#define BLOCKS		60u		/* of the disk; multiples of REQUESTS */
#define REQUESTS	5u
#define TEXT		4096u
#define LINE		32u

struct request { uint32_t type, ioprio; uint64_t sector; };

static struct ring rng, blk, balloon[3], console[2];
static uint64_t n_rng, n_blk, n_balloon, n_console, lines;
static unsigned char drawn[ENTRIES][64];
static struct request head[REQUESTS];
static uint64_t data[REQUESTS][BLOCK / 8] __attribute__((aligned(4096)));
static unsigned char status[REQUESTS], page[ENTRIES][4096] __attribute__((aligned(4096)));
static uint32_t turn[REQUESTS], written[BLOCKS];
static unsigned char text[2][TEXT];

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

static bool flying;			/* something for the console */
static void console_reap(void);

/* ---- what every device has ---- */

uint32_t get(unsigned slot, unsigned reg)
{
	return *(volatile uint32_t *)(MMIO + slot * STRIDE + reg);
}

static void set(unsigned slot, unsigned reg, uint32_t v)
{
	*(volatile uint32_t *)(MMIO + slot * STRIDE + reg) = v;
}

/* What the console shows goes to the same place, and must not be in the middle of this. */
void print(const char *s)
{
	while (flying)
		console_reap();
	for (; *s; s++)
		__asm__ volatile("outb %0, %1" : : "a"(*s), "Nd"((uint16_t)0xe9));
}

static void print_number(const char *before, uint64_t v)
{
	char digits[21] = "";
	unsigned n = 20;

	do
		digits[--n] = (char)('0' + v % 10);
	while (v /= 10);
	print(before);
	print(digits + n);
}

void bad(const char *what)
{
	print("bad ");
	print(what);
	print("\n");
	for (;;)
		__asm__ volatile("pause");
}

unsigned slot_of(uint32_t id)
{
	for (unsigned slot = 0; slot < SLOTS; slot++)
		if (get(slot, R_MAGIC) == 0x74726976 && get(slot, R_DEVICE_ID) == id &&
		    (id != ID_BLK || get(slot, R_CONFIG)))
			return slot;
	bad("slots");
}

static void address(unsigned slot, unsigned reg, const void *p)
{
	set(slot, reg, (uint32_t)(uintptr_t)p);
	set(slot, reg + 4, 0);
}

void begin(unsigned slot, struct ring *r, unsigned n, uint32_t features)
{
	const uint32_t half[2] = { features, 1 };	/* and VERSION_1 */

	set(slot, R_STATUS, 0);
	set(slot, R_STATUS, S_ACK);
	set(slot, R_STATUS, S_ACK | S_DRIVER);
	for (unsigned i = 0; i < 2; i++) {
		set(slot, R_DRIVER_SEL, i);
		set(slot, R_DRIVER, half[i]);
	}
	set(slot, R_STATUS, S_ACK | S_DRIVER | S_FEATURES);
	for (unsigned q = 0; q < n; q++) {
		r[q].slot = slot;
		r[q].q = q;
		set(slot, R_QSEL, q);
		set(slot, R_QNUM, ENTRIES);
		address(slot, R_DESC, r[q].desc);
		address(slot, R_AVAIL, &r[q].avail);
		address(slot, R_USED, &r[q].used);
		set(slot, R_QREADY, 1);
	}
	set(slot, R_STATUS, S_ACK | S_DRIVER | S_FEATURES | S_OK);
}

void submit(struct ring *r, unsigned first)
{
	r->avail.ring[r->avail.idx % ENTRIES] = (uint16_t)first;
	__atomic_store_n(&r->avail.idx, (uint16_t)(r->avail.idx + 1), __ATOMIC_SEQ_CST);
	set(r->slot, R_NOTIFY, r->q);
}

int reap(struct ring *r, uint32_t *len)
{
	if (r->seen == __atomic_load_n(&r->used.idx, __ATOMIC_ACQUIRE))
		return -1;
	*len = r->used.ring[r->seen % ENTRIES].len;
	return (int)r->used.ring[r->seen++ % ENTRIES].id;
}

/* ---- rng: all heads, always ---- */

static void rng_submit(unsigned i)
{
	memset(drawn[i], 0, sizeof(drawn[i]));
	rng.desc[i] = (struct desc){ (uintptr_t)drawn[i], sizeof(drawn[i]), DESC_WRITE, 0 };
	submit(&rng, i);
}

static void rng_work(void)
{
	uint32_t len, sum = 0;
	int i = reap(&rng, &len);

	if (i < 0)
		return;
	for (unsigned k = 0; k < sizeof(drawn[0]); k++)
		sum += drawn[i][k];
	if (!len || !sum)
		bad("rng");
	n_rng++;
	rng_submit((unsigned)i);
}

/* ---- disk: each request has blocks of its own, which it writes and reads again ---- */

static uint64_t pattern(unsigned block, unsigned k)
{
	return (uint64_t)written[block] << 32 | block << 16 | k;
}

static unsigned block_of(unsigned i)
{
	return turn[i] / 2 % (BLOCKS / REQUESTS) * REQUESTS + i;
}

/* Each block is read before it is written again, a whole round after that. */
static void blk_submit(unsigned i)
{
	unsigned b = block_of(i), out = turn[i] % 2;
	struct desc *d = &blk.desc[3 * i];

	if (out) {
		written[b]++;
		for (unsigned k = 0; k < BLOCK / 8; k++)
			data[i][k] = pattern(b, k);
	}
	head[i] = (struct request){ .type = out, .sector = b * (BLOCK / 512) };
	d[0] = (struct desc){ (uintptr_t)&head[i], sizeof(head[i]), DESC_NEXT,
			      (uint16_t)(3 * i + 1) };
	d[1] = (struct desc){ (uintptr_t)data[i], BLOCK,
			      (uint16_t)(DESC_NEXT | (out ? 0 : DESC_WRITE)),
			      (uint16_t)(3 * i + 2) };
	d[2] = (struct desc){ (uintptr_t)&status[i], 1, DESC_WRITE, 0 };
	status[i] = 0xff;
	submit(&blk, 3 * i);
}

static void blk_work(void)
{
	uint32_t len;
	int first = reap(&blk, &len);
	unsigned i = (unsigned)first / 3;

	if (first < 0)
		return;
	if (status[i])
		bad("status of the disk");
	if (!(turn[i] % 2)) {
		unsigned b = block_of(i);

		for (unsigned k = 0; written[b] && k < BLOCK / 8; k++)
			if (data[i][k] != pattern(b, k))
				bad("content of the disk");
	}
	turn[i]++;
	n_blk++;
	blk_submit(i);
}

/* ---- balloon: a page that was reported is empty ---- */

static void balloon_submit(unsigned i)
{
	memset(page[i], 0x55, 64);
	balloon[REPORTING].desc[i] = (struct desc){ (uintptr_t)page[i], sizeof(page[i]),
						    DESC_WRITE, 0 };
	submit(&balloon[REPORTING], i);
}

static void balloon_work(void)
{
	uint32_t len;
	int i = reap(&balloon[REPORTING], &len);

	if (i < 0)
		return;
	for (unsigned k = 0; k < 64; k++)
		if (((volatile unsigned char *)page[i])[k])
			bad("page that was reported");
	n_balloon++;
	balloon_submit((unsigned)i);
}

/* ---- console: numbered lines ---- */

static void console_submit(unsigned i)
{
	for (unsigned at = 0; at < TEXT; at += LINE, lines++) {
		uint64_t v = lines;

		memset(text[i] + at, ' ', LINE);
		memcpy(text[i] + at, "line ", 5);
		for (unsigned k = 16; k > 5; k--, v /= 10)
			text[i][at + k - 1] = (unsigned char)('0' + v % 10);
		text[i][at + LINE - 1] = '\n';
	}
	console[1].desc[i] = (struct desc){ (uintptr_t)text[i], TEXT, 0, 0 };
	submit(&console[1], i);
}

static void console_reap(void)
{
	uint32_t len;

	if (reap(&console[1], &len) < 0)
		return;
	n_console++;
	flying = false;
}

/* A chain at a time and some rest: what is too much for who reads it is dropped, and said. */
static void console_work(void)
{
	static uint64_t next;
	uint64_t now = __builtin_ia32_rdtsc();

	console_reap();
	if (flying || now < next)
		return;
	next = now + (1u << 24);
	flying = true;
	console_submit(n_console % 2);
}

/* ---- */

static void report(uint64_t n_vsock)
{
	static uint64_t next;

	if (__builtin_ia32_rdtsc() < next)
		return;
	next = __builtin_ia32_rdtsc() + (1u << 28);
	print_number("work rng ", n_rng);
	print_number(" blk ", n_blk);
	print_number(" balloon ", n_balloon);
	print_number(" console ", n_console);
	print_number(" vsock ", n_vsock);
	print("\n");
}

__attribute__((noreturn)) void hostile(uint32_t cmdline);
__attribute__((noreturn)) void hostile(uint32_t cmdline)
{
	(void)cmdline;
	begin(slot_of(ID_RNG), &rng, 1, 0);
	begin(slot_of(ID_BLK), &blk, 1, 0);
	begin(slot_of(ID_BALLOON), balloon, 3, 1u << 5);
	begin(slot_of(ID_CONSOLE), console, 2, 0);
	vsock_begin();
	for (unsigned i = 0; i < ENTRIES; i++)
		rng_submit(i);
	for (unsigned i = 0; i < REQUESTS; i++)
		blk_submit(i);
	for (unsigned i = 0; i < 4; i++)
		balloon_submit(i);
	for (;;) {
		rng_work();
		blk_work();
		balloon_work();
		console_work();
		report(vsock_work());
	}
}
