/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control.h - what the process that started the monitor may ask of it.
 *
 * A SOCK_SEQPACKET socket, inherited; one packet is one request, and each is
 * answered by one packet: "ok ..." or "error SENTENCE".
 *
 *	snapshot	with two descriptors (SCM_RIGHTS): state file, memory file.
 *			Pauses the machine, writes both, lets it go on: "ok NS", the pause
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
	void (*snapshot)(struct control *c, int state_fd, int memory_fd);
};

/* Begin to listen. -EBUSY when the ring is full. */
int control_open(struct control *c, struct loop *loop, int fd) must_check;
/* Finish the request: @code 0, or -errno with the sentence in @why. */
void control_answer(struct control *c, int code, const char *why);
/* Stop listening; drains with the loop. */
void control_stop(struct control *c);
#endif
