// SPDX-License-Identifier: Apache-2.0
/*
 * sparse.c - holes are found with SEEK_DATA and SEEK_HOLE, which every file system
 * answers, if only with "all of it is data".
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/sparse.h"
#include "agent/tar.h"

int sparse_scan(int fd, uint64_t size, struct sparse_part *parts)
{
	uint64_t at = 0;
	size_t n = 0;

	while (at < size) {
		off_t data = lseek(fd, (off_t)at, SEEK_DATA), hole;

		if (data < 0 && errno == ENXIO)
			break;
		if (data < 0)
			return -errno;
		if ((uint64_t)data >= size)	/* it grows */
			break;
		hole = lseek(fd, data, SEEK_HOLE);
		if (hole < 0)
			return -errno;
		at = (uint64_t)hole < size && n + 2 < SPARSE_PACK_MAX ? (uint64_t)hole : size;
		parts[n++] = (struct sparse_part){ (uint64_t)data, at - (uint64_t)data };
	}
	/* A hole at the end: nothing comes there, which tells others of the file's length. */
	if (!n || parts[n - 1].off + parts[n - 1].len < size)
		parts[n++] = (struct sparse_part){ size, 0 };
	return lseek(fd, 0, SEEK_SET) < 0 ? -errno : (int)n;
}

static size_t number(char *text, uint64_t v)
{
	return (size_t)snprintf(text, 24, "%llu\n", (unsigned long long)v);
}

size_t sparse_text(char text[static SPARSE_TEXT_MAX], const struct sparse_part *parts, size_t n)
{
	size_t len = number(text, n), whole;

	for (size_t i = 0; i < n; i++) {
		len += number(text + len, parts[i].off);
		len += number(text + len, parts[i].len);
	}
	whole = (size_t)tar_padded(len);
	memset(text + len, 0, whole - len);
	return whole;
}

/* A number is there. */
static int add(struct sparse_list *l)
{
	struct sparse_part *p, *before;

	if (l->at == 0) {
		if (l->value > SPARSE_READ_MAX)
			return -EBADMSG;
		l->n = l->value;
	} else {
		p = &l->parts[(l->at - 1) / 2];
		before = l->at > 2 ? p - 1 : NULL;
		if (l->at % 2) {
			p->off = l->value;
			if (p->off > l->size || (before && p->off - before->off < before->len) ||
			    (before && p->off < before->off))
				return -EBADMSG;
		} else {
			p->len = l->value;
			if (p->len > l->size - p->off)
				return -EBADMSG;
			l->total += p->len;	/* at most size: they do not overlap */
		}
	}
	l->at++;
	l->value = 0;
	l->digits = 0;
	return l->at > 2 * l->n;
}

int sparse_take(struct sparse_list *l, char c)
{
	if (c == '\n')
		return l->digits ? add(l) : -EBADMSG;
	if (c < '0' || c > '9' || l->digits++ >= 18)
		return -EBADMSG;
	l->value = l->value * 10 + (uint64_t)(c - '0');
	return 0;
}
