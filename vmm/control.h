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
 *	snapshot wait, snapshot diff wait
 *			the same in two steps. When the machine stands still and none of its
 *			devices has anything in flight, the packet "still" is sent; what belongs
 *			to the same moment (disks, the file server) can be saved then. The packet
 *			"go" has the machine saved and go on; any other one, and the peer's
 *			end, has it go on without
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
	bool asking;			/* and that for a word: control_ask() */
	/* Loop's thread. The descriptors are the callee's. control_answer() has to follow. */
	void (*snapshot)(struct control *c, const int fd[3], unsigned flags);
	/* The word after control_ask(): @go, or no. control_answer() still has to follow. */
	void (*word)(struct control *c, bool go);
};

enum { CONTROL_DIFF = 1, CONTROL_WAIT = 2 };	/* flags of a snapshot */

/* Begin to listen. -EBUSY when the ring is full. */
int control_open(struct control *c, struct loop *loop, int fd) must_check;
/* In the middle of a request: say @what, and hear a word. -EPIPE if nobody is there. */
int control_ask(struct control *c, const char *what) must_check;
/* Finish the request: @code 0, or -errno with the sentence in @why. */
void control_answer(struct control *c, int code, const char *why);
/* Stop listening; drains with the loop. */
void control_stop(struct control *c);
#endif
