// SPDX-License-Identifier: Apache-2.0
/*
 * input.c - what the agent says, checked and acted upon.
 *
 * One function per message. A message that has no place in the state of the
 * connection breaks it: nothing that comes after such a message can be believed.
 */
#include <errno.h>
#include <string.h>

#include "agent/client/priv.h"

static int bad(struct client *c, const struct proto_hdr *h)
{
	return client_break(c, EPROTO, "the agent broke the protocol (message %s)",
			    proto_type_name(h->type));
}

static void on_hello(struct client *c, const struct proto_hdr *h, const uint8_t *p)
{
	struct proto_hello hello;

	if (c->hello || proto_hello_read(p, h->len, true, &hello) < 0 ||
	    hello.max < PROTO_VERSION_MIN || hello.max > PROTO_VERSION_MAX) {
		bad(c, h);
		return;
	}
	c->hello = true;
	c->features = hello.features;
	c->version = hello.max;
	c->window = hello.stdin_window;
	/* The first request went out with the protocol's own window in mind. */
	if (c->window < PROTO_STDIN_WINDOW || c->window > PROTO_CREDIT_MAX)
		bad(c, h);
}

static void on_error(struct client *c, const struct proto_hdr *h, const uint8_t *p)
{
	char msg[PROTO_MSG_MAX];
	uint16_t about;
	int code;

	if (proto_error_read(p, h->len, &code, &about, msg) < 0) {
		bad(c, h);
	} else if (!c->hello || code == EPROTO) {
		client_break(c, code, "the agent refused the connection: %s", msg);
	} else if (c->busy && about == c->request && h->tag == c->tag) {
		client_err_set(&c->err, code, "%s", msg);
		c->done = true;
	} else {
		client_break(c, code, "the agent answered %s: %s", proto_type_name(about), msg);
	}
}

static void on_started(struct client *c, const struct proto_hdr *h, const uint8_t *p)
{
	if (!c->exec || c->started || c->done || proto_job_read(p, h->len, &c->job) < 0) {
		bad(c, h);
		return;
	}
	c->started = true;
	c->left = c->done = c->start_only;
	if (c->leaving && !c->done)
		client_send(c, PROTO_DETACH, c->tag);
}

static void on_exit_msg(struct client *c, const struct proto_hdr *h, const uint8_t *p)
{
	if (!c->exec || !c->busy || c->done || proto_exit_read(p, h->len, &c->res) < 0)
		bad(c, h);
	else
		c->done = true;
}

static void on_credit(struct client *c, const struct proto_hdr *h, const uint8_t *p)
{
	struct proto_rd r;
	uint32_t n;

	proto_rd_init(&r, p, h->len);
	n = proto_rd_u32(&r);
	if (r.bad || h->tag != PROTO_STDIN || n > PROTO_CREDIT_MAX - c->in_credit)
		bad(c, h);
	else
		c->in_credit += n;
}

static void on_data(struct client *c, const struct proto_hdr *h, const uint8_t *p)
{
	struct client_out *o;

	if (!c->busy || c->done || (h->tag != PROTO_STDOUT && h->tag != PROTO_STDERR)) {
		bad(c, h);
		return;
	}
	o = &c->out[h->tag - 1];
	/* The agent keeps to --max-output; a guest that replaced it need not. */
	if (!h->len || h->len > o->granted || h->len > o->left) {
		bad(c, h);
		return;
	}
	o->granted -= h->len;
	o->left -= h->len;
	client_output(c, h->tag - 1u, p, h->len);
}

/* ENTRY: the strings are copied, so that client_stat() can hand them out. */
static int entry_attr(struct client *c, const struct proto_attr *a)
{
	struct client_stat *st = &c->stat;
	bool text = a->key == PROTO_K_NAME || a->key == PROTO_K_PATH2;
	uint64_t v = 0;
	const char *s;

	if (text) {
		s = proto_attr_str(a, PROTO_PATH_MAX);
		if (!s)
			return -EBADMSG;
		memcpy(a->key == PROTO_K_NAME ? c->name : c->target, s, a->len);
		if (a->key == PROTO_K_NAME)
			st->name = c->name;
		else
			st->target = c->target;
		return 0;
	}
	if (a->key < PROTO_K_MODE || a->key > PROTO_K_MTIME_NS)
		return 0;
	if (proto_attr_u64(a, &v) < 0)
		return -EBADMSG;
	if (a->key == PROTO_K_MODE)
		st->mode = (uint32_t)v;
	else if (a->key == PROTO_K_SIZE)
		st->size = v;
	else if (a->key == PROTO_K_UID)
		st->uid = (uint32_t)v;
	else if (a->key == PROTO_K_GID)
		st->gid = (uint32_t)v;
	else
		st->mtime_ns = (int64_t)v;
	return 0;
}

static void on_entry(struct client *c, const struct proto_hdr *h, const uint8_t *p)
{
	struct proto_attr a;
	struct proto_rd r;

	memset(&c->stat, 0, sizeof(c->stat));
	proto_rd_init(&r, p, h->len);
	while (proto_rd_attr(&r, &a))
		if (entry_attr(c, &a) < 0)
			r.bad = true;
	/* A name is one component: what a caller joins to a folder must stay in it. */
	if (r.bad || !c->busy || c->exec ||
	    (c->stat.name && (strchr(c->name, '/') || !strcmp(c->name, "..")))) {
		bad(c, h);
		return;
	}
	if (c->each && c->stat.name)
		c->each(&c->stat, c->each_arg);
}

static void on_message(struct client *c, const struct proto_hdr *h, const uint8_t *p)
{
	if (!c->hello && h->type != PROTO_HELLO && h->type != PROTO_ERROR) {
		/* A stream without vsock greets with READY. */
		if (h->type != PROTO_READY)
			bad(c, h);
		return;
	}
	switch (h->type) {
	case PROTO_HELLO:
		on_hello(c, h, p);
		break;
	case PROTO_ERROR:
		on_error(c, h, p);
		break;
	case PROTO_STARTED:
		on_started(c, h, p);
		break;
	case PROTO_EXEC_INFO:
		client_on_info(c, p, h->len);
		break;
	case PROTO_EXIT:
		on_exit_msg(c, h, p);
		break;
	case PROTO_DATA:
		on_data(c, h, p);
		break;
	case PROTO_CREDIT:
		on_credit(c, h, p);
		break;
	case PROTO_STOP:
		c->in_stop = true;
		break;
	case PROTO_EOF:
		break;	/* EXIT or DONE says the same, later */
	case PROTO_ENTRY:
		on_entry(c, h, p);
		break;
	case PROTO_PONG:
	case PROTO_DONE:
		/* Of an execution it means that it goes on without us. */
		if (!c->busy || c->done || h->tag != c->tag ||
		    (c->exec && (!c->started || h->type != PROTO_DONE)))
			bad(c, h);
		c->left = c->exec;
		c->done = true;
		break;
	default:
		bad(c, h);
	}
}

void client_input(struct client *c)
{
	size_t at = 0;

	while (!c->broken && c->rx_len - at >= PROTO_HDR_LEN) {
		struct proto_hdr h;

		proto_hdr_read(c->rx + at, &h);
		if (h.len > PROTO_PAYLOAD_MAX) {
			bad(c, &h);
			break;
		}
		if (c->rx_len - at - PROTO_HDR_LEN < h.len)
			break;
		on_message(c, &h, c->rx + at + PROTO_HDR_LEN);
		at += PROTO_HDR_LEN + h.len;
	}
	memmove(c->rx, c->rx + at, c->rx_len - at);
	c->rx_len -= at;
}
