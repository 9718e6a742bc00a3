/* SPDX-License-Identifier: Apache-2.0 */
/* driver.c - registers, queues, and words for the log port. */
#include "tests/vm/driver.h"

#define MAGIC 0x74726976u

static uint64_t state = 88172645463325252u;

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

void stand_still(void)
{
	for (;;)
		__asm__ volatile("pause");
}

/* ---- words ---- */

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

const char *option(const char *line, const char *name)
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

uint64_t to_number(const char *text)
{
	uint64_t v = 0;

	while (*text >= '0' && *text <= '9')
		v = v * 10 + (uint64_t)(*text++ - '0');
	return v;
}

void rnd_seed(const char *digits)
{
	while (*digits >= '0' && *digits <= '9')
		state = state * 10 + (uint64_t)(*digits++ - '0');
}

uint64_t rnd(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	return state ^= state << 17;
}

/* ---- registers ---- */

uint32_t rd(unsigned slot, unsigned reg)
{
	return *(volatile uint32_t *)(MMIO + slot * STRIDE + reg);
}

void wr(unsigned slot, unsigned reg, uint32_t v)
{
	*(volatile uint32_t *)(MMIO + slot * STRIDE + reg) = v;
}

bool present(unsigned slot)
{
	return rd(slot, R_MAGIC) == MAGIC && rd(slot, R_DEVICE_ID);
}

unsigned find(uint32_t id)
{
	unsigned slot = 0;

	while (slot < SLOTS && !(present(slot) && rd(slot, R_DEVICE_ID) == id &&
				 (id != ID_BLK || config_u64(slot, 0))))
		slot++;
	return slot;
}

uint64_t config_u64(unsigned slot, unsigned off)
{
	return rd(slot, R_CONFIG + off) | (uint64_t)rd(slot, R_CONFIG + off + 4) << 32;
}

/* ---- the start of a device ---- */

uint64_t offered(unsigned slot)
{
	uint64_t features = 0;

	for (unsigned half = 0; half < 2; half++) {
		wr(slot, R_FEATURES_SEL, half);
		features |= (uint64_t)rd(slot, R_FEATURES) << 32 * half;
	}
	return features;
}

void agree(unsigned slot, uint64_t features)
{
	wr(slot, R_STATUS, S_ACK);
	wr(slot, R_STATUS, S_ACK | S_DRIVER);
	for (unsigned half = 0; half < 2; half++) {
		wr(slot, R_DRIVER_SEL, half);
		wr(slot, R_DRIVER, (uint32_t)(features >> 32 * half));
	}
	wr(slot, R_STATUS, S_ACK | S_DRIVER | S_FEATURES);
}

static void address(unsigned slot, unsigned reg, const void *p)
{
	wr(slot, reg, (uint32_t)(uintptr_t)p);
	wr(slot, reg + 4, (uint32_t)((uintptr_t)p >> 32));
}

bool give_queue(unsigned slot, unsigned q, uint32_t size, const void *desc, const void *avail,
		const void *used)
{
	wr(slot, R_QSEL, q);
	if (!rd(slot, R_QMAX))
		return false;
	wr(slot, R_QNUM, size);
	address(slot, R_DESC, desc);
	address(slot, R_AVAIL, avail);
	address(slot, R_USED, used);
	wr(slot, R_QREADY, 1);
	return true;
}

void driver_ok(unsigned slot)
{
	wr(slot, R_STATUS, S_ACK | S_DRIVER | S_FEATURES | S_OK);
}

void blk_chain(struct desc *d, unsigned first, const struct virtio_blk_outhdr *head,
	       const void *data, uint32_t len, unsigned char *status)
{
	d[0] = (struct desc){ (uintptr_t)head, sizeof(*head), DESC_NEXT, (uint16_t)(first + 1) };
	d[1] = (struct desc){ (uintptr_t)data, len,
			      (uint16_t)(DESC_NEXT | (head->type ? 0 : DESC_WRITE)),
			      (uint16_t)(first + 2) };
	d[2] = (struct desc){ (uintptr_t)status, 1, DESC_WRITE, 0 };
}
