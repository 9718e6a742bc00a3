/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cp.c - `sandbox cp`: files and trees between here and a running sandbox, as tar
 * streams of the agent.
 *
 * Packing, and unpacking of what a guest packed, are a child process each: they may block,
 * and what parses a hostile archive holds no connection. The rules for such an archive
 * are those of agent/unpack.h.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include "agent/helper.h"
#include "agent/unpack.h"
#include "cli/base/text.h"
#include "cli/verb/cp_path.h"
#include "cli/store/event.h"
#include "cli/verb/named.h"

#define TIMEOUT_MS	(-1)	/* Ctrl-C ends a copy */
#define SHORT_MS	60000

struct copy {
	json_t *all;		/* what was copied, for --json */
	const struct verb *v;
	struct named n;
	struct store_box box;
	struct store_state state;
	int conn;			/* held: the sandbox is not idle */
	uint32_t sparse;		/* PROTO_FILE_SPARSE, if its agent can do that */
	struct err e;
};

/* ---- a child with a pipe -------------------------------------------------- */

struct child { pid_t pid; int data, words; };

#define CHILD_ROOT 3	/* the folder that it unpacks in */

/* In the child: helper's words go to a pipe of their own, and nothing else stays open. */
static int be_child(int (*work)(const void *arg), const void *arg, int std, int data, int words,
		    int root)
{
	if (dup2(data, std) < 0 || dup2(words, STDERR_FILENO) < 0 ||
	    (root >= 0 && dup2(root, CHILD_ROOT) < 0))
		return EIO;
	syscall(SYS_close_range, root < 0 ? CHILD_ROOT : CHILD_ROOT + 1, ~0u, 0);
	return work(arg);
}

/*
 * Run @work in a child; @std is STDIN_FILENO if it reads, STDOUT_FILENO if it writes.
 * c->data is the other end.
 */
static int child_start(struct child *c, int (*work)(const void *arg), const void *arg, int std,
		       int root, struct err *e)
{
	int data[2], words[2];

	if (pipe2(data, O_CLOEXEC))
		return err_set(e, -errno, "pipe");
	if (pipe2(words, O_CLOEXEC)) {
		close(data[0]);
		close(data[1]);
		return err_set(e, -errno, "pipe");
	}
	fflush(NULL);
	c->pid = fork();
	if (c->pid == 0)
		_exit(be_child(work, arg, std, data[std == STDOUT_FILENO], words[1], root));
	close(data[std == STDOUT_FILENO]);
	close(words[1]);
	c->data = data[std != STDOUT_FILENO];
	c->words = words[0];
	return c->pid < 0 ? err_set(e, -errno, "fork") : 0;
}

/* Its end: 0, or -errno with its sentence. */
static int child_end(struct child *c, struct err *e)
{
	char text[256];
	ssize_t n;
	int status = 0;

	close(c->data);
	n = read(c->words, text, sizeof(text) - 1);
	close(c->words);
	while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR)
		;
	text[n > 0 ? n : 0] = '\0';
	if (WIFEXITED(status) && !WEXITSTATUS(status))
		return 0;
	if (!*text)
		return err_say(e, -EIO, "the process that packs or unpacks was killed");
	proto_tame(text);		/* names of the guest's */
	return err_say(e, WIFEXITED(status) ? -WEXITSTATUS(status) : -EIO, "%s", text);
}

struct pack { const char *path, *name; unsigned long flags; };

static int pack(const void *arg)
{
	const struct pack *p = arg;

	signal(SIGPIPE, SIG_DFL);
	return helper_pack_as(p->path, p->name, p->flags);
}

static int unpack_here(const void *arg)
{
	struct unpack u = *(const struct unpack *)arg;

	u.root = CHILD_ROOT;
	return unpack(&u);
}

/* ---- directions ----------------------------------------------------------- */

static struct client *agent(struct copy *c)
{
	return box_client(&c->state, &c->e);
}

static int say(struct copy *c, int rc, const struct client_err *ce, const char *path)
{
	return err_say(&c->e, rc, "%.100s:%.200s: %.150s", c->box.name, path, ce->msg);
}

/* What is there in the guest; -ENOENT without a sentence. */
static int look(struct copy *c, const char *path, uint32_t flags, struct client_stat *st)
{
	struct client *cl = agent(c);
	struct client_err ce = { 0 };
	int rc = cl ? client_stat(cl, path, flags, st, SHORT_MS, &ce) : c->e.code;

	if (cl && client_features(cl) & PROTO_F_SPARSE)
		c->sparse = PROTO_FILE_SPARSE;
	client_close(cl);
	return !cl || !rc || rc == -ENOENT ? rc : say(c, rc, &ce, path);
}

static int make_folder(struct copy *c, const char *path)
{
	struct client *cl = agent(c);
	struct client_err ce = { 0 };
	int rc = cl ? client_mkdir(cl, path, 0755, PROTO_FILE_PARENTS, SHORT_MS, &ce) : c->e.code;

	client_close(cl);
	return !cl || !rc ? rc : say(c, rc, &ce, path);
}

/* A tar stream from @fd into the guest's folder. */
static int send_tar(struct copy *c, int fd, const char *dir)
{
	struct client *cl = agent(c);
	struct client_err ce = { 0 };
	int rc = cl ? client_tar_in(cl, fd, dir, 0, TIMEOUT_MS, &ce) : c->e.code;

	client_close(cl);
	return !cl || !rc ? rc : say(c, rc, &ce, dir);
}

static int receive_tar(struct copy *c, const char *path, int fd, uint32_t flags)
{
	struct client *cl = agent(c);
	struct client_err ce = { 0 };
	int rc = cl ? client_tar_out(cl, path, fd, flags, TIMEOUT_MS, &ce) : c->e.code;

	client_close(cl);
	return !cl || !rc ? rc : say(c, rc, &ce, path);
}

static int into_guest(struct copy *c, const struct cp_path *from, const struct cp_path *to)
{
	char dir[PROTO_PATH_MAX], name[256];
	struct pack p = { from->path, name, 0 };
	struct client_stat there = { 0 };
	struct child child = { 0 };
	struct err first;
	struct stat st;
	int rc = look(c, to->path, 0, &there), packed;

	if (rc && rc != -ENOENT)
		return rc;
	if (lstat(from->path, &st) ||
	    ((from->contents || from->folder) && stat(from->path, &st)))
		return err_set(&c->e, -errno, "%s", from->path);
	if ((from->contents || from->folder) && !S_ISDIR(st.st_mode))
		return err_say(&c->e, -ENOTDIR, "%s is no folder", from->path);
	rc = cp_path_target(from, to, S_ISDIR(st.st_mode), !rc, S_ISDIR(there.mode), dir,
			    sizeof(dir), name, sizeof(name), &c->e);
	p.flags = c->sparse;
	if (!rc && !*name) {
		p.flags |= PROTO_FILE_CONTENTS;
		rc = make_folder(c, dir);
	}
	if (!rc)
		rc = child_start(&child, pack, &p, STDOUT_FILENO, -1, &c->e);
	if (rc)
		return rc;
	rc = send_tar(c, child.data, dir);
	first = c->e;
	packed = child_end(&child, &c->e);
	/* An archive that was cut off is no news beside why it was; a packer that was, is none. */
	if (packed && (!rc || c->e.code != -EIO))
		return packed;
	c->e = first;
	return rc;
}

static int from_guest(struct copy *c, const struct cp_path *from, const struct cp_path *to)
{
	char dir[PROTO_PATH_MAX], name[256];
	struct unpack u = { .strict = true };
	struct client_stat what = { 0 };
	struct child child = { 0 };
	struct err first;
	struct stat st = { 0 };
	bool exists = !stat(to->path, &st);
	int rc = look(c, from->path, from->contents ? 0 : PROTO_FILE_NOFOLLOW, &what), taken;

	if (rc == -ENOENT)
		return err_say(&c->e, rc, "there is no %.150s in sandbox '%s'", from->path,
			       c->box.name);
	if (rc)
		return rc;
	rc = cp_path_target(from, to, S_ISDIR(what.mode), exists, S_ISDIR(st.st_mode), dir,
			    sizeof(dir), name, sizeof(name), &c->e);
	if (rc)
		return rc;
	if (!*name && !exists && mkdir(dir, 0777))
		return err_set(&c->e, -errno, "make folder %s", dir);
	u.root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (u.root < 0)
		return err_set(&c->e, -errno, "open folder %s", dir);
	u.from = *name ? cp_path_last(from) : NULL;
	u.to = name;
	rc = child_start(&child, unpack_here, &u, STDIN_FILENO, u.root, &c->e);
	close(u.root);
	if (rc)
		return rc;
	rc = receive_tar(c, from->path, child.data,
			 c->sparse | (*name ? 0 : PROTO_FILE_CONTENTS));
	first = c->e;
	/* One that refused the archive stopped the guest; one that was cut off is no news. */
	taken = child_end(&child, &c->e);
	if (taken && (!rc || taken != -EPIPE))
		return taken;
	c->e = first;
	return rc;
}

static int copy_one(struct copy *c, const struct cp_path *from, const struct cp_path *to)
{
	if (to->stream) {
		if (isatty(STDOUT_FILENO))
			return err_say(&c->e, -EINVAL, "an archive is nothing for a terminal; pass "
				       "it on, as in 'sandbox cp %s:%s - | tar t'", from->box,
				       from->path);
		return receive_tar(c, from->path, STDOUT_FILENO,
				   from->contents ? PROTO_FILE_CONTENTS : 0);
	}
	if (from->stream)
		return send_tar(c, STDIN_FILENO, to->path);
	return from->guest ? from_guest(c, from, to) : into_guest(c, from, to);
}

/* ---- the verb ------------------------------------------------------------- */

static int hold(struct copy *c, const char *box)
{
	int rc = box_running(&c->box, &c->state, box, &c->e);

	if (rc)
		return rc;
	c->conn = keeper_hold(&c->box, &c->state, &c->e);
	return c->conn < 0 ? c->conn : 0;
}

static int check_sides(const struct cp_path *from, const struct cp_path *to, struct err *e)
{
	if (from->guest == to->guest)
		return err_say(e, -EINVAL, from->guest ? "both are in sandboxes; copy in two steps, or "
			       "pipe one 'cp NAME:PATH -' into a 'cp - NAME:PATH'" :
			       "neither is in a sandbox; say NAME:PATH for the one that is");
	return 0;
}

static int copy_all(struct copy *c)
{
	struct named *n = &c->n;
	struct cp_path to, from;
	int rc = cp_path_parse(&to, n->words[n->n_words - 1], &c->e);

	if (n->n_words > 2)
		to.folder = true;
	if (n->json && !strcmp(n->words[n->n_words - 1], "-"))
		return err_say(&c->e, -EINVAL, "stdout is the archive's; leave --json out");
	for (int i = 0; !rc && i + 1 < n->n_words; i++) {
		rc = cp_path_parse(&from, n->words[i], &c->e);
		if (!rc)
			rc = check_sides(&from, &to, &c->e);
		if (!rc && c->conn >= 0 && strcmp(c->box.name, from.guest ? from.box : to.box) != 0)
			rc = err_say(&c->e, -EINVAL, "one cp is about one sandbox");
		if (!rc && c->conn < 0)
			rc = hold(c, from.guest ? from.box : to.box);
		if (rc)
			break;
		if (n->dry_run && !n->json)
			printf("would copy %s to %s\n", n->words[i], n->words[n->n_words - 1]);
		else if (!n->dry_run)
			rc = copy_one(c, &from, &to);
		if (!rc && n->json)
			json_array_append_new(c->all, json_pack("{s:o, s:o, s:b}", "from",
				text_json(n->words[i]), "to", text_json(n->words[n->n_words - 1]),
				"dry_run", n->dry_run));
		if (!rc && !n->dry_run)
			event_write(&c->box, "cp", json_pack("{s:o, s:o}", "from",
					text_json(n->words[i]), "to",
					text_json(n->words[n->n_words - 1])));
	}
	return rc;
}

static int cp_main(const struct verb *v, int argc, char **argv)
{
	struct copy c = { .v = v, .box = STORE_BOX_NONE, .conn = -1 };
	int status = named_begin(v, argc, argv, &c.n, 2, 0);

	if (status < 0) {
		signal(SIGPIPE, SIG_IGN);
		c.all = json_array();
		status = copy_all(&c) ? named_failed(v, &c.e) : CLI_OK;
		if (c.n.json && !status)
			status = named_print_json(json_incref(c.all));
		json_decref(c.all);
		if (fflush(stdout))
			status = CLI_FAILED;
	}
	if (c.conn >= 0)
		close(c.conn);
	store_close(&c.box);
	named_end(&c.n);
	return status;
}

static const struct opt table[] = { NAMED_DRY_RUN, NAMED_JSON, { 0 } };

const struct verb verb_cp = {
	.name = "cp", .args = "SRC... DST",
	.summary = "Copy files and folders to and from a sandbox that runs: NAME:PATH on one side, "
		   "a path or\n- (a tar stream) on the other. A folder goes into a DST that is there, "
		   "and becomes one that is not",
	.example = "  sandbox cp src web:/root\n  sandbox cp web:/var/log/. logs\n"
		   "  sandbox cp web:/etc - | tar tv\n",
	.table = table, .main = cp_main, .command = true,
};
