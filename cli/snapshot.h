/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snapshot.h - saving, forking and rolling back named sandboxes that run: what the
 * verbs ask, and what the keeper does.
 */
#ifndef CLI_SNAPSHOT_H
#define CLI_SNAPSHOT_H
#include "cli/keeper.h"

#define SNAPSHOT_FOLDER "snapshots"	/* in a sandbox's own folder */

/* `sandbox snapshot create SANDBOX [SNAPSHOT]`: words, NULL at the end. */
int snapshot_create(char **words, bool json, struct err *e) must_check;
/*
 * Have the keeper of @box save it as @name. *answer: pause_ns, total_ns, rounds, pages
 * (numbers), kind; for json_decref().
 */
int snapshot_ask(const char *box, const char *name, json_t **answer, struct err *e) must_check;

/* ---- in the keeper ---- */

/* {"name": SNAPSHOT}: save the machine, which goes on. */
int keeper_serve_snapshot(struct keeper *k, struct keeper_req *r, struct err *e);
/*
 * {"dir": FOLDER}: the machine as it was saved there, in place of the one that runs.
 * When that cannot be restored the sandbox has ended.
 */
int keeper_serve_rollback(struct keeper *k, struct keeper_req *r, struct err *e);
#endif
