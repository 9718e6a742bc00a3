/* SPDX-License-Identifier: Apache-2.0 */
/*
 * event.h - a sandbox's own log: one JSON object a line, in the order in which they
 * happened. Written by host processes only; each line by one write, so that any number
 * of them may append at once.
 */
#ifndef CLI_STORE_EVENT_H
#define CLI_STORE_EVENT_H
#include <jansson.h>
#include "cli/store/store.h"

/*
 * Append {"time": ..., "event": @what, ...@details}; @details (may be NULL) is taken over.
 * A line that cannot be written is lost: no verb fails for that.
 */
void event_write(const struct store_box *b, const char *what, json_t *details);
/* Begin a new file when this one has grown large; the older one stays as events.1. */
void event_rotate(const struct store_box *b);
#endif
