/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snapshot.c - `sandbox snapshot create|ls|rm|inspect`.
 *
 * A sandbox's snapshots are folders in `snapshots` of its own folder, so they go when it is
 * removed, or paths that a person names.
 */
#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include "cli/cli.h"
#include "cli/base/parse.h"
#include "cli/base/text.h"
#include "cli/machine/snapdir.h"
#include "cli/machine/snapsum.h"
#include "cli/store/snapinfo.h"
#include "cli/verb/snapshot.h"
#include "cli/store/store.h"

struct flags { bool json, verify, yes, dry_run; };

static const struct opt opts[] = {
	OPT_FLAG("verify", 0, "inspect: read all of it, and compare checksums", struct flags,
		 verify),
	OPT_FLAG("yes", 'y', "rm: do not ask", struct flags, yes),
	OPT_FLAG("dry-run", 0, "rm: say what would be done, and do nothing", struct flags, dry_run),
	OPT_FLAG("json", 0, "print JSON", struct flags, json),
	{ 0 },
};

/* ---- printing ---- */

static json_t *json_of(const char *name, const struct snap_info *i)
{
	return json_pack("{s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:s,s:b}", "name", name, "kind",
			 i->diff ? "diff" : "full", "memory", (json_int_t)i->memory, "cpus",
			 (json_int_t)i->cpus, "stored", (json_int_t)i->stored, "state",
			 (json_int_t)i->state, "saved", (json_int_t)i->saved, "devices",
			 i->devices, "verified", (int)i->verified);
}

static void print_one(const char *name, const struct snap_info *i)
{
	char a[32], b[32], c[32];

	printf("snapshot   %s\nsaved      %s\nkind       %s\n", name, text_when(i->saved, c),
	       i->diff ? "what differs from the machine it was restored from" : "full");
	printf("guest      %s of memory, %llu CPU%s\nstored     %s of memory, %s of state\n",
	       parse_size_text(i->memory, a), (unsigned long long)i->cpus, i->cpus == 1 ? "" : "s",
	       parse_size_text(i->stored, b), parse_size_text(i->state, c));
	if (i->diff)
		printf("ranges     %llu\n", (unsigned long long)i->ranges);
	printf("devices    %s\n", i->devices);
	if (i->verified)
		printf("verified   all is as its checksums say%s\n", i->brief ?
		       "; the disk and the changes in shares, which are a fork's, have none" : "");
}

/* What the monitor knows of, and the rest. */
static int look(const char *vmm, const char *dir, bool verify, struct snap_info *i, struct err *e)
{
	int rc = snap_info(vmm, dir, verify, i, e);

	if (!rc)
		rc = snapsum_check(dir, verify, e);
	i->brief = rc > 0;
	return rc < 0 ? rc : 0;
}

/* One that cannot be used: why not. */
static json_t *json_of_bad(const char *name, const char *fault)
{
	return json_pack("{s:s,s:o}", "name", name, "fault", text_json(fault));
}

/* ---- inspect ---- */

static int inspect(const struct flags *f, char **words, struct err *e)
{
	struct place dir, vmm;
	struct snap_info i;
	int rc;

	if (!words[0] || words[1])
		return err_say(e, -EINVAL, "inspect needs one SANDBOX/SNAPSHOT or folder");
	rc = places_vmm(&vmm, e);
	if (!rc)
		rc = snap_find(words[0], &dir, e);
	if (!rc)
		rc = look(vmm.path, dir.path, f->verify, &i, e);
	if (rc)
		return rc;
	if (f->json)
		return text_print_json(json_of(words[0], &i)) ?
			err_set(e, -EIO, "write") : 0;
	print_one(words[0], &i);
	return fflush(stdout) ? err_set(e, -EIO, "write") : 0;
}

/* ---- ls ---- */

static int visible(const struct dirent *de)
{
	return de->d_name[0] != '.' && !snapdir_reserved(de->d_name);
}

static void print_row(const char *name, const struct snap_info *i, const char *fault)
{
	char a[32], b[32];

	if (fault)
		printf("%-24s%s\n", name, fault);
	else
		printf("%-24s%-21s%-6s%s\n", name, text_when(i->saved, a),
		       i->diff ? "diff" : "full", parse_size_text(i->stored, b));
}

static int list(const struct flags *f, char **words, struct err *e)
{
	struct place dir, vmm;
	struct dirent **all = NULL;
	json_t *array;
	int n, rc;

	if (!words[0] || words[1])
		return err_say(e, -EINVAL, "ls needs the name of one sandbox");
	rc = places_vmm(&vmm, e);
	if (!rc)
		rc = snap_place(words[0], NULL, &dir, e);
	if (rc)
		return rc;
	array = json_array();
	n = scandir(dir.path, &all, visible, alphasort);
	if (!f->json)
		printf("%-24s%-21s%-6s%s\n", "NAME", "SAVED", "KIND", "STORED");
	for (int k = 0; k < n; k++) {
		size_t len = strlen(dir.path);
		struct err why = { 0 };
		struct snap_info i;

		snprintf(dir.path + len, sizeof(dir.path) - len, "/%s", all[k]->d_name);
		rc = look(vmm.path, dir.path, false, &i, &why);
		dir.path[len] = '\0';
		if (!f->json)
			print_row(all[k]->d_name, &i, rc ? why.msg : NULL);
		else
			(void)!json_array_append_new(array, rc ?
				json_of_bad(all[k]->d_name, why.msg) : json_of(all[k]->d_name, &i));
		free(all[k]);
	}
	free(all);
	rc = f->json ? text_print_json(array) : fflush(stdout);
	if (!f->json)
		json_decref(array);
	return rc ? err_set(e, -EIO, "write the list") : 0;
}

/* ---- rm ---- */

static int no_snapshot(const char *box, const char *name, struct err *e)
{
	return err_say(e, -ENOENT, "sandbox '%s' has no snapshot '%s'", box, name);
}

/* The folder of all, if each of them is there. */
static int find_all(const char *box, char **names, struct err *e)
{
	struct place dir;
	auto_fd parent = -1;
	int rc = snap_place(box, NULL, &dir, e);

	if (rc)
		return rc;
	parent = open(dir.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (char **w = names; *w; w++) {
		rc = snap_name_check(*w, e);
		if (rc)
			return rc;
		if (parent < 0 || faccessat(parent, *w, F_OK, AT_SYMLINK_NOFOLLOW))
			return no_snapshot(box, *w, e);
	}
	return take_fd(&parent);
}

/* 1: the person would rather not. */
static int remove_all(const struct verb *v, const struct flags *f, char **words, struct err *e)
{
	auto_fd parent = -1;
	int rc;

	if (!words[0] || !words[1])
		return err_say(e, -EINVAL, "rm needs the name of a sandbox and of its snapshots");
	parent = find_all(words[0], words + 1, e);
	if (parent < 0)
		return parent;
	if (!f->dry_run && !cli_confirm(v, f->yes, "remove snapshot '%s'%s of sandbox '%s'",
					words[1], words[2] ? " and others" : "", words[0]))
		return 1;
	for (char **w = words + 1; *w; w++) {
		if (f->dry_run) {
			printf("would remove snapshot '%s' of sandbox '%s'\n", *w, words[0]);
			continue;
		}
		rc = snapdir_remove(parent, *w);
		if (rc == -EBUSY)
			return err_say(e, rc, "a rollback to snapshot '%s' is under way; try again "
				       "when it has ended", *w);
		if (rc == -ENOENT)	/* another command did */
			return no_snapshot(words[0], *w, e);
		if (rc)
			return err_set(e, rc, "remove snapshot %s", *w);
	}
	return fflush(stdout) ? err_set(e, -EIO, "write") : 0;
}

static int act(const struct verb *v, const char *what, const struct flags *f, char **words,
	       struct err *e)
{
	if (!strcmp(what, "inspect"))
		return inspect(f, words, e);
	if (!strcmp(what, "ls"))
		return list(f, words, e);
	if (!strcmp(what, "rm"))
		return remove_all(v, f, words, e);
	if (!strcmp(what, "create"))
		return snapshot_create(words, f->json, e);
	return err_say(e, -EINVAL, "%s%s%sis none of create, ls, rm, inspect", *what ? "'" : "",
		       *what ? what : "nothing ", *what ? "' " : "");
}

static int snapshot_main(const struct verb *v, int argc, char **argv)
{
	auto_mem char **words = calloc((size_t)argc + 1, sizeof(*words));
	struct flags f = { 0 };
	struct err e = { 0 };
	int n, rc, status = words ? cli_begin_words(v, argc, argv, &f, words, &n) : CLI_FAILED;

	if (status >= 0)
		return status;
	rc = act(v, n ? words[0] : "", &f, words + !!n, &e);
	if (rc >= 0)
		return rc ? CLI_USAGE : CLI_OK;
	cli_say("snapshot: %s", e.msg);
	return cli_status_of(rc);
}

const struct verb verb_snapshot = {
	.name = "snapshot", .args = "create|ls|rm|inspect SANDBOX [SNAPSHOT]",
	.summary = "Save running sandboxes, and look at what was saved",
	.example = "  sandbox snapshot create dev before-upgrade\n"
		   "  sandbox snapshot inspect --verify dev/before-upgrade\n"
		   "  sandbox run --from dev/before-upgrade -- uptime\n",
	.words = "create ls rm inspect", .names = true, .table = opts, .main = snapshot_main,
};
