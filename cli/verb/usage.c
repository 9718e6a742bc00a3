/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usage.c - from /proc. Of a monitor, which is where the guest's memory and CPU time are,
 * only root may see the maps; for others its status tells nearly the same: what a machine
 * wrote is anonymous or its memfd's, what it shares is its template's file.
 */
#include "cli/base/host.h"
#include "cli/base/parse.h"
#include "cli/verb/usage.h"

/* "Name:  123 kB" of a file of /proc, in bytes; -1 when not known. */
static json_int_t field(const char *text, const char *name)
{
	const char *p = strstr(text, name);

	return p ? (json_int_t)(strtoull(p + strlen(name), NULL, 10) << 10) : -1;
}

static void memory_of(pid_t pid, struct usage *u)
{
	char path[64], text[8192];

	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
	if (host_read(path, text, sizeof(text)) > 0) {
		u->resident = field(text, "Rss:");
		/* A clean page is a file's, also while nobody else happens to map it. */
		u->own = field(text, "Private_Dirty:");
		u->shared = u->resident - u->own;
		return;
	}
	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	if (host_read(path, text, sizeof(text)) <= 0)
		return;
	u->resident = field(text, "VmRSS:");
	u->shared = field(text, "RssFile:");
	u->own = field(text, "RssAnon:") + field(text, "RssShmem:");
}

struct usage usage_of(pid_t pid)
{
	struct usage u = { -1, -1, -1, -1 };
	char path[64], text[8192];
	unsigned long user, sys;
	const char *p;

	memory_of(pid, &u);
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if (host_read(path, text, sizeof(text)) > 0 && (p = strrchr(text, ')')) &&
	    sscanf(p + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &sys) == 2)
		u.cpu_s = (double)(user + sys) / (double)sysconf(_SC_CLK_TCK);
	return u;
}

static json_t *known(json_int_t v)
{
	return v < 0 ? json_null() : json_integer(v);
}

json_t *usage_json(const struct usage *u)
{
	return json_pack("{s:o, s:o, s:o, s:o}", "resident_bytes", known(u->resident),
			 "private_bytes", known(u->own), "shared_bytes", known(u->shared),
			 "cpu_seconds", u->cpu_s < 0 ? json_null() : json_real(u->cpu_s));
}

const char *usage_size(json_int_t v, char buf[static 32])
{
	return v < 0 ? "?" : parse_size_text((uint64_t)v & ~1023ull, buf);
}
