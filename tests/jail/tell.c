/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tell.so - to be preloaded into sandbox-vmm by `record`: an operation of io_uring is no system
 * call, so nobody who looks at these sees it. Before what is queued goes to the kernel, each kind
 * that was not there before is told by a write(2) to no descriptor, of TELL plus its number
 * bytes: the filter allows it, it does nothing, and its arguments are in registers.
 */
#include <dlfcn.h>
#include <liburing.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "tests/jail/tell.h"

typedef int submit_fn(struct io_uring *ring);
typedef int submit_wait_fn(struct io_uring *ring, unsigned n);

static submit_fn *submit;
static submit_wait_fn *submit_and_wait;
static uint64_t told;

__attribute__((constructor)) static void begin(void)
{
	submit = (submit_fn *)dlsym(RTLD_NEXT, "io_uring_submit");
	submit_and_wait = (submit_wait_fn *)dlsym(RTLD_NEXT, "io_uring_submit_and_wait");
	if (!submit || !submit_and_wait)
		abort();
}

static void tell(const struct io_uring *ring)
{
	const struct io_uring_sq *q = &ring->sq;

	for (unsigned i = q->sqe_head; i != q->sqe_tail; i++) {
		unsigned op = q->sqes[i & *q->kring_mask].opcode;

		if (told >> op % 64 & 1)
			continue;
		told |= 1ull << op % 64;
		syscall(SYS_write, -1, NULL, TELL + op);
	}
}

int io_uring_submit(struct io_uring *ring)
{
	tell(ring);
	return submit(ring);
}

int io_uring_submit_and_wait(struct io_uring *ring, unsigned n)
{
	tell(ring);
	return submit_and_wait(ring, n);
}
