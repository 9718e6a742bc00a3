/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sparse.h - where a file with holes has data, and how an archive says so: GNU's sparse
 * format 1.0, a list of decimal numbers before the data, in whole blocks.
 */
#ifndef AGENT_SPARSE_H
#define AGENT_SPARSE_H

#include <stddef.h>
#include <stdint.h>

#define SPARSE_PACK_MAX	2048u	/* parts that are packed; the last takes the rest of the file */
#define SPARSE_READ_MAX	65536u	/* parts that an archive can have */
#define SPARSE_TEXT_MAX	(SPARSE_PACK_MAX * 40u + 1024u)

struct sparse_part { uint64_t off, len; };

/*
 * The parts of the file with data, room for SPARSE_PACK_MAX of them; the file offset is
 * 0 afterwards. A hole at the end is followed by a part of nothing. Their number, or -errno.
 */
int sparse_scan(int fd, uint64_t size, struct sparse_part *parts);
/* The list as it stands before the data, with zeros up to a whole block. Its length. */
size_t sparse_text(char text[static SPARSE_TEXT_MAX], const struct sparse_part *parts, size_t n);

/*
 * Reading the list, a byte at a time: parts in ascending order, within @size. Begin with
 * { .parts = ..., .size = ... }.
 */
struct sparse_list {
	struct sparse_part *parts;	/* room for SPARSE_READ_MAX */
	uint64_t size;			/* of the file */
	uint64_t value, total, n;	/* numbers that there shall be; data of all parts */
	uint32_t at, digits;
};
/* 1: the list is complete (padding follows); 0: go on; -EBADMSG. */
int sparse_take(struct sparse_list *l, char c);
#endif
