/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hostile_shares.c - attacks on shared folders that have a server behind them. The server has
 * the shares 0 (rw), 1 (ro) and 2 (cow), each with a file `f` in it, and `big` in the first.
 */
#include <linux/fuse.h>
#include "tests/vm/hostile_io.h"

#define HIPRIO		0u
#define REQUEST		1u
#define ROOT		1ul
#define DATA_MAX	(1u << 20)

/* One request at each head: what is sent, and the first bytes of what comes back. */
static struct message {
	struct fuse_in_header h;
	unsigned char body[216];
} out[2][HEADS];
static unsigned char in[2][HEADS][256] __attribute__((aligned(8)));
static uint64_t unique;

static void make(struct message *m, uint32_t opcode, uint64_t node, const void *body, uint32_t len)
{
	m->h = (struct fuse_in_header){ .len = (uint32_t)sizeof(m->h) + len, .opcode = opcode,
					.unique = ++unique, .nodeid = node };
	memcpy(m->body, body, len);
}

/* At @head, what make() made; room for @room bytes of a reply in the big memory. */
static void post(unsigned q, unsigned head, uint32_t room)
{
	struct message *m = &out[q][head];
	const struct desc d[] = {
		{ (uintptr_t)m, m->h.len, 0, 0 },
		{ (uintptr_t)in[q][head], sizeof(in[0][0]), DESC_WRITE, 0 },
		{ BIG, room, DESC_WRITE, 0 },
	};

	memset(in[q][head], 0, sizeof(struct fuse_out_header));
	io_post(q, head, d, room ? 3 : 2);
}

static const struct fuse_out_header *reply(unsigned q, unsigned head)
{
	return (const struct fuse_out_header *)(const void *)in[q][head];
}

/* One request alone: 0, or the reply's error as a positive number; 0xffff: no answer. */
static unsigned ask(unsigned slot, uint32_t opcode, uint64_t node, const void *body, uint32_t len)
{
	make(&out[REQUEST][0], opcode, node, body, len);
	post(REQUEST, 0, 0);
	io_notify(slot, REQUEST);
	if (!io_all(slot, REQUEST))
		return 0xffff;
	return (unsigned)-reply(REQUEST, 0)->error;
}

/* How many requests of the last round have the error @e. */
static unsigned errors(int e)
{
	unsigned n = 0;

	for (unsigned i = 0; i < HEADS; i++)
		n += reply(REQUEST, i)->len && -reply(REQUEST, i)->error == e;
	return n;
}

static const void *result(void)
{
	return in[REQUEST][0] + sizeof(struct fuse_out_header);
}

static unsigned init(unsigned slot)
{
	const struct fuse_init_in i = { .major = 7, .minor = 36, .max_readahead = 1 << 17 };

	return ask(slot, FUSE_INIT, 0, &i, 16);
}

static uint64_t lookup(unsigned slot, uint64_t node, const char *name)
{
	uint32_t n = 0;

	while (name[n++])
		;
	if (ask(slot, FUSE_LOOKUP, node, name, n))
		return 0;
	return ((const struct fuse_entry_out *)result())->nodeid;
}

/* The node of a file of a share, and a handle to it. */
static bool open_file(unsigned slot, const char *share, const char *name, uint64_t *node,
		      uint64_t *fh)
{
	const struct fuse_open_in o = { .flags = 0 };

	*node = init(slot) ? 0 : lookup(slot, ROOT, share);
	*node = *node ? lookup(slot, *node, name) : 0;
	if (!*node || ask(slot, FUSE_OPEN, *node, &o, sizeof(o)))
		return false;
	*fh = ((const struct fuse_open_out *)result())->fh;
	return true;
}

void shares_serve(unsigned slot)
{
	struct fuse_read_in r = { .size = 8 };
	uint64_t node, fh;

	io_begin(slot, 0);
	if (!open_file(slot, "1", "f", &node, &fh)) {
		tell(slot, "serves", (unsigned)-reply(REQUEST, 0)->error);
		return;
	}
	r.fh = fh;
	if (!ask(slot, FUSE_READ, node, &r, sizeof(r)))
		tell(slot, "serves", *(const uint64_t *)result());
}

/* ---- requests that are none ---- */

static uint64_t nodes[8] = { ROOT };

/* What the file names, and what it must not. */
static void words(unsigned char *p, unsigned n)
{
	static const char text[][12] = { "..", ".", "f", "a", "a/b", "../../out", "/etc", "",
					 "user.x", "g", "big", "0" };
	unsigned at = 0;

	while (at + sizeof(text[0]) < n && rnd() % 4) {
		const char *t = text[rnd() % (sizeof(text) / sizeof(text[0]))];

		while ((p[at++] = (unsigned char)*t++))
			;
	}
}

static uint32_t opcode(unsigned n)
{
	static const uint32_t odd[] = { 0, 53, 64, 4096, 0x100000, 0x7fffffff, 0xffffffff };

	return n < 53 ? n : odd[n % 7];
}

/* A body that is empty, all ones, random; with names at its end. Its length. */
static uint32_t random_body(struct message *m)
{
	static const uint32_t sizes[] = { 0, 1, 8, 16, 24, 40, 48, 64, 88, 128, 216 };
	uint32_t len = sizes[rnd() % 11], fixed = rnd() % 4 ? sizes[rnd() % 6] : len;
	unsigned kind = rnd() % 4;

	for (unsigned i = 0; i < sizeof(m->body); i++)
		m->body[i] = kind == 0 ? 0xff : kind == 1 ? (unsigned char)rnd() : 0;
	if (kind == 3)
		*(uint64_t *)(void *)m->body = rnd() % 64;	/* perhaps a handle or a node */
	if (fixed < len)
		words(m->body + fixed, len - fixed);
	return len;
}

/* Requests of every kind, at random, many at once; their lengths lie now and then. */
static unsigned random_requests(unsigned slot, unsigned rounds)
{
	unsigned good = 0;

	for (unsigned round = 0; round < rounds; round++) {
		for (unsigned i = 0; i < HEADS; i++) {
			unsigned q = i % 8 == 7 ? HIPRIO : REQUEST;
			struct message *m = &out[q][i];
			uint32_t len = random_body(m);

			make(m, opcode((unsigned)(rnd() % 64)), nodes[rnd() % 8], m->body, len);
			m->h.uid = m->h.gid = rnd() % 2 ? 0 : (uint32_t)rnd();
			post(q, i, rnd() % 8 ? 0 : 8192);
			if (rnd() % 16 == 0)
				m->h.len = rnd() % 2 ? (uint32_t)rnd() : m->h.len + 1;
		}
		io_notify(slot, HIPRIO);
		io_notify(slot, REQUEST);
		io_all(slot, HIPRIO);
		io_all(slot, REQUEST);
		good += errors(0);
	}
	return good;
}

static void shares_random(unsigned slot)
{
	if (!is_device(slot, ID_FS))
		return;
	io_begin(slot, F_EVENT_IDX);
	(void)random_requests(slot, 2);		/* before FUSE_INIT */
	tell(slot, "init", init(slot));
	for (unsigned i = 0; i < 3; i++) {
		const char name[] = { (char)('0' + i), 0 };

		nodes[1 + 2 * i] = lookup(slot, ROOT, name);
		nodes[2 + 2 * i] = lookup(slot, nodes[1 + 2 * i], "f");
	}
	tell(slot, "good", random_requests(slot, 48));
	shares_serve(slot);
}

/* Chains that no request fits: too short, too long, without room for the answer. */
static void shares_malformed(unsigned slot)
{
	struct message *m = &out[REQUEST][0];
	struct desc d[3] = { { (uintptr_t)m, sizeof(m->h), 0, 0 },
			     { (uintptr_t)in[REQUEST][0], 256, DESC_WRITE, 0 } };

	if (!is_device(slot, ID_FS))
		return;
	io_begin(slot, F_EVENT_IDX);
	tell(slot, "init", init(slot));
	for (unsigned q = HIPRIO; q <= REQUEST; q++) {
		make(m, FUSE_GETATTR, ROOT, nodes, 16);
		d[0].len = sizeof(m->h) - 1;
		io_one(slot, q, d, 2);
		io_one(slot, q, d + 1, 1);		/* nothing to read at all */
		d[0].len = m->h.len;
		io_one(slot, q, d, 1);			/* no room for an answer */
		d[1].len = 15;
		io_one(slot, q, d, 2);
		d[1].len = 17;
		io_one(slot, q, d, 2);
		/* Longer than anything that the server takes, and than 31 bits. */
		d[1] = (struct desc){ BIG, DATA_MAX + 8192, 0, 0 };
		d[2] = (struct desc){ (uintptr_t)in[REQUEST][0], 256, DESC_WRITE, 0 };
		io_one(slot, q, d, 3);
		tell(slot, "error", (unsigned)-reply(REQUEST, 0)->error);
		d[1] = (struct desc){ BIG, BIG_BYTES, 0, 0 };
		io_one(slot, q, d, 3);
		/* More room than a slot has. */
		d[1] = (struct desc){ BIG, BIG_BYTES, DESC_WRITE, 0 };
		io_one(slot, q, d, 2);
		tell(slot, "room", ((volatile struct fuse_out_header *)BIG)->len);
		d[1] = (struct desc){ (uintptr_t)in[REQUEST][0], 256, DESC_WRITE, 0 };
	}
	shares_serve(slot);
}

/* ---- requests in flight ---- */

/* Every head of the queue reads @size bytes of the file, all into the same place. */
static void fill(unsigned slot, uint64_t node, uint64_t fh, uint32_t size)
{
	for (unsigned i = 0; i < HEADS; i++) {
		const struct fuse_read_in r = { .fh = fh, .size = size,
						.offset = rnd() % 16 * size };

		make(&out[REQUEST][i], FUSE_READ, node, &r, sizeof(r));
		post(REQUEST, i, size);
	}
	io_notify(slot, REQUEST);
}

/* The other queue, at the same time: nodes are forgotten that nobody was given. */
static void forget(unsigned slot)
{
	const struct fuse_forget_in f = { .nlookup = ~0ul };

	for (unsigned i = 0; i < HEADS; i++) {
		make(&out[HIPRIO][i], FUSE_FORGET, 1000 + rnd() % 1000, &f, sizeof(f));
		post(HIPRIO, i, 0);
	}
	io_notify(slot, HIPRIO);
}

static void flood(unsigned slot, unsigned rounds)
{
	uint64_t node, fh;

	io_begin(slot, F_EVENT_IDX);
	if (!open_file(slot, "0", "big", &node, &fh))
		return;
	for (unsigned i = 0; i < rounds && !errors(5); i++) {
		fill(slot, node, fh, DATA_MAX);
		forget(slot);
		say(works(neighbour) ? "alive meanwhile\n" : "the neighbour is dead\n");
		if (!io_all(slot, REQUEST) || !io_all(slot, HIPRIO))
			return;
	}
	tell(slot, "good", errors(0));
	tell(slot, "failed", errors(5));
}

static void shares_flood(unsigned slot)
{
	if (!is_device(slot, ID_FS))
		return;
	flood(slot, 4);
	shares_serve(slot);
}

/* Until the server is gone: it is killed by whoever reads that the flood began. */
static void shares_orphaned(unsigned slot)
{
	if (!is_device(slot, ID_FS))
		return;
	say("flood\n");
	flood(slot, 1000000);
	shares_serve(slot);
	say("flood\n");
	for (unsigned i = 0; i < 8; i++) {
		io_begin(slot, F_EVENT_IDX);
		fill(slot, ROOT, 1, 4096);
		if (io_all(slot, REQUEST))
			tell(slot, "failed", errors(5));
	}
}

static void shares_resets(unsigned slot)
{
	uint64_t node, fh;

	if (!is_device(slot, ID_FS))
		return;
	for (unsigned round = 0; round < 24; round++) {
		io_begin(slot, round & 1 ? F_EVENT_IDX : 0);
		if (!open_file(slot, "0", "big", &node, &fh))
			return;
		fill(slot, node, fh, round % 4 ? 65536 : DATA_MAX);
		forget(slot);
		for (unsigned i = rnd() % 4; i; i--)
			rd(slot, R_STATUS);
	}
	flood(slot, 1);
	shares_serve(slot);
}

/* With a server that stands still until it is told that all its slots are out. */
static void shares_stalled(unsigned slot)
{
	if (!is_device(slot, ID_FS))
		return;
	for (unsigned round = 0; round < 2; round++) {
		io_begin(slot, F_EVENT_IDX);
		fill(slot, 77, 77, 4096);
		say(works(neighbour) ? "alive meanwhile\n" : "the neighbour is dead\n");
		tell(slot, "stalled", io_used(REQUEST));
	}
	/* A reset was not held up by it; what is asked now waits for the slots. */
	say("flood\n");
	if (io_all(slot, REQUEST))
		tell(slot, "stale", errors(116));
	shares_serve(slot);
}

const struct attack share_attacks[] = {
	{ "shares_random", shares_random }, { "shares_malformed", shares_malformed },
	{ "shares_flood", shares_flood }, { "shares_orphaned", shares_orphaned },
	{ "shares_resets", shares_resets }, { "shares_stalled", shares_stalled },
	{ 0 },
};
