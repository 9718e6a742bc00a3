/* SPDX-License-Identifier: Apache-2.0 */
/*
 * git.c - `sandbox attach --mode git`.
 *
 * All of it is git's own work, here and there. The person's repository gets a remote whose
 * URL names this program (git_remote.c). The guest is not trusted with it: the guest never
 * calls; what is fetched lands below refs/remotes, and its tags are not taken along.
 */
#include "cli/base/text.h"
#include "cli/base/tool.h"
#include "cli/cli.h"
#include "cli/remote/git.h"
#include "cli/remote/remote.h"
#include "cli/share/share.h"
#include "cli/store/event.h"

#define WORD_MAX 4352u		/* a path, and a name with a colon before it */

struct pair {
	const struct store_box *b;
	const char *dir;		/* of the host */
	char remote[STORE_NAME_MAX + 16], url[WORD_MAX], branch[256];
	struct place own;		/* where the helper for git is */
};

/* git in the host's folder; its stdout in @out (may be NULL). Its exit status. */
static int git(const struct pair *p, char *out, size_t len, struct err *e,
	       const char *const *words)
{
	const char *argv[16] = { "git", "-C", p->dir };
	struct tool t = { .argv = argv, .path_dir = p->own.path, .out = out, .out_len = len };

	for (size_t i = 0; words[i]; i++) {
		BUG_ON(i + 4 >= ARRAY_LEN(argv));
		argv[3 + i] = words[i];
	}
	return tool_run(&t, e);
}
#define GIT(p, out, len, e, ...) git(p, out, len, e, (const char *const[]){ __VA_ARGS__, NULL })

static int check_repository(struct pair *p, struct err *e)
{
	char top[PLACES_MAX];
	int rc = GIT(p, top, sizeof(top), e, "rev-parse", "--show-toplevel");

	if (rc < 0)
		return rc;
	if (rc)
		return err_say(e, -EINVAL, "%.150s is no git repository; make it one with 'git "
			       "init', or share it live without --mode git", p->dir);
	if (strcmp(top, p->dir) != 0)
		return err_say(e, -EINVAL, "%.100s is inside of the repository %.100s; attach that",
			       p->dir, top);
	if (GIT(p, NULL, 0, e, "rev-parse", "--quiet", "--verify", "HEAD^{commit}"))
		return err_say(e, -EINVAL, "%.150s has no commit yet, and only commits travel",
			       p->dir);
	if (GIT(p, p->branch, sizeof(p->branch), e, "symbolic-ref", "--quiet", "--short", "HEAD"))
		return err_say(e, -EINVAL, "no branch is checked out in %.150s; check one out",
			       p->dir);
	return 0;
}

/* ---- in the guest ----------------------------------------------------------- */

#define NO_GIT		90
#define NOT_EMPTY	91

/*
 * $1 folder, $2 branch, $3 configuration. In the sandbox's user's name. What `git init` would
 * make of it, as gitrepository-layout(5) has it, without starting git five times, which takes
 * its time where guest kernels are emulated.
 */
static const char make_repository[] =
	"g=$1/.git; command -v git >/dev/null || exit 90\n"
	"if [ -e \"$g\" ]; then\n"
	"	exec git -C \"$1\" config receive.denyCurrentBranch updateInstead\n"
	"fi\n"
	"[ -z \"$(ls -A \"$1\" 2>/dev/null)\" ] || exit 91\n"
	"mkdir -p \"$g/objects\" \"$g/refs/heads\" \"$g/info\" &&\n"
	"printf '%s' \"$3\" >\"$g/config\" && printf 'ref: refs/heads/%s\\n' \"$2\" >\"$g/HEAD\"\n";

/* As root: the folder, and whose it is. $1 folder, $2 user. */
static const char make_folder[] = "mkdir -p \"$1\" && chown \"$2\" \"$1\"\n";

static int in_guest(const struct pair *p, const char *user, const char *script,
		    const char *const *words, struct err *e)
{
	struct place self;
	const char *argv[20] = { self.path, "exec" };
	struct tool t = { .argv = argv };
	size_t n = 2;
	int rc = places_self(&self, e);

	if (rc)
		return rc;
	if (user) {
		argv[n++] = "-u";
		argv[n++] = user;
	}
	argv[n++] = "-w";
	argv[n++] = "/";
	argv[n++] = p->b->name;
	argv[n++] = "--";
	argv[n++] = "sh";
	argv[n++] = "-c";
	argv[n++] = script;
	argv[n++] = "sh";
	while (*words)
		argv[n++] = *words++;
	return tool_run(&t, e);
}

/* A value of git's configuration, whatever is in it. */
static void value(FILE *f, const char *key, const char *s)
{
	fprintf(f, "\t%s = \"", key);
	for (; *s; s++)
		fprintf(f, *s == '"' || *s == '\\' ? "\\%c" : "%c", *s);
	fputs("\"\n", f);
}

/* Who commits in the guest does so in the person's name, which the commits tell anyway. */
static char *guest_config(const struct pair *p)
{
	char name[128] = "", mail[128] = "";
	struct err none;
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		return NULL;
	fputs("[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n"
	      "\tlogallrefupdates = true\n[receive]\n\tdenyCurrentBranch = updateInstead\n", f);
	if (!GIT(p, name, sizeof(name), &none, "config", "user.name") &&
	    !GIT(p, mail, sizeof(mail), &none, "config", "user.email")) {
		fputs("[user]\n", f);
		value(f, "name", name);
		value(f, "email", mail);
	}
	if (!fclose(f))
		return text;
	free(text);
	return NULL;
}

static int prepare_guest(const struct pair *p, struct store_box *b, const char *dst, struct err *e)
{
	auto_mem char *config = guest_config(p);
	char *user = NULL;
	int rc = config ? remote_user(b, &user, e) : err_set(e, -ENOMEM, "attach");

	if (!rc && user)
		rc = in_guest(p, "0", make_folder, (const char *const[]){ dst, user, NULL }, e);
	free(user);
	if (!rc)
		rc = in_guest(p, NULL, make_repository,
			      (const char *const[]){ dst, p->branch, config, NULL }, e);
	if (rc == NO_GIT || rc == 127 || rc == 126)
		return err_say(e, -ENOENT, "the image of sandbox '%s' has no git; put it into the "
			       "image, or share the folder live without --mode git", p->b->name);
	if (rc == NOT_EMPTY)
		return err_say(e, -EEXIST, "%.150s in the guest is there and no git repository; "
			       "attach elsewhere as in DIR:DST", dst);
	return rc > 0 ? err_wrap(e, "make the repository in the guest") : rc;
}

/* ---- here ------------------------------------------------------------------- */

static int look_for_remote(const struct pair *p, bool *there, struct err *e)
{
	char now[WORD_MAX];
	struct err none;

	*there = !GIT(p, now, sizeof(now), &none, "remote", "get-url", p->remote);
	if (*there && strcmp(now, p->url) != 0)
		return err_say(e, -EEXIST, "the remote %s is %.100s already; take it away with 'git "
			       "remote remove %s'", p->remote, now, p->remote);
	return 0;
}

static int add_remote(const struct pair *p, struct err *e)
{
	char key[sizeof(p->remote) + 32];
	int rc = GIT(p, NULL, 0, e, "remote", "add", p->remote, p->url);

	snprintf(key, sizeof(key), "remote.%s.tagOpt", p->remote);
	if (!rc)
		rc = GIT(p, NULL, 0, e, "config", key, "--no-tags");
	return rc > 0 ? -EIO : rc;
}

static int push(const struct pair *p, struct err *e)
{
	int rc = GIT(p, NULL, 0, e, "-c", "advice.pushUpdateRejected=false", "push", "--quiet",
		     p->remote, p->branch);

	if (rc <= 0)
		return rc;
	return err_say(e, -EIO, "the branch %.60s could not be pushed; look with 'git fetch %s' "
		       "whether the sandbox has commits of its own, or changes that are not "
		       "committed", p->branch, p->remote);
}

static int begin(struct pair *p, const struct store_box *b, const char *dir, const char *dst,
		 struct err *e)
{
	*p = (struct pair){ .b = b, .dir = dir };
	snprintf(p->remote, sizeof(p->remote), "sandbox-%s", b->name);
	snprintf(p->url, sizeof(p->url), "sandbox::%s:%s", b->name, dst);
	return places_self_dir(&p->own, e);
}

/* Everything that changes something. */
static int join(const struct pair *p, struct store_box *b, const char *dst, struct err *e)
{
	bool there;
	int rc = look_for_remote(p, &there, e);

	if (!rc)
		rc = prepare_guest(p, b, dst, e);
	if (!rc && !there)
		rc = add_remote(p, e);
	if (!rc)
		rc = push(p, e);
	if (rc)
		return rc;
	event_write(b, "attach", json_pack("{s:o, s:o, s:s}", "source", text_json(p->dir), "target",
					   text_json(dst), "mode", "git"));
	if (!tool_is_there(REMOTE_GIT_HELPER))
		cli_say("attach: for git fetch and git push, put %.150s into PATH, where git finds "
			REMOTE_GIT_HELPER, p->own.path);
	return 0;
}

int git_attach(struct store_box *b, const char *text, bool dry_run, char **done, struct err *e)
{
	struct shares want = { 0 };
	struct pair p;
	int rc = shares_add(&want, text, e);

	if (!rc) {
		rc = begin(&p, b, want.v[0].src, want.v[0].dst, e);
		if (!rc)
			rc = check_repository(&p, e);
		if (!rc && asprintf(done, "%s:%s:git", p.dir, want.v[0].dst) < 0)
			rc = err_set(e, -ENOMEM, "attach");
		if (!rc && !dry_run)
			rc = join(&p, b, want.v[0].dst, e);
	}
	shares_free(&want);
	return rc;
}

int git_detach(const struct store_box *b, const char *dir, bool dry_run, char **done,
	       struct err *e)
{
	char now[WORD_MAX];
	struct pair p;
	struct err none;
	int rc;

	*done = realpath(dir, NULL);
	if (!*done)
		return err_set(e, -errno, "%.150s", dir);
	rc = begin(&p, b, *done, "", e);
	if (rc)
		return rc;
	rc = GIT(&p, now, sizeof(now), &none, "remote", "get-url", p.remote);
	/* Only one that is ours. */
	if (rc || strncmp(now, p.url, strlen(p.url)) != 0) {
		cli_say("%.200s has no remote %s", *done, p.remote);
		return 0;
	}
	rc = dry_run ? 0 : GIT(&p, NULL, 0, e, "remote", "remove", p.remote);
	if (!rc && !dry_run)
		event_write(b, "detach", json_pack("{s:o, s:s}", "source", text_json(*done), "mode",
						   "git"));
	return rc > 0 ? -EIO : rc;
}
