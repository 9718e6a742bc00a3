/* SPDX-License-Identifier: Apache-2.0 */
/*
 * share.h - the folders that a sandbox shares: what -v says, checked.
 */
#ifndef CLI_SHARE_SHARE_H
#define CLI_SHARE_SHARE_H
#include "agent/proto.h"
#include "vmm/base.h"

enum share_mode { SHARE_RW, SHARE_RO, SHARE_COW };
enum share_cache { SHARE_CACHE_AUTO, SHARE_CACHE_NONE, SHARE_CACHE_ALWAYS };

/* Strings are owned. */
struct share {
	unsigned id;		/* its number on the server: free when it was added */
	char *src;		/* on the host: absolute, no symbolic link in it */
	char *dst;		/* in the guest: absolute, no "." or "..", not "/" */
	enum share_mode mode;
	enum share_cache cache;
	/* Of a machine that goes on from a snapshot (saved.h): */
	bool known;		/* the same is in the snapshot */
	bool mounted;		/* and need not be mounted */
};

/* In the order in which they are mounted: a folder before what is inside of it. */
struct shares {
	struct share v[PROTO_SHARES_MAX];
	size_t n;
};

/*
 * Take one more, as given: SRC[:DST][:OPTIONS], OPTIONS a list with commas of ro, rw, cow
 * and cache=none|auto|always. Without DST the guest has it at the same path. 0, or
 * -errno with a sentence. A relative SRC is looked up from here.
 */
int shares_add(struct shares *s, const char *text, struct err *e) must_check;
/* What --yes skips: guarded folders, and folders that overlap. */
int shares_guard(const struct shares *s, struct err *e) must_check;
/*
 * Where in the guest the current folder is: in @buf, or NULL when it is not shared.
 */
const char *shares_workdir(const struct shares *s, char *buf, size_t len);
/* The one at @dst, or NULL. */
struct share *shares_at(struct shares *s, const char *dst);
/* The one that shows the host's folder @src, or NULL. */
struct share *shares_of(struct shares *s, const char *src);
/* Take @one, which is in @s, out of it. */
void shares_drop(struct shares *s, struct share *one);
void shares_free(struct shares *s);
const char *share_mode_name(enum share_mode m);
const char *share_cache_name(enum share_cache c);
/* As shares_add() takes it. malloc'ed; NULL when out of memory. */
char *share_text(const struct share *s);
#endif
