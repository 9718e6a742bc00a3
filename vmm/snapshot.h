/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snapshot.h - a saved machine: a folder with two files.
 *
 *	state	blob.h's container: shape, host, board, vCPUs, devices
 *	memory	guest memory, region after region, sparse: holes are zeroes
 *
 * The writer gives descriptors, not names, so a jailed monitor can save. Whoever
 * opens a snapshot maps `memory` privately: any number of machines share its
 * page cache, and none can change it.
 */
#ifndef VMM_SNAPSHOT_H
#define VMM_SNAPSHOT_H
#include "vmm/blob.h"
#include "vmm/conf.h"

struct vm;

struct snapshot { struct blob state; int memory; };

/*
 * Write a machine that is paused: no vCPU in the guest, nothing in flight. Both
 * files are written from their start and cut to length; making the pair appear
 * at once (rename) is the caller's. Loop's thread.
 */
int snapshot_save(struct vm *vm, int state_fd, int memory_fd, struct err *e) must_check;

/* Open the folder @dir and check everything that can be checked without a machine. */
int snapshot_open(struct snapshot *s, const char *dir, struct err *e) must_check;
void snapshot_close(struct snapshot *s);
/* Take the shape (memory, CPUs) from the snapshot; -EINVAL where @c asks for another slot list. */
int snapshot_shape(const struct snapshot *s, struct conf *c, struct err *e) must_check;
/*
 * Into a machine that vm_open() has just built on s->memory. It gets a generation id
 * of its own, and the interrupt that says so.
 */
int snapshot_load(struct vm *vm, const struct snapshot *s, struct err *e) must_check;
#endif
