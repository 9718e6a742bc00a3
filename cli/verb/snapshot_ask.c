/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snapshot_ask.c - `sandbox snapshot create`, `rollback` and `fork`.
 *
 * A fork saves the parent once, under a name that no list shows, and gives every child links
 * to the files: the children map the same memory and share each page that neither has
 * written. A child is a sandbox as any other; its setting `from` is the fork, so a
 * restart of it begins there again.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include "cli/store/event.h"
#include "cli/verb/named.h"
#include "cli/base/parse.h"
#include "cli/base/sigs.h"
#include "cli/base/text.h"
#include "cli/machine/snapdir.h"
#include "cli/store/snapinfo.h"
#include "cli/verb/snapshot.h"

#define ASK_MS		(SNAPDIR_SAVE_MS + 30000)
#define COUNT_MAX	1000u
#define FORK		"fork"		/* the snapshot that a child goes on from */

/*
 * Have the keeper of @box save it as @name. *answer: pause_ns, total_ns, rounds, pages
 * (numbers), kind; for json_decref().
 */
static int snapshot_ask(const char *box, const char *name, json_t **answer, struct err *e)
{
	return keeper_ask_box(box, "snapshot", json_pack("{s:s}", "name", name), NULL, 0, ASK_MS,
			      answer, e);
}

static double ms_of(const json_t *answer, const char *key)
{
	return (double)json_integer_value(json_object_get(answer, key)) / 1e6;
}

int snapshot_create(char **words, bool json, struct err *e)
{
	json_t *answer = NULL;
	char made[32];
	time_t now = time(NULL);
	struct tm tm;
	const char *name = made;
	int rc;

	if (!words[0] || (words[1] && words[2]))
		return err_say(e, -EINVAL, "create needs the name of a sandbox, and one for the "
			       "snapshot");
	strftime(made, sizeof(made), "%Y%m%d-%H%M%S", localtime_r(&now, &tm));
	if (words[1])
		name = words[1];
	rc = snap_name_check(name, e);
	if (!rc)
		rc = snapshot_ask(words[0], name, &answer, e);
	if (rc)
		return rc;
	json_object_del(answer, "ok");
	json_object_set_new(answer, "name", json_string(name));
	if (json)
		return text_print_json(answer) ? err_set(e, -EIO, "write the result") : 0;
	printf("%s/%s  %s, paused for %.1f ms of %.1f ms\n", words[0], name,
	       json_string_value(json_object_get(answer, "kind")),
	       ms_of(answer, "pause_ns"), ms_of(answer, "total_ns"));
	json_decref(answer);
	return fflush(stdout) ? err_set(e, -EIO, "write the result") : 0;
}

/* ---- rollback ------------------------------------------------------------ */

static const struct opt rollback_table[] = { NAMED_YES, { 0 } };

/* 1: the person would rather not. */
static int ask_rollback(const struct verb *v, const struct named *n, const char *dir,
			struct err *e)
{
	struct store_box b = STORE_BOX_NONE;
	struct store_state s;
	int rc = box_running(&b, &s, n->words[0], e);

	store_close(&b);
	if (rc)
		return rc;
	if (!cli_confirm(v, n->yes, "end what runs in '%s', and forget what was done in it since "
			 "'%s'", n->words[0], n->words[1]))
		return 1;
	return keeper_ask_box(n->words[0], "rollback", json_pack("{s:s}", "dir", dir), NULL, 0,
			      ASK_MS, NULL, e);
}

static int rollback_main(const struct verb *v, int argc, char **argv)
{
	struct named n;
	struct place dir;
	struct err e = { 0 };
	int status = named_begin(v, argc, argv, &n, 2, 2), rc;

	if (status < 0) {
		bool path = strchr(n.words[1], '/');

		rc = path ? snap_find(n.words[1], &dir, &e) :
			    snap_place(n.words[0], n.words[1], &dir, &e);
		if (!rc && access(dir.path, F_OK))
			rc = err_say(&e, -ENOENT, "sandbox '%s' has no snapshot '%s'", n.words[0],
				     n.words[1]);
		if (!rc)
			rc = ask_rollback(v, &n, dir.path, &e);
		status = rc < 0 ? named_failed(v, &e) : rc ? CLI_USAGE : CLI_OK;
	}
	named_end(&n);
	return status;
}

const struct verb verb_rollback = {
	.name = "rollback", .args = "SANDBOX SNAPSHOT",
	.summary = "Put a running sandbox back to what it was when a snapshot was made",
	.example = "  sandbox snapshot create dev clean\n  sandbox rollback --yes dev clean\n",
	.table = rollback_table, .main = rollback_main, .names = true,
};

/* ---- fork ---------------------------------------------------------------- */

struct fork_flags { struct named n; uint64_t count; const char *prefix; };

static int opt_count(void *into, const char *value, struct err *e)
{
	return parse_number(value, 1, COUNT_MAX, &((struct fork_flags *)into)->count, e);
}

static int opt_prefix(void *into, const char *value, struct err *e)
{
	((struct fork_flags *)into)->prefix = value;
	return store_name_check(value, e);
}

static const struct opt fork_table[] = {
	OPT("count", 0, "N", "how many (default 1)", opt_count),
	OPT("prefix", 0, "P", "they are called P-1, P-2, ... (default: SANDBOX)", opt_prefix),
	NAMED_JSON,
	{ 0 },
};

struct forking {
	const char *parent, *prefix;
	struct store_box box;		/* the parent's */
	int snap;			/* the saved parent's folder */
	struct settings settings;
	int sigfd;
};

/* What a restart needs: its disk is what it has then, and not the machine that was forked. */
static int keep_disk(struct forking *f)
{
	char size[32] = "";
	struct stat st;

	if (!fstatat(f->snap, SNAPDIR_DISK, &st, AT_SYMLINK_NOFOLLOW))
		snprintf(size, sizeof(size), "%llu", (unsigned long long)st.st_size);
	else if (settings_set(&f->settings, "", "tmpfs", ""))	/* in its memory */
		return -ENOMEM;
	return settings_set(&f->settings, "", "disk", size);
}

/* A child's folder with links to the saved parent, and its config. */
static int make_child(struct forking *f, const char *name, struct store_box *b, struct err *e)
{
	struct place at;
	auto_mem char *text = NULL;
	auto_fd folder = -1;
	int rc = store_create(b, name, "", true, e);

	if (rc)
		return rc;
	if (snprintf(at.path, sizeof(at.path), "%s/" SNAPSHOT_FOLDER "/" FORK, b->path.path) >=
	    (int)sizeof(at.path))
		return err_set(e, -ENAMETOOLONG, "%s", name);
	if (settings_set(&f->settings, "", "from", at.path) ||
	    settings_set(&f->settings, "", "autostart", "") ||
	    settings_set(&f->settings, "", "read-only", "") ||	/* it is already */
	    keep_disk(f))
		return err_set(e, -ENOMEM, "settings");
	text = settings_text(&f->settings);
	rc = text ? store_write(b, "config", text, strlen(text), e) :
		    err_set(e, -ENOMEM, "settings");
	if (rc)
		return rc;
	(void)mkdirat(b->dir, SNAPSHOT_FOLDER, 0700);
	folder = openat(b->dir, SNAPSHOT_FOLDER, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	rc = folder < 0 ? -errno : snapdir_link(f->snap, folder, FORK);
	if (rc)
		return err_set(e, rc, "link the saved machine to '%s'", name);
	event_write(b, "created", json_pack("{s:s}", "forked_from", f->parent));
	return 0;
}

/* 0; a signal's number; or -errno: then there is no such child. */
static int one_child(struct forking *f, const char *name, struct err *e)
{
	struct store_box b = STORE_BOX_NONE;
	struct err ignored;
	int rc = make_child(f, name, &b, e);

	if (!rc) {
		rc = keeper_start(&b, f->sigfd, e);
		store_close(&b);
		/* Another command may have removed it, which is why it did not start. */
		if (rc && named_remove(name, true, 0, &ignored) && ignored.code != -ENOENT)
			cli_say("fork: %s stays: %s", name, ignored.msg);
		return rc;
	}
	if (b.locked && store_remove(&b, &ignored))
		cli_say("fork: %s stays: %s", name, ignored.msg);
	return rc;
}

static int fork_all(struct forking *f, uint64_t count, json_t *names, struct err *e)
{
	char name[STORE_NAME_MAX + 24];
	int rc = 0;

	for (uint64_t i = 1; !rc && i <= count; i++) {
		snprintf(name, sizeof(name), "%s-%llu", f->prefix, (unsigned long long)i);
		rc = store_name_new(name, e);
		if (!rc)
			rc = one_child(f, name, e);
		if (!rc)
			json_array_append_new(names, json_string(name));
	}
	return rc > 0 ? err_say(e, -EINTR, "ended by a signal") : rc;
}

/* The parent, saved once, while its children are made. */
static int fork_from(struct forking *f, uint64_t count, json_t *result, struct err *e)
{
	json_t *answer = NULL, *names = json_array();
	auto_fd snaps = -1;
	char tmp[32];
	int rc;

	snprintf(tmp, sizeof(tmp), SNAPDIR_FORK "%d", (int)getpid());
	json_object_set_new(result, "names", names);
	rc = snapshot_ask(f->parent, tmp, &answer, e);
	if (rc)
		return rc;
	json_object_del(answer, "ok");
	json_object_update(result, answer);
	json_decref(answer);
	snaps = openat(f->box.dir, SNAPSHOT_FOLDER, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	f->snap = snaps < 0 ? -1 : openat(snaps, tmp, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	rc = f->snap < 0 ? err_set(e, -errno, "open the saved machine") :
			   fork_all(f, count, names, e);
	fd_cleanup(&f->snap);
	if (snaps >= 0)
		snapdir_remove(snaps, tmp);
	return rc;
}

static int report(const struct fork_flags *fl, json_t *result)
{
	const json_t *name;
	size_t i;

	if (fl->n.json)
		return named_print_json(result);
	json_array_foreach(json_object_get(result, "names"), i, name)
		puts(json_string_value(name));
	json_decref(result);
	return fflush(stdout) ? CLI_FAILED : CLI_OK;
}

static int fork_main(const struct verb *v, int argc, char **argv)
{
	struct fork_flags fl = { .count = 1 };
	struct forking f = { .box = STORE_BOX_NONE, .snap = -1, .sigfd = -1 };
	struct store_state st;
	struct err e = { 0 };
	int status = named_begin(v, argc, argv, &fl.n, 1, 1), rc;
	json_t *result;

	if (status >= 0) {
		named_end(&fl.n);
		return status;
	}
	result = json_object();
	f.parent = fl.n.words[0];
	f.prefix = fl.prefix ? fl.prefix : f.parent;
	f.sigfd = sigs_open(false, &e);
	rc = f.sigfd < 0 ? f.sigfd : box_running(&f.box, &st, f.parent, &e);
	if (!rc)
		rc = keeper_settings(&f.box, &f.settings, &e);
	if (!rc)
		rc = fork_from(&f, fl.count, result, &e);
	store_close(&f.box);
	settings_free(&f.settings);
	fd_cleanup(&f.sigfd);
	status = report(&fl, result);
	named_end(&fl.n);
	return rc ? named_failed(v, &e) : status;
}

const struct verb verb_fork = {
	.name = "fork", .args = "SANDBOX",
	.summary = "Make copies of a running sandbox, which go on where it is; it goes on, too",
	.example = "  sandbox fork dev\n  sandbox fork dev --count 10 --prefix try\n",
	.table = fork_table, .main = fork_main, .names = true,
};
