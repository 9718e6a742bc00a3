/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control.h - what the process that started the monitor may ask of it.
 *
 * A SOCK_SEQPACKET socket, inherited; one packet is one request, and each is
 * answered by one packet: "ok ..." or "error SENTENCE".
 *
 *	snapshot	with three descriptors (SCM_RIGHTS), open for writing: state, memory
 *			and sums (snapshot.h). The machine goes on meanwhile (save.h): "ok
 *			pause=NS total=NS rounds=N pages=N kind=full"
 *	snapshot diff	the same, but of a restored machine only what differs from what it
 *			was restored from, if that is worth it: kind=diff or kind=full
 *
 * The peer is the user's own process, so this is not a boundary; lengths and
 * descriptors are checked all the same.
 */
#ifndef VMM_CONTROL_H
#define VMM_CONTROL_H
#include "vmm/loop.h"

struct control {
	struct loop *loop;
	int fd;				/* borrowed */
	struct op poll;
	bool busy;			/* a request waits for its answer */
	/* Loop's thread. The descriptors are the callee's. control_answer() has to follow. */
	void (*snapshot)(struct control *c, const int fd[3], bool diff);
};

/* Begin to listen. -EBUSY when the ring is full. */
int control_open(struct control *c, struct loop *loop, int fd) must_check;
/* Finish the request: @code 0, or -errno with the sentence in @why. */
void control_answer(struct control *c, int code, const char *why);
/* Stop listening; drains with the loop. */
void control_stop(struct control *c);
#endif
