/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record.c - `sandbox record ls|play|prune`, and where recordings are.
 *
 * A recording is named SANDBOX/NAME, or -/NAME for one of a run without a name. Playing
 * one writes to the terminal what the guest wrote, as it was when it ran.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include "cli/base/parse.h"
#include "cli/base/term.h"
#include "cli/base/text.h"
#include "cli/verb/named.h"
#include "cli/verb/record.h"

#define NO_NAME		"-"		/* for runs without a name */
#define NS_PER_S	1000000000ull
#define DAY_S		86400
#define PAUSE_S		2.0		/* a longer one is played as this */

struct flags { bool json, yes, dry_run, has_days; uint64_t days; double speed; };

/* ---- where ---------------------------------------------------------------- */

/* The folder of @b's recordings (NULL: of runs without a name). -ENOENT when there is none. */
static int open_folder(const struct store_box *b, bool make, struct err *e)
{
	auto_fd state = -1;
	struct place p;
	int at = b ? b->dir : -1, fd, rc = 0;

	if (!b) {
		rc = places_state(&p, e);
		state = rc ? -1 : open(p.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		at = state;
	}
	if (rc)
		return rc;
	if (make && mkdirat(at, RECORDINGS, 0700) && errno != EEXIST)
		return err_set(e, -errno, "make the folder of recordings");
	fd = openat(at, RECORDINGS, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? err_set(e, -errno, "open the folder of recordings") : fd;
}

int recording_begin(struct record *r, struct execution *x, const struct store_box *b,
		    struct err *e)
{
	struct record_about about = { .title = b ? b->name : "sandbox run", .argv = x->conf->argv };
	auto_fd dir = open_folder(b, true, e);
	int rc;

	if (dir < 0)
		return dir;
	if (x->conf->tty)
		(void)term_size(STDIN_FILENO, &about.rows, &about.cols);
	rc = record_open(r, dir, &about, e);
	if (!rc)
		x->record = r;
	return rc;
}

void recording_end(struct record *r, int status)
{
	record_close(r, status);
	if (r->error)
		cli_say("the recording %s is not complete: %s", r->name, strerror(r->error));
	else if (r->full)
		cli_say("the recording %s ends at %llu MiB", r->name, RECORD_MAX >> 20);
}

/* ---- each of them ---------------------------------------------------------- */

struct found {
	const char *box;	/* a sandbox's name, or NO_NAME */
	int dir;
	char name[64];
	struct stat st;
};

typedef int (*found_fn)(const struct found *f, void *arg, struct err *e);

static int is_recording(const struct dirent *d)
{
	size_t n = strlen(d->d_name), s = strlen(RECORD_SUFFIX);

	return *d->d_name != '.' && n > s && n - s < sizeof(((struct found *)0)->name) &&
	       !strcmp(d->d_name + n - s, RECORD_SUFFIX);
}

static int each_in(const char *box, const struct store_box *b, found_fn fn, void *arg,
		   struct err *e)
{
	struct err none = { 0 };
	auto_fd dir = open_folder(b, false, &none);
	struct dirent **all = NULL;
	int n, rc = 0;

	if (dir < 0)
		return none.code == -ENOENT ? 0 : err_say(e, none.code, "%s", none.msg);
	n = scandirat(dir, ".", &all, is_recording, alphasort);
	for (int i = 0; i < n; i++) {
		struct found f = { .box = box, .dir = dir };

		snprintf(f.name, sizeof(f.name), "%.*s",
			 (int)(strlen(all[i]->d_name) - strlen(RECORD_SUFFIX)), all[i]->d_name);
		if (!rc && !fstatat(dir, all[i]->d_name, &f.st, AT_SYMLINK_NOFOLLOW) &&
		    S_ISREG(f.st.st_mode))
			rc = fn(&f, arg, e);
		free(all[i]);
	}
	free(all);
	return rc;
}

static int each_of(const char *name, found_fn fn, void *arg, struct err *e)
{
	struct store_box b;
	int rc;

	if (!strcmp(name, NO_NAME))
		return each_in(NO_NAME, NULL, fn, arg, e);
	rc = store_open(&b, name, e);
	if (!rc)
		rc = each_in(b.name, &b, fn, arg, e);
	store_close(&b);
	return rc;
}

/* Of the sandboxes named in @words, or of all. */
static int each(char **words, found_fn fn, void *arg, struct err *e)
{
	char **names = NULL;
	size_t n = 0;
	int rc = 0;

	if (*words) {
		for (; *words && !rc; words++)
			rc = each_of(*words, fn, arg, e);
		return rc;
	}
	names = store_names(&n, e);
	if (!names)
		return e->code;
	for (size_t i = 0; i < n && !rc; i++) {
		rc = each_of(names[i], fn, arg, e);
		rc = rc == -ENOENT ? 0 : rc;	/* removed meanwhile */
	}
	store_names_free(names);
	return rc ? rc : each_of(NO_NAME, fn, arg, e);
}

/* ---- ls ------------------------------------------------------------------- */

struct listing { json_t *array; };

static int list_one(const struct found *f, void *arg, struct err *e)
{
	struct listing *l = arg;
	char when[32], size[32], id[160];

	snprintf(id, sizeof(id), "%s/%s", f->box, f->name);
	if (l->array) {
		json_t *o = json_pack("{s:s, s:s, s:I, s:I}", "name", id, "sandbox", f->box,
				      "bytes", (json_int_t)f->st.st_size, "modified",
				      (json_int_t)f->st.st_mtime);

		return json_array_append_new(l->array, o) ? err_set(e, -ENOMEM, "list") : 0;
	}
	printf("%-40s%-21s%s\n", id, text_when(f->st.st_mtime, when),
	       parse_size_text((uint64_t)f->st.st_size, size));
	return 0;
}

static int list(const struct flags *f, char **words, struct err *e)
{
	struct listing l = { f->json ? json_array() : NULL };
	int rc;

	if (!f->json)
		printf("%-40s%-21s%s\n", "RECORDING", "ENDED", "SIZE");
	rc = each(words, list_one, &l, e);
	if (f->json && !rc)
		return named_print_json(l.array) ? err_say(e, -EIO, "write") : 0;
	json_decref(l.array);
	return rc ? rc : fflush(stdout) ? err_set(e, -errno, "write") : 0;
}

/* ---- play ----------------------------------------------------------------- */

/* Up to the moment @at of the recording; @now is where it stands. */
static void pause_until(double at, double *now, double speed)
{
	double wait = at - *now;
	struct timespec t;

	*now = at > *now ? at : *now;
	if (speed <= 0 || wait <= 0)
		return;
	wait = (wait > PAUSE_S ? PAUSE_S : wait) / speed;
	t.tv_sec = (time_t)wait;
	t.tv_nsec = (long)((wait - (double)t.tv_sec) * 1e9);
	nanosleep(&t, NULL);
}

static int play_lines(FILE *in, double speed, struct err *e)
{
	char *line = NULL;
	double now = 0;
	size_t cap = 0;
	int rc = 0;
	long n = 0;

	while (!rc && getline(&line, &cap, in) > 0) {
		json_t *o = json_loads(line, JSON_ALLOW_NUL, NULL);
		const char *kind = json_string_value(json_array_get(o, 1));
		json_t *text = json_array_get(o, 2);

		if (!n++ && json_integer_value(json_object_get(o, "version")) != 2)
			rc = err_say(e, -EINVAL, "it is not an asciicast of version 2");
		if (kind && !strcmp(kind, "o") && json_is_string(text)) {
			pause_until(json_number_value(json_array_get(o, 0)), &now, speed);
			fwrite(json_string_value(text), 1, json_string_length(text), stdout);
			if (fflush(stdout))
				rc = err_set(e, -errno, "write");
		}
		json_decref(o);
	}
	free(line);
	return rc;
}

struct sought { const char *name; int fd; };

static int seek(const struct found *f, void *arg, struct err *e)
{
	struct sought *s = arg;
	char file[80];

	if (strcmp(f->name, s->name) != 0)
		return 0;
	snprintf(file, sizeof(file), "%s" RECORD_SUFFIX, f->name);
	s->fd = openat(f->dir, file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	return s->fd < 0 ? err_set(e, -errno, "open %s", file) : 0;
}

static int play(const struct flags *f, char **words, struct err *e)
{
	struct sought s = { .fd = -1 };
	char box[STORE_NAME_MAX + 64];
	char *slash;
	FILE *in;
	int rc;

	if (!words[0] || words[1])
		return err_say(e, -EINVAL, "play needs the name of one recording; see 'sandbox record "
			       "ls'");
	snprintf(box, sizeof(box), "%s", words[0]);
	slash = strchr(box, '/');
	if (!slash)
		return err_say(e, -EINVAL, "'%.60s' is no recording's name: it is SANDBOX/NAME, as "
			       "'sandbox record ls' has it", words[0]);
	*slash = '\0';
	s.name = slash + 1;
	rc = each_of(box, seek, &s, e);
	if (rc)
		return rc;
	if (s.fd < 0)
		return err_say(e, -ENOENT, "there is no recording '%.60s'; see 'sandbox record ls'",
			       words[0]);
	in = fdopen(s.fd, "r");
	if (!in)
		return err_set(e, -errno, "read it");
	rc = play_lines(in, f->speed, e);
	fclose(in);
	return rc;
}

/* ---- prune ---------------------------------------------------------------- */

struct pruning { const struct flags *f; time_t before; bool act; unsigned n; uint64_t bytes; };

static int prune_one(const struct found *f, void *arg, struct err *e)
{
	struct pruning *p = arg;
	char file[80];

	if (f->st.st_mtime > p->before)
		return 0;
	p->n++;
	p->bytes += (uint64_t)f->st.st_size;
	if (!p->act)
		return 0;
	snprintf(file, sizeof(file), "%s" RECORD_SUFFIX, f->name);
	return unlinkat(f->dir, file, 0) && errno != ENOENT ? err_set(e, -errno, "remove %s", file)
							    : 0;
}

static int prune(const struct verb *v, const struct flags *f, char **words, struct err *e)
{
	struct pruning p = { .f = f, .before = time(NULL) - (time_t)f->days * DAY_S };
	char size[32];
	int rc;

	if (!f->has_days)
		return err_say(e, -EINVAL, "prune needs --days N: older ones are removed");
	rc = each(words, prune_one, &p, e);
	if (rc)
		return rc;
	parse_size_text(p.bytes, size);
	if (f->dry_run) {
		printf("would remove %u recordings, %s\n", p.n, size);
		return 0;
	}
	if (p.n && !cli_confirm(v, f->yes, "remove %u recordings, %s", p.n, size))
		return -EPERM;		/* which was said */
	p = (struct pruning){ .f = f, .before = p.before, .act = true };
	rc = each(words, prune_one, &p, e);
	if (!rc)
		printf("%u recordings removed, %s\n", p.n, parse_size_text(p.bytes, size));
	return rc;
}

/* ---- the verb ------------------------------------------------------------- */

static int opt_days(void *into, const char *value, struct err *e)
{
	((struct flags *)into)->has_days = true;
	return parse_number(value, 0, 36500, &((struct flags *)into)->days, e);
}

static int opt_speed(void *into, const char *value, struct err *e)
{
	char *end;
	double speed = strtod(value, &end);

	if (end == value || *end || !(speed >= 0 && speed <= 1000))
		return err_say(e, -EINVAL, "'%.40s' is not a number from 0 to 1000", value);
	((struct flags *)into)->speed = speed;
	return 0;
}

static const struct opt opts[] = {
	OPT("speed", 0, "N", "play: so many times as fast (0: at once; default 1)", opt_speed),
	OPT("days", 0, "N", "prune: what is older than that", opt_days),
	OPT_FLAG("yes", 'y', "prune: do not ask", struct flags, yes),
	OPT_FLAG("dry-run", 0, "prune: say what would be removed, and do nothing", struct flags,
		 dry_run),
	OPT_FLAG("json", 0, "ls: print JSON", struct flags, json),
	{ 0 },
};

static int record_main(const struct verb *v, int argc, char **argv)
{
	auto_mem char **words = calloc((size_t)argc + 1, sizeof(*words));
	struct flags f = { .speed = 1 };
	struct err e = { 0 };
	int n, rc, status = words ? cli_begin_words(v, argc, argv, &f, words, &n) : CLI_FAILED;

	if (status >= 0)
		return status;
	if (words[0] && !strcmp(words[0], "ls"))
		rc = list(&f, words + 1, &e);
	else if (words[0] && !strcmp(words[0], "play"))
		rc = play(&f, words + 1, &e);
	else if (words[0] && !strcmp(words[0], "prune"))
		rc = prune(v, &f, words + 1, &e);
	else
		rc = err_say(&e, -EINVAL, "%s%.40s%s none of ls, play, prune", words[0] ? "'" : "",
			     words[0] ? words[0] : "nothing", words[0] ? "' is" : " is");
	if (e.msg[0])
		cli_say("record: %s", e.msg);
	return cli_status_of(rc);
}

const struct verb verb_record = {
	.name = "record", .args = "ls [NAME...] | play NAME/RECORDING | prune --days N [NAME...]",
	.summary = "Look at what commands with --record have shown",
	.example = "  sandbox shell --record web\n  sandbox record ls web\n"
		   "  sandbox record play web/20260301-101502-4711 --speed 4\n"
		   "  sandbox record prune --days 30\n",
	.table = opts, .words = "ls play prune", .main = record_main,
};
