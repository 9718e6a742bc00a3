/* SPDX-License-Identifier: Apache-2.0 */
/*
 * changes.c - `sandbox diff`, `apply` and `discard`: what a named sandbox changed in its
 * copy-on-write shares, reviewed, taken over, dropped.
 *
 * They work on the sandbox's folder, so a stopped sandbox need not run for it, and nothing
 * is asked of a guest. While one runs, `apply` leaves what it has in place, because its
 * server is at work there; in a stopped one, what was taken over goes from there, and the
 * sandbox sees the host's file again.
 */
#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <linux/openat2.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include "cli/cli.h"
#include "cli/keeper/swap.h"
#include "cli/share/cow.h"
#include "cli/share/guard.h"
#include "cli/base/rmtree.h"
#include "cli/base/text.h"
#include "cli/store/store.h"
#include "cli/share/upper.h"

struct changes {
	bool list, yes, dry_run;	/* flags */
	json_t *json;			/* --json: what was done, one object each; or NULL */
	struct store_box box;
	bool live;			/* it runs */
	int cow_dir;
	char (*names)[UPPER_NAME_MAX];	/* of its folders, one for each share */
	size_t n;
	char **paths;			/* words after the name */
	bool *hit;			/* of each: it named something */
	unsigned bad;			/* what was refused */
	struct err e;
};

/* One share's, open. */
struct layer {
	struct share about;
	int upper, lower;
	char prefix[PROTO_PATH_MAX + 1];	/* before each path; "" if there is only one */
	struct cow_list list;
};

static int opt_json(void *into, const char *value, struct err *e)
{
	struct changes *c = into;

	(void)value;
	if (!c->json)
		c->json = json_array();
	return c->json ? 0 : err_set(e, -ENOMEM, "json");
}

/* ---- the sandbox ---- */

static int compare(const void *a, const void *b)
{
	return strcmp(a, b);
}

static int find_layers(struct changes *c)
{
	int copy;
	DIR *d;

	c->cow_dir = openat(c->box.dir, "cow", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (c->cow_dir < 0)
		return errno == ENOENT ? 0 : err_set(&c->e, -errno, "open the changes of %s",
						     c->box.name);
	copy = openat(c->cow_dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	d = copy < 0 ? NULL : fdopendir(copy);
	if (!d)
		return err_set(&c->e, -errno, "read the changes of %s", c->box.name);
	c->names = calloc(PROTO_SHARES_MAX, sizeof(*c->names));
	if (!c->names) {
		closedir(d);
		return err_set(&c->e, -ENOMEM, "read the changes of %s", c->box.name);
	}
	for (const struct dirent *de; (de = readdir(d));)
		if (strlen(de->d_name) == 16 && c->n < PROTO_SHARES_MAX)
			snprintf(c->names[c->n++], UPPER_NAME_MAX, "%.16s", de->d_name);
	closedir(d);
	qsort(c->names, c->n, sizeof(*c->names), compare);
	return 0;
}

static int open_box(struct changes *c, const char *name)
{
	int rc = store_open(&c->box, name, &c->e);

	if (rc)
		return rc;
	rc = store_lock(&c->box, &c->e);
	if (rc && rc != -EBUSY)
		return rc;
	c->live = rc;
	rc = c->live ? 0 : swap_settle(c->box.dir);
	if (rc)
		return err_set(&c->e, rc, "finish a rollback that was killed");
	return find_layers(c);
}

static int open_real(const char *path)
{
	struct open_how how = { .flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
				.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS };
	int fd = (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));

	return fd < 0 ? -errno : fd;
}

static void layer_close(struct layer *l)
{
	cow_free(&l->list);
	free(l->about.src);
	free(l->about.dst);
	if (l->upper >= 0)
		close(l->upper);
	if (l->lower >= 0)
		close(l->lower);
}

/* Open and scan. layer_close() in every case. */
static int layer_open(struct changes *c, const char *name, struct layer *l)
{
	char tree[UPPER_NAME_MAX + 8];
	int rc;

	*l = (struct layer){ .upper = -1, .lower = -1 };
	rc = upper_about(c->cow_dir, name, &l->about, &c->e);
	if (rc)
		return rc;
	snprintf(tree, sizeof(tree), "%s/tree", name);
	l->upper = openat(c->cow_dir, tree, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (l->upper < 0)
		return errno == ENOENT ? 0 : err_set(&c->e, -errno, "open the changes");
	l->lower = open_real(l->about.src);
	if (l->lower < 0)
		return err_set(&c->e, l->lower, "open the shared folder %.150s", l->about.src);
	if (c->n > 1)
		snprintf(l->prefix, sizeof(l->prefix), "%s/", l->about.dst + 1);
	return cow_scan(l->upper, l->lower, &l->list, &c->e);
}

/* ---- which of them ---- */

/* @path is @word, or lies in it. */
static bool under(const char *path, const char *word)
{
	size_t n = strlen(word);

	while (n && word[n - 1] == '/')
		n--;
	return !strncmp(path, word, n) && (!path[n] || path[n] == '/');
}

/* A word is a path in the share, in the guest, or on the host. */
static bool wanted(struct changes *c, const struct layer *l, const char *path)
{
	bool any = !*c->paths;

	for (size_t i = 0; c->paths[i]; i++) {
		const char *w = c->paths[i], *const roots[] = { l->about.dst, l->about.src };
		bool yes = !strncmp(w, "./", 2) ? under(path, w + 2) :
			   under(path, w) || !strcmp(w, ".");

		for (unsigned k = 0; !yes && k < ARRAY_LEN(roots); k++)
			if (guard_inside(w, roots[k]))
				yes = under(path, w + strlen(roots[k]) +
					    (w[strlen(roots[k])] == '/'));
		c->hit[i] |= yes;
		any |= yes;
	}
	return any;
}

/* ---- the verbs ---- */

/* As text, with what is no text in the name escaped; or as an object. */
static int tell(struct changes *c, const struct layer *l, const struct cow_change *x)
{
	static const char *const words[] = {
		[COW_ADDED] = "added", [COW_CHANGED] = "changed", [COW_DELETED] = "deleted",
		[COW_MODE] = "mode",
	};
	char *name = NULL;
	size_t len;
	FILE *f;

	if (!c->json) {
		cow_print(x, l->prefix, stdout);
		return 0;
	}
	f = open_memstream(&name, &len);
	if (f)
		cow_print_name(x, l->prefix, f);
	if (!f || fclose(f) ||
	    json_array_append_new(c->json, json_pack("{s:s, s:o, s:o, s:o, s:o}", "change",
			words[x->kind], "path", text_json(name), "source", text_json(l->about.src),
			"target", text_json(l->about.dst), "conflict", text_json(x->conflict)))) {
		free(name);
		return err_set(&c->e, -ENOMEM, "json");
	}
	free(name);
	return 0;
}

/* What cannot be shown is said, and hides nothing that comes after it. */
static int show(struct changes *c, const struct layer *l, const struct cow_change *x)
{
	struct err e = { 0 };

	if (c->list || c->json)
		return tell(c, l, x);
	if (!cow_diff(l->upper, l->lower, x, l->prefix, isatty(STDOUT_FILENO), stdout, &e))
		return 0;
	c->bad++;
	cli_say("diff: %.200s: %s", x->path, e.msg);
	return 0;
}

static int take_over(struct changes *c, const struct layer *l, const struct cow_change *x)
{
	struct err e = { 0 };

	if (!c->dry_run && cow_apply(l->upper, l->lower, &l->list, x, c->yes, c->live, &e)) {
		c->bad++;
		cli_say("apply: %s", e.msg);
		return 0;
	}
	return tell(c, l, x);
}

static int each(struct changes *c, int (*fn)(struct changes *c, const struct layer *l,
					     const struct cow_change *x))
{
	int rc = 0;

	for (size_t i = 0; !rc && i < c->n; i++) {
		struct layer l;

		rc = layer_open(c, c->names[i], &l);
		if (!rc && fn == take_over && !c->live && l.lower >= 0)
			rc = cow_flatten(l.upper, l.lower, &c->e);
		for (size_t k = 0; !rc && k < l.list.n; k++)
			if (wanted(c, &l, l.list.v[k].path))
				rc = fn(c, &l, &l.list.v[k]);
		layer_close(&l);
	}
	for (size_t i = 0; !rc && c->paths[i]; i++)
		if (!c->hit[i]) {
			cli_say("nothing was changed in %.200s", c->paths[i]);
			c->bad++;
		}
	return rc;
}

/* 0, or -errno with a sentence; without one if the person was asked and did not want it. */
static int drop_all(const struct verb *v, struct changes *c)
{
	if (c->live)
		return err_say(&c->e, -EBUSY, "%s is running, and its changes are in use; stop it "
			       "first: 'sandbox stop %s'", c->box.name, c->box.name);
	if (c->dry_run)
		return each(c, take_over);
	if (c->n && !cli_confirm(v, c->yes, "drop all that sandbox '%s' changed in its "
				 "copy-on-write shares", c->box.name))
		return -EPERM;
	for (size_t i = 0; i < c->n; i++) {
		int rc = rmtree(c->cow_dir, c->names[i]);

		if (rc)
			return err_set(&c->e, rc, "remove the changes");
	}
	return 0;
}

/* Trees are walked with two descriptors for each level. */
static void more_descriptors(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r))
		return;
	r.rlim_cur = r.rlim_max < 4096 ? r.rlim_max : 4096;
	(void)!setrlimit(RLIMIT_NOFILE, &r);
}

static int act(const struct verb *v, struct changes *c, const char *name)
{
	int rc = open_box(c, name);

	if (rc)
		return rc;
	if (v == &verb_discard)
		return drop_all(v, c);
	return each(c, v == &verb_diff ? show : take_over);
}

/* The exit status. */
static int finish(const struct verb *v, struct changes *c, int rc)
{
	if (rc && c->e.msg[0])
		cli_say("%s: %s", v->name, c->e.msg);
	if (!rc && c->json && text_print_json(json_incref(c->json)))
		c->bad++;
	cow_restore_modes();
	if (c->cow_dir >= 0)
		close(c->cow_dir);
	store_close(&c->box);
	json_decref(c->json);
	free(c->names);
	free(c->hit);
	if (rc)
		return cli_status_of(rc);
	return c->bad || fflush(stdout) ? CLI_FAILED : CLI_OK;
}

static int changes_main(const struct verb *v, int argc, char **argv)
{
	struct changes c = { .box = STORE_BOX_NONE, .cow_dir = -1 };
	auto_mem char **words = calloc((size_t)argc + 1, sizeof(*words));
	int n, status = words ? cli_begin_words(v, argc, argv, &c, words, &n) : CLI_FAILED;

	if (status < 0 && (!n || (v == &verb_discard && n > 1))) {
		cli_say("%s: give the name of a sandbox; see 'sandbox %s --help'", v->name,
			v->name);
		status = CLI_USAGE;
	}
	if (status >= 0) {
		json_decref(c.json);
		return status;
	}
	c.paths = words + 1;
	c.hit = calloc((size_t)argc + 1, sizeof(*c.hit));
	more_descriptors();
	return finish(v, &c, c.hit ? act(v, &c, words[0]) : err_set(&c.e, -ENOMEM, "paths"));
}

#define CHANGES_JSON \
	OPT("json", 0, NULL, "print an array of objects, one for each file", opt_json)
#define CHANGES_DRY_RUN \
	OPT_FLAG("dry-run", 0, "say what would be done, and do nothing", struct changes, dry_run)

static const struct opt diff_opts[] = {
	OPT_FLAG("list", 'l', "only which files, a line for each", struct changes, list),
	CHANGES_JSON,
	{ 0 },
};

static const struct opt apply_opts[] = {
	OPT_FLAG("yes", 'y', "take over links that lead out of the shared folder and git's hooks and "
		 "configuration, too", struct changes, yes),
	CHANGES_DRY_RUN, CHANGES_JSON,
	{ 0 },
};

static const struct opt discard_opts[] = {
	OPT_FLAG("yes", 'y', "do not ask", struct changes, yes),
	CHANGES_DRY_RUN, CHANGES_JSON,
	{ 0 },
};

const struct verb verb_diff = {
	.name = "diff", .args = "NAME [PATH...]",
	.summary = "Show what changed in copy-on-write shares",
	.example = "  sandbox diff web\n  sandbox diff --list web src\n",
	.table = diff_opts, .main = changes_main, .names = true,
};

const struct verb verb_apply = {
	.name = "apply", .args = "NAME [PATH...]",
	.summary = "Take such changes over to the host's files",
	.example = "  sandbox apply --dry-run web\n  sandbox apply web src/main.c\n",
	.table = apply_opts, .main = changes_main, .names = true,
};

const struct verb verb_discard = {
	.name = "discard", .args = "NAME",
	.summary = "Drop such changes of a stopped sandbox",
	.example = "  sandbox discard web\n",
	.table = discard_opts, .main = changes_main, .names = true,
};
