/* SPDX-License-Identifier: Apache-2.0 */
/* image_use.h - which sandboxes need an image. */
#ifndef CLI_VERB_IMAGE_USE_H
#define CLI_VERB_IMAGE_USE_H
#include "vmm/base.h"

/* -EBUSY with a sentence that names a sandbox whose root the image @id is. */
int image_unused(const char *id, struct err *e) must_check;
#endif
