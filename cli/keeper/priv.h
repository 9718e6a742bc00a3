/* SPDX-License-Identifier: Apache-2.0 */
/*
 * priv.h - between the files of the keeper: keeper.c (life), loop.c (what
 * it waits for), requests.c (what it is told), calls.c (what it can be asked), ask.c (who asks).
 */
#ifndef CLI_KEEPER_PRIV_H
#define CLI_KEEPER_PRIV_H
#include "cli/keeper/keeper.h"

/* What the starting command hands over. */
#define KEEPER_DIR_FD		3
#define KEEPER_REPORT_FD	4
#define KEEPER_SOCKET		"c"	/* in the runtime folder */

/*
 * Listen for requests, in the folder of the machine; who waits where it listened before is
 * taken. 0 or -errno with a sentence.
 */
int keeper_listen(struct keeper *k, struct err *e) must_check;
/* One packet to a connection: @o with "ok", or the error. */
void keeper_answer(int conn, json_t *o, int rc, const struct err *e);
/* Rows of the table that have files of their own. */
int keeper_serve_attach(struct keeper *k, struct keeper_req *r, struct err *e);
int keeper_serve_detach(struct keeper *k, struct keeper_req *r, struct err *e);
int keeper_serve_status(struct keeper *k, struct keeper_req *r, struct err *e);
/* {"name": SNAPSHOT}: save the machine, which goes on. */
int keeper_serve_snapshot(struct keeper *k, struct keeper_req *r, struct err *e);
/*
 * {"dir": FOLDER}: the machine as it was saved there, in place of the one that runs.
 * When that cannot be restored the sandbox has ended.
 */
int keeper_serve_rollback(struct keeper *k, struct keeper_req *r, struct err *e);
/* {}: the end of detached commands is noted from now on. */
int keeper_serve_watch(struct keeper *k, struct keeper_req *r, struct err *e);
/* {"id": N}: stop and remove the sandbox when that execution ends; it is watched already. */
int keeper_serve_until(struct keeper *k, struct keeper_req *r, struct err *e);
/*
 * The descriptor that is readable when there is something to note; -1: nothing is watched, or,
 * until k->jobs_at, enough has been noted.
 */
int keeper_jobs_fd(const struct keeper *k);
void keeper_jobs_read(struct keeper *k);
/* The machine is a copy of one in which commands may run. */
void keeper_jobs_inherited(struct keeper *k);
/* Whether anything runs in the guest, as it says. */
bool keeper_busy(struct keeper *k);
/* A connection has something; false: it has ended. */
bool keeper_take(struct keeper *k, struct keeper_conn *c);
/* The work under way has ended: those that waited for it. */
void keeper_take_later(struct keeper *k);
/* Forget what it waits with. */
void keeper_drop_later(struct keeper_conn *c);
/* Serve until the monitor has ended; it is reaped then. */
void keeper_loop(struct keeper *k);
/* Close every connection: for those who wait for the end, this is it. */
void keeper_hang_up(struct keeper *k);
#endif
