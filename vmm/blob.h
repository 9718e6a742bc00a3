/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blob.h - the container of a saved state: a header and tagged sections.
 *
 *	magic 8 | version 4 | crc 4 | length 8 | sections ...
 *	section: tag 4 | index 4 | length 8 | bytes, padded to 8
 *
 * All words are little-endian. The length is the whole file's; the CRC-32C covers
 * everything behind the crc field. A reader trusts no size: blob_open() walks
 * all sections once, and blob_get() hands out only ranges that it has checked.
 */
#ifndef VMM_BLOB_H
#define VMM_BLOB_H
#include "vmm/base.h"

#define BLOB_VERSION	2u
#define BLOB_MAX	(16u << 20)	/* bytes; a state is far smaller */

/* Four letters, as they look in a hex dump. */
#define BLOB_TAG(a, b, c, d) ((uint32_t)(a) | (uint32_t)(b) << 8 | (uint32_t)(c) << 16 | \
			      (uint32_t)(d) << 24)

struct blob { uint8_t *p; size_t len, room; bool failed; };

/* ---- writing: add sections, then seal. A failed allocation is kept until blob_seal(). ---- */
void blob_init(struct blob *b);
void blob_free(struct blob *b);
/* Copies @len bytes. */
void blob_put(struct blob *b, uint32_t tag, uint32_t index, const void *p, size_t len);
/* Header and checksum; b->p[0..len) is then the file. 0 or -ENOMEM. */
int blob_seal(struct blob *b) must_check;

/* ---- reading ---- */
/*
 * Take the bytes of a file (allocated by malloc(); the blob owns them, even after a
 * failure) and check them: -EBADMSG with a sentence for what is not a state, is
 * truncated or damaged; -EPROTO for another version.
 */
int blob_open(struct blob *b, void *p, size_t len, struct err *e) must_check;
/* Bytes of a section and *len, or NULL if there is none. */
const void *blob_find(const struct blob *b, uint32_t tag, uint32_t index, size_t *len) must_check;
/* Copy a section that has to be there and to have exactly @len bytes. -EBADMSG with a sentence. */
int blob_get(const struct blob *b, uint32_t tag, uint32_t index, void *dst, size_t len,
	     struct err *e) must_check;
/* CRC-32C (Castagnoli) of @len bytes. */
uint32_t blob_crc(const void *p, size_t len) must_check;
#endif
