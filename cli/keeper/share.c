/* SPDX-License-Identifier: Apache-2.0 */
/*
 * share.c - folders attached to a running sandbox, and detached.
 *
 * A folder that is attached is one of the sandbox's from then on: it is written to its
 * config, so each start shares it again. Asking for what is so already changes nothing.
 */
#include "cli/base/text.h"
#include "cli/keeper/attach.h"
#include "cli/store/event.h"
#include "cli/keeper/priv.h"

/* What is configured, and what runs: there is no difference for `status` to find. */
static int note(const struct store_box *b, const char *old, const char *new, struct err *e)
{
	int rc = attach_config(b, "config", old, new, e);

	return rc ? rc : attach_config(b, "running", old, new, e);
}

static int attach(struct keeper *k, const char *text, const struct share *one, struct err *e)
{
	struct client *c = keeper_client(k, e);
	struct err undo;
	int rc = c ? shared_attach(&k->m.shared, one, c, e) : e->code;

	if (!rc && note(&k->box, NULL, text, e)) {
		rc = e->code;
		(void)!shared_detach(&k->m.shared, one, c, &undo);
	}
	client_close(c);
	return rc;
}

/* {"do": "attach", "share": TEXT, "yes": BOOL}; the answer's "there": it was so already. */
int keeper_serve_attach(struct keeper *k, struct keeper_req *r, struct err *e)
{
	struct shares *s = &k->conf.shares, want = { 0 };
	struct share *one = NULL;
	const char *text;
	int rc, yes = 0;
	bool there;

	if (json_unpack((json_t *)(uintptr_t)r->args, "{s:s, s?b}", "share", &text, "yes", &yes))
		return err_say(e, -EINVAL, "attach: 'share' is missing");
	rc = shares_add(&want, text, e);
	if (!rc)
		rc = attach_look(s, k->box.name, &want.v[0], &there, e);
	if (!rc && !there)
		rc = shares_add(s, text, e);
	if (!rc && !there)
		one = shares_at(s, want.v[0].dst);
	if (one && !yes)
		rc = attach_overlaps(s, one, e);
	if (one && !rc)
		rc = attach(k, text, one, e);
	if (one && rc)
		shares_drop(s, one);
	if (one && !rc)
		event_write(&k->box, "attach", json_pack("{s:o}", "share", text_json(text)));
	shares_free(&want);
	if (!rc && json_object_set_new(r->answer, "there", json_boolean(there)))
		return err_set(e, -ENOMEM, "attach");
	return rc;
}

/* {"do": "detach", "path": PATH of the host or the guest}; "there": it was shared. */
int keeper_serve_detach(struct keeper *k, struct keeper_req *r, struct err *e)
{
	struct shares *s = &k->conf.shares;
	auto_mem char *text = NULL;
	struct client *c = NULL;
	struct share *one;
	const char *path;
	int rc = 0;

	if (json_unpack((json_t *)(uintptr_t)r->args, "{s:s}", "path", &path))
		return err_say(e, -EINVAL, "detach: 'path' is missing");
	one = shares_of(s, path);
	if (!one)
		one = shares_at(s, path);
	if (json_object_set_new(r->answer, "there", json_boolean(one)))
		return err_set(e, -ENOMEM, "detach");
	if (!one)
		return 0;
	text = share_text(one);
	c = text ? keeper_client(k, e) : NULL;
	rc = !text ? err_set(e, -ENOMEM, "detach") : !c ? e->code :
	     shared_detach(&k->m.shared, one, c, e);
	client_close(c);
	if (rc)
		return rc;
	shares_drop(s, one);
	event_write(&k->box, "detach", json_pack("{s:o}", "share", text_json(text)));
	return note(&k->box, text, NULL, e);
}
