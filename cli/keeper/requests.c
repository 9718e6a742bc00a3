/* SPDX-License-Identifier: Apache-2.0 */
/*
 * requests.c - packets of connections: taken, served at once or when the work under way
 * has ended, answered.
 */
#include <sys/socket.h>
#include "cli/base/text.h"
#include "cli/keeper/work.h"
#include "cli/keeper/priv.h"

#define WAITS 2		/* beside KEEPER_LATER: it is served when that work has ended */

/* One packet. Bytes of text (NUL at the end), 0 at the end of the connection, -errno. */
static ssize_t receive(int fd, char *text, size_t len, struct keeper_req *r)
{
	union { struct cmsghdr h; char room[CMSG_SPACE(sizeof(r->fds))]; } u;
	struct iovec v = { .iov_base = text, .iov_len = len - 1 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = u.room,
			    .msg_controllen = sizeof(u.room) };
	ssize_t n = recvmsg(fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (n < 0)
		return -errno;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
		size_t have = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS ||
		    have > KEEPER_FDS_MAX - r->n_fds)
			continue;
		memcpy(&r->fds[r->n_fds], CMSG_DATA(c), have * sizeof(int));
		r->n_fds += have;
	}
	text[n] = '\0';
	return m.msg_flags & (MSG_TRUNC | MSG_CTRUNC) ? -EMSGSIZE : n;
}

static int serve(struct keeper *k, struct keeper_req *r, struct err *e)
{
	const char *what = json_string_value(json_object_get(r->args, "do"));

	for (const struct keeper_call *c = keeper_calls; what && c->name; c++)
		if (!strcmp(c->name, what))
			return c->alone && k->work->at_work ? WAITS : c->serve(k, r, e);
	return err_say(e, -EOPNOTSUPP, "the keeper of this sandbox does not know the request "
		       "'%.40s'; it was started by another version of sandbox", what ? what : "");
}

void keeper_answer(int conn, json_t *o, int rc, const struct err *e)
{
	static const char *const poor[] = {
		"{\"error\":\"it is done, but its keeper has no memory to say how\",\"code\":12}",
		"{\"error\":\"its keeper has no memory to say why not\",\"code\":12}",
	};
	auto_mem char *text = NULL;
	const char *line;
	bool told;

	if (rc) {
		json_object_clear(o);
		told = !json_object_set_new(o, "error", text_json(e->msg)) &&
		       !json_object_set_new(o, "code", json_integer(-rc));
	} else {
		told = !json_object_set_new(o, "ok", json_true());
	}
	text = told ? json_dumps(o, JSON_COMPACT) : NULL;
	/* Without any answer who asked would wait for ever. */
	line = text ? text : poor[rc != 0];
	if (send(conn, line, strlen(line), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		return;	/* who asked has gone */
}

static void release(struct keeper_req *r)
{
	json_decref(r->args);
	for (size_t f = 0; f < r->n_fds; f++)
		if (r->fds[f] >= 0)
			close(r->fds[f]);
	r->n_fds = 0;
}

/* Now or later; the request is released or kept. */
static void take(struct keeper *k, struct keeper_conn *c, struct keeper_req *r)
{
	struct err e = { 0 };
	int rc;

	r->answer = json_object();
	rc = json_is_object(r->args) ? serve(k, r, &e) :
		err_say(&e, -EBADMSG, "the keeper got a request that is none");
	if (rc == WAITS) {
		c->later = malloc(sizeof(*r));
		if (!c->later)
			rc = err_set(&e, -ENOMEM, "wait");
	}
	if (rc <= 0)
		keeper_answer(c->fd, r->answer, rc, &e);
	json_decref(r->answer);
	if (rc == WAITS)
		*c->later = *r;
	else
		release(r);
}

bool keeper_take(struct keeper *k, struct keeper_conn *c)
{
	static char text[KEEPER_PACKET_MAX];
	struct keeper_req r = { .hold = &c->hold, .conn = c->fd };
	ssize_t n = receive(c->fd, text, sizeof(text), &r);

	r.args = n > 0 ? json_loads(text, 0, NULL) : NULL;
	if (n > 0 || n == -EMSGSIZE)
		take(k, c, &r);
	else
		release(&r);
	return n > 0 || n == -EAGAIN || n == -EMSGSIZE;
}

void keeper_take_later(struct keeper *k)
{
	for (size_t i = 0; i < k->n_conns && !k->work->at_work; i++) {
		struct keeper_conn *c = &k->conns[i];
		struct keeper_req *r = c->later;

		if (!r)
			continue;
		c->later = NULL;
		r->hold = &c->hold;		/* connections move when one is dropped */
		take(k, c, r);
		free(r);
	}
}

void keeper_drop_later(struct keeper_conn *c)
{
	if (c->later)
		release(c->later);
	free(c->later);
	c->later = NULL;
}
