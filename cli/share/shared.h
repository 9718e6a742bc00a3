/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shared.h - the shared folders of one running machine: their server, the folders for
 * changes, and their mounts in the guest. Main thread only.
 */
#ifndef CLI_SHARE_SHARED_H
#define CLI_SHARE_SHARED_H
#include "agent/client.h"
#include "cli/share/fsd.h"
#include "cli/share/upper.h"

struct shared {
	struct fsd fsd;
	struct upper_temp temp;
	int cow_dir;		/* not ours; -1: @temp is made when there is need */
	uint32_t owner[2];	/* whom in the guest this user's files belong to */
};

#define SHARED_NONE { .fsd = FSD_NONE, .temp = UPPER_TEMP_NONE, .cow_dir = -1 }

/*
 * Start the server with all of @list. @jail, vm_fd: as of fsd_start(). @cow_dir (0: none) has to
 * stay open. shared_stop() comes afterwards in every case.
 */
int shared_start(struct shared *s, const struct shares *list, int cow_dir,
		 const uint32_t owner[2], const char *jail, int vm_fd[2],
		 struct err *e) must_check;
/* Mount all of @list in the guest. */
int shared_mount(const struct shares *list, struct client *c, struct err *e) must_check;
/* One more, and one less, while the machine runs. */
int shared_attach(struct shared *s, const struct share *one, struct client *c,
		  struct err *e) must_check;
int shared_detach(struct shared *s, const struct share *one, struct client *c,
		  struct err *e) must_check;
void shared_stop(struct shared *s);
#endif
