/* SPDX-License-Identifier: Apache-2.0 */
/*
 * save.h - writing a snapshot of a machine that goes on meanwhile.
 *
 *	copying		round by round: all pages, then those written since, while the guest
 *			runs; a slice of a round is one turn of the loop
 *	pausing		few are left, or they do not get fewer: the vCPUs leave the guest
 *	draining	what devices have in flight comes to its end
 *	waiting		if that was asked for: who asked saves what belongs to the machine but is
 *			not in this process, and says go
 *	the pause	the last pages are copied and the state is read; the guest goes on
 *	afterwards	checksums and state are written, the request is answered
 *
 * What the guest writes is in KVM's dirty log, what this process writes into guest
 * memory is in gmem.dirty. Where KVM keeps no log, all is copied in the pause.
 */
#ifndef VMM_SAVE_H
#define VMM_SAVE_H
#include "vmm/gmem.h"
#include "vmm/loop.h"
#include "vmm/snapshot.h"

struct vm;

enum save_phase { SAVE_NONE, SAVE_COPYING, SAVE_PAUSING, SAVE_DRAINING, SAVE_WAITING,
		  SAVE_TOLD };
enum save_file { SAVE_STATE, SAVE_MEMORY, SAVE_SUMS, SAVE_FILES };

struct save {
	enum save_phase phase;
	int fd[SAVE_FILES];		/* ours */
	bool diff;			/* only what differs from the base */
	bool wait, go;			/* for a word; which it was */
	bool logged;			/* KVM keeps its dirty log */
	uint64_t npages, cursor;
	uint64_t *todo, *have;		/* bitmaps: to copy; of this snapshot */
	uint64_t *written;		/* in the file, and no hole */
	uint64_t *own;			/* not as in the files that the machine came from ... */
	bool own_known;			/* ... which is known */
	uint32_t *sums, zero_sum;
	unsigned round;
	uint64_t left;			/* pages to copy when the round began */
	uint64_t copied;		/* pages written, over all rounds */
	uint64_t began, paused_at, pause_ns;	/* CLOCK_MONOTONIC ns; how long the pause was */
	struct op tick;
};

/*
 * Begin; vm->control is answered when all is written or nothing can be: "ok pause=NS
 * total=NS rounds=N pages=N kind=full|diff". @diff allows for a snapshot of what differs
 * from the one that the machine was restored from, @wait stops before the last step until
 * save_word(). Takes the descriptors. Loop's thread.
 */
void save_begin(struct vm *vm, const int fd[SAVE_FILES], bool diff, bool wait);
/* Who asked has saved what belongs to the machine (@go), or gives up. */
void save_word(struct vm *vm, bool go);
/* All vCPUs have paused, or the machine has come to its end. */
void save_paused(struct vm *vm);
/* The machine has ended and its loop drains. */
void save_cancel(struct vm *vm);
#endif
