/* SPDX-License-Identifier: Apache-2.0 */
/*
 * create.c - `sandbox create`: check what is asked for, and keep it.
 *
 * What a sandbox is made of is settled here: the person's defaults, then the flags.
 * Whatever the host cannot give is refused now, not at the first start.
 */
#include "cli/run/limits.h"
#include "cli/store/autostart.h"
#include "cli/store/event.h"
#include "cli/verb/named.h"

static struct opt table[NAMED_ROWS_MAX];

static const struct opt own[] = {
	NAMED_DRY_RUN, NAMED_JSON,
	{ 0 },
};

__attribute__((constructor)) static void make_table(void)
{
	named_rows(table, NULL, own);
}

int named_keep_settled(const struct run_conf *c, struct settings *s)
{
	int rc = 0;

	for (size_t i = 0; !rc && i < c->env.n; i++)
		rc = settings_set(s, "", "env", c->env.v[i]);
	for (size_t i = 0; !rc && i < c->shares.n; i++) {
		auto_mem char *text = share_text(&c->shares.v[i]);

		rc = text ? settings_set(s, "", "volume", text) : -ENOMEM;
	}
	return rc;
}

/* A name may be another image's tomorrow, and what the disk keeps are changes to this one. */
static char *settled_image(const struct run_conf *c)
{
	const char *ref = c->root.ref;
	size_t n = ref ? strcspn(ref, "@") : 0;
	char *text = NULL;

	if (!ref || !strncmp(ref, "sha256:", 7))
		n = 0;
	return ref && asprintf(&text, "%.*s%ssha256:%s", (int)n, ref ? ref : "", n ? "@" : "",
			       c->root.image.id) >= 0 ? text : NULL;
}

/* Defaults under the flags, and all of it checked as a start would. */
int create_settings(struct named *n, struct settings *s, struct err *e)
{
	auto_mem char *image = NULL;
	struct run_conf c;
	int rc = settings_defaults(s, e);

	if (rc)
		return rc;
	run_conf_init(&c);
	rc = run_conf_check(&n->conf, e);	/* completes the environment */
	if (!rc && (settings_merge(s, "", &n->set, "") || named_keep_settled(&n->conf, s)))
		rc = err_set(e, -ENOMEM, "settings");
	if (!rc)
		rc = settings_apply(s, "", NULL, &c, "the configuration", e);
	if (!rc)
		rc = run_conf_check(&c, e);
	if (!rc)
		rc = limits_disk(&c, true, e);
	if (!rc && settings_get(s, "", "image"))
		image = settled_image(&c);
	run_conf_free(&c);
	if (!rc && image && settings_set(s, "", "image", image))
		rc = err_set(e, -ENOMEM, "settings");
	return rc;
}

int create_box(struct named *n, const char *name, struct store_box *b, bool lock, struct err *e)
{
	struct settings s = { 0 };
	auto_mem char *text = NULL;
	struct err quiet = { 0 };
	int rc = create_settings(n, &s, e);

	if (!rc) {
		text = settings_text(&s);
		rc = text ? store_create(b, name, text, lock, e) :
			    err_set(e, -ENOMEM, "settings");
	}
	if (!rc)
		event_write(b, "created", NULL);
	if (!rc && settings_is_on(&s, "", "autostart")) {
		rc = autostart_set(b->name, true, e);
		if (rc && ((!b->locked && store_lock(b, &quiet)) || store_remove(b, &quiet)))
			cli_say("create: %s stays: %s", name, quiet.msg);
	}
	settings_free(&s);
	return rc;
}

static int dry_run(struct named *n, const char *name, struct err *e)
{
	struct settings s = { 0 };
	auto_mem char *text = NULL;
	struct store_box b = STORE_BOX_NONE;
	int rc = store_name_new(name, e);

	if (!rc && !store_open(&b, name, e))
		rc = err_say(e, -EEXIST, "there is already a sandbox named '%s'", name);
	store_close(&b);
	if (!rc)
		rc = create_settings(n, &s, e);
	text = rc ? NULL : settings_text(&s);
	if (text)
		printf("would create sandbox '%s'%s\n%s", name, *text ? " with" : "", text);
	settings_free(&s);
	return rc;
}

static int create_main(const struct verb *v, int argc, char **argv)
{
	struct store_box b = STORE_BOX_NONE;
	struct named n;
	struct err e = { 0 };
	int status = named_begin(v, argc, argv, &n, 1, 1), rc;

	if (status < 0) {
		rc = n.dry_run ? dry_run(&n, n.words[0], &e) :
				 create_box(&n, n.words[0], &b, false, &e);
		if (rc)
			status = named_failed(v, &e);
		else if (n.json && !n.dry_run)
			status = named_print_json(json_pack("{s:s, s:s}", "name", b.name, "folder",
							    b.path.path));
		else if (!n.dry_run)
			puts(b.name);
		if (status < 0)
			status = fflush(stdout) ? CLI_FAILED : CLI_OK;
	}
	store_close(&b);
	named_end(&n);
	return status;
}

const struct verb verb_create = {
	.name = "create", .args = "NAME",
	.summary = "Make a sandbox that is kept, to be started later. While it is stopped its settings,\n"
		   "logs, snapshots and --disk are kept; its memory, and files on no disk, are not",
	.example = "  sandbox create web -m 512M --cpus 2\n"
		   "  sandbox create -e STAGE=test --idle-timeout 30m task-17\n",
	.table = table, .main = create_main,
};
