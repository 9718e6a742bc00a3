/* SPDX-License-Identifier: Apache-2.0 */
/*
 * calls.c - the requests that a keeper knows, one row each.
 */
#include "cli/keeper/priv.h"
#include "cli/store/event.h"
#include "cli/base/host.h"

/* {"do": "stop", "grace_ns": N, "reason": TEXT}: answered at once; the end is the connection's. */
static int serve_stop(struct keeper *k, struct keeper_req *r, struct err *e)
{
	json_int_t grace = 0;
	const char *reason = "it was stopped";

	if (json_unpack((json_t *)(uintptr_t)r->args, "{s?I, s?s}", "grace_ns", &grace, "reason",
			&reason) || grace < 0)
		return err_say(e, -EINVAL, "stop: grace_ns is a number, and not below 0");
	keeper_stop(k, (uint64_t)grace, reason);
	return 0;
}

/* A command runs in the sandbox as long as this connection lives. */
static int serve_hold(struct keeper *k, struct keeper_req *r, struct err *e)
{
	if (k->stopping)
		return err_say(e, -ESHUTDOWN, "sandbox '%s' is being stopped", k->box.name);
	*r->hold = true;
	return 0;
}

/* The newest of the guest's console. */
static int serve_console(struct keeper *k, struct keeper_req *r, struct err *e)
{
	char text[MONITOR_TAIL_MAX];

	monitor_tail(&k->m.mon, 200, text, sizeof(text));
	if (json_object_set_new(r->answer, "text", json_string(text)))
		return err_set(e, -ENOMEM, "console");
	return 0;
}

const struct keeper_call keeper_calls[] = {
	{ "stop", serve_stop, false },
	{ "hold", serve_hold, false },
	{ "console", serve_console, false },
	{ "status", keeper_serve_status, false },
	{ "watch", keeper_serve_watch, false },
	{ "until", keeper_serve_until, false },
	{ "attach", keeper_serve_attach, true },
	{ "detach", keeper_serve_detach, true },
	{ "snapshot", keeper_serve_snapshot, true },
	{ "rollback", keeper_serve_rollback, true },
	{ NULL, NULL, false },
};
