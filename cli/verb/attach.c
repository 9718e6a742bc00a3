/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attach.c - `sandbox attach` and `sandbox detach`: share a folder with a sandbox
 * that runs, and take it back.
 *
 * What is asked for is checked here, where the person's current folder is and where
 * --yes can be asked for; the sandbox's keeper does it.
 */
#include <jansson.h>
#include <limits.h>
#include "cli/keeper/attach.h"
#include "cli/base/text.h"
#include "cli/cli.h"
#include "cli/share/guard.h"
#include "cli/keeper/keeper.h"
#include "cli/remote/git.h"

#define ASK_MS 90000

struct attach {
	const char *vm, *mode;
	bool yes, dry_run, json;
};

static int opt_vm(void *into, const char *value, struct err *e)
{
	((struct attach *)into)->vm = value;
	return store_name_check(value, e);
}

static int opt_mode(void *into, const char *value, struct err *e)
{
	static const char *const known[] = { "rw", "ro", "cow", "git" };

	((struct attach *)into)->mode = value;
	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (!strcmp(value, known[i]))
			return 0;
	return err_say(e, -EINVAL, "'%.60s' is none of rw, ro, cow and git", value);
}

static int opt_git(void *into, const char *value, struct err *e)
{
	((struct attach *)into)->mode = value;
	return strcmp(value, "git") ? err_say(e, -EINVAL, "'%.60s' is not git; a shared folder is "
					      "taken back without --mode", value) : 0;
}

static bool runs(const char *name)
{
	struct store_box b = STORE_BOX_NONE;
	struct store_state s;
	struct err e;
	bool yes = !store_open(&b, name, &e) && !store_state(&b, &s, &e) &&
		   s.life == STORE_RUNNING;

	store_close(&b);
	return yes;
}

/* The only one that runs, if there is exactly one. */
static int choose(char vm[static STORE_NAME_MAX], struct err *e)
{
	size_t all;
	char **names = store_names(&all, e);
	unsigned n = 0;

	if (!names)
		return e->code;
	for (char **p = names; *p; p++)
		if (runs(*p) && !n++)
			snprintf(vm, STORE_NAME_MAX, "%s", *p);
	store_names_free(names);
	if (n == 1)
		return 0;
	return err_say(e, -EINVAL, n ? "%u sandboxes run; say which with --vm NAME" :
		       "no sandbox runs; start one with 'sandbox start NAME'", n);
}

/* The one that is asked for, locked if it does not run. */
static int open_box(const char *vm, struct store_box *b, bool *running, struct err *e)
{
	int rc = store_open(b, vm, e);

	if (rc)
		return rc;
	rc = store_lock(b, e);
	*running = rc == -EBUSY;
	return *running ? 0 : rc;
}

static int ask(const char *vm, const char *what, json_t *args, bool *there, struct err *e)
{
	json_t *answer = NULL;
	int rc;

	if (!args)
		return err_say(e, -EILSEQ, "a path that is not UTF-8 can be shared with a sandbox "
			       "that is stopped only");
	rc = keeper_ask_box(vm, what, args, NULL, 0, ASK_MS, &answer, e);
	*there = !rc && json_is_true(json_object_get(answer, "there"));
	json_decref(answer);
	return rc;
}

/* *done: what is shared from now on, as -v would have it (malloc). */
static int attach(const struct attach *a, struct store_box *b, bool running, const char *text,
		  char **done, struct err *e)
{
	struct shares one = { 0 };
	auto_mem char *moded = NULL;
	bool there;
	int rc = a->mode && asprintf(&moded, "%s:%s", text, a->mode) < 0 ? -ENOMEM : 0;

	if (!rc)
		rc = shares_add(&one, moded ? moded : text, e);
	if (!rc && !a->yes)
		rc = shares_guard(&one, e);
	*done = rc ? NULL : share_text(&one.v[0]);
	shares_free(&one);
	if (rc || !*done)
		return rc ? rc : err_set(e, -ENOMEM, "attach");
	if (a->dry_run)
		return 0;
	if (!running)
		return attach_stopped(b, *done, a->yes, e);
	return ask(b->name, "attach", json_pack("{s:s, s:b}", "share", *done, "yes", a->yes),
		   &there, e);
}

static int detach_path(struct store_box *b, bool running, const char *path, bool *there,
		       struct err *e)
{
	if (!running)
		return detach_stopped(b, path, there, e);
	return ask(b->name, "detach", json_pack("{s:s}", "path", path), there, e);
}

/* A folder that is gone from the host can be detached still, by its name. *done: as above. */
static int detach(const struct attach *a, struct store_box *b, bool running, const char *path,
		  char **done, struct err *e)
{
	auto_mem char *real = realpath(path, NULL);
	bool there = false;
	int rc;

	*done = strdup(real ? real : path);
	if (a->dry_run || !*done)
		return *done ? 0 : err_set(e, -ENOMEM, "detach");
	rc = detach_path(b, running, *done, &there, e);
	if (!rc && !there && real && strcmp(real, path) != 0)
		rc = detach_path(b, running, path, &there, e);
	if (!rc && !there)
		cli_say("%.200s was not shared with '%s'", path, b->name);
	return rc;
}

static int with_git(const struct verb *v, const struct attach *a, struct store_box *b,
		    bool running, const char *word, char **done, struct err *e)
{
	if (v == &verb_detach)
		return git_detach(b, word, a->dry_run, done, e);
	if (running)
		return git_attach(b, word, a->dry_run, done, e);
	return err_say(e, -ESRCH, "sandbox '%s' does not run, and a repository in it is made while "
		       "it does; start it with 'sandbox start %s'", b->name, b->name);
}

/* The exit status. */
static int act(const struct verb *v, const struct attach *a, const char *word)
{
	struct store_box b = STORE_BOX_NONE;
	auto_mem char *done = NULL;
	char vm[STORE_NAME_MAX] = "";
	struct err e = { 0 };
	bool running, git = a->mode && !strcmp(a->mode, "git");
	int rc = 0;

	if (a->vm)
		snprintf(vm, sizeof(vm), "%s", a->vm);
	else
		rc = choose(vm, &e);
	if (!rc)
		rc = open_box(vm, &b, &running, &e);
	if (!rc && git)
		rc = with_git(v, a, &b, running, word, &done, &e);
	else if (!rc)
		rc = v == &verb_attach ? attach(a, &b, running, word, &done, &e) :
					 detach(a, &b, running, word, &done, &e);
	store_close(&b);
	if (rc) {
		cli_say("%s: %s", v->name, e.msg);
		return cli_status_of(rc);
	}
	if (a->json) {
		json_t *o = json_pack("{s:s, s:s, s:o, s:b}", "name", vm, "verb", v->name,
				      "folder", text_json(done), "dry_run", a->dry_run);

		rc = text_print_json(o);
	} else if (a->dry_run) {
		printf("would %s %s %s sandbox '%s'\n", v->name, done,
		       v == &verb_attach ? "to" : "from", vm);
	} else if (git && v == &verb_attach) {
		printf("sandbox-%s\n", vm);
	}
	return rc || fflush(stdout) ? CLI_FAILED : CLI_OK;
}

static int attach_main(const struct verb *v, int argc, char **argv)
{
	struct attach a = { 0 };
	auto_mem char **words = calloc((size_t)argc + 1, sizeof(*words));
	int n, status = words ? cli_begin_words(v, argc, argv, &a, words, &n) : CLI_FAILED;

	if (status >= 0)
		return status;
	if (n == 1)
		return act(v, &a, words[0]);
	cli_say("%s: name one folder; see 'sandbox %s --help'", v->name, v->name);
	return CLI_USAGE;
}

#define ATTACH_COMMON \
	OPT_FLAG("dry-run", 0, "say what would be done, and do nothing", struct attach, dry_run), \
	OPT_FLAG("json", 0, "print what was done as JSON", struct attach, json), \
	{ 0 }

static const struct opt attach_opts[] = {
	OPT_WORDS("vm", 0, "NAME", "with that sandbox (default: the one that runs)", opt_vm,
		  OPT_NAMES),
	OPT_WORDS("mode", 0, "MODE",
		  "rw, ro, cow, or git: no share, but a repository that exchanges commits",
		  opt_mode, "rw ro cow git"),
	OPT_FLAG("yes", 'y', "share also what is guarded, such as a home or its .ssh",
		 struct attach, yes),
	ATTACH_COMMON,
};

static const struct opt detach_opts[] = {
	OPT_WORDS("vm", 0, "NAME", "from that sandbox (default: the one that runs)", opt_vm,
		  OPT_NAMES),
	OPT_WORDS("mode", 0, "MODE", "git: take away the remote that attach --mode git made",
		  opt_git, "git"),
	ATTACH_COMMON,
};

const struct verb verb_attach = {
	.name = "attach", .args = "DIR[:DST][:ro|rw|cow]",
	.summary = "Share a folder with a sandbox, at once and at each start from then on",
	.example = "  sandbox attach .\n  sandbox attach --vm web ~/site:/srv:ro\n"
		   "  sandbox attach --mode git --vm web . && git fetch sandbox-web\n",
	.table = attach_opts, .main = attach_main,
};

const struct verb verb_detach = {
	.name = "detach", .args = "DIR",
	.summary = "Take a shared folder back, named by its path here or in the guest",
	.example = "  sandbox detach --vm web ~/site\n",
	.table = detach_opts, .main = attach_main,
};
