/* SPDX-License-Identifier: Apache-2.0 */
/* files.h - PUT, GET, LIST, STAT, MKDIR, REMOVE, RENAME, TAR_IN, TAR_OUT. */
#ifndef AGENT_FILES_H
#define AGENT_FILES_H

#include <sys/types.h>

#include "agent/conn.h"

/* The attributes of a file request, checked. Strings are in the payload. */
struct file_req {
	const char *path, *path2;
	uint64_t mode, flags, uid, gid, mtime_ns;
	bool has_mode, has_owner, has_mtime;
};

/* 0, or -EBADMSG with a static reason. Paths are absolute. */
int files_decode(const struct proto_hdr *h, const uint8_t *payload, struct file_req *r,
		 const char **why);
/* mkdir -p; without `all`, not the last component. 0 or -errno. */
int files_make_parents(const char *path, mode_t mode, bool all);
/* Serve a request; answers with DONE or ERROR, now or when its job is through. */
void files_request(struct conn *c, const struct proto_hdr *h, const uint8_t *payload);
#endif
