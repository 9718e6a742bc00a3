/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jail.h - the walls around a process that handles what a guest wrote.
 *
 * They go up in four stages, in this order, because each needs what the next one
 * takes away:
 *
 *   jail_early  first thing in main(): descriptors that nobody named, core files
 *   jail_ids    before the first thread and the first KVM_RUN (Linux refuses a user
 *               namespace to a process with threads, and KVM makes one): namespaces
 *   jail_fs     when no path is needed any more, before the first thread: root,
 *               landlock, capabilities
 *   jail_seal   in each thread, with the filter of its class, before it looks at
 *               anything that a guest wrote
 *
 * A wall that this host refuses is noted and left out, or, with JAIL_STRICT, an
 * error with a sentence. The pid namespace can only be given at birth: whoever starts the
 * process makes it (cli/base/spawn.h), and jail_ids() looks.
 *
 * No threads may run during the first three.
 */
#ifndef VMM_JAIL_H
#define VMM_JAIL_H
#include "vmm/base.h"

enum jail_mode {
	JAIL_AUTO,			/* every wall that this host allows */
	JAIL_STRICT,			/* all of them, or an error */
	JAIL_NONE,			/* for debugging */
};

/* In the order in which they go up; the word is what `sandbox` shows. */
#define JAIL_WALLS(X)	\
	X(USER, "user")			/* user namespace without any id mapped */ \
	X(MOUNT, "mount")		/* namespaces ... */ \
	X(IPC, "ipc")			\
	X(UTS, "uts")			\
	X(NET, "net")			/* without an interface that is up */ \
	X(PID, "pid")			\
	X(ROOT, "root")			/* an empty read-only root, or one with only sockets */ \
	X(LANDLOCK, "landlock")		/* no path, no TCP port, no signal to others */ \
	X(CAPS, "caps")			/* no capability, none to be had (no_new_privs) */ \
	X(SECCOMP, "seccomp")		/* a filter in every thread */ \
	X(RING, "uring")		/* io_uring restricted to the operations in use */

enum jail_wall {
#define JAIL_ENUM(name, word) JAIL_##name,
	JAIL_WALLS(JAIL_ENUM)
#undef JAIL_ENUM
	JAIL_NWALLS
};

/* Thread classes: one filter each, made from the marks `#syscalls:CLASS` (docs/jail.md). */
#define JAIL_CLASSES(X) X(LOOP, "loop") X(VCPU, "vcpu") X(FS, "fs")

enum jail_class {
#define JAIL_ENUM(name, word) JAIL_CLASS_##name,
	JAIL_CLASSES(JAIL_ENUM)
#undef JAIL_ENUM
	JAIL_NCLASSES
};

struct jail {
	enum jail_mode mode;
	uint32_t walls;			/* bit of each enum jail_wall that stands */
	int why[JAIL_NWALLS];		/* -errno of one that does not; 0: not tried */
};

/* "auto", "strict", "none". -EINVAL for another word. */
int jail_mode_parse(const char *word, enum jail_mode *mode) must_check;
const char *jail_wall_name(enum jail_wall w);

/*
 * Close every descriptor but 0, 1, 2 and @keep (-1 entries are skipped), and set
 * umask, limits (@nofile descriptors) and a session keyring of our own. With @parent
 * (a pidfd; -1: none) the process dies with that one; -ESRCH if it has ended.
 */
int jail_early(struct jail *j, const int *keep, size_t n, unsigned nofile, int parent,
	       struct err *e) must_check;
/* Namespaces; no core file, no ptrace from now on. */
int jail_ids(struct jail *j, int parent, struct err *e) must_check;
/*
 * The new root is empty, or, with @folder (else NULL), what is in that folder, read-only: for
 * sockets that are connected to by name, which become /NAME. The working
 * directory is the new root. Then landlock, capabilities, no_new_privs.
 */
int jail_fs(struct jail *j, const char *folder, struct err *e) must_check;
/* The part of jail_fs() that is about the root, for a process with another end to it: fsd. */
int jail_root(struct jail *j, const char *folder, struct err *e) must_check;
/*
 * The calling thread's filter: from now on a system call that no mark asks for ends the
 * process. 0 or -errno; the first thread notes the worst of all threads'.
 */
int jail_seal(const struct jail *j, enum jail_class c) must_check;
/* The operations (IORING_OP_*) that a ring of that class may do; *n of them. */
const uint8_t *jail_ring(enum jail_class c, unsigned *n);
/*
 * A wall stands (@rc is 0), or could not be put up (-errno), which is an error if
 * there must be all of them. The stages do it for those that are theirs; JAIL_SECCOMP and
 * JAIL_RING are the caller's.
 */
int jail_note(struct jail *j, enum jail_wall w, int rc, struct err *e) must_check;
/* Names of the walls that stand, with spaces between; those that do not as -NAME. Returns @buf. */
const char *jail_words(const struct jail *j, char *buf, size_t len);
#endif
