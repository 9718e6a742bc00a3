/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blk_req.c - every rule about a request (virtio 1.2, 5.2.6).
 *
 * The header and the ranges are copied once and checked there; data stays where it
 * is. Sectors are compared by subtraction: nothing that a guest chose is added
 * or multiplied before it is known to lie within the disk (threat-model.md 5).
 */
#include <endian.h>
#include "devices/blk.h"

/* A request that is answered without the file. */
static int answer(uint8_t status)
{
	return 1 + status;
}

static bool inside(const struct blk *b, uint64_t sector, uint64_t n)
{
	return sector <= b->sectors && n <= b->sectors - sector;
}

static int parse_data(struct blk_req *r, uint64_t sector, uint64_t len)
{
	bool fits = inside(r->b, sector, len / BLK_SECTOR);

	if (len % BLK_SECTOR) return answer(VIRTIO_BLK_S_IOERR);	/* guard: blk-sectors */
	if (!fits) return answer(VIRTIO_BLK_S_IOERR);			/* guard: blk-range */
	if (!len)
		return answer(VIRTIO_BLK_S_OK);
	r->off = sector * BLK_SECTOR;
	r->left = r->bytes = len;
	return 0;
}

static int parse_read(struct blk_req *r, uint64_t sector)
{
	struct vchain *c = &r->c;
	struct iovec *last = &c->iov[c->nread + c->nwrite - 1];

	r->iov = &c->iov[c->nread];
	r->niov = c->nwrite;
	if (!--last->iov_len)		/* the status */
		r->niov--;
	return parse_data(r, sector, c->write_len - 1);
}

static int parse_write(struct blk_req *r, uint64_t sector)
{
	const uint32_t head = sizeof(struct virtio_blk_outhdr);
	struct vchain *c = &r->c;
	size_t skip = head;

	if (r->b->ro) return answer(VIRTIO_BLK_S_IOERR);		/* guard: blk-ro */
	r->iov = c->iov;
	r->niov = c->nread;
	while (r->niov && skip >= r->iov->iov_len) {
		skip -= r->iov->iov_len;
		r->iov++;
		r->niov--;
	}
	if (r->niov) {
		r->iov->iov_base = (char *)r->iov->iov_base + skip;
		r->iov->iov_len -= skip;
	}
	return parse_data(r, sector, c->read_len - head);
}

static int check_range(const struct blk_req *r, const struct virtio_blk_discard_write_zeroes *s)
{
	uint32_t flags = le32toh(s->flags), n = le32toh(s->num_sectors);
	bool zeroes = r->type == VIRTIO_BLK_T_WRITE_ZEROES;
	bool fits = inside(r->b, le64toh(s->sector), n);

	if (flags & ~(uint32_t)VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP)
		return answer(VIRTIO_BLK_S_UNSUPP);
	if (flags && !zeroes)
		return answer(VIRTIO_BLK_S_UNSUPP);
	if (n > BLK_RANGE_MAX) return answer(VIRTIO_BLK_S_IOERR);	/* guard: blk-range-max */
	if (!fits) return answer(VIRTIO_BLK_S_IOERR);			/* guard: blk-range-fits */
	return 0;
}

static int parse_ranges(struct blk_req *r)
{
	const uint32_t head = sizeof(struct virtio_blk_outhdr);
	uint32_t len = r->c.read_len - head;
	int rc = 0;

	if (r->b->ro) return answer(VIRTIO_BLK_S_IOERR);		/* guard: blk-ro-ranges */
	if (!len || len % sizeof(r->range[0]) || len > sizeof(r->range))
		return answer(VIRTIO_BLK_S_IOERR);
	if (vchain_read(&r->c, head, r->range, len))
		return answer(VIRTIO_BLK_S_IOERR);
	r->nseg = len / (uint32_t)sizeof(r->range[0]);
	r->seg = 0;
	for (unsigned i = 0; !rc && i < r->nseg; i++)
		rc = check_range(r, &r->range[i]);
	return rc;
}

static int parse_id(struct blk_req *r)
{
	uint32_t n = r->c.write_len - 1;

	n = n < sizeof(r->b->id) ? n : (uint32_t)sizeof(r->b->id);
	if (vchain_write(&r->c, r->b->id, n))
		BUG_ON(true);		/* n < write_len */
	return answer(VIRTIO_BLK_S_OK);
}

int blk_parse(struct blk_req *r)
{
	struct virtio_blk_outhdr h;
	struct vchain *c = &r->c;
	const struct iovec *last;
	uint64_t sector;

	if (!c->nwrite) return -EBADMSG;				/* guard: blk-status */
	last = &c->iov[c->nread + c->nwrite - 1];
	r->status = (uint8_t *)last->iov_base + last->iov_len - 1;
	r->bytes = r->left = 0;
	if (vchain_read(c, 0, &h, sizeof(h)))
		return answer(VIRTIO_BLK_S_IOERR);
	r->type = le32toh(h.type);
	sector = le64toh(h.sector);
	switch (r->type) {
	case VIRTIO_BLK_T_IN:
		return parse_read(r, sector);
	case VIRTIO_BLK_T_OUT:
		return parse_write(r, sector);
	case VIRTIO_BLK_T_FLUSH:
		return r->b->ro || r->b->fd < 0 ? answer(VIRTIO_BLK_S_OK) : 0;
	case VIRTIO_BLK_T_DISCARD:
	case VIRTIO_BLK_T_WRITE_ZEROES:
		return parse_ranges(r);
	case VIRTIO_BLK_T_GET_ID:
		return parse_id(r);
	default:
		return answer(VIRTIO_BLK_S_UNSUPP);
	}
}
