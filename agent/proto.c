// SPDX-License-Identifier: Apache-2.0
/*
 * proto.c - encoding and decoding of protocol messages.
 *
 * Pure functions over buffers. Reading goes through one cursor that refuses to
 * pass its end and remembers that it was asked to; writing goes through one that
 * refuses to overflow and remembers that. So callers chain calls and look at the
 * `bad` flag once. Lengths are compared by subtraction: `left` only shrinks.
 * What is said of executions is in proto_exec.c.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "agent/proto.h"

#define HELLO_CLIENT_LEN 16u
#define HELLO_AGENT_LEN	 28u

/* ---- reading ----------------------------------------------------------- */

void proto_rd_init(struct proto_rd *r, const void *buf, size_t len)
{
	r->p = buf;
	r->left = len;
	r->bad = false;
}

static const uint8_t *rd_take(struct proto_rd *r, size_t n)
{
	const uint8_t *p = r->p;

	if (r->bad || n > r->left) {
		r->bad = true;
		return NULL;
	}
	r->left -= n;
	if (n)
		r->p += n;
	return p;
}

uint16_t proto_rd_u16(struct proto_rd *r)
{
	const uint8_t *p = rd_take(r, 2);
	uint16_t v = 0;

	if (p)
		memcpy(&v, p, 2);
	return le16toh(v);
}

uint32_t proto_rd_u32(struct proto_rd *r)
{
	const uint8_t *p = rd_take(r, 4);
	uint32_t v = 0;

	if (p)
		memcpy(&v, p, 4);
	return le32toh(v);
}

uint64_t proto_rd_u64(struct proto_rd *r)
{
	const uint8_t *p = rd_take(r, 8);
	uint64_t v = 0;

	if (p)
		memcpy(&v, p, 8);
	return le64toh(v);
}

bool proto_rd_attr(struct proto_rd *r, struct proto_attr *a)
{
	if (r->bad || !r->left)
		return false;
	a->key = proto_rd_u16(r);
	a->flags = proto_rd_u16(r);
	a->len = proto_rd_u32(r);
	a->val = rd_take(r, a->len);
	return !r->bad;
}

int proto_attr_u64(const struct proto_attr *a, uint64_t *out)
{
	uint64_t v;

	if (a->len != sizeof(v))
		return -EBADMSG;
	memcpy(&v, a->val, sizeof(v));
	*out = le64toh(v);
	return 0;
}

const char *proto_attr_str(const struct proto_attr *a, size_t max)
{
	if (!a->len || a->len > max || memchr(a->val, 0, a->len) != a->val + a->len - 1)
		return NULL;
	return (const char *)a->val;
}

/* Changes the order in which what follows is shown, so that a line reads as another one. */
static bool turns(uint32_t c)
{
	return (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

size_t proto_char(const char *text)
{
	const unsigned char *p = (const unsigned char *)text;
	static const uint32_t least[] = { 0, 0x20, 0xa0, 0x800, 0x10000 };
	size_t n = *p < 0x80 ? 1 : *p < 0xc0 || *p > 0xf7 ? 0 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : 4;
	uint32_t c = n < 2 ? *p : *p & (0x7fu >> n);

	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)	/* the NUL, too */
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	return c < least[n] || c == 0x7f || (c >= 0xd800 && c < 0xe000) || c > 0x10ffff ||
	       turns(c) ? 0 : n;
}

void proto_tame(char *text)
{
	while (*text) {
		size_t n = proto_char(text);

		if (!n)
			*text = '?';
		text += n ? n : 1;
	}
}

int proto_attr_text(const struct proto_attr *a, char *text, size_t max)
{
	const char *s = proto_attr_str(a, max);

	if (!s)
		return -EBADMSG;
	memcpy(text, s, a->len);
	proto_tame(text);
	return 0;
}

void proto_hdr_read(const void *buf, struct proto_hdr *h)
{
	struct proto_rd r;

	proto_rd_init(&r, buf, PROTO_HDR_LEN);
	h->len = proto_rd_u32(&r);
	h->type = proto_rd_u16(&r);
	h->tag = proto_rd_u16(&r);
}

uint32_t proto_type_max(uint16_t type)
{
	return type == PROTO_EXEC ? PROTO_EXEC_MAX : PROTO_PAYLOAD_MAX;
}

const char *proto_type_name(uint16_t type)
{
	static const struct { uint16_t type; char name[12]; } names[] = {
		{ PROTO_HELLO, "HELLO" }, { PROTO_READY, "READY" }, { PROTO_ERROR, "ERROR" },
		{ PROTO_PING, "PING" }, { PROTO_PONG, "PONG" }, { PROTO_DONE, "DONE" },
		{ PROTO_EXEC, "EXEC" }, { PROTO_STARTED, "STARTED" }, { PROTO_SIGNAL, "SIGNAL" },
		{ PROTO_WINCH, "WINCH" }, { PROTO_EXIT, "EXIT" }, { PROTO_DATA, "DATA" },
		{ PROTO_EOF, "EOF" }, { PROTO_CREDIT, "CREDIT" }, { PROTO_STOP, "STOP" },
		{ PROTO_PUT, "PUT" }, { PROTO_GET, "GET" }, { PROTO_LIST, "LIST" },
		{ PROTO_STAT, "STAT" }, { PROTO_MKDIR, "MKDIR" }, { PROTO_REMOVE, "REMOVE" },
		{ PROTO_RENAME, "RENAME" }, { PROTO_TAR_IN, "TAR_IN" },
		{ PROTO_TAR_OUT, "TAR_OUT" }, { PROTO_ENTRY, "ENTRY" },
		{ PROTO_RESUME, "RESUME" }, { PROTO_POWEROFF, "POWEROFF" },
		{ PROTO_REBOOT, "REBOOT" }, { PROTO_EXEC_LIST, "EXEC_LIST" },
		{ PROTO_ATTACH, "ATTACH" }, { PROTO_DETACH, "DETACH" },
		{ PROTO_EXEC_INFO, "EXEC_INFO" }, { PROTO_EXEC_WAIT, "EXEC_WAIT" },
		{ PROTO_EXEC_SIGNAL, "EXEC_SIGNAL" }, { PROTO_EXEC_WATCH, "EXEC_WATCH" },
		{ PROTO_ROOT, "ROOT" },
		{ PROTO_MOUNT, "MOUNT" }, { PROTO_UMOUNT, "UMOUNT" },
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (names[i].type == type)
			return names[i].name;
	return "unknown";
}

int proto_hello_read(const void *payload, size_t len, bool answer, struct proto_hello *h)
{
	struct proto_rd r;
	uint32_t magic;

	memset(h, 0, sizeof(*h));
	proto_rd_init(&r, payload, len);
	magic = proto_rd_u32(&r);
	h->min = proto_rd_u16(&r);
	h->max = proto_rd_u16(&r);
	h->features = proto_rd_u64(&r);
	if (answer) {
		h->boot_ns = proto_rd_u64(&r);
		h->stdin_window = proto_rd_u32(&r);
	}
	if (r.bad || magic != PROTO_MAGIC || h->min > h->max)
		return -EBADMSG;
	return 0;
}

/* ---- writing ----------------------------------------------------------- */

void proto_wr_init(struct proto_wr *w, void *buf, size_t cap)
{
	w->buf = buf;
	w->cap = cap;
	w->len = 0;
	w->start = 0;
	w->bad = false;
}

void proto_wr_raw(struct proto_wr *w, const void *p, size_t n)
{
	if (w->bad || n > w->cap - w->len) {
		w->bad = true;
		return;
	}
	if (n)
		memcpy(w->buf + w->len, p, n);
	w->len += n;
}

void proto_wr_u16(struct proto_wr *w, uint16_t v)
{
	v = htole16(v);
	proto_wr_raw(w, &v, sizeof(v));
}

void proto_wr_u32(struct proto_wr *w, uint32_t v)
{
	v = htole32(v);
	proto_wr_raw(w, &v, sizeof(v));
}

void proto_wr_u64(struct proto_wr *w, uint64_t v)
{
	v = htole64(v);
	proto_wr_raw(w, &v, sizeof(v));
}

void proto_wr_begin(struct proto_wr *w, uint16_t type, uint16_t tag)
{
	w->start = w->len;
	w->bad = false;
	proto_wr_u32(w, 0);
	proto_wr_u16(w, type);
	proto_wr_u16(w, tag);
}

void proto_wr_attr(struct proto_wr *w, uint16_t key, const void *p, size_t n)
{
	if (n > PROTO_EXEC_MAX) {
		w->bad = true;
		return;
	}
	proto_wr_u16(w, key);
	proto_wr_u16(w, PROTO_ATTR_MUST);
	proto_wr_u32(w, (uint32_t)n);
	proto_wr_raw(w, p, n);
}

void proto_wr_num(struct proto_wr *w, uint16_t key, uint64_t v)
{
	v = htole64(v);
	proto_wr_attr(w, key, &v, sizeof(v));
}

void proto_wr_str(struct proto_wr *w, uint16_t key, const char *s)
{
	proto_wr_attr(w, key, s, strlen(s) + 1);
}

int proto_wr_end(struct proto_wr *w)
{
	struct proto_hdr h = { 0 };
	size_t size = w->len - w->start;
	uint32_t len;

	if (!w->bad) {
		proto_hdr_read(w->buf + w->start, &h);
		w->bad = size - PROTO_HDR_LEN > proto_type_max(h.type);
	}
	if (w->bad) {
		w->len = w->start;
		w->bad = false;
		return -EMSGSIZE;
	}
	len = htole32((uint32_t)(size - PROTO_HDR_LEN));
	memcpy(w->buf + w->start, &len, sizeof(len));
	return (int)size;
}

void proto_wr_hello(struct proto_wr *w, uint16_t type, bool answer, const struct proto_hello *h)
{
	proto_wr_begin(w, type, 0);
	proto_wr_u32(w, PROTO_MAGIC);
	proto_wr_u16(w, h->min);
	proto_wr_u16(w, h->max);
	proto_wr_u64(w, h->features);
	if (answer) {
		proto_wr_u64(w, h->boot_ns);
		proto_wr_u32(w, h->stdin_window);
	}
	_Static_assert(HELLO_AGENT_LEN == HELLO_CLIENT_LEN + 8 + 4, "HELLO layout");
}

/* ---- ERROR ------------------------------------------------------------- */

void proto_wr_error(struct proto_wr *w, uint16_t tag, uint16_t about, int code, const char *msg)
{
	char cut[PROTO_MSG_MAX];
	size_t n = strlen(msg);

	if (n >= sizeof(cut))
		n = sizeof(cut) - 1;
	memcpy(cut, msg, n);
	cut[n] = 0;
	proto_wr_begin(w, PROTO_ERROR, tag);
	proto_wr_num(w, PROTO_K_CODE, (uint64_t)code);
	proto_wr_num(w, PROTO_K_TYPE, about);
	proto_wr_str(w, PROTO_K_MESSAGE, cut);
}

int proto_error_read(const void *payload, size_t len, int *code, uint16_t *about,
		     char msg[static PROTO_MSG_MAX])
{
	struct proto_attr a;
	struct proto_rd r;
	uint64_t v;

	*code = 0;
	*about = 0;
	msg[0] = 0;
	proto_rd_init(&r, payload, len);
	while (proto_rd_attr(&r, &a)) {
		if (a.key == PROTO_K_MESSAGE) {
			if (proto_attr_text(&a, msg, PROTO_MSG_MAX) < 0)
				return -EBADMSG;
		} else if (a.key == PROTO_K_CODE || a.key == PROTO_K_TYPE) {
			if (proto_attr_u64(&a, &v) < 0)
				return -EBADMSG;
			if (a.key == PROTO_K_CODE)
				*code = v >= 1 && v <= 4095 ? (int)v : 0;
			else
				*about = (uint16_t)v;
		}
	}
	return r.bad || !*code ? -EBADMSG : 0;
}
