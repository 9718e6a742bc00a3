/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control.h - requests of the process that started the server (wire.h).
 */
#ifndef DEVICES_FS_CONTROL_H
#define DEVICES_FS_CONTROL_H
#include "devices/fs/transport.h"

/* Take one packet from @fd and answer it. 0; -EPIPE when the peer has gone. */
int control_serve(struct fs *fs, struct transport *t, int fd) must_check;
/* The words of "share", also as they come from the command line. -EINVAL with a sentence. */
int control_mode(const char *word, enum fs_mode *mode) must_check;
int control_cache(const char *word, enum fs_cache *cache) must_check;
#endif
