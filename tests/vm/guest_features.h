/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guest_features: what its two files share.  A feature runs in a child process of its own and
 * returns when it works; otherwise it says why through features_fail() and ends.
 */
#ifndef TESTS_VM_GUEST_FEATURES_H
#define TESTS_VM_GUEST_FEATURES_H

#include <errno.h>
#include <stddef.h>
#include <sys/types.h>

#define FEATURES_BASE "/tmp/guest_features"

struct feature {
	const char *name;
	void (*try)(void);
};

/* Ended by an entry without a name. */
extern const struct feature features_io[];

/* Prints why, with errno, and ends the child. */
__attribute__((noreturn, format(printf, 1, 2))) void features_fail(const char *fmt, ...);

#define NEED(cond)                                                                                 \
	do {                                                                                       \
		if (!(cond))                                                                       \
			features_fail("line %d: %s", __LINE__, #cond);                             \
	} while (0)

/* Reads a whole file into buf, ended by a NUL; returns its bytes or -1. */
ssize_t features_slurp(const char *path, char *buf, size_t size);

/* Writes text to path in one write, or fails. */
void features_spit(const char *path, const char *text);

/* A mount namespace of our own with a fresh tmpfs at FEATURES_BASE. */
void features_own_mounts(void);

/* A network namespace of our own with the loopback interface up. */
void features_own_net(void);

#endif
