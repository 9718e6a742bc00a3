/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blk.h - what the parts of the block device share.
 *
 *	blk.c		the device: slots, queues, limits, life
 *	blk_req.c	a chain becomes a checked request
 *	blk_io.c	a checked request becomes operations on the file
 *	blk_open.c	what backs the device
 */
#ifndef DEVICES_BLK_H
#define DEVICES_BLK_H
#include <linux/virtio_blk.h>
#include "vmm/bucket.h"
#include "vmm/virtio.h"

#define BLK_QUEUES	4u
#define BLK_QSIZE	128u
#define BLK_SLOTS	(BLK_QUEUES * BLK_QSIZE)	/* a head is in flight at most once */
#define BLK_SEGS	16u		/* ranges of one discard or write-zeroes request */
#define BLK_RANGE_MAX	(1u << 21)	/* sectors of such a range */
#define BLK_SECTOR	512u

struct blk;

/* One chain in flight. Its buffers are guest memory; nothing is copied but the header. */
struct blk_req {
	struct op op;
	struct blk *b;
	struct virtq *q;
	struct blk_req *next;		/* free, or waiting for the limits */
	uint32_t type;			/* VIRTIO_BLK_T_*, as the guest wrote it once */
	uint8_t *status;		/* the chain's last writable byte */
	uint64_t off;			/* next byte of the file */
	uint64_t left, bytes;		/* of data: not done yet; in all, for the limits */
	struct iovec *iov;		/* the rest of the data, in @c.iov */
	unsigned niov;
	unsigned nseg, seg;		/* ranges; the next one to do */
	struct virtio_blk_discard_write_zeroes range[BLK_SEGS];
	struct vchain c;
};

struct blk {
	struct virtio_dev v;
	struct virtio_blk_config cfg;
	int fd;				/* -1: nothing backs the slot */
	int file;			/* as the loop's operations take it */
	bool ro;
	uint64_t sectors;
	char id[VIRTIO_BLK_ID_BYTES];	/* not terminated when full */
	struct blk_req *slot;		/* BLK_SLOTS */
	struct blk_req *free;
	unsigned fresh;			/* slots that were never used begin here */
	struct blk_req *first, **last;	/* checked, and waiting for the limits */
	struct bucket bytes, ops;
	struct op timer;		/* when the limits let the first one go on */
	unsigned busy;			/* operations on the file in flight */
	struct blk_flush {
		struct loop_late late;
		struct blk *b;
		uint16_t index;
	} flush[BLK_QUEUES];		/* interrupts of this round */
};

/* ---- blk_open.c */
int blk_open(struct virtio_dev *d, const struct conf_dev *c, struct err *e) must_check;
void blk_close(struct virtio_dev *d);

/* ---- blk_req.c */
/*
 * Read r->c, which virtio_next() has just filled: 0 when there is something to do
 * on the file, otherwise 1 + the VIRTIO_BLK_S_* that answers it; -EBADMSG when it has
 * no room for an answer.
 */
int blk_parse(struct blk_req *r) must_check;

/* ---- blk_io.c */
/* Start the next operation of @r: 0 or -EBUSY. More operations or blk_finish() follow. */
int blk_start(struct blk_req *r) must_check;

/* ---- blk.c */
void blk_init(struct blk *b);
/* blk_start(), or the end of @r when that cannot be. */
void blk_submit(struct blk_req *r);
/* All operations of @r have ended, with this VIRTIO_BLK_S_*; @r is gone when it returns. */
void blk_finish(struct blk_req *r, uint8_t status);
#endif
