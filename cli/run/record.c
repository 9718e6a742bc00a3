/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record.c - lines of an asciicast: a header, then [seconds, "o", text] for each piece of
 * output, "r" for a new size, "m" for remarks of our own.
 *
 * Text must be UTF-8, and what a guest writes need not be. A character that is cut at the
 * end of a piece waits for its rest; what is none becomes U+FFFD.
 */
#include <fcntl.h>
#include <jansson.h>
#include <sys/stat.h>
#include <time.h>
#include "cli/base/term.h"
#include "cli/run/record.h"

#define NS_PER_S	1000000000ull
#define PIECE		8192u		/* bytes of output in one line */
#define LINE_MAX_	(PIECE * 6 + 64)	/* \u001b for each of them */
#define REST		256u		/* that the last lines need beyond RECORD_MAX */

/* ---- text ---------------------------------------------------------------- */

/* Bytes of the character that begins with b; 0: none does. */
static unsigned wide(uint8_t b)
{
	return b < 0x80 ? 1 : b >= 0xc2 && b < 0xe0 ? 2 : b >= 0xe0 && b < 0xf0 ? 3 :
	       b >= 0xf0 && b < 0xf5 ? 4 : 0;
}

/* Whether the second byte may follow the first: no overlong forms, no surrogates, no end. */
static bool follows(uint8_t first, uint8_t b)
{
	uint8_t low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
	uint8_t high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;

	return b >= low && b <= high;
}

/* A whole character at p: its bytes; 0: not one; -1: the rest of it is still to come. */
static int character(const uint8_t *p, size_t n)
{
	unsigned len = wide(p[0]);

	if (!len)
		return 0;
	for (unsigned i = 1; i < len; i++) {
		if (i == n)
			return -1;
		if (i == 1 ? !follows(p[0], p[1]) : (p[i] & 0xc0) != 0x80)
			return 0;
	}
	return (int)len;
}

static size_t escape(const uint8_t *p, unsigned len, char *out)
{
	if (len == 1 && (*p < 0x20 || *p == 0x7f))
		return (size_t)sprintf(out, "\\u%04x", *p);
	if (*p == '"' || *p == '\\') {
		out[0] = '\\';
		out[1] = (char)*p;
		return 2;
	}
	memcpy(out, p, len);
	return len;
}

/* As much of p as can be told; what is left of it is in r->part. */
static size_t text(struct record *r, unsigned s, const uint8_t *p, size_t n, char *out)
{
	size_t at = 0;

	for (size_t i = 0; i < n;) {
		int len = character(p + i, n - i);

		if (len < 0) {
			r->n_part[s] = (unsigned)(n - i);
			memcpy(r->part[s], p + i, n - i);
			break;
		}
		if (len)
			at += escape(p + i, (unsigned)len, out + at);
		else
			at += (size_t)sprintf(out + at, "\\ufffd");
		i += len ? (size_t)len : 1;
	}
	out[at] = '\0';
	return at;
}

/* ---- lines --------------------------------------------------------------- */

static void put(struct record *r, const char *p, size_t n)
{
	while (n && r->fd >= 0 && !r->error) {
		ssize_t k = write(r->fd, p, n);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0) {
			r->error = errno;
			return;
		}
		p += k;
		n -= (size_t)k;
		r->bytes += (uint64_t)k;
	}
}

/* One event; @what is a JSON string's inside. */
static void event(struct record *r, char kind, const char *what, size_t n)
{
	uint64_t t = term_now_ns() - r->start_ns;
	char head[64];
	int len = snprintf(head, sizeof(head), "[%llu.%06llu, \"%c\", \"",
			   (unsigned long long)(t / NS_PER_S),
			   (unsigned long long)(t % NS_PER_S / 1000), kind);

	if (r->full || r->fd < 0)
		return;
	if (r->bytes + n + REST > RECORD_MAX) {
		static const char last[] = "recording ended: it has reached its greatest size";

		r->full = true;
		put(r, head, (size_t)len - strlen("o\", \""));
		put(r, "m\", \"", 5);
		put(r, last, strlen(last));
		put(r, "\"]\n", 3);
		return;
	}
	put(r, head, (size_t)len);
	put(r, what, n);
	put(r, "\"]\n", 3);
}

static void piece(struct record *r, unsigned s, const uint8_t *p, size_t n)
{
	char line[LINE_MAX_];
	uint8_t whole[PIECE + 4];
	size_t had = r->n_part[s], len;

	memcpy(whole, r->part[s], had);
	memcpy(whole + had, p, n);
	r->n_part[s] = 0;
	len = text(r, s, whole, had + n, line);
	if (len)
		event(r, 'o', line, len);
}

void record_output(struct record *r, unsigned stream, const uint8_t *p, size_t n)
{
	while (n && !r->full && r->fd >= 0) {
		size_t k = n < PIECE ? n : PIECE;

		piece(r, stream == 2, p, k);
		p += k;
		n -= k;
	}
}

void record_resize(struct record *r, uint16_t rows, uint16_t cols)
{
	char size[32];
	int n = snprintf(size, sizeof(size), "%ux%u", cols, rows);

	event(r, 'r', size, (size_t)n);
}

/* ---- the file ------------------------------------------------------------ */

static int header(struct record *r, const struct record_about *a)
{
	struct timespec now;
	json_t *o, *words = json_array();
	char *line;

	clock_gettime(CLOCK_REALTIME, &now);
	for (char *const *w = a->argv; w && *w; w++) {
		json_t *word = json_string(*w);

		json_array_append_new(words, word ? word : json_string("?"));
	}
	/* Players want one text; who reads it by program wants the words. */
	o = json_pack("{s:i, s:i, s:i, s:I, s:s, s:o}", "version", 2, "width",
		      a->cols ? a->cols : 80, "height", a->rows ? a->rows : 24, "timestamp",
		      (json_int_t)now.tv_sec, "title", a->title, "argv", words);
	line = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	if (!line)
		return -ENOMEM;
	put(r, line, strlen(line));
	put(r, "\n", 1);
	free(line);
	return -r->error;
}

int record_open(struct record *r, int dir, const struct record_about *about, struct err *e)
{
	char file[80];
	time_t now = time(NULL);
	struct tm tm;
	size_t n;
	int rc;

	*r = (struct record)RECORD_NONE;
	gmtime_r(&now, &tm);
	n = strftime(r->name, sizeof(r->name), "%Y%m%d-%H%M%S", &tm);
	snprintf(r->name + n, sizeof(r->name) - n, "-%d", (int)getpid());
	snprintf(file, sizeof(file), "%s" RECORD_SUFFIX, r->name);
	r->fd = openat(dir, file, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_NOFOLLOW | O_CLOEXEC,
		       0600);
	if (r->fd < 0)
		return err_set(e, -errno, "make the recording %s", file);
	r->start_ns = term_now_ns();
	rc = header(r, about);
	return rc ? err_set(e, rc, "write the recording %s", file) : 0;
}

void record_close(struct record *r, int status)
{
	char last[32];

	if (r->fd < 0)
		return;
	for (unsigned s = 0; s < 2; s++)
		if (r->n_part[s])
			event(r, 'o', "\\ufffd", 6);
	event(r, 'm', last, (size_t)snprintf(last, sizeof(last), "exit %d", status));
	close(r->fd);
	r->fd = -1;
}
