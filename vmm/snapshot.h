/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snapshot.h - a saved machine: a folder with files
 *
 *	state	blob.h's container: shape, host, board, vCPUs, devices
 *	memory	guest memory, region after region, sparse: holes are zeroes
 *	sums	a CRC-32C for each page of `memory`, 32 bits each; 0: not of this snapshot
 *
 * and, of a snapshot of differences, which holds only the pages that are not as in
 * the full one that the machine was restored from,
 *
 *	base	that one's `memory`: another link to the same file
 *	base-sums	its `sums`
 *
 * The state has the checksum of `sums`, so that all can be verified; a restore reads the
 * state only. The writer gives descriptors, not names, so a jailed monitor can
 * save. Whoever opens a snapshot maps memory privately: any number of machines share
 * its page cache, and none can change it.
 */
#ifndef VMM_SNAPSHOT_H
#define VMM_SNAPSHOT_H
#include "vmm/blob.h"
#include "vmm/conf.h"

struct vm;
struct save;

/* @pagemap: /proc/self/pagemap, opened before this process may no longer do so; or -1. */
struct snapshot { struct blob state; int memory, base, pagemap; };

/* What the state says of memory. */
struct snapshot_memory {
	uint32_t sums, base;		/* CRC-32C of `sums`; of the base's `sums` */
	uint64_t stored;		/* pages in `memory` that are no hole */
	uint32_t diff, pad;
};
/* Pages of a difference. */
struct snapshot_range { uint32_t page, n; };

/* A file that memory is mapped from, and what it has at the pages [from, to). */
struct snapshot_file {
	int fd;				/* ours, or -1 */
	uint64_t from, to;
	bool hole;
};

/* Where a restored machine's memory came from. */
struct snapshot_origin {
	int pagemap;			/* a copy of snapshot.pagemap, or -1 */
	struct snapshot_file file, over;	/* `memory` or `base`; a difference's `memory` */
	uint32_t base;			/* CRC-32C of the full snapshot's `sums` */
	uint64_t *overlay;		/* pages that a difference had; NULL: it was full */
};
#define SNAPSHOT_NO_ORIGIN { .pagemap = -1, .file.fd = -1, .over.fd = -1 }

/* ---- saving, for save.c: the machine is paused ---- */

/* The sections of the machine. Loop's thread. */
int snapshot_state(struct vm *vm, struct blob *b, struct err *e) must_check;
/* The sections of its memory, and the seal. It may run again. */
int snapshot_describe(struct vm *vm, const struct save *s, struct blob *b,
		      struct err *e) must_check;
/*
 * Set the bits of the pages that the restored machine has written: those that are no longer
 * of the files that it came from. False if that is not known.
 */
bool snapshot_written(const struct vm *vm, uint64_t *map) must_check;
/*
 * With these bits set in @map already, set those of the others that differ from the full
 * snapshot that the machine came from. False if all together are most of memory.
 */
bool snapshot_changed(const struct vm *vm, uint64_t *map) must_check;
/* Page @page, which the machine has not written, is a hole of its file (snapshot_file_hole()). */
bool snapshot_hole(struct vm *vm, uint64_t page) must_check;
/*
 * Page @page of a file of @pages is zeroes that take no room. To read them would fill the page
 * cache. f->to: the first page of which that may not be true. The file does not change.
 */
bool snapshot_file_hole(struct snapshot_file *f, uint64_t page, uint64_t pages) must_check;
/* The checksum of a page, as in `sums`. */
uint32_t snapshot_sum(const void *page) must_check;

/* ---- loading ---- */

/* Open the folder @dir and check everything that can be checked without a machine. */
int snapshot_open(struct snapshot *s, const char *dir, struct err *e) must_check;
/*
 * After the rights are gone: what root opened tells where in the host's memory a page is. For
 * others it may be too late to open it again, but what they opened tells nothing either.
 */
void snapshot_unprivileged(struct snapshot *s);
void snapshot_close(struct snapshot *s);
/* Take the shape (memory, CPUs) from the snapshot; -EINVAL where @c asks for another slot list. */
int snapshot_shape(const struct snapshot *s, struct conf *c, struct err *e) must_check;
/*
 * The same the other way: memory, CPUs and device names of the snapshot into an empty
 * *@c; names live as long as this process.
 */
int snapshot_slots(const struct snapshot *s, struct conf *c, struct err *e) must_check;
int snapshot_memory(const struct snapshot *s, struct snapshot_memory *m, struct err *e) must_check;
/* Ranges of an opened snapshot of differences; otherwise NULL and 0. */
const struct snapshot_range *snapshot_ranges(const struct snapshot *s, size_t *n) must_check;
/* Memory of a machine that is being built, whose regions are set. */
int snapshot_map(struct vm *vm, const struct snapshot *s, struct err *e) must_check;
void snapshot_forget(struct vm *vm);
/*
 * Into a machine that vm_open() has just built on that memory. It gets a generation id
 * of its own, and the interrupt that says so.
 */
int snapshot_load(struct vm *vm, const struct snapshot *s, struct err *e) must_check;
#endif
