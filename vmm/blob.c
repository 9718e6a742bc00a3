/* SPDX-License-Identifier: Apache-2.0 */
#include <endian.h>
#include "vmm/blob.h"

#define HEADER	24u
#define SECTION	16u
#define CRC_POLY 0x82f63b78u		/* Castagnoli, reflected */

static const char magic[8] = { 'S', 'B', 'X', 'S', 'T', 'A', 'T', 'E' };

struct section { uint32_t tag, index; uint64_t len; };

#if defined(__x86_64__)
#define CRC_FAST 1
__attribute__((target("sse4.2")))
static uint32_t crc_fast(const uint8_t *in, size_t len)
{
	uint64_t crc = ~0u;

	for (; len >= 8; len -= 8, in += 8) {
		uint64_t w;

		memcpy(&w, in, sizeof(w));
		crc = __builtin_ia32_crc32di(crc, w);
	}
	while (len--)
		crc = __builtin_ia32_crc32qi((uint32_t)crc, *in++);
	return ~(uint32_t)crc;
}

static bool crc_is_fast(void)
{
	return __builtin_cpu_supports("sse4.2");
}
#else
#define CRC_FAST 0
#endif

static uint32_t crc_small(const uint8_t *in, size_t len)
{
	uint32_t table[16], crc = ~0u;

	for (uint32_t i = 0; i < 16; i++) {	/* four bits at a time: small, and fast enough */
		uint32_t c = i;

		for (unsigned bit = 0; bit < 4; bit++)
			c = c & 1 ? c >> 1 ^ CRC_POLY : c >> 1;
		table[i] = c;
	}
	while (len--) {
		crc ^= *in++;
		crc = crc >> 4 ^ table[crc & 15];
		crc = crc >> 4 ^ table[crc & 15];
	}
	return ~crc;
}

uint32_t blob_crc(const void *p, size_t len)
{
#if CRC_FAST
	if (crc_is_fast())
		return crc_fast(p, len);
#endif
	return crc_small(p, len);
}

/* Room for @len more bytes, as zeroes. NULL once anything has failed. */
static uint8_t *grow(struct blob *b, size_t len)
{
	uint8_t *p;

	if (b->failed || len > BLOB_MAX - b->len) {
		b->failed = true;
		return NULL;
	}
	if (len > b->room - b->len) {
		size_t room = 2 * (b->len + len);
		uint8_t *bigger = realloc(b->p, room);

		if (!bigger) {
			b->failed = true;
			return NULL;
		}
		b->p = bigger;
		b->room = room;
	}
	p = b->p + b->len;
	memset(p, 0, len);
	b->len += len;
	return p;
}

void blob_init(struct blob *b)
{
	*b = (struct blob){ 0 };
	(void)grow(b, HEADER);
}

void blob_free(struct blob *b)
{
	free(b->p);
	*b = (struct blob){ 0 };
}

void blob_put(struct blob *b, uint32_t tag, uint32_t index, const void *p, size_t len)
{
	const struct section s = { htole32(tag), htole32(index), htole64(len) };
	uint8_t *to = len < BLOB_MAX ? grow(b, SECTION + ((len + 7) & ~7ul)) : NULL;

	if (!to) {
		b->failed = true;
		return;
	}
	memcpy(to, &s, SECTION);
	if (len)
		memcpy(to + SECTION, p, len);
}

int blob_seal(struct blob *b)
{
	uint32_t version = htole32(BLOB_VERSION), crc;
	uint64_t len = htole64(b->len);

	if (b->failed)
		return -ENOMEM;
	memcpy(b->p, magic, 8);
	memcpy(b->p + 8, &version, 4);
	memcpy(b->p + 16, &len, 8);
	crc = htole32(blob_crc(b->p + 16, b->len - 16));
	memcpy(b->p + 12, &crc, 4);
	return 0;
}

/* The section at @off, checked to lie inside; false at the end or when it does not. */
static bool section_at(const struct blob *b, size_t off, struct section *s)
{
	if (off > b->len || b->len - off < SECTION)
		return false;
	memcpy(s, b->p + off, SECTION);
	s->tag = le32toh(s->tag);
	s->index = le32toh(s->index);
	s->len = le64toh(s->len);
	return s->len <= BLOB_MAX && ((s->len + 7) & ~7ull) <= b->len - off - SECTION;
}

static size_t section_end(size_t off, const struct section *s)
{
	return off + SECTION + ((s->len + 7) & ~7ull);
}

int blob_open(struct blob *b, void *p, size_t len, struct err *e)
{
	struct section s;
	uint32_t version, crc;
	uint64_t said;
	size_t off = HEADER;

	*b = (struct blob){ .p = p, .len = len, .room = len };
	if (len < HEADER || memcmp(b->p, magic, 8))
		return err_say(e, -EBADMSG, "this is not a saved state");
	memcpy(&version, b->p + 8, 4);
	memcpy(&crc, b->p + 12, 4);
	memcpy(&said, b->p + 16, 8);
	if (le32toh(version) != BLOB_VERSION)
		return err_say(e, -EPROTO, "the state has format version %u and this monitor reads "
			       "version %u; make it again", le32toh(version), BLOB_VERSION);
	if (le64toh(said) != len || len > BLOB_MAX)
		return err_say(e, -EBADMSG, "the state is truncated: %zu bytes of %llu", len,
			       (unsigned long long)le64toh(said));
	if (blob_crc(b->p + 16, len - 16) != le32toh(crc))
		return err_say(e, -EBADMSG, "the state is damaged: its checksum does not match");
	while (off < len) {
		if (!section_at(b, off, &s))
			return err_say(e, -EBADMSG, "the state is damaged: a section at byte %zu runs "
				       "past the end", off);
		off = section_end(off, &s);
	}
	return 0;
}

const void *blob_find(const struct blob *b, uint32_t tag, uint32_t index, size_t *len)
{
	struct section s;

	for (size_t off = HEADER; section_at(b, off, &s); off = section_end(off, &s))
		if (s.tag == tag && s.index == index) {
			*len = s.len;
			return b->p + off + SECTION;
		}
	return NULL;
}

int blob_get(const struct blob *b, uint32_t tag, uint32_t index, void *dst, size_t len,
	     struct err *e)
{
	const char t[4] = { (char)tag, (char)(tag >> 8), (char)(tag >> 16), (char)(tag >> 24) };
	size_t have;
	const void *p = blob_find(b, tag, index, &have);

	if (!p)
		return err_say(e, -EBADMSG, "the state has no section %.4s.%u", t, index);
	if (have != len)
		return err_say(e, -EBADMSG, "section %.4s.%u of the state has %zu bytes, not %zu",
			       t, index, have, len);
	memcpy(dst, p, len);
	return 0;
}
