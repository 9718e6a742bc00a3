/* SPDX-License-Identifier: Apache-2.0 */
/*
 * server.h - the file server's state: shares, inodes, open files.
 *
 * An inode is what the guest calls a node: it has a number that is never used twice, an
 * identity on the host (device, inode number, time of birth) in each layer where it exists,
 * and the directory and name by which it was last seen. It has no descriptor: files are
 * reached through their directory's, which is cached (place.h) and opened again, name by
 * name from the share's root, when it is needed and not there. So a tree of any size is
 * served with a bounded number of descriptors. A name that leads to something else by now
 * answers ESTALE, upon which the guest's kernel looks the path up again.
 *
 * Layers: ro and rw shares have one, FS_UPPER. A cow share has two (upper.h).
 *
 * Locks, in the order in which they are taken:
 *   share.tree	what changes the tree of a cow share, so that looking and acting are one
 *   handle.lock	position and list of one open directory
 *   fs.lock	everything else here. Never held while the host's file system works
 */
#ifndef DEVICES_FS_SERVER_H
#define DEVICES_FS_SERVER_H
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include "devices/fs/req.h"
#include "devices/fs/upper.h"
#include "devices/fs/wire.h"

#define FS_INODES_MAX	(1u << 20)
#define FS_DEPTH_MAX	2048u
#define FS_LOCK_WAITS	32u		/* requests that wait for a lock */
#define FS_DEVS		15u
#define FS_MODE_BITS	01777u		/* what guests see and set: no set-id */

enum fs_mode { FS_RO, FS_RW, FS_COW };
enum fs_cache { FS_CACHE_NONE, FS_CACHE_AUTO, FS_CACHE_ALWAYS };
enum fs_layer { FS_UPPER, FS_LOWER, FS_LAYERS };

struct share {
	unsigned id;
	enum fs_mode mode;
	enum fs_cache cache;
	uint32_t uid, gid;		/* whom the server's user is in the guest */
	int root[FS_LAYERS];		/* O_PATH; -1: no such layer */
	int wip;			/* cow: UPPER_WIP, O_PATH; else -1 */
	pthread_mutex_t tree;
	atomic_uint wip_name;		/* the next name in there */
	struct inode *node;		/* its root, held */
	unsigned changes;		/* of what inodes are known to be; fs.lock */
	unsigned users;			/* requests at work; fs.lock */
	unsigned inodes;		/* that point here, and one for itself; fs.lock */
	bool gone;			/* no new users; fs.lock */
	uint64_t dev[FS_DEVS];		/* devices seen; fs.lock */
	unsigned ndevs;
};

struct ident { uint64_t dev, ino, born; };

struct key {
	struct ident id;
	struct inode *node;		/* NULL: not in the table */
	struct key *next;
};

struct inode {
	uint64_t id, ino;		/* ours; what the guest sees as st_ino */
	struct share *share;		/* NULL: the root above the shares */
	struct inode *parent;		/* held; NULL: a root, or the name is gone */
	char *name;
	struct inode *alt_parent;	/* held: a file's name before that, good if it is a link */
	char *alt_name;
	struct inode *next;		/* in the table of numbers */
	struct key key[FS_LAYERS];
	uint64_t lookups;		/* the guest's references */
	unsigned refs;			/* ours: requests, children, handles */
	mode_t type;			/* S_IFMT bits */
	uint8_t layers;			/* bit for each layer where it exists; files: one */
	int fd[FS_LAYERS];		/* directories: O_PATH, or -1 (place.c) */
	unsigned pins[FS_LAYERS];
	struct inode *lru_next, *lru_prev;
	bool in_lru;
	struct handle *handles;
	struct { struct statx_timestamp mtime, ctime; uint64_t size; } seen; /* at the last open */
};

struct dir_list;

struct handle {
	uint64_t fh;
	struct inode *node;		/* held */
	struct handle *next;		/* of the same node */
	int fd;
	int flags;			/* O_ACCMODE of fd */
	unsigned refs;			/* fs.lock */
	enum fs_layer layer;
	bool dir, released, flocked;
	short flock_type;
	pthread_mutex_t lock;
	struct dir_list *list;		/* merged directories (cow) */
	uint64_t pos;			/* where the next getdents() reads */
};

struct fs_transport {
	/* Answer a request that was REQ_LATER. Any thread. */
	void (*reply)(struct fs_transport *t, uint32_t token, const void *buf, size_t len);
};

struct fs {
	pthread_mutex_t lock;
	pthread_cond_t idle;		/* a share lost its last user */
	struct share *share[FS_SHARES];
	struct inode **by_id;
	struct key **by_key;
	size_t buckets, inodes;		/* a power of two; how many there are */
	uint64_t next_id;
	struct inode *root;
	struct inode lru;		/* list head */
	unsigned dirfds, dirfds_max;
	struct handle **handle;
	unsigned handles, handles_max, handle_hint;
	uint32_t handle_gen;
	size_t list_bytes;		/* of merged directories' lists */
	struct locks *locks;
	unsigned locks_max;
	uint32_t uid, gid;		/* the server's own */
	bool remote_locks;		/* the host's locks, not the guest's own */
	bool locked;			/* no share can be added (confine.h) */
	atomic_ullong requests;
	struct fs_transport *transport;
};

/*
 * @descriptors is how many this process may have open. @remote_locks: locks of guests are
 * locks on the host, for a transport that passes interrupts on. -ENOMEM.
 */
int fs_open(struct fs *fs, unsigned descriptors, bool remote_locks) must_check;
/* No request may be at work. */
void fs_close(struct fs *fs);

/*
 * Serve one request. @head (at least its first 40 bytes, private memory) is the request,
 * of which file data may lie apart in @data. @out has @room bytes and is write only.
 * Returns the length of the reply, 0 for none, FS_LATER if the transport will be called.
 * Any thread that did fs_thread(); many at once.
 */
#define FS_LATER SIZE_MAX
struct fs_call {
	const uint8_t *head, *data;
	size_t head_len, data_len;
	uint8_t *out;
	size_t room;
	uint32_t token;
};
size_t fs_serve(struct fs *fs, const struct fs_call *call) must_check;
/* How many of a request's first bytes must be private memory, as its first 44 bytes tell. */
size_t fs_head_len(const struct fuse_in_header *h) must_check;
/* Make the calling thread's working folder its own: attributes are reached through it. */
int fs_thread(void) must_check;

/* ---- share.c ---- */
/* @root and @upper are O_PATH folders and the callee's, even on failure. @upper: cow, else -1. */
int share_add(struct fs *fs, unsigned id, enum fs_mode mode, enum fs_cache cache, uint32_t uid,
	      uint32_t gid, int root, int upper, struct err *e) must_check;
/* Waits for its requests at work. -ENOENT. */
int share_remove(struct fs *fs, unsigned id) must_check;
/* Hold it against removal: false if it is gone. fs.lock is taken. */
bool share_enter(struct fs *fs, struct share *s) must_check;
void share_leave(struct fs *fs, struct share *s);
/* One pointer to it less; the last one frees it. fs.lock held. */
void share_unref(struct share *s);
/* st_ino for the guest: unique over shares and devices. fs.lock held. */
uint64_t share_ino(struct share *s, const struct ident *id) must_check;

/* ---- inode.c; fs.lock is taken inside unless said otherwise ---- */
int inode_init(struct fs *fs) must_check;
void inode_exit(struct fs *fs);
/* Held, or NULL for a number that the guest does not have. */
struct inode *inode_get(struct fs *fs, uint64_t id) must_check;
void inode_hold(struct fs *fs, struct inode *n);
void inode_put(struct fs *fs, struct inode *n);		/* NULL is fine */
void inode_put_locked(struct fs *fs, struct inode *n);
/* The guest forgets @n of its references; more than it has is all. */
void inode_forget(struct fs *fs, uint64_t id, uint64_t n);
/* What was found under a name. st is that of the topmost layer. */
struct found {
	uint8_t layers;
	enum fs_layer layer;		/* topmost */
	struct statx st;
	struct ident id[FS_LAYERS];
	struct ident shown;		/* whose number the guest sees; a copy's is its origin's */
	bool hidden;			/* a whiteout is there, and nothing else */
	bool below;			/* the name exists in the lower layer */
	bool must_hold;			/* found without the tree's lock: it may be old by now */
	unsigned changes;		/* share.changes before looking */
};
/*
 * The inode for it, held, made if need be; its name is now @name in @parent. @looked: it
 * counts as one more reference of the guest. -ENFILE at FS_INODES_MAX, -ENOMEM, -ESTALE;
 * -EAGAIN with f->must_hold: something changed since, look again.
 */
int inode_find(struct fs *fs, struct share *s, struct inode *parent, const char *name,
	       const struct found *f, bool looked, struct inode **n) must_check;
/* A name is gone, or another one: what is known by it is told. */
void inode_unlinked(struct fs *fs, struct inode *parent, const char *name,
		    const struct ident *id, enum fs_layer layer);
void inode_renamed(struct fs *fs, struct inode *n, struct inode *parent, const char *name);
/* It now exists in @layer too (directories), or only there (files). */
void inode_raised(struct fs *fs, struct inode *n, enum fs_layer layer, const struct ident *id);
/* A directory is no longer in the lower layer: its upper one hides that. */
void inode_alone(struct fs *fs, struct inode *n);
/* By its number, whether the guest has it or not; not held. fs.lock held. */
struct inode *inode_by_id(const struct fs *fs, uint64_t id) must_check;
/* Its identity in @layer is found out (state.c). Not if another one has it. */
void inode_adopt(struct fs *fs, struct inode *n, enum fs_layer layer, const struct ident *id);
/* Give it another number (state.c). fs.lock held. */
void inode_renumber(struct fs *fs, struct inode *n, uint64_t id);
/* A new inode as it was saved: no name yet, and no identity where @id[] has no number. */
int inode_restore(struct fs *fs, struct share *s, uint64_t number, mode_t type, uint8_t layers,
		  const struct ident id[FS_LAYERS], struct inode **n) must_check;
struct ident ident_of(const struct statx *st) must_check;
static inline bool ident_same(const struct ident *a, const struct ident *b)
{
	return a->dev == b->dev && a->ino == b->ino && a->born == b->born;
}

/* ---- handle.c ---- */
/* Takes @fd. -ENFILE when the guest has too many; the descriptor is closed then. */
int handle_new(struct fs *fs, struct inode *n, int fd, int flags, enum fs_layer layer,
	       uint64_t *fh) must_check;
/* Held; NULL unless it is the guest's, of this inode and of this kind. */
struct handle *handle_get(struct fs *fs, uint64_t fh, const struct inode *n, bool dir) must_check;
/* As handle_get(), also of one that was lost: to release it. */
struct handle *handle_last(struct fs *fs, uint64_t fh, const struct inode *n, bool dir) must_check;
/* Why there is none: -EBADF, or -ESTALE if it was lost when the guest was restored. */
int handle_missing(struct fs *fs, uint64_t fh) must_check;
/* Open again under its old number; @fd -1: it is lost. -EEXIST, -EINVAL, -ENOMEM. */
int handle_restore(struct fs *fs, struct inode *n, int fd, int flags, enum fs_layer layer,
		   uint64_t fh) must_check;
/* Some open file of @n whose mode allows @flags (O_ACCMODE), held; or NULL. */
struct handle *handle_any(struct fs *fs, struct inode *n, int flags) must_check;
void handle_put(struct fs *fs, struct handle *h);
/* As handle_put(), and the guest has let go of it: its number is no longer valid. */
void handle_release(struct fs *fs, struct handle *h);
/* After a copy: descriptors of the lower file become those of the upper one, (@dirfd, @name). */
void handle_raise(struct fs *fs, struct inode *n, int dirfd, const char *name);
/* Close what is open in a share that is gone. */
void handle_drop_share(struct fs *fs, const struct share *s);
#endif
