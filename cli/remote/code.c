/* SPDX-License-Identifier: Apache-2.0 */
/*
 * code.c - `sandbox code`: a folder of this host in an editor of this host, whose other half
 * works in a sandbox.
 *
 * What it takes is done only as far as it is not done: make the sandbox, start it, share the
 * folder at its own path, make the keys, let ssh know of them. What is the person's own
 * (~/.ssh/config) is only changed after asking; where there is no editor, or no answer,
 * the recipe is printed.
 */
#include <limits.h>
#include "cli/base/sigs.h"
#include "cli/base/tool.h"
#include "cli/cli.h"
#include "cli/remote/include.h"
#include "cli/remote/remote.h"
#include "cli/verb/named.h"

#define EDITOR "code"

static struct opt table[NAMED_ROWS_MAX];

static int opt_vm(void *into, const char *value, struct err *e)
{
	((struct named *)into)->session = value;
	return store_name_check(value, e);
}

static const struct opt own[] = {
	OPT("vm", 0, "NAME", "that sandbox (default: one named like the folder)", opt_vm),
	NAMED_DRY_RUN,
	{ 0 },
};

__attribute__((constructor)) static void make_table(void)
{
	named_rows(table, NULL, own);
}

/* The folder's name as far as it can be a sandbox's. */
static void name_like(const char *dir, char name[static STORE_NAME_MAX])
{
	const char *slash = strrchr(dir, '/'), *s = slash ? slash + 1 : dir;
	size_t n = 0;

	for (; *s && n + 1 < STORE_NAME_MAX; s++) {
		bool letter = (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') ||
			      (*s >= '0' && *s <= '9');

		if (letter || n)
			name[n++] = letter || strchr("._-", *s) ? *s : '-';
	}
	name[n] = '\0';
	if (!n)
		memcpy(name, EDITOR, sizeof(EDITOR));
}

static bool exists(const char *name)
{
	struct store_box b = STORE_BOX_NONE;
	struct err none;
	bool yes = !store_open(&b, name, &none);

	store_close(&b);
	return yes;
}

static int create(struct named *n, const char *name, const char *dir, struct err *e)
{
	struct store_box b = STORE_BOX_NONE;
	struct settings s = { 0 };
	const struct opt *row = settings_row("volume", e);
	int rc = row ? named_keep_flag(n, row, dir, e) : e->code;

	if (!rc)
		rc = create_settings(n, &s, e);
	if (!rc && !settings_get(&s, "", "image"))
		rc = err_say(e, -EINVAL, "an editor needs an image with an sshd; name one with "
			     "--image");
	settings_free(&s);
	if (!rc && n->dry_run)
		printf("would create sandbox '%s' with the folder %s\n", name, dir);
	else if (!rc)
		rc = create_box(n, name, &b, false, e);
	store_close(&b);
	return rc;
}

static int start(const char *name, struct err *e)
{
	int sigfd = sigs_open(false, e), rc;
	bool was;

	if (sigfd < 0)
		return sigfd;
	rc = named_start(name, sigfd, &was, e);
	close(sigfd);
	return rc > 0 ? err_say(e, -EINTR, "it was interrupted") : rc;
}

/* The verb attach, which does nothing where nothing is to be done. */
static int attach(const struct named *n, const char *name, const char *dir, struct err *e)
{
	struct place self;
	const char *argv[] = { self.path, "attach", "--vm", name, dir, n->conf.yes ? "--yes" : NULL,
			       NULL };
	struct tool t = { .argv = argv };
	int rc = places_self(&self, e);

	if (!rc)
		rc = tool_run(&t, e);
	return rc > 0 ? -EIO : rc;
}

/* Whether it can be logged in to, and how. */
static int prepare(const char *name, struct err *e)
{
	struct store_box b = STORE_BOX_NONE;
	struct ssh_keys k = SSH_KEYS_NONE;
	struct store_state s;
	char user[SSH_USER_MAX], sshd[64];
	auto_mem char *text = NULL;
	int rc = box_running(&b, &s, name, e);

	if (!rc)
		rc = ssh_user(&b, NULL, user, e);
	if (!rc)
		rc = ssh_find(&b, &s, sshd, e);
	if (!rc)
		rc = ssh_keys_open(&k, &b, e);
	if (!rc) {
		text = ssh_keys_config(&k, &b, user, e);
		rc = text ? 0 : e->code;
	}
	ssh_keys_close(&k);
	store_close(&b);
	return rc;
}

static int recipe(const char *name, const char *dir, bool known)
{
	if (!known)
		printf("let ssh know every sandbox:\n  sandbox ssh-config --install\n");
	printf("open the folder over ssh, as VS Code does it:\n"
	       "  code --remote ssh-remote+%s" SSH_DOMAIN " %s\n"
	       "there is no network in the sandbox, so let the editor bring its other half along:\n"
	       "  \"remote.SSH.localServerDownload\": \"always\"\n", name, dir);
	return fflush(stdout) ? CLI_FAILED : CLI_OK;
}

static int open_editor(const struct verb *v, const struct named *n, const char *name,
		       const char *dir)
{
	char remote[STORE_NAME_MAX + 32];
	struct include in = { 0 };
	struct err e = { 0 };
	int rc = include_look(&in, &e);

	if (rc)
		return named_failed(v, &e);
	if (!tool_is_there(EDITOR))
		return recipe(name, dir, in.there);
	if (!in.there && !cli_confirm(v, n->conf.yes, "put a line at the top of %s that lets ssh "
				      "know every sandbox", in.file.path)) {
		(void)recipe(name, dir, false);
		return CLI_USAGE;
	}
	if (!in.there && include_add(&in, &e))
		return named_failed(v, &e);
	snprintf(remote, sizeof(remote), "ssh-remote+%s" SSH_DOMAIN, name);
	execlp(EDITOR, EDITOR, "--remote", remote, dir, (char *)NULL);
	err_set(&e, -errno, "run %s", EDITOR);
	return named_failed(v, &e);
}

static int act(struct named *n, const char *name, const char *dir, struct err *e)
{
	bool there = exists(name);
	int rc = there ? 0 : create(n, name, dir, e);

	if (rc || n->dry_run) {
		if (!rc)
			printf("would start sandbox '%s', share %s with it and open that there\n",
			       name, dir);
		return rc;
	}
	rc = start(name, e);
	if (!rc && there)
		rc = attach(n, name, dir, e);
	return rc ? rc : prepare(name, e);
}

static int code_main(const struct verb *v, int argc, char **argv)
{
	char name[STORE_NAME_MAX], dir[PATH_MAX];
	struct err e = { 0 };
	struct named n;
	int status = named_begin(v, argc, argv, &n, 0, 1);

	if (status < 0) {
		if (!realpath(n.n_words ? n.words[0] : ".", dir)) {
			err_set(&e, -errno, "%.150s", n.words[0]);
			status = named_failed(v, &e);
		} else {
			name_like(dir, name);
			if (n.session)
				snprintf(name, sizeof(name), "%s", n.session);
			status = act(&n, name, dir, &e) ? named_failed(v, &e) :
				 n.dry_run ? CLI_OK : open_editor(v, &n, name, dir);
		}
	}
	named_end(&n);
	return fflush(stdout) ? CLI_FAILED : status;
}

const struct verb verb_code = {
	.name = "code", .args = "[DIR]",
	.summary = "Open a folder in VS Code, with its terminals, tools and extensions in a sandbox,\n"
		   "which is made and started if need be; without that editor, print how another does it",
	.example = "  sandbox code --image dev .\n  sandbox code --vm web ~/site\n",
	.table = table, .main = code_main,
};
