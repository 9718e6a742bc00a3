/* SPDX-License-Identifier: Apache-2.0 */
/* control.h - requests about the guest as a whole: RESUME, POWEROFF, REBOOT. */
#ifndef AGENT_CONTROL_H
#define AGENT_CONTROL_H

#include "agent/conn.h"

/* `init`: this is a guest's PID 1; otherwise the requests are refused. */
void control_init(bool init);
void control_request(struct conn *c, const struct proto_hdr *h, const uint8_t *payload);
/* Sync and stop the machine now. */
void control_halt(bool restart);
#endif
