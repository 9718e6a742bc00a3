/* SPDX-License-Identifier: Apache-2.0 */
/*
 * unpack.h - unpack a tar stream from stdin: in the guest for TAR_IN, and on the host,
 * in a process of its own, what a guest packed.
 *
 * One archive per process: it uses static memory. Errors are a sentence on stderr and an
 * errno value as the result.
 */
#ifndef AGENT_UNPACK_H
#define AGENT_UNPACK_H

#include <stdbool.h>

struct unpack {
	int root;		/* folder to unpack in; nothing is written outside of it */
	bool owner;		/* owners from the archive */
	/*
	 * The archive is hostile: no symbolic link is followed anywhere, there are no devices
	 * and no hard links, and modes have no set-id and no sticky bit.
	 */
	bool strict;
	/* The first component of every name has to be `from`, and becomes `to`; NULL: as it is. */
	const char *from, *to;
};

int unpack(const struct unpack *how);
#endif
