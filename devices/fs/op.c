/* SPDX-License-Identifier: Apache-2.0 */
/*
 * op.c - which request is whose, and what is checked for all of them.
 *
 * Before a handler runs: the header's length is that of the request; the node is one that
 * the guest was given and has not forgotten; its share is not gone and may be written to,
 * if the request writes. The root above the shares takes only what is marked so.
 */
#include "devices/fs/attr.h"
#include "devices/fs/dir.h"
#include "devices/fs/entry.h"
#include "devices/fs/io.h"
#include "devices/fs/lock.h"

/* How many bytes of requests without file data are parsed: an attribute and its name. */
#define HEAD_BYTES	((64u << 10) + 1024u)

enum { WRITES = 1, ROOT = 2, NODELESS = 4 };

struct op_desc {
	int (*run)(struct req *r);
	unsigned flags;
};

static int op_init(struct req *r)
{
	struct fuse_init_in in;
	struct fuse_init_out out = { .major = FUSE_KERNEL_VERSION };
	uint64_t want = FUSE_ASYNC_READ | FUSE_ATOMIC_O_TRUNC | FUSE_BIG_WRITES |
		FUSE_AUTO_INVAL_DATA | FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO |
		FUSE_ASYNC_DIO | FUSE_PARALLEL_DIROPS | FUSE_MAX_PAGES | FUSE_HANDLE_KILLPRIV_V2 |
		FUSE_HANDLE_KILLPRIV | FUSE_INIT_EXT;
	int rc = cursor_get_grown(&r->in, &in, 16, sizeof(in));

	if (rc)
		return rc;
	if (in.major < FUSE_KERNEL_VERSION)
		return -EPROTO;
	if (in.major > FUSE_KERNEL_VERSION)	/* it asks again, for ours */
		return req_put(r, &out, sizeof(out));
	if (in.minor < 31)
		return -EPROTO;
	if (r->fs->remote_locks)
		want |= FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS;
	want &= in.flags | (uint64_t)in.flags2 << 32;
	out.minor = FUSE_KERNEL_MINOR_VERSION;
	out.flags = (uint32_t)want;
	out.max_readahead = in.max_readahead;
	out.max_background = FS_SLOTS - 16;
	out.congestion_threshold = FS_SLOTS / 2;
	out.max_write = FS_DATA_MAX;
	out.max_pages = FS_DATA_MAX / 4096;
	out.time_gran = 1;
	return req_put(r, &out, sizeof(out));
}

static int op_destroy(struct req *r)
{
	(void)r;
	return 0;
}

static const struct op_desc ops[FS_OP_MAX] = {
	[FUSE_LOOKUP] = { op_lookup, ROOT },
	[FUSE_FORGET] = { op_forget, NODELESS },
	[FUSE_BATCH_FORGET] = { op_batch_forget, NODELESS },
	[FUSE_GETATTR] = { op_getattr, ROOT },
	[FUSE_SETATTR] = { op_setattr, WRITES },
	[FUSE_READLINK] = { op_readlink, 0 },
	[FUSE_SYMLINK] = { op_symlink, WRITES },
	[FUSE_MKNOD] = { op_mknod, WRITES },
	[FUSE_MKDIR] = { op_mkdir, WRITES },
	[FUSE_UNLINK] = { op_unlink, WRITES },
	[FUSE_RMDIR] = { op_rmdir, WRITES },
	[FUSE_RENAME] = { op_rename, WRITES },
	[FUSE_RENAME2] = { op_rename2, WRITES },
	[FUSE_LINK] = { op_link, WRITES },
	[FUSE_OPEN] = { op_open, 0 },
	[FUSE_READ] = { op_read, 0 },
	[FUSE_WRITE] = { op_write, WRITES },
	[FUSE_STATFS] = { op_statfs, ROOT },
	[FUSE_RELEASE] = { op_release, 0 },
	[FUSE_FSYNC] = { op_fsync, 0 },
	[FUSE_SETXATTR] = { op_setxattr, WRITES },
	[FUSE_GETXATTR] = { op_getxattr, ROOT },
	[FUSE_LISTXATTR] = { op_listxattr, ROOT },
	[FUSE_REMOVEXATTR] = { op_removexattr, WRITES },
	[FUSE_FLUSH] = { op_flush, 0 },
	[FUSE_INIT] = { op_init, NODELESS },
	[FUSE_DESTROY] = { op_destroy, NODELESS },
	[FUSE_OPENDIR] = { op_opendir, ROOT },
	[FUSE_READDIR] = { op_readdir, ROOT },
	[FUSE_READDIRPLUS] = { op_readdirplus, ROOT },
	[FUSE_RELEASEDIR] = { op_releasedir, ROOT },
	[FUSE_FSYNCDIR] = { op_fsyncdir, ROOT },
	[FUSE_GETLK] = { op_getlk, 0 },
	[FUSE_SETLK] = { op_setlk, 0 },
	[FUSE_SETLKW] = { op_setlk, 0 },
	[FUSE_ACCESS] = { op_access, ROOT },
	[FUSE_CREATE] = { op_create, WRITES },
	[FUSE_INTERRUPT] = { op_interrupt, NODELESS },
	[FUSE_FALLOCATE] = { op_fallocate, WRITES },
	[FUSE_LSEEK] = { op_lseek, 0 },
	[FUSE_COPY_FILE_RANGE] = { op_copy_file_range, WRITES },
	[FUSE_SYNCFS] = { op_syncfs, ROOT },
	[FUSE_TMPFILE] = { op_tmpfile, WRITES },
	[FS_STATX] = { op_statx, ROOT },
};

size_t fs_head_len(const struct fuse_in_header *h)
{
	size_t head = HEAD_BYTES;

	if (h->opcode == FUSE_WRITE)
		head = sizeof(*h) + sizeof(struct fuse_write_in);
	if (h->opcode == FUSE_BATCH_FORGET)
		head = FS_SLOT_BYTES;
	return head < h->len ? head : h->len;
}

static int run(struct req *r, const struct op_desc *op)
{
	int rc;

	if (op->flags & NODELESS)
		return op->run(r);
	r->node = inode_get(r->fs, r->h.nodeid);
	if (!r->node)
		return -ESTALE;
	r->share = r->node->share;
	if (!r->share) {
		rc = op->flags & ROOT ? op->run(r) : op->flags & WRITES ? -EROFS : -EINVAL;
	} else if (op->flags & WRITES && r->share->mode == FS_RO) {
		rc = -EROFS;
	} else if (!share_enter(r->fs, r->share)) {
		rc = -ESTALE;
	} else {
		rc = op->run(r);
		share_leave(r->fs, r->share);
	}
	inode_put(r->fs, r->node);
	return rc;
}

size_t fs_serve(struct fs *fs, const struct fs_call *c)
{
	struct req r = { .fs = fs, .data = c->data, .data_len = c->data_len, .token = c->token };
	struct fuse_out_header out = { .len = sizeof(out) };
	const struct op_desc *op = NULL;
	int rc;

	if (c->head_len < sizeof(r.h) || c->room > UINT32_MAX)
		return 0;
	memcpy(&r.h, c->head, sizeof(r.h));
	r.in = (struct cursor){ c->head + sizeof(r.h), c->head_len - sizeof(r.h) };
	if (c->room >= sizeof(out)) {
		r.out = c->out + sizeof(out);
		r.room = c->room - sizeof(out);
	}
	if (r.h.opcode < FS_OP_MAX && ops[r.h.opcode].run)
		op = &ops[r.h.opcode];
	atomic_fetch_add(&fs->requests, 1);
	if (r.h.len != c->head_len + c->data_len)
		rc = -EINVAL;
	else
		rc = op ? run(&r, op) : -ENOSYS;
	if (rc == REQ_LATER)
		return FS_LATER;
	if (rc == REQ_NO_REPLY || c->room < sizeof(out))
		return 0;
	out.unique = r.h.unique;
	out.error = rc;
	if (!rc)
		out.len += (uint32_t)r.len;
	memcpy(c->out, &out, sizeof(out));
	return out.len;
}
