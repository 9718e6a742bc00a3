/* SPDX-License-Identifier: Apache-2.0 */
/* busy.c - rng, disk, balloon and console, and the round over all of them. */
#include "tests/vm/busy.h"

#define REPORTING	2u		/* a queue of the balloon, and its feature */
#define F_REPORTING	(1u << 5)
#define BLOCK		4096u
#define BLOCKS		60u		/* of the disk; multiples of REQUESTS */
#define REQUESTS	5u
#define TEXT		4096u
#define LINE		32u

static struct ring rng, blk, balloon[3], console[2];
static uint64_t n_rng, n_blk, n_balloon, n_console, lines;
static unsigned char drawn[ENTRIES][64];
static struct virtio_blk_outhdr head[REQUESTS];
static uint64_t data[REQUESTS][BLOCK / 8] __attribute__((aligned(4096)));
static unsigned char status[REQUESTS], page[ENTRIES][4096] __attribute__((aligned(4096)));
static uint32_t turn[REQUESTS], written[BLOCKS];
static unsigned char text[2][TEXT];

static bool flying;			/* something for the console */
static void console_reap(void);

/* ---- what every device has ---- */

/* What the console shows goes to the same place, and must not be in the middle of this. */
void print(const char *s)
{
	while (flying)
		console_reap();
	say(s);
}

static void print_number(const char *before, uint64_t v)
{
	print(before);
	say_number(v);
}

void bad(const char *what)
{
	print("bad ");
	print(what);
	print("\n");
	stand_still();
}

void begin(uint32_t id, struct ring *r, unsigned n, uint64_t features)
{
	unsigned slot = find(id);

	if (slot == SLOTS)
		bad("slots");
	wr(slot, R_STATUS, 0);
	agree(slot, features | F_VERSION_1);
	for (unsigned q = 0; q < n; q++) {
		r[q].slot = slot;
		r[q].q = q;
		if (!give_rings(slot, q, &r[q]))
			bad("queues");
	}
	driver_ok(slot);
}

void submit(struct ring *r, unsigned first)
{
	r->avail.ring[r->avail.idx % ENTRIES] = (uint16_t)first;
	__atomic_store_n(&r->avail.idx, (uint16_t)(r->avail.idx + 1), __ATOMIC_SEQ_CST);
	wr(r->slot, R_NOTIFY, r->q);
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

	if (out) {
		written[b]++;
		for (unsigned k = 0; k < BLOCK / 8; k++)
			data[i][k] = pattern(b, k);
	}
	head[i] = (struct virtio_blk_outhdr){ .type = out, .sector = b * (BLOCK / 512) };
	blk_chain(&blk.desc[3 * i], 3 * i, &head[i], data[i], BLOCK, &status[i]);
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

void guest_main(uint32_t cmdline)
{
	(void)cmdline;
	begin(ID_RNG, &rng, 1, 0);
	begin(ID_BLK, &blk, 1, 0);
	begin(ID_BALLOON, balloon, 3, F_REPORTING);
	begin(ID_CONSOLE, console, 2, 0);
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
