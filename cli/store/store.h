/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store.h - the named sandboxes: one folder each in the state folder,
 * sandboxes/NAME/, which holds
 *
 *   config      what was asked for: lines `key = value` (settings.h)
 *   state       JSON: how it is or ended, and where its sockets are (struct store_state)
 *   events      JSON lines: what happened to it (event.h)
 *   console     the newest output of the guest's console
 *   recordings/ terminals (record.h)
 *   disk...     of the disk's owner, kept from one start to the next
 *
 * Whoever holds the lock on the folder (flock, dropped by the kernel with its holder)
 * owns the sandbox's life: the keeper while it runs, else a command that starts or
 * removes it. So a state file that says "running" in a folder whose lock is free tells
 * of a crash. A folder comes by rename(2) of a finished one and goes by rename to a
 * name that nobody looks up, so nobody ever sees half of one, and of two that are
 * made under one name one wins. Any number of processes at once. Main thread only.
 */
#ifndef CLI_STORE_STORE_H
#define CLI_STORE_STORE_H
#include <jansson.h>
#include <sys/types.h>
#include "cli/base/places.h"

#define STORE_NAME_MAX	64u	/* with NUL; a name becomes the guest's host name */

enum store_life {
	STORE_CREATED,		/* never started */
	STORE_STARTING,
	STORE_RUNNING,
	STORE_STOPPED,
	STORE_CRASHED,
};

/* The state file. What a reader gets is what holds: a dead keeper's "running" is a crash. */
struct store_state {
	enum store_life life;
	pid_t keeper, vmm;		/* of the last start; 0: none */
	uint64_t created_ns, started_ns, ended_ns;	/* CLOCK_REALTIME; 0: never */
	uint64_t ready_ns;		/* how long the last start took */
	bool restored;			/* from a template, not by a boot */
	char runtime[PLACES_MAX];	/* folder of its sockets, while it runs */
	char reason[400];		/* why it ended; "" so far */
};

/* One sandbox, its folder open. */
struct store_box {
	char name[STORE_NAME_MAX];
	int dir;		/* its folder */
	bool locked;		/* by us, through dir */
	struct place path;	/* of the folder, for messages and programs */
};

#define STORE_BOX_NONE { .dir = -1 }

/* -EINVAL with a sentence for what is no name: 1 to 63 of a-z A-Z 0-9 _ . -, first a-z A-Z 0-9. */
int store_name_check(const char *name, struct err *e) must_check;
/* The same for one that is to be made: words that mean something else are none, either. */
int store_name_new(const char *name, struct err *e) must_check;
/* A name that nothing has yet (a hint only: store_create() decides), as "calm-otter-3f2a". */
void store_name_make(char name[static STORE_NAME_MAX]);

/*
 * A new sandbox with that text as its config, in state CREATED; locked if @lock.
 * -EEXIST with a sentence when there is one of that name.
 */
int store_create(struct store_box *b, const char *name, const char *config, bool lock,
		 struct err *e) must_check;
/* Open one. -ENOENT with a sentence that names the nearest name there is. */
int store_open(struct store_box *b, const char *name, struct err *e) must_check;
/* Take the lock. -EBUSY, without a sentence, when somebody else has it; -ENOENT: it was removed. */
int store_lock(struct store_box *b, struct err *e) must_check;
void store_unlock(struct store_box *b);
/* Whoever has the lock of an open one has it through @dir too: it may be handed on by exec. */
void store_close(struct store_box *b);
/* Remove a locked one with all in it, and close it. */
int store_remove(struct store_box *b, struct err *e) must_check;

/* Names of all, in alphabetical order, NULL at the end: for store_names_free(). Also sweeps. */
char **store_names(size_t *n, struct err *e);
void store_names_free(char **names);

/*
 * Its state as it is now. A crash that nobody has noted yet is noted in the file, if
 * the lock is free.
 */
int store_state(struct store_box *b, struct store_state *s, struct err *e) must_check;
/* Replace the state file; the lock is ours. */
int store_state_write(const struct store_box *b, const struct store_state *s,
		      struct err *e) must_check;
const char *store_life_name(enum store_life life);

/*
 * Wait for those who change its config, of whom there is one at a time: a descriptor to close
 * afterwards, or -errno with a sentence.
 */
int store_config_lock(const struct store_box *b, struct err *e) must_check;
/* A file of the folder as text (malloc), at most 1 MiB. NULL, -errno in e->code. */
char *store_read(const struct store_box *b, const char *file, struct err *e);
/* Replace a file of the folder, whole or not at all. Mode 0600. */
int store_write(const struct store_box *b, const char *file, const char *text, size_t len,
		struct err *e) must_check;
/* The same for a file of any folder. */
int store_replace(int dir, const char *file, const char *text, size_t len,
		  struct err *e) must_check;
/* Delete what is called @name in @dir, folders with all in them; nothing is followed. */
int store_delete_tree(int dir, const char *name) must_check;
#endif
