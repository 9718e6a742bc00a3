/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_virtq.c - one queue; the input is sixteen bytes of parameters and then the
 * guest's memory. Two regions of exactly that size, the second one up to the end
 * of the address space, let a sanitizer see one byte too many. What a device may
 * rely on (virtq.h) is checked for each chain.
 */
#include "vmm/virtq.h"

#define RAM	0x8000u
#define HIGH	0x1000u
#define HELD	16

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t n);

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static void check(const struct gmem *m, const struct vchain *c)
{
	uint64_t sum[2] = { 0 };

	BUG_ON(c->nread + c->nwrite > VCHAIN_MAX || c->done);
	for (unsigned i = 0; i < (unsigned)c->nread + c->nwrite; i++) {
		const unsigned char *p = c->iov[i].iov_base;
		size_t len = c->iov[i].iov_len;
		bool in = false;

		BUG_ON(!len);
		for (unsigned k = 0; k < m->n; k++)
			in |= p >= m->r[k].hva && p < m->r[k].hva + m->r[k].len &&
			      len <= (size_t)(m->r[k].hva + m->r[k].len - p);
		BUG_ON(!in);
		sum[i >= c->nread] += len;
	}
	BUG_ON(sum[0] != c->read_len || sum[1] != c->write_len);
}

/* Read and write a chain as a device does, past what there is as well. */
static void use(struct vchain *c)
{
	static unsigned char buf[512];
	size_t n = c->read_len < sizeof(buf) ? c->read_len : sizeof(buf);

	BUG_ON(vchain_read(c, c->read_len - n, buf, n));
	BUG_ON(!vchain_read(c, c->read_len - n + 1, buf, n) && n);
	n = c->write_len < sizeof(buf) ? c->write_len : sizeof(buf);
	BUG_ON(vchain_write(c, buf, n / 2));
	BUG_ON(vchain_write(c, buf, n - n / 2) || c->done != n);
	BUG_ON(!vchain_write(c, buf, (size_t)c->write_len - n + 1));
}

static void drive(struct virtq *q, const uint8_t *in)
{
	static struct vchain held[HELD];
	unsigned nheld = 0;

	for (unsigned i = 0; i < 64; i++) {
		struct vchain *c = &held[nheld];
		int rc = virtq_pop(q, c);

		if (!rc && !virtq_listen(q))
			break;
		if (rc < 0) {
			BUG_ON(rc != -EBADMSG || !q->why);
			break;
		}
		if (!rc)
			continue;
		check(q->mem, c);
		for (unsigned k = 0; k < nheld; k++)
			BUG_ON(held[k].head == c->head);
		nheld++;
		/* Give back none, this one, or an older one: order is the device's choice. */
		while (nheld == HELD || (nheld && (in[10] + i) % 3)) {
			unsigned k = in[11] % nheld;

			use(&held[k]);
			virtq_push(q, &held[k]);
			held[k] = held[--nheld];
			(void)virtq_wants_irq(q);
			if (nheld < HELD)
				break;
		}
	}
	while (nheld)
		virtq_push(q, &held[--nheld]);
	(void)virtq_wants_irq(q);
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t n)
{
	unsigned char *ram, *high;
	struct gmem m;
	struct virtq q;

	if (n < 16 || n - 16 > RAM)
		return 0;
	ram = calloc(1, RAM);
	high = calloc(1, HIGH);
	memcpy(ram, in + 16, n - 16);
	m = (struct gmem){ .n = 2, .fd = -1,
			   .r = { { 0, RAM, ram }, { 0ull - HIGH, HIGH, high } } };
	q = (struct virtq){
		.mem = &m, .size = in[0] & 0x80 ? get16(in) : (uint16_t)(1u << in[0] % 9),
		.desc_at = GPA(get16(in + 2)), .avail_at = GPA(get16(in + 4)),
		.used_at = GPA(get16(in + 6)), .indirect = in[8] & 1, .event_idx = in[8] & 2,
	};
	if (in[8] & 4)		/* a ring at the very top */
		q.used_at.v |= 0xffffffffffff0000u;
	if (in[8] & 8)
		q.avail_at.v |= 0xffffffffffff0000u;
	if (!virtq_enable(&q))
		drive(&q, in);
	else
		BUG_ON(!q.why || q.ready);
	free(ram);
	free(high);
	return 0;
}
