/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keeper_priv.h - between the files of the keeper: keeper.c (life), keeper_loop.c (what
 * it waits for), keeper_calls.c (what it can be asked), keeper_ask.c (who asks).
 */
#ifndef CLI_KEEPER_PRIV_H
#define CLI_KEEPER_PRIV_H
#include "cli/keeper.h"

/* What the starting command hands over. */
#define KEEPER_DIR_FD		3
#define KEEPER_REPORT_FD	4
#define KEEPER_SOCKET		"c"	/* in the runtime folder */

/* Listen for requests. 0 or -errno with a sentence. */
int keeper_listen(struct keeper *k, struct err *e) must_check;
/* Rows of the table that have files of their own. */
int keeper_serve_attach(struct keeper *k, struct keeper_req *r, struct err *e);
int keeper_serve_detach(struct keeper *k, struct keeper_req *r, struct err *e);
/* Serve until the monitor has ended; it is reaped then. */
void keeper_loop(struct keeper *k);
/* Close every connection: for those who wait for the end, this is it. */
void keeper_hang_up(struct keeper *k);
#endif
