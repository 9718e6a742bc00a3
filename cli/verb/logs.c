/* SPDX-License-Identifier: Apache-2.0 */
/*
 * logs.c - `sandbox logs`: a sandbox's events, or its guest's console.
 *
 * Events are printed as the lines of JSON that they are; at a terminal each is written
 * for people. Everything that came from a guest is escaped by then.
 */
#include <fcntl.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include "cli/verb/named.h"
#include "cli/base/parse.h"
#include "cli/store/event.h"

static int opt_lines(void *into, const char *value, struct err *e)
{
	((struct named *)into)->has_lines = true;
	return parse_number(value, 0, 1000000, &((struct named *)into)->lines, e);
}

/* A value on one line, without what would act on a terminal. */
static void print_value(const json_t *v)
{
	char *text = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT | JSON_ENSURE_ASCII);

	if (json_is_array(v)) {
		const json_t *word;
		size_t i;

		json_array_foreach(v, i, word) {
			if (i)
				putchar(' ');
			print_value(word);
		}
	} else if (json_is_string(v) && text && !strpbrk(text, "\\ ") && text[1] != '"') {
		printf("%.*s", (int)strlen(text) - 2, text + 1);
	} else {
		fputs(text ? text : "?", stdout);
	}
	free(text);
}

static void print_line(const char *line, bool pretty)
{
	json_t *o = pretty ? json_loads(line, 0, NULL) : NULL;
	const char *when = json_string_value(json_object_get(o, "time"));
	const char *what = json_string_value(json_object_get(o, "event")), *key;
	json_t *v;

	if (!when || !what) {
		puts(line);
	} else {
		printf("%.19s  %-10s", when, what);
		json_object_foreach(o, key, v) {
			if (!strcmp(key, "time") || !strcmp(key, "event") || json_is_null(v) ||
			    json_is_false(v))
				continue;
			printf("  %s=", key);
			print_value(v);
		}
		putchar('\n');
	}
	json_decref(o);
}

/* Lines of the file from where it stands. */
static void print_rest(FILE *f, bool pretty)
{
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;

	clearerr(f);
	while ((n = getline(&line, &cap, f)) > 0) {
		if (line[n - 1] != '\n') {	/* not whole yet */
			(void)fseek(f, -n, SEEK_CUR);
			break;
		}
		line[n - 1] = '\0';
		print_line(line, pretty);
	}
	free(line);
	fflush(stdout);
}

/* Leave only the last @lines before us; how many these are. */
static uint64_t skip(FILE *f, uint64_t lines)
{
	uint64_t have = 0, kept;
	int c;

	while ((c = getc(f)) != EOF)
		have += c == '\n';
	kept = have < lines ? have : lines;
	rewind(f);
	while (have > lines && (c = getc(f)) != EOF)
		have -= c == '\n';
	return kept;
}

/* The file of events as it is in the folder now, if it is another one than @f. */
static FILE *newer(const struct store_box *b, FILE *f)
{
	auto_fd fd = openat(b->dir, EVENT_FILE, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct stat mine, there;
	FILE *made;

	if (fd < 0 || fstat(fd, &there) || fstat(fileno(f), &mine) || mine.st_ino == there.st_ino)
		return NULL;
	made = fdopen(fd, "r");
	if (made)
		(void)take_fd(&fd);
	return made;
}

/* Until the reader goes, or the sandbox is removed. @f is closed. */
static int follow(const struct store_box *b, FILE *f, bool pretty)
{
	const uint32_t what = IN_MODIFY | IN_CREATE | IN_MOVED_FROM | IN_DELETE;
	char room[4096];
	auto_fd in = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	int status = in < 0 || inotify_add_watch(in, b->path.path, what) < 0 ? CLI_FAILED : -1;

	while (status < 0) {
		struct pollfd p[] = { { in, POLLIN, 0 }, { STDOUT_FILENO, 0, 0 } };
		struct stat st;
		FILE *next;

		print_rest(f, pretty);
		/* What came last into the older one is there when the newer one is. */
		while ((next = newer(b, f))) {
			print_rest(f, pretty);
			fclose(f);
			f = next;
			print_rest(f, pretty);
		}
		if (fstat(fileno(f), &st) || !st.st_nlink || ferror(stdout))
			status = CLI_OK;
		else if (poll(p, 2, -1) < 0 && errno != EINTR)
			status = CLI_FAILED;
		else if (p[1].revents & (POLLERR | POLLHUP))
			status = CLI_OK;
		else if (p[0].revents && read(in, room, sizeof(room)) < 0 && errno != EINTR &&
			 errno != EAGAIN)
			status = CLI_FAILED;
	}
	fclose(f);
	return status;
}

static FILE *open_events(const struct store_box *b, const char *name)
{
	int fd = openat(b->dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? NULL : fdopen(fd, "r");
}

static int show_events(const struct verb *v, const struct named *n, struct store_box *b)
{
	FILE *old = open_events(b, EVENT_OLDER), *f = open_events(b, EVENT_FILE);
	bool pretty = isatty(STDOUT_FILENO) && !n->json;
	uint64_t left = n->has_lines ? n->lines : UINT64_MAX;

	if (!f && old) {	/* just now it became the older one */
		f = old;
		old = NULL;
	}
	if (!f) {
		cli_say("%s: the events of sandbox '%s' cannot be read: %s", v->name, b->name,
			strerror(errno));
		return CLI_FAILED;
	}
	if (n->has_lines)
		left -= skip(f, left);
	if (old) {
		if (n->has_lines)
			skip(old, left);
		print_rest(old, pretty);
		fclose(old);
	}
	print_rest(f, pretty);
	if (n->follow)
		return follow(b, f, pretty);
	fclose(f);
	return CLI_OK;
}

/* What it said last: of the running one from its keeper, else from the file. */
static int show_console(const struct verb *v, struct store_box *b)
{
	struct store_state s;
	struct err e = { 0 };
	json_t *answer = NULL;
	auto_mem char *text = NULL;
	int rc = store_state(b, &s, &e);

	if (!rc && s.life == STORE_RUNNING)
		rc = keeper_ask_box(b->name, "console", NULL, NULL, 0, 10000, &answer, &e);
	else if (!rc)
		text = store_read(b, "console", &e);
	if (rc)
		return named_failed(v, &e);
	for (const char *p = answer ? json_string_value(json_object_get(answer, "text")) :
	     text ? text : ""; p && *p; p++)
		if (*p != '\r')
			putchar(*p == '\n' || *p == '\t' || (*p >= ' ' && *p < 0x7f) ? *p : '?');
	json_decref(answer);
	return CLI_OK;
}

static int logs_main(const struct verb *v, int argc, char **argv)
{
	struct store_box b = STORE_BOX_NONE;
	struct named n;
	struct err e = { 0 };
	int status = named_begin(v, argc, argv, &n, 1, 1);

	if (status < 0) {
		if (store_open(&b, n.words[0], &e))
			status = named_failed(v, &e);
		else
			status = n.console ? show_console(v, &b) : show_events(v, &n, &b);
		if (fflush(stdout))
			status = CLI_FAILED;
	}
	store_close(&b);
	named_end(&n);
	return status;
}

static const struct opt table[] = {
	OPT_FLAG("follow", 'f', "go on as more happens", struct named, follow),
	OPT("lines", 'n', "N", "only the last N lines", opt_lines),
	OPT_FLAG("console", 0, "the end of the guest's console instead", struct named, console),
	OPT_FLAG("json", 0, "JSON lines, also at a terminal", struct named, json),
	{ 0 },
};

const struct verb verb_logs = {
	.name = "logs", .args = "NAME",
	.summary = "Show what happened in a sandbox: starts, commands, ends",
	.example = "  sandbox logs -f web\n  sandbox logs --console web\n",
	.table = table, .main = logs_main, .names = true,
};
