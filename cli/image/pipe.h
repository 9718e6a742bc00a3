/* SPDX-License-Identifier: Apache-2.0 */
/* pipe.h - another program whose stdout is read. */
#ifndef CLI_IMAGE_PIPE_H
#define CLI_IMAGE_PIPE_H
#include <sys/types.h>
#include "vmm/base.h"

struct image_pipe { pid_t pid; int fd; };

/*
 * Start argv[0], found along PATH, with one more environment variable ("K=V", may be
 * NULL), nothing on stdin and our stderr. It ends with this process.
 */
int image_pipe_start(struct image_pipe *p, const char *const *argv, const char *env,
		     struct err *e) must_check;
/* Close its stdout and wait for it: 0, or -EIO (@e may be NULL) if it failed. */
int image_pipe_end(struct image_pipe *p, const char *name, struct err *e) must_check;
#endif
