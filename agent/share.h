/* SPDX-License-Identifier: Apache-2.0 */
/* share.h - MOUNT and UMOUNT: folders of the host in the guest's tree. */
#ifndef AGENT_SHARE_H
#define AGENT_SHARE_H

#include "agent/conn.h"

/* One share to mount. The path is in the payload. */
struct share_req {
	uint32_t id;		/* its number on the server, below PROTO_SHARES_MAX */
	const char *path;	/* where; absolute, not "/" */
	bool read_only;
};

/*
 * Check and decode a MOUNT payload: how many shares it names, 1 to PROTO_SHARES_MAX, or
 * -EBADMSG with a static reason.
 */
int share_decode(const void *payload, size_t len, struct share_req r[static PROTO_SHARES_MAX],
		 const char **why);
/* The agent is init of a guest: it may mount. */
void share_init(bool init);
/* Serve a request; answers with DONE or ERROR. */
void share_request(struct conn *c, const struct proto_hdr *h, const uint8_t *payload);
#endif
