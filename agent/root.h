/* SPDX-License-Identifier: Apache-2.0 */
/* root.h - the root file system of commands: the image on the first disk, and what is over it. */
#ifndef AGENT_ROOT_H
#define AGENT_ROOT_H

#include "agent/conn.h"

struct root_tmpfs { const char *path; uint64_t size; };	/* size 0: the kernel's default */

struct root_req {
	const char *type;	/* file system of the image; NULL: the built-in root */
	uint64_t upper;		/* enum proto_root_upper */
	uint64_t flags;		/* enum proto_root_flag */
	uint64_t size;		/* of a tmpfs as upper; 0: the kernel's default */
	const char *workdir;	/* folder that must be there; NULL: none */
	unsigned int n_tmpfs;
	struct root_tmpfs tmpfs[PROTO_TMPFS_MAX];
};

void root_init(bool init);
/* Handle ROOT. */
void root_request(struct conn *c, const struct proto_hdr *h, const uint8_t *payload);
/* Strings point into the payload. 0, or -EBADMSG with a reason. */
int root_decode(const void *payload, size_t len, struct root_req *r, const char **why);
#endif
