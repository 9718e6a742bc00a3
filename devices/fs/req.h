/* SPDX-License-Identifier: Apache-2.0 */
/*
 * req.h - one request: its bytes behind a cursor that cannot overrun, and its reply.
 *
 * Whatever a request says about itself (lengths, counts, that a name ends) is the guest's
 * word. Handlers take their arguments through the cursor alone, and write their reply
 * through req_put(), which knows how much the guest has room for.
 *
 * A request belongs to one thread.
 */
#ifndef DEVICES_FS_REQ_H
#define DEVICES_FS_REQ_H
#include "devices/fs/abi.h"
#include "vmm/base.h"

#define FS_NAME_MAX	255u

/* Bytes that nobody else can change. */
struct cursor { const uint8_t *p; size_t left; };

/* The next @len bytes, or NULL when there are not so many. */
const void *cursor_take(struct cursor *c, size_t len) must_check;
/* Copy @len bytes to @dst. -EINVAL when there are not so many. */
int cursor_get(struct cursor *c, void *dst, size_t len) must_check;
/* As cursor_get(), for a structure that grew: what is missing from @min bytes on is zero. */
int cursor_get_grown(struct cursor *c, void *dst, size_t min, size_t len) must_check;
/* A string with its NUL, at most @max bytes long. NULL: none ends in time, or it is empty. */
const char *cursor_string(struct cursor *c, size_t max) must_check;
/*
 * The name of one directory entry: no '/', neither "." nor "..", 1 to FS_NAME_MAX bytes.
 * 0, -EINVAL, -ENAMETOOLONG.
 */
int cursor_name(struct cursor *c, const char **name) must_check;

struct fs;
struct inode;
struct share;

struct req {
	struct fs *fs;
	struct fuse_in_header h;
	struct cursor in;		/* behind the header */
	const uint8_t *data;		/* WRITE: the bytes, which may change under us */
	size_t data_len;
	uint8_t *out;			/* behind the reply's header; write only */
	size_t room, len;		/* of out: bytes there are, bytes used */
	struct inode *node;		/* h.nodeid, held */
	struct share *share;		/* of the node, held; NULL: the root above the shares */
	uint32_t token;			/* the transport's name for this request */
};

/* What a handler returns besides 0 and -errno. */
#define REQ_NO_REPLY	1
#define REQ_LATER	2		/* somebody else answers, through fs_transport */

/* Append to the reply. -ERANGE when it does not fit: that is the guest's mistake. */
int req_put(struct req *r, const void *p, size_t len) must_check;
#endif
