/* SPDX-License-Identifier: Apache-2.0 */
/*
 * status.c - what only the keeper knows of a sandbox that runs: the walls around its
 * processes, the folders that it shares now, the commands that are attached, and what time is left.
 */
#include "cli/base/term.h"
#include "cli/base/text.h"
#include "cli/keeper/priv.h"

#define NS_PER_MS	1000000u

static json_t *shares_json(const struct shares *s)
{
	json_t *list = json_array();

	for (size_t i = 0; i < s->n; i++)
		json_array_append_new(list, json_pack("{s:o, s:o, s:s, s:s}", "source",
			text_json(s->v[i].src), "target", text_json(s->v[i].dst), "mode",
			share_mode_name(s->v[i].mode),
			"cache", share_cache_name(s->v[i].cache)));
	return list;
}

static json_t *left(uint64_t at)
{
	uint64_t now = term_now_ns();

	if (!at)
		return json_null();
	return json_integer((json_int_t)(at > now ? (at - now) / NS_PER_MS : 0));
}

/* {"do": "status"} */
int keeper_serve_status(struct keeper *k, struct keeper_req *r, struct err *e)
{
	const struct fsd *fsd = &k->m.shared.fsd;
	size_t held = 0;
	uint64_t idle_at;
	json_t *o;

	for (size_t i = 0; i < k->n_conns; i++)
		held += k->conns[i].hold;
	idle_at = k->conf.idle_ns && !held ? k->idle_since + k->conf.idle_ns : 0;
	o = json_pack("{s:s, s:s, s:s, s:o, s:i, s:o, s:o, s:o}", "jail", k->conf.jail, "walls",
		      k->m.mon.walls, "limits", machine_limits(&k->m), "server_pid",
		      fsd->pid > 0 && fsd->pidfd >= 0 ? json_integer(fsd->pid) : json_null(),
		      "attached", (int)held, "shares", shares_json(&k->conf.shares),
		      "ttl_left_ms", left(k->ttl_at), "idle_left_ms",
		      left(idle_at));
	if (!o || json_object_update(r->answer, o)) {
		json_decref(o);
		return err_set(e, -ENOMEM, "status");
	}
	json_decref(o);
	return 0;
}
