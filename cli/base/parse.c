/* SPDX-License-Identifier: Apache-2.0 */
/*
 * parse.c - numbers with units, without floating point: a value is digits, an
 * optional fraction of at most nine digits, and a unit. What would not fit in
 * 64 bits is refused, never wrapped.
 */
#include <ctype.h>
#include <strings.h>
#include "cli/base/parse.h"

#define NS_PER_S 1000000000ull

int parse_number(const char *s, uint64_t min, uint64_t max, uint64_t *out, struct err *e)
{
	uint64_t n = 0;
	const char *p = s;

	for (; isdigit((unsigned char)*p); p++)
		if (__builtin_mul_overflow(n, 10u, &n) ||
		    __builtin_add_overflow(n, (unsigned)(*p - '0'), &n))
			break;
	if (p == s || *p || n < min || n > max)
		return err_say(e, -EINVAL, "'%s' is not a whole number from %llu to %llu", s,
			       (unsigned long long)min, (unsigned long long)max);
	*out = n;
	return 0;
}

/* Digits[.digits] as whole and billionths; the rest, or NULL when it is no number. */
static const char *decimal(const char *s, uint64_t *whole, uint64_t *nano)
{
	const char *p = s;
	unsigned scale = 100000000;

	*whole = *nano = 0;
	for (; isdigit((unsigned char)*p); p++)
		if (__builtin_mul_overflow(*whole, 10u, whole) ||
		    __builtin_add_overflow(*whole, (unsigned)(*p - '0'), whole))
			return NULL;
	if (p == s)
		return NULL;
	if (*p != '.')
		return p;
	s = ++p;
	for (; isdigit((unsigned char)*p); p++, scale /= 10)
		*nano += (unsigned)(*p - '0') * (uint64_t)scale;
	return p == s ? NULL : p;
}

/* whole.nano times unit; false when it does not fit. */
static bool scaled(uint64_t whole, uint64_t nano, uint64_t unit, uint64_t *out)
{
	unsigned __int128 v = (unsigned __int128)whole * unit +
			      (unsigned __int128)nano * unit / NS_PER_S;

	*out = (uint64_t)v;
	return v <= INT64_MAX;
}

int parse_milli(const char *s, uint64_t *out)
{
	uint64_t whole, nano;
	const char *end = decimal(s, &whole, &nano);

	if (!end || *end || nano % 1000000 || end - s > 20 || !scaled(whole, nano, 1000, out))
		return -EINVAL;
	return 0;
}

int parse_size(const char *s, uint64_t *out, struct err *e)
{
	static const struct { const char *name; unsigned shift; } units[] = {
		{ "", 0 }, { "b", 0 }, { "k", 10 }, { "kb", 10 }, { "kib", 10 },
		{ "m", 20 }, { "mb", 20 }, { "mib", 20 }, { "g", 30 }, { "gb", 30 },
		{ "gib", 30 }, { "t", 40 }, { "tb", 40 }, { "tib", 40 },
	};
	uint64_t whole, nano, v;
	const char *unit = decimal(s, &whole, &nano);

	for (size_t i = 0; unit && i < ARRAY_LEN(units); i++) {
		if (strcasecmp(unit, units[i].name))
			continue;
		if (!scaled(whole, nano, 1ull << units[i].shift, &v))
			break;
		*out = v;
		return 0;
	}
	return err_say(e, -EINVAL, "'%s' is not a size such as 512M or 1.5g", s);
}

int parse_duration(const char *s, uint64_t *out, struct err *e)
{
	static const struct { const char *name; uint64_t ns; } units[] = {
		{ "ms", 1000000 }, { "us", 1000 }, { "ns", 1 }, { "s", NS_PER_S },
		{ "m", 60 * NS_PER_S }, { "h", 3600 * NS_PER_S }, { "d", 86400 * NS_PER_S },
	};
	uint64_t total = 0, whole, nano, part;
	const char *p = s;
	bool ok = *s;

	while (ok && *p) {
		bool first = p == s, bare;
		size_t i = 0;

		p = decimal(p, &whole, &nano);
		if (!p)
			break;
		bare = first && !*p;
		while (i < ARRAY_LEN(units) && strncmp(p, units[i].name, strlen(units[i].name)))
			i++;
		ok = (bare || i < ARRAY_LEN(units)) &&
		     scaled(whole, nano, bare ? NS_PER_S : units[i].ns, &part) &&
		     !__builtin_add_overflow(total, part, &total) && total <= INT64_MAX;
		if (ok && !bare)
			p += strlen(units[i].name);
	}
	if (!ok || !p)
		return err_say(e, -EINVAL, "'%s' is not a time such as 30s, 1.5m or 500ms", s);
	if (!total)
		return err_say(e, -EINVAL, "'%s' is no time at all; leave the flag out for "
			       "no limit", s);
	*out = total;
	return 0;
}

const char *parse_size_text(uint64_t bytes, char buf[static 32])
{
	static const char *const names[] = { "bytes", "KiB", "MiB", "GiB", "TiB" };
	unsigned i = 0;

	while (i + 1 < ARRAY_LEN(names) && bytes >> (10 * i) >= 1024)
		i++;
	if (i == 0 || !(bytes & ((1ull << (10 * i)) - 1)))
		snprintf(buf, 32, "%llu %s", (unsigned long long)(bytes >> (10 * i)), names[i]);
	else
		snprintf(buf, 32, "%.1f %s", (double)bytes / (double)(1ull << (10 * i)), names[i]);
	return buf;
}
