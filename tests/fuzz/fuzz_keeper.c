/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_keeper.c - requests to the keeper of a sandbox, and what the monitor says to it.
 *
 * An input is lines. One that begins with `m` is a packet that the monitor will have sent when
 * the machine is saved. Others go to the keeper: a digit for one of three connections, a
 * digit for descriptors that come along (9: many spaces instead), then the packet, in which
 * `@` stands for the folder that all of it happens in.
 *
 * The keeper's own code serves them, without a machine: no agent can be connected to. Each
 * packet has exactly one answer, `ok` or an error with a sentence; afterwards no descriptor is left
 * over, and the sandbox's config can still be read.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include "cli/keeper/attach.h"
#include "cli/keeper/priv.h"
#include "cli/keeper/work.h"
#include "tests/fuzz/home.h"

#define CONNS		3u
#define LINES_MAX	48u
#define LINE_MAX	(KEEPER_PACKET_MAX + 4096u)

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t n);

struct asker { int fd, served; unsigned unanswered; };

struct world {
	struct keeper keeper;
	struct keeper_work work;
	struct asker asker[CONNS];
	int monitor;
};

static void pair(int fd[2])
{
	BUG_ON(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fd));
}

/* ---- who asks ------------------------------------------------------------ */

static void put(int to, const char *text, size_t len, unsigned nfd)
{
	union { struct cmsghdr h; char buf[CMSG_SPACE(10 * sizeof(int))]; } u = {
		.h = { .cmsg_len = CMSG_LEN(nfd * sizeof(int)), .cmsg_level = SOL_SOCKET,
		       .cmsg_type = SCM_RIGHTS } };
	struct iovec v = { .iov_base = (void *)(uintptr_t)text, .iov_len = len };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };
	int fd[10];

	for (unsigned i = 0; i < nfd; i++)
		fd[i] = memfd_create("with", MFD_CLOEXEC);
	if (nfd) {
		memcpy(CMSG_DATA(&u.h), fd, nfd * sizeof(int));
		m.msg_control = u.buf;
		m.msg_controllen = CMSG_SPACE(nfd * sizeof(int));
	}
	BUG_ON(sendmsg(to, &m, MSG_NOSIGNAL) != (ssize_t)len);
	for (unsigned i = 0; i < nfd; i++)
		close(fd[i]);
}

static void check_answer(const char *text, size_t len)
{
	json_t *o = json_loadb(text, len, 0, NULL);
	const char *error = json_string_value(json_object_get(o, "error"));

	BUG_ON(!json_is_object(o));
	BUG_ON(json_is_true(json_object_get(o, "ok")) == !!error);
	BUG_ON(error && (!*error || json_integer_value(json_object_get(o, "code")) <= 0));
	json_decref(o);
}

static void take_answers(struct asker *a)
{
	static char text[1u << 20];
	ssize_t n;

	while ((n = recv(a->fd, text, sizeof(text), MSG_DONTWAIT)) > 0) {
		BUG_ON(!a->unanswered);
		a->unanswered--;
		check_answer(text, (size_t)n);
	}
}

/* ---- the keeper ---------------------------------------------------------- */

/* As its loop does when the work is done. */
static void settle(struct world *w)
{
	while (w->work.at_work) {
		keeper_work_end(&w->keeper);
		keeper_take_later(&w->keeper);
	}
}

static struct keeper_conn *served_at(struct keeper *k, int fd)
{
	for (size_t i = 0; i < k->n_conns; i++)
		if (k->conns[i].fd == fd)
			return &k->conns[i];
	BUG_ON(true);
}

static void ask(struct world *w, unsigned who, unsigned nfd, const char *text, size_t len)
{
	struct asker *a = &w->asker[who];
	struct keeper_conn *c = served_at(&w->keeper, a->served);

	/* The loop does not look at one that waits. */
	if (c->later || w->work.conn == c->fd)
		settle(w);
	put(a->fd, text, len, nfd);
	a->unanswered++;
	BUG_ON(!keeper_take(&w->keeper, c));
	take_answers(a);
}

static void begin(struct world *w)
{
	struct keeper *k = &w->keeper;
	char share[96];
	struct err e;
	int fd[2];

	*w = (struct world){ .work = { .done = -1, .conn = -1 },
			     .keeper = { .box = STORE_BOX_NONE, .m = MACHINE_NONE, .sigfd = -1,
					 .listener = -1, .work = &w->work } };
	run_conf_init(&k->conf);
	BUG_ON(store_create(&k->box, "web", "memory = 64M\n", true, &e));
	snprintf(share, sizeof(share), "%s/shared:/shared", home);
	BUG_ON(shares_add(&k->conf.shares, share, &e));
	snprintf(k->conf.vmm_at.path, sizeof(k->conf.vmm_at.path), "%s/no-monitor", home);
	snprintf(k->m.dir.vsock, sizeof(k->m.dir.vsock), "%s/no-agent", home);
	pair(fd);
	k->m.mon.control_fd = fd[0];
	w->monitor = fd[1];
	for (unsigned i = 0; i < CONNS; i++) {
		pair(fd);
		w->asker[i] = (struct asker){ .fd = fd[0], .served = fd[1] };
		k->conns[k->n_conns++] = (struct keeper_conn){ .fd = fd[1] };
	}
}

/* What the requests have left must be a sandbox still. */
static void check_config(struct world *w)
{
	struct settings s = { 0 };
	struct err e = { 0 };
	auto_mem char *text = store_read(&w->keeper.box, "config", &e);

	BUG_ON(!text || settings_parse(&s, text, "its config", &e));
	settings_free(&s);
}

static void end(struct world *w)
{
	struct keeper *k = &w->keeper;
	struct err e;

	settle(w);
	for (unsigned i = 0; i < CONNS; i++) {
		take_answers(&w->asker[i]);
		BUG_ON(w->asker[i].unanswered);
		close(w->asker[i].fd);
	}
	check_config(w);
	keeper_hang_up(k);
	fd_cleanup(&w->work.done);
	close(w->monitor);
	close(k->m.mon.control_fd);
	run_conf_free(&k->conf);
	BUG_ON(store_remove(&k->box, &e));
	store_close(&k->box);
}

/* ---- inputs -------------------------------------------------------------- */

/* The same share asked for, and given back, while the sandbox does not run. */
static void while_stopped(struct world *w, const char *text, size_t len)
{
	json_t *o = json_loadb(text, len, 0, NULL);
	const char *share = json_string_value(json_object_get(o, "share"));
	const char *path = json_string_value(json_object_get(o, "path"));
	struct err e = { 0 };
	bool there;

	if (share && attach_stopped(&w->keeper.box, share, true, &e))
		BUG_ON(!*e.msg);
	if (path && detach_stopped(&w->keeper.box, path, &there, &e))
		BUG_ON(!*e.msg);
	json_decref(o);
}

static size_t fill_in(char *text, const char *in, size_t n)
{
	size_t len = 0, dir = strlen(home);

	for (size_t i = 0; i < n && len + dir < LINE_MAX; i++)
		if (in[i] == '@') {
			memcpy(text + len, home, dir);
			len += dir;
		} else {
			text[len++] = in[i];
		}
	return len;
}

static void one_line(struct world *w, const char *line, size_t n)
{
	static char text[LINE_MAX];
	unsigned who = (uint8_t)line[0] % CONNS, nfd = (uint8_t)line[1] % 16;
	size_t len;

	if (line[0] == 'm') {
		(void)!send(w->monitor, line + 1, n - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
		return;
	}
	len = fill_in(text, line + 2, n - 2);
	if (nfd == 9) {
		memset(text + len, ' ', sizeof(text) - len);
		len = sizeof(text);
	}
	ask(w, who, nfd < 9 ? nfd : 0, text, len);
	while_stopped(w, text, len);
}

static void each_line(struct world *w, const char *in, size_t n, bool monitor)
{
	for (unsigned i = 0; i < LINES_MAX && n; i++) {
		const char *stop = memchr(in, '\n', n);
		size_t len = stop ? (size_t)(stop - in) : n;

		/* An empty packet cannot be told from the end. */
		if (len > 2 && (in[0] == 'm') == monitor)
			one_line(w, in, len);
		in += len + !!stop;
		n -= len + !!stop;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *in, size_t n)
{
	static struct world w;
	char path[96];
	int before;

	if (!*home) {
		home_make("keeper");
		snprintf(path, sizeof(path), "%s/shared", home);
		BUG_ON(mkdir(path, 0700));
	}
	before = home_next_fd();
	begin(&w);
	each_line(&w, (const char *)in, n, true);
	shutdown(w.monitor, SHUT_WR);
	each_line(&w, (const char *)in, n, false);
	end(&w);
	BUG_ON(home_next_fd() != before);
	return 0;
}
