/* SPDX-License-Identifier: Apache-2.0 */
/*
 * launch.h - from what was asked for to a machine whose agent answers: what `run` and
 * the keeper of a named sandbox have in common.
 */
#ifndef CLI_RUN_LAUNCH_H
#define CLI_RUN_LAUNCH_H
#include "cli/machine/machine.h"
#include "cli/run/conf.h"

/*
 * Start a machine for @c: restored from the snapshot c->from_at if that is set, else
 * from a template, which is made on first use, or booted if c->cold. @name: host name of
 * the guest, or NULL. @keep_sockets: its runtime folder stays until machine_stop().
 * Results as those of machine_start(); machine_stop() comes afterwards in every case.
 */
int launch(struct machine *m, struct run_conf *c, const char *name, bool keep_sockets,
	   int sigfd, struct err *e) must_check;
/*
 * Open the disk that launch() would: --disk, or a copy of the saved machine's. Once: for those
 * who want to know whether that works before they give something else up.
 */
int launch_disk(struct run_conf *c, struct err *e) must_check;
#endif
