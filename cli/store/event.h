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

#define EVENT_FILE	"events"
#define EVENT_OLDER	"events.1"	/* what was in it before it grew large */
#define EVENT_ROTATE_AT	(4 << 20)	/* bytes */

/*
 * Append {"time": ..., "event": @what, ...@details}; @details (may be NULL) is taken over.
 * A line that cannot be written is lost: no verb fails for that.
 */
void event_write(const struct store_box *b, const char *what, json_t *details);
#endif
