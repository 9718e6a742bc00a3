/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shared.h - the shared folders of one running machine: their server, the folders for
 * changes, and their mounts in the guest. Main thread only.
 */
#ifndef CLI_SHARE_SHARED_H
#define CLI_SHARE_SHARED_H
#include "agent/client/client.h"
#include "cli/share/fsd.h"
#include "cli/share/upper.h"

struct shared {
	struct fsd fsd;
	struct upper_temp temp;
	int cow_dir;		/* not ours; -1: @temp is made when there is need */
	uint32_t owner[2];	/* whom in the guest this user's files belong to */
	struct shares was;	/* of the snapshot; .mounted: it has to go */
};

#define SHARED_NONE { .fsd = FSD_NONE, .temp = UPPER_TEMP_NONE, .cow_dir = -1 }

/*
 * Which folders the machine that goes on from the snapshot in the folder @from (-1: none)
 * has mounted, and which of @list (NULL: there are none) are among them. First of all.
 * shared_stop() comes afterwards in every case.
 */
int shared_look(struct shared *s, struct shares *list, int from, struct err *e) must_check;
/*
 * Start the server with all of @list, in the state of @from. @jail, vm_fd: as of fsd_start().
 * @cow_dir (0: none) has to stay open.
 */
int shared_start(struct shared *s, const struct shares *list, int cow_dir,
		 const uint32_t owner[2], const char *jail, int from, int vm_fd[2],
		 struct err *e) must_check;
/* Have the guest mount what it has to of @list (NULL: nothing), and unmount what was. */
int shared_mount(const struct shared *s, const struct shares *list, struct client *c,
		 struct err *e) must_check;
/*
 * While the machine stands still: what belongs to the same moment as its memory, into the
 * snapshot's folder @dir. Any thread, but no other of these functions at the time.
 */
int shared_save(struct shared *s, const struct shares *list, int dir,
		struct err *e) must_check;
/* One more, and one less, while the machine runs. */
int shared_attach(struct shared *s, const struct share *one, struct client *c,
		  struct err *e) must_check;
int shared_detach(struct shared *s, const struct share *one, struct client *c,
		  struct err *e) must_check;
void shared_stop(struct shared *s);
#endif
