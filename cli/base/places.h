/* SPDX-License-Identifier: Apache-2.0 */
/*
 * places.h - where things are: the user's folders by the XDG rules, and the
 * files that belong to this program, in the build tree or installed.
 *
 * Paths are absolute unless they came from the user, and fit in PLACES_MAX.
 */
#ifndef CLI_BASE_PLACES_H
#define CLI_BASE_PLACES_H
#include "vmm/base.h"

#define PLACES_MAX 1024u

struct place { char path[PLACES_MAX]; };

/*
 * The folder for sockets: $XDG_RUNTIME_DIR/sandbox, or `run` in the state folder
 * when that one cannot be used. Made if need be; ours alone, mode 0700.
 */
int places_runtime(struct place *p, struct err *e) must_check;
/* $XDG_STATE_HOME/sandbox, made if need be; ours alone, mode 0700. */
int places_state(struct place *p, struct err *e) must_check;
/* $XDG_DATA_HOME/sandbox; not made. */
int places_data(struct place *p, struct err *e) must_check;
/* $XDG_DATA_HOME/sandbox/images, made if need be; ours alone, mode 0700. */
int places_images(struct place *p, struct err *e) must_check;
/* $XDG_CONFIG_HOME/sandbox; not made. */
int places_config(struct place *p, struct err *e) must_check;
/* $XDG_CACHE_HOME/sandbox; not made. */
int places_cache(struct place *p, struct err *e) must_check;
/* `templates` in it, made if need be; both ours alone: machines go on from what is in there. */
int places_templates(struct place *p, struct err *e) must_check;

/*
 * The monitor ($SANDBOX_VMM, else beside this program, else in libexec), the server of
 * shared folders ($SANDBOX_FSD, and so on), the guest's kernel and its initial
 * RAM file system (in guest/ beside this program, else in share). -ENOENT with a sentence
 * that says how to get it.
 */
int places_vmm(struct place *p, struct err *e) must_check;
int places_fsd(struct place *p, struct err *e) must_check;
int places_kernel(struct place *p, struct err *e) must_check;
int places_initrd(struct place *p, struct err *e) must_check;
/* This program itself, and the folder that it lies in. */
int places_self(struct place *p, struct err *e) must_check;
int places_self_dir(struct place *p, struct err *e) must_check;
/*
 * How much room a user has on the disk at @p, which becomes the nearest folder that exists, at or
 * above what it was. -errno if nobody can tell.
 */
int places_space(struct place *p, uint64_t *bytes) must_check;
#endif
