/* SPDX-License-Identifier: Apache-2.0 */
/*
 * user.c - as whom other programs work in a sandbox: its own user, or its image's.
 */
#include "cli/keeper/keeper.h"
#include "cli/remote/remote.h"

int remote_user(struct store_box *b, char **user, struct err *e)
{
	struct settings s = { 0 };
	struct run_conf c;
	struct err none;
	int rc = keeper_settings(b, &s, e);

	*user = NULL;
	run_conf_init(&c);
	if (!rc)
		rc = settings_apply(&s, "", "image user", &c, "its config", e);
	if (!rc && run_image(&c, &none))
		c.root.ref = NULL;	/* no image, no user of an image */
	if (!rc && c.user && strcmp(c.user, "0") && strcmp(c.user, "root"))
		*user = take_ptr(&c.user);
	run_conf_free(&c);
	settings_free(&s);
	return rc;
}

int ssh_user_check(const char *name, struct err *e)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789_.-";
	size_t len = strlen(name);

	if (!len || len >= SSH_USER_MAX || strspn(name, letters) != len || *name == '-')
		return err_say(e, -EINVAL, "'%.60s' is no user's name", name);
	if (strspn(name, "0123456789") == len)
		return err_say(e, -EINVAL, "ssh logs in by a name, and '%s' is a number; say --user "
			       "NAME", name);
	return 0;
}

int ssh_user(struct store_box *b, const char *asked, char user[static SSH_USER_MAX], struct err *e)
{
	char *own = NULL;
	int rc = asked ? 0 : remote_user(b, &own, e);
	const char *name = asked ? asked : own ? own : "root";

	if (!rc)
		rc = ssh_user_check(name, e);
	if (!rc)
		snprintf(user, SSH_USER_MAX, "%s", name);
	free(own);
	return rc;
}
