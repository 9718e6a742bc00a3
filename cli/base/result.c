/* SPDX-License-Identifier: Apache-2.0 */
/*
 * result.c - the JSON object of --json and --json-status-fd.
 */
#include <jansson.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include "cli/base/result.h"
#include "cli/base/text.h"

#define US_PER_MS 1000.0

static size_t base64(const unsigned char *p, size_t n, char *text)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t len = 0;

	for (size_t i = 0; i < n; i += 3) {
		size_t have = n - i < 3 ? n - i : 3;
		uint32_t v = (uint32_t)p[i] << 16;

		v |= have > 1 ? (uint32_t)p[i + 1] << 8 : 0;
		v |= have > 2 ? p[i + 2] : 0;
		text[len++] = digits[v >> 18];
		text[len++] = digits[v >> 12 & 63];
		text[len++] = have > 1 ? digits[v >> 6 & 63] : '=';
		text[len++] = have > 2 ? digits[v & 63] : '=';
	}
	return len;
}

static json_t *base64_json(const unsigned char *p, size_t n)
{
	char *text = malloc((n + 2) / 3 * 4);
	json_t *made = text ? json_stringn_nocheck(text, base64(p, n, text)) : NULL;

	free(text);
	return made;
}

/* Add @name and @name_encoding. */
static int add_stream(json_t *o, const char *name, int fd)
{
	char key[32];
	struct stat st;
	json_t *text;
	void *map = NULL;
	size_t len;
	bool utf8;

	if (fstat(fd, &st))
		return -errno;
	len = (size_t)st.st_size;
	if (len)
		map = mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	text = json_stringn(len ? map : "", len);
	utf8 = text;
	if (!utf8 && len)
		text = base64_json(map, len);
	if (len)
		munmap(map, len);
	snprintf(key, sizeof(key), "%s_encoding", name);
	if (json_object_set_new(o, name, text) ||
	    json_object_set_new(o, key, json_string(utf8 ? "utf-8" : "base64")))
		return -ENOMEM;
	return 0;
}

static json_t *ms(bool known, uint64_t ns)
{
	uint64_t us = ns / 1000;

	return known ? json_real((double)us / US_PER_MS) : json_null();
}

static void add_words(json_t *yes, json_t *no, const char *w)
{
	while (*w) {
		size_t n = strcspn(w, " ");
		bool minus = *w == '-';

		json_array_append_new(minus ? no : yes, json_stringn(w + minus, n - minus));
		w += n + (w[n] == ' ');
	}
}

/* {"walls": [those that stand], "missing": [the others]} */
static json_t *server(const struct result *r)
{
	json_t *stand = json_array(), *missing = json_array();

	add_words(stand, missing, r->server);
	return json_pack("{s:o, s:o}", "walls", stand, "missing", missing);
}

/* The same for the monitor, with {"mode": ..., "limits": [...], "server": its server's} */
static json_t *jail(const struct result *r)
{
	json_t *stand = json_array(), *missing = json_array(), *limits = json_array();
	add_words(stand, missing, r->walls);
	add_words(limits, missing, r->limits ? r->limits : "");
	return json_pack("{s:s, s:o, s:o, s:o, s:o}", "mode", r->jail, "walls", stand,
			 "missing", missing, "limits", limits,
			 "server", r->server && *r->server ? server(r) : json_null());
}

static json_t *describe(const struct result *r)
{
	return json_pack("{s:i, s:o, s:b, s:b, s:b, s:b, s:b, s:o, s:o, s:o, s:o, s:o, s:o}",
		"exit_code", r->status,
		"signal", r->signal ? json_integer(r->signal) : json_null(),
		"timed_out", r->timed_out,
		"oom", r->oom,
		"truncated", r->trunc_stdout || r->trunc_stderr,
		"stdout_truncated", r->trunc_stdout,
		"stderr_truncated", r->trunc_stderr,
		"boot_ms", ms(r->booted, r->ready_ns),
		"restore_ms", ms(r->restored, r->ready_ns),
		"exec_ms", ms(r->executed, r->exec_ns),
		"peak_memory_bytes",
		r->peak_memory ? json_integer((json_int_t)r->peak_memory) : json_null(),
		"jail", r->jail ? jail(r) : json_null(),
		"error", text_json(r->error));
}

static int write_all(int fd, const char *p, size_t n)
{
	while (n) {
		ssize_t w = write(fd, p, n);

		if (w < 0 && errno != EINTR)
			return -errno;
		p += w > 0 ? w : 0;
		n -= w > 0 ? (size_t)w : 0;
	}
	return 0;
}

int result_write(const struct result *r, int fd, int out, int err)
{
	json_t *o = describe(r);
	char *text = NULL;
	int rc = o ? 0 : -ENOMEM;

	if (!rc && out >= 0)
		rc = add_stream(o, "stdout", out);
	if (!rc && err >= 0)
		rc = add_stream(o, "stderr", err);
	if (!rc) {
		text = json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(12));
		rc = text ? write_all(fd, text, strlen(text)) : -ENOMEM;
		if (!rc)
			rc = write_all(fd, "\n", 1);
	}
	free(text);
	json_decref(o);
	return rc;
}
