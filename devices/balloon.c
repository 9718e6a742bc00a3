/* SPDX-License-Identifier: Apache-2.0 */
/*
 * balloon.c - virtio memory balloon (virtio 1.2, 5.5): memory that the guest does
 * not use goes back to the host.
 *
 * Free page reporting (5.5.6.7) does all of the work: the guest's kernel shows,
 * some time after they became free, the ranges that it will not read before it
 * has written them, and they are dropped here. Page poisoning is not offered, so a
 * driver whose free pages have a content does not report.
 *
 * The classic balloon is there because a driver sets up its queues: pages put
 * into it are dropped, too, and may be taken out at any time. The host asks for
 * none (num_pages stays 0). Linux numbers the queues without gaps, and so does
 * this device: with neither statistics nor hints the reports are queue 2.
 *
 * A wake-up drops at most ROUND bytes, and what one chain holds beyond that.
 */
#include <endian.h>
#include <linux/virtio_balloon.h>
#include <linux/virtio_ids.h>
#include "vmm/virtio.h"

#define ROUND		(256ull << 20)
#define PFN_SHIFT	12u		/* of the balloon's page numbers, on every host */
#define PIECE		256u		/* page numbers taken at once; Linux sends no more */
#define PIECES		16u		/* of a chain; what follows them stays with the guest */

enum { INFLATE, DEFLATE, REPORTING, NQUEUES };

struct balloon {
	struct virtio_dev v;
	struct virtio_balloon_config cfg;
};

/* The pages whose numbers the guest wrote. Returns how many bytes were dropped. */
static uint64_t inflate(struct virtio_dev *d, const struct vchain *c)
{
	uint32_t left = c->read_len / sizeof(uint32_t), off = 0;
	uint32_t raw_pfn[PIECE];
	uint64_t bytes = 0;

	for (unsigned round = 0; left && round < PIECES; round++) {
		uint32_t n = left < PIECE ? left : PIECE;

		if (vchain_read(c, off, raw_pfn, n * sizeof(raw_pfn[0])))
			BUG_ON(true);	/* off + n <= read_len */
		for (uint32_t i = 0; i < n; i++) {
			gpa_t at = GPA((uint64_t)le32toh(raw_pfn[i]) << PFN_SHIFT);
			void *p = gmem_ptr(d->mem, at, 1u << PFN_SHIFT);

			if (p)
				gmem_discard(d->mem, p, 1u << PFN_SHIFT);
			else
				virtio_fault(d, "a page that is not there");
			bytes += 1u << PFN_SHIFT;
		}
		off += n * (uint32_t)sizeof(raw_pfn[0]);
		left -= n;
	}
	return bytes;
}

/* The ranges that the guest offered to be written. */
static uint64_t reported(struct virtio_dev *d, const struct vchain *c)
{
	uint64_t bytes = 0;

	for (unsigned i = c->nread; i < c->nread + c->nwrite; i++) {
		gmem_discard(d->mem, c->iov[i].iov_base, c->iov[i].iov_len);
		bytes += c->iov[i].iov_len;
	}
	return bytes;
}

static void balloon_kick(struct virtio_dev *d, struct virtq *q)
{
	uint64_t bytes = 0;
	struct vchain c;

	while (bytes < ROUND && virtio_next(d, q, &c)) {
		if (q->index == INFLATE)
			bytes += inflate(d, &c);
		if (q->index == REPORTING && virtio_has(d, VIRTIO_BALLOON_F_REPORTING))
			bytes += reported(d, &c);
		virtio_done(d, q, &c);
	}
	if (bytes >= ROUND)
		virtio_again(d, q);
	virtio_flush(d, q);
}

/* The driver tells how many pages are in the balloon; nobody asks. */
static void balloon_cfg_written(struct virtio_dev *d, size_t off, size_t len)
{
	(void)off;
	(void)len;
	container_of(d, struct balloon, v)->cfg.num_pages = 0;
}

extern const struct virtio_ops balloon_ops;
const struct virtio_ops balloon_ops = {
	.name = "balloon", .id = VIRTIO_ID_BALLOON, .nqueues = NQUEUES, .qsize = VIRTQ_MAX,
	.features = 1ULL << VIRTIO_BALLOON_F_REPORTING | 1ULL << VIRTIO_BALLOON_F_DEFLATE_ON_OOM,
	.size = sizeof(struct balloon), .cfg_off = offsetof(struct balloon, cfg),
	.cfg_len = offsetof(struct virtio_balloon_config, free_page_hint_cmd_id),
	.kick = balloon_kick, .cfg_written = balloon_cfg_written,
};
