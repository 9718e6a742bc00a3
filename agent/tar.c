// SPDX-License-Identifier: Apache-2.0
/*
 * tar.c - encoding and decoding of tar headers.
 *
 * Archives come from the other side, so every field is checked: numbers for their
 * digits and range, names for their length, records for their own. An extended
 * header changes one entry, the next one. Global ones are skipped. Of GNU's sparse formats
 * only 1.0 is known; the others are refused rather than unpacked wrongly.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/tar.h"

#define SIZE_LIMIT (1ull << 50)

struct raw {
	char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], sum[8], type, link[100];
	char magic[8], uname[32], gname[32], major[8], minor[8], prefix[155], pad[12];
};
_Static_assert(sizeof(struct raw) == TAR_BLOCK, "ustar header");

static uint32_t checksum(const struct raw *r)
{
	const uint8_t *p = (const uint8_t *)r;
	uint32_t sum = 0;

	for (size_t i = 0; i < sizeof(*r); i++) {
		bool own = i >= offsetof(struct raw, sum) && i < offsetof(struct raw, type);

		sum += own ? ' ' : p[i];
	}
	return sum;
}

/* ---- writing ----------------------------------------------------------- */

/* n - 1 octal digits and a NUL. False when the value does not fit. */
static bool octal(char *dst, size_t n, uint64_t v)
{
	dst[n - 1] = 0;
	for (size_t i = n - 1; i-- > 0; v >>= 3)
		dst[i] = (char)('0' + (v & 7));
	return v == 0;
}

static void seal(struct raw *r)
{
	memcpy(r->magic, "ustar\00000", 8);
	octal(r->sum, 7, checksum(r));
	r->sum[7] = ' ';
}

/* A pax record: its length, which counts its own digits, a name and a value. */
static size_t record(char *dst, size_t cap, const char *key, const char *val)
{
	size_t body = strlen(key) + strlen(val) + 3, n = body + 1, digits;

	for (;;) {
		digits = (size_t)snprintf(NULL, 0, "%zu", n);
		if (body + digits == n)
			break;
		n = body + digits;
	}
	if (n >= cap)
		return 0;
	return (size_t)snprintf(dst, cap, "%zu %s=%s\n", n, key, val);
}

static void record_num(char *dst, size_t cap, size_t *len, const char *key, uint64_t v)
{
	char val[24];

	snprintf(val, sizeof(val), "%llu", (unsigned long long)v);
	*len += record(dst + *len, cap - *len, key, val);
}

/* Times with a fraction, and holes. The name of a sparse file is in a record of its own. */
static size_t more_records(char *rec, size_t cap, const struct tar_entry *e)
{
	char val[40];
	size_t len = 0;

	if (e->mtime_ns && e->mtime > 0) {
		snprintf(val, sizeof(val), "%lld.%09u", (long long)e->mtime,
			 e->mtime_ns % 1000000000u);
		len += record(rec, cap, "mtime", val);
	}
	if (e->sparse) {
		len += record(rec + len, cap - len, "GNU.sparse.major", "1");
		len += record(rec + len, cap - len, "GNU.sparse.minor", "0");
		len += record(rec + len, cap - len, "GNU.sparse.name", e->name);
		record_num(rec, cap, &len, "GNU.sparse.realsize", e->real);
	}
	return len;
}

int tar_header(uint8_t out[static TAR_HEADER_MAX], const struct tar_entry *e)
{
	struct raw *x = (struct raw *)out, *r = x;
	size_t nlen = strnlen(e->name, TAR_PATH_MAX), llen = strnlen(e->link, TAR_PATH_MAX);
	char *rec = (char *)out + TAR_BLOCK;
	size_t cap = TAR_HEADER_MAX - 2 * TAR_BLOCK, len = 0;

	if (nlen >= TAR_PATH_MAX || llen >= TAR_PATH_MAX || !nlen)
		return -ENAMETOOLONG;
	memset(out, 0, TAR_HEADER_MAX);
	len = more_records(rec, cap, e);
	if (nlen > sizeof(r->name) && !e->sparse)
		len += record(rec + len, cap - len, "path", e->name);
	if (llen > sizeof(r->link))
		len += record(rec + len, cap - len, "linkpath", e->link);
	if (e->size >> 33)
		record_num(rec, cap, &len, "size", e->size);
	if (e->uid >> 21)
		record_num(rec, cap, &len, "uid", e->uid);
	if (e->gid >> 21)
		record_num(rec, cap, &len, "gid", e->gid);
	if (len) {
		memcpy(x->name, "pax", 3);
		octal(x->mode, sizeof(x->mode), 0644);
		octal(x->uid, sizeof(x->uid), 0);
		octal(x->gid, sizeof(x->gid), 0);
		octal(x->size, sizeof(x->size), len);
		octal(x->mtime, sizeof(x->mtime), 0);
		x->type = 'x';
		seal(x);
		r = (struct raw *)(out + TAR_BLOCK + tar_padded(len));
	}
	memcpy(r->name, e->name, nlen < sizeof(r->name) ? nlen : sizeof(r->name));
	memcpy(r->link, e->link, llen < sizeof(r->link) ? llen : sizeof(r->link));
	octal(r->mode, sizeof(r->mode), e->mode & 07777);
	octal(r->uid, sizeof(r->uid), e->uid >> 21 ? 0 : e->uid);
	octal(r->gid, sizeof(r->gid), e->gid >> 21 ? 0 : e->gid);
	octal(r->size, sizeof(r->size), e->size >> 33 ? 0 : e->size);
	octal(r->mtime, sizeof(r->mtime), e->mtime > 0 ? (uint64_t)e->mtime & 0x1ffffffff : 0);
	octal(r->major, sizeof(r->major), e->major & 0x1fffff);
	octal(r->minor, sizeof(r->minor), e->minor & 0x1fffff);
	r->type = e->type;
	seal(r);
	return (int)((uint8_t *)(r + 1) - out);
}

/* ---- reading ----------------------------------------------------------- */

/* Octal digits between blanks, or GNU's base 256. */
static bool number(const char *f, size_t n, uint64_t *out)
{
	const uint8_t *p = (const uint8_t *)f;
	uint64_t v = 0;
	size_t i = 0;

	if (p[0] & 0x80) {
		if (p[0] != 0x80)
			return false;	/* negative, or larger than any file */
		for (i = 1; i < n; i++) {
			if (v >> 55)
				return false;
			v = v << 8 | p[i];
		}
		*out = v;
		return true;
	}
	while (i < n && p[i] == ' ')
		i++;
	for (; i < n && p[i] >= '0' && p[i] <= '7'; i++)
		v = v << 3 | (uint64_t)(p[i] - '0');
	*out = v;
	return i == n || p[i] == 0 || p[i] == ' ';
}

static void join_name(const struct raw *r, char *dst)
{
	size_t n = 0, k;

	/* GNU's own format keeps other things where ustar has the prefix. */
	if (memcmp(r->magic, "ustar\0", 6) == 0 && r->prefix[0]) {
		n = strnlen(r->prefix, sizeof(r->prefix));
		memcpy(dst, r->prefix, n);
		dst[n++] = '/';
	}
	k = strnlen(r->name, sizeof(r->name));
	memcpy(dst + n, r->name, k);
	dst[n + k] = 0;
}

static bool is_extended(char type)
{
	return type == 'x' || type == 'g' || type == 'L' || type == 'K';
}

static const char *parse_numbers(const struct raw *r, struct tar_entry *e)
{
	uint64_t mode, uid, gid, mtime, major = 0, minor = 0;

	if (!number(r->mode, sizeof(r->mode), &mode) || !number(r->uid, sizeof(r->uid), &uid) ||
	    !number(r->gid, sizeof(r->gid), &gid) || !number(r->size, sizeof(r->size), &e->size) ||
	    !number(r->mtime, sizeof(r->mtime), &mtime))
		return "a number in a tar header is malformed";
	if (r->type == '3' || r->type == '4')
		if (!number(r->major, sizeof(r->major), &major) ||
		    !number(r->minor, sizeof(r->minor), &minor))
			return "a device number in a tar header is malformed";
	if (e->size > SIZE_LIMIT || uid >= UINT32_MAX || gid >= UINT32_MAX)
		return "a number in a tar header is out of range";
	e->mode = (uint32_t)mode & 07777;
	e->uid = (uint32_t)uid;
	e->gid = (uint32_t)gid;
	e->mtime = mtime > INT32_MAX * 64ll ? 0 : (int64_t)mtime;
	e->major = (uint32_t)major;
	e->minor = (uint32_t)minor;
	return NULL;
}

static void apply(const struct tar_ext *ext, struct tar_entry *e)
{
	if (ext->has_name)
		memcpy(e->name, ext->e.name, sizeof(e->name));
	if (ext->has_link)
		memcpy(e->link, ext->e.link, sizeof(e->link));
	if (ext->has_size)
		e->size = ext->e.size;
	if (ext->has_uid)
		e->uid = ext->e.uid;
	if (ext->has_gid)
		e->gid = ext->e.gid;
	e->mtime_ns = 0;
	if (ext->has_mtime) {
		e->mtime = ext->e.mtime;
		e->mtime_ns = ext->e.mtime_ns;
	}
	e->sparse = ext->major == 1;
	e->real = ext->has_real ? ext->e.real : 0;
}

int tar_parse(const uint8_t block[static TAR_BLOCK], struct tar_ext *ext, struct tar_entry *e,
	      const char **why)
{
	struct raw r;
	uint64_t sum;
	size_t k;

	memcpy(&r, block, sizeof(r));
	for (k = 0; k < TAR_BLOCK && !block[k]; k++)
		;
	if (k == TAR_BLOCK)
		return TAR_END;
	if (!number(r.sum, sizeof(r.sum), &sum) || sum != checksum(&r)) {
		*why = "not a tar header (checksum)";
		return -EBADMSG;
	}
	*why = parse_numbers(&r, e);
	if (*why)
		return -EBADMSG;
	e->type = r.type == 0 || r.type == '7' ? '0' : r.type;
	if (is_extended(e->type)) {
		*why = "an extended tar header is too large";
		return e->size > TAR_EXT_MAX ? -EBADMSG : TAR_EXTENDED;
	}
	if (e->type < '0' || e->type > '6') {
		*why = "a tar entry has an unknown type";
		return -EBADMSG;
	}
	join_name(&r, e->name);
	k = strnlen(r.link, sizeof(r.link));
	memcpy(e->link, r.link, k);
	e->link[k] = 0;
	if (ext->has_real != (ext->major == 1) || ext->minor) {
		*why = "a sparse file in a tar archive is of a format that is not known";
		return -EBADMSG;
	}
	apply(ext, e);
	/* Old archives mark folders by a slash. */
	k = strlen(e->name);
	if (e->type == '0' && k && e->name[k - 1] == '/')
		e->type = '5';
	if (e->type != '0') {
		e->size = 0;
		e->sparse = false;
	}
	memset(ext, 0, sizeof(*ext));
	return TAR_ENTRY;
}

static bool decimal(const char *p, size_t n, uint64_t max, uint64_t *out)
{
	uint64_t v = 0;

	/* A time may have a fraction, or be negative: before 1970 is 1970. */
	for (size_t i = 0; i < n && p[i] != '.'; i++) {
		if (p[i] < '0' || p[i] > '9' || v > max / 10)
			return false;
		v = v * 10 + (uint64_t)(p[i] - '0');
	}
	*out = v;
	return n && v <= max;
}

static bool set_text(char dst[static TAR_PATH_MAX], const char *p, size_t n)
{
	if (n >= TAR_PATH_MAX || memchr(p, 0, n))
		return false;
	memcpy(dst, p, n);
	dst[n] = 0;
	return true;
}

static bool key_is(const char *key, size_t n, const char *name)
{
	return n == strlen(name) && memcmp(key, name, n) == 0;
}

/* Nanoseconds after the point; of what is no number, none. */
static uint32_t fraction(const char *p, size_t n)
{
	const char *point = memchr(p, '.', n);
	size_t left = point ? n - (size_t)(point + 1 - p) : 0;
	uint32_t ns = 0, unit = 100000000;

	for (size_t i = 0; i < left && unit && point[1 + i] >= '0' && point[1 + i] <= '9'; i++) {
		ns += (uint32_t)(point[1 + i] - '0') * unit;
		unit /= 10;
	}
	return ns;
}

static const char *sparse_record(struct tar_ext *x, const char *key, size_t klen, const char *val,
				 size_t vlen)
{
	bool ok;

	if (key_is(key, klen, "GNU.sparse.major"))
		ok = decimal(val, vlen, 1, &x->major);
	else if (key_is(key, klen, "GNU.sparse.minor"))
		ok = decimal(val, vlen, 0, &x->minor);
	else if (key_is(key, klen, "GNU.sparse.name"))
		ok = x->has_name = x->real_name = set_text(x->e.name, val, vlen);
	else if (key_is(key, klen, "GNU.sparse.realsize"))
		ok = x->has_real = decimal(val, vlen, SIZE_LIMIT, &x->e.real);
	else
		ok = false;	/* of format 0.0 or 0.1 */
	return ok ? NULL : "a sparse file in a tar archive is of a format that is not known";
}

static const char *pax_record(struct tar_ext *x, const char *key, size_t klen, const char *val,
			      size_t vlen)
{
	uint64_t v = 0;
	bool ok = true;

	if (klen >= 10 && memcmp(key, "GNU.sparse", 10) == 0)
		return sparse_record(x, key, klen, val, vlen);
	if (key_is(key, klen, "path")) {
		if (x->real_name)
			return NULL;
		ok = x->has_name = set_text(x->e.name, val, vlen);
	} else if (key_is(key, klen, "linkpath")) {
		ok = x->has_link = set_text(x->e.link, val, vlen);
	} else if (key_is(key, klen, "size")) {
		ok = x->has_size = decimal(val, vlen, SIZE_LIMIT, &v);
		x->e.size = v;
	} else if (key_is(key, klen, "uid")) {
		ok = x->has_uid = decimal(val, vlen, UINT32_MAX - 1, &v);
		x->e.uid = (uint32_t)v;
	} else if (key_is(key, klen, "gid")) {
		ok = x->has_gid = decimal(val, vlen, UINT32_MAX - 1, &v);
		x->e.gid = (uint32_t)v;
	} else if (key_is(key, klen, "mtime")) {
		x->has_mtime = decimal(val, vlen, INT32_MAX * 64ull, &v);
		x->e.mtime = (int64_t)v;
		x->e.mtime_ns = fraction(val, vlen);
	}
	return ok ? NULL : "a record of an extended tar header is malformed";
}

static const char *pax(struct tar_ext *ext, const char *p, size_t n)
{
	while (n) {
		size_t len = 0, i = 0;
		const char *eq, *why;

		for (; i < n && i < 6 && p[i] >= '0' && p[i] <= '9'; i++)
			len = len * 10 + (size_t)(p[i] - '0');
		if (i + 2 > n || p[i] != ' ' || len > n || len < i + 3 || p[len - 1] != '\n')
			return "an extended tar header is malformed";
		eq = memchr(p + i + 1, '=', len - i - 2);
		if (!eq)
			return "an extended tar header is malformed";
		why = pax_record(ext, p + i + 1, (size_t)(eq - p) - i - 1, eq + 1,
				 (size_t)(p + len - 1 - (eq + 1)));
		if (why)
			return why;
		p += len;
		n -= len;
	}
	return NULL;
}

int tar_extend(struct tar_ext *ext, char type, const uint8_t *data, size_t n, const char **why)
{
	const char *p = (const char *)data;
	size_t len = strnlen(p, n);

	*why = NULL;
	if (type == 'x')
		*why = pax(ext, p, n);
	else if (type == 'L' && !(ext->has_name = set_text(ext->e.name, p, len)))
		*why = "a name in a tar archive is too long";
	else if (type == 'K' && !(ext->has_link = set_text(ext->e.link, p, len)))
		*why = "a link in a tar archive is too long";
	return *why ? -EBADMSG : 0;
}

int tar_clean_name(char *name)
{
	char *in = name, *out = name;

	while (*in) {
		size_t n = strcspn(in, "/");

		if (n == 2 && in[0] == '.' && in[1] == '.')
			return -EINVAL;
		if (n && !(n == 1 && in[0] == '.')) {
			if (out != name)
				*out++ = '/';
			memmove(out, in, n);
			out += n;
		}
		in += n;
		in += *in == '/';
	}
	*out = 0;
	return out == name ? -EINVAL : 0;
}
