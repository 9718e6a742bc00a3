// SPDX-License-Identifier: Apache-2.0
/*
 * client.c - connection, framing and readiness on the host's side.
 *
 * The agent is inside the guest, so it is as hostile as the guest: its bytes pass
 * the same careful decoder as the other way round, it can send no more output than
 * was granted, and sentences that it sends are stripped of control characters before a
 * person's terminal sees them (proto.c).
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "agent/client/priv.h"

/* ---- errors and time --------------------------------------------------- */

int client_err_set(struct client_err *e, int code, const char *fmt, ...)
{
	va_list ap;

	if (e) {
		e->code = code;
		va_start(ap, fmt);
		vsnprintf(e->msg, sizeof(e->msg), fmt, ap);
		va_end(ap);
	}
	return -code;
}

int client_break(struct client *c, int code, const char *fmt, ...)
{
	va_list ap;

	if (!c->broken) {
		c->broken = code;
		c->err.code = code;
		va_start(ap, fmt);
		vsnprintf(c->err.msg, sizeof(c->err.msg), fmt, ap);
		va_end(ap);
	}
	return -c->broken;
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int64_t client_deadline(int timeout_ms)
{
	return timeout_ms < 0 ? INT64_MAX : now_ms() + timeout_ms;
}

int client_time_left(int64_t deadline)
{
	int64_t left;

	if (deadline == INT64_MAX)
		return -1;
	left = deadline - now_ms();
	return left < 0 ? 0 : left > 1000000 ? 1000000 : (int)left;
}

/* Wait for `events` on fd. 0, -ETIMEDOUT, -errno. */
static int wait_fd(int fd, short events, int64_t deadline)
{
	struct pollfd p = { .fd = fd, .events = events };

	for (;;) {
		int left = client_time_left(deadline), n = poll(&p, 1, left);

		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0 && client_time_left(deadline) == 0)
			return -ETIMEDOUT;
	}
}

/* ---- readiness --------------------------------------------------------- */

static int fill_addr(struct sockaddr_un *sa, const char *path, const char *suffix,
		     struct client_err *e)
{
	int n;

	memset(sa, 0, sizeof(*sa));
	sa->sun_family = AF_UNIX;
	n = snprintf(sa->sun_path, sizeof(sa->sun_path), "%s%s", path, suffix);
	if (n < 0 || (size_t)n >= sizeof(sa->sun_path))
		return client_err_set(e, ENAMETOOLONG,
				      "socket path %.200s%s is longer than %zu bytes", path,
				      suffix, sizeof(sa->sun_path) - 1);
	return 0;
}

int client_ready_listen(const char *vsock_path, struct client_err *e)
{
	struct sockaddr_un sa;
	char suffix[16];
	int fd, rc;

	snprintf(suffix, sizeof(suffix), "_%u", PROTO_READY_PORT);
	rc = fill_addr(&sa, vsock_path, suffix, e);
	if (rc < 0)
		return rc;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return client_err_set(e, errno, "socket: %s", strerror(errno));
	(void)unlink(sa.sun_path);
	/* Before bind, the mode is that of the socket file to come. */
	if (fchmod(fd, 0600) == 0 && bind(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0 &&
	    listen(fd, 4) == 0)
		return fd;
	rc = client_err_set(e, errno, "listen on %s: %s", sa.sun_path, strerror(errno));
	close(fd);
	return rc;
}

/* Exactly n bytes, or -errno; -ECONNRESET at the end of the stream. */
static int read_all(int fd, uint8_t *p, size_t n, int64_t deadline)
{
	while (n) {
		ssize_t k = recv(fd, p, n, MSG_DONTWAIT);
		int rc;

		if (k > 0) {
			p += k;
			n -= (size_t)k;
			continue;
		}
		if (k == 0)
			return -ECONNRESET;
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		rc = wait_fd(fd, POLLIN, deadline);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int read_ready(int fd, struct client_ready *out, int64_t deadline)
{
	uint8_t buf[PROTO_HDR_LEN + 256];
	struct proto_hello hello = { 0 };
	struct proto_hdr h;
	int rc;

	rc = read_all(fd, buf, PROTO_HDR_LEN, deadline);
	if (rc < 0)
		return rc;
	proto_hdr_read(buf, &h);
	if (h.type != PROTO_READY || h.len > 256)
		return -EBADMSG;
	rc = read_all(fd, buf + PROTO_HDR_LEN, h.len, deadline);
	if (rc == 0)
		rc = proto_hello_read(buf + PROTO_HDR_LEN, h.len, true, &hello);
	if (rc < 0)
		return rc;
	out->version = hello.max;
	out->features = hello.features;
	out->boot_ns = hello.boot_ns;
	return 0;
}

int client_ready_accept(int listen_fd, int timeout_ms, struct client_ready *out,
			struct client_err *e)
{
	int64_t deadline = client_deadline(timeout_ms);
	int fd, rc;

	rc = wait_fd(listen_fd, POLLIN, deadline);
	if (rc < 0)
		return client_err_set(e, -rc, "wait for the guest's agent: %s", strerror(-rc));
	fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0)
		return client_err_set(e, errno, "accept the agent's report: %s", strerror(errno));
	rc = read_ready(fd, out, deadline);
	close(fd);
	if (rc < 0)
		return client_err_set(e, -rc, "read the agent's report: %s", strerror(-rc));
	return 0;
}

/* ---- connection -------------------------------------------------------- */

/* The hybrid convention: `CONNECT <port>\n`, then `OK <number>\n`, byte by byte. */
static int handshake(int fd, uint32_t port, int64_t deadline, struct client_err *e)
{
	char line[32];
	size_t n;
	int rc, len;

	len = snprintf(line, sizeof(line), "CONNECT %u\n", port);
	if (send(fd, line, (size_t)len, MSG_NOSIGNAL) != len)
		return client_err_set(e, errno ? errno : EIO, "send CONNECT: %s", strerror(errno));
	for (n = 0; n < sizeof(line) - 1; n++) {
		rc = read_all(fd, (uint8_t *)line + n, 1, deadline);
		if (rc == -ECONNRESET)
			return client_err_set(e, ECONNREFUSED,
					      "nothing listens on port %u in the guest", port);
		if (rc < 0)
			return client_err_set(e, -rc, "connect to the guest: %s", strerror(-rc));
		if (line[n] == '\n')
			break;
	}
	if (n == sizeof(line) - 1)
		n = 0;		/* no end of line: not an answer */
	line[n] = 0;
	if (strncmp(line, "OK ", 3) != 0 || !line[3] ||
	    strspn(line + 3, "0123456789") != strlen(line + 3))
		return client_err_set(e, EPROTO, "the monitor's socket did not answer OK");
	return 0;
}

struct client *client_new(int fd)
{
	struct client *c = malloc(sizeof(*c));
	struct proto_hello hello = { .min = PROTO_VERSION_MIN, .max = PROTO_VERSION_MAX };
	struct proto_wr w;

	if (!c)
		return NULL;
	/* The receive buffer is not touched before it is needed. */
	memset(c, 0, offsetof(struct client, rx));
	c->fd = fd;
	c->in_fd = -1;
	c->out[0].fd = -1;
	c->out[1].fd = -1;
	client_msg(c, &w, 64);
	proto_wr_hello(&w, PROTO_HELLO, false, &hello);
	if (client_queue(c, &w) < 0) {
		free(c);
		return NULL;
	}
	return c;
}

struct client *client_open_fd(int fd, int timeout_ms, struct client_err *e)
{
	struct client *c = NULL;
	int flags;

	(void)timeout_ms;
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		client_err_set(e, errno, "socket: %s", strerror(errno));
	else if (!(c = client_new(fd)))
		client_err_set(e, ENOMEM, "out of memory");
	if (!c)
		close(fd);
	return c;
}

struct client *client_open(const char *path, uint32_t port, int timeout_ms,
			   struct client_err *e)
{
	int64_t deadline = client_deadline(timeout_ms);
	struct sockaddr_un sa;
	int fd;

	if (fill_addr(&sa, path, "", e) < 0)
		return NULL;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		client_err_set(e, errno, "socket: %s", strerror(errno));
		return NULL;
	}
	if (timeout_ms >= 0) {	/* bounds connect(2) to a full backlog */
		struct timeval tv = { timeout_ms / 1000, timeout_ms % 1000 * 1000 + 1 };

		(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	}
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		client_err_set(e, errno, "connect to %s: %s", path, strerror(errno));
		close(fd);
		return NULL;
	}
	if (port && handshake(fd, port, deadline, e) < 0) {
		close(fd);
		return NULL;
	}
	return client_open_fd(fd, timeout_ms, e);
}

void client_close(struct client *c)
{
	if (!c)
		return;
	close(c->fd);
	free(c->tx);
	free(c->out[0].buf);
	free(c->out[1].buf);
	free(c);
}

uint64_t client_features(const struct client *c)
{
	return c->features;
}

unsigned client_version(const struct client *c)
{
	return c->version;
}

/* ---- messages out ------------------------------------------------------ */

void client_msg(struct client *c, struct proto_wr *w, size_t n)
{
	uint8_t *tx;
	size_t cap;

	if (c->tx_off) {
		memmove(c->tx, c->tx + c->tx_off, c->tx_len - c->tx_off);
		c->tx_len -= c->tx_off;
		c->tx_off = 0;
	}
	if (n > c->tx_cap - c->tx_len && c->tx_len + n <= CLIENT_TX_MAX) {
		cap = c->tx_len + n < 4096 ? 4096 : c->tx_len + n;
		tx = realloc(c->tx, cap);
		if (tx) {
			c->tx = tx;
			c->tx_cap = cap;
		}
	}
	proto_wr_init(w, c->tx, c->tx_cap);
	w->len = c->tx_len;
	w->start = c->tx_len;
}

int client_queue(struct client *c, struct proto_wr *w)
{
	int rc = proto_wr_end(w);

	if (rc < 0)
		return rc;
	c->tx_len = w->len;
	return 0;
}

int client_begin(struct client *c, uint16_t type, struct client_err *e)
{
	if (c->broken)
		return client_err_set(e, c->broken, "%s", c->err.msg);
	if (c->busy || c->ran)
		return client_err_set(e, EBUSY, "the connection is in use");
	c->busy = true;
	c->done = false;
	c->tag++;
	c->request = type;
	c->in_fd = -1;
	c->in_eof = false;
	c->in_stop = false;
	c->in_error = 0;
	c->in_credit = c->window ? c->window : PROTO_STDIN_WINDOW;
	for (int i = 0; i < 2; i++) {
		uint8_t *buf = c->out[i].buf;
		uint32_t cap = c->out[i].cap;

		c->out[i] = (struct client_out){
			.fd = -1, .granted = PROTO_OUT_WINDOW, .left = UINT64_MAX, .buf = buf,
			.cap = cap,
		};
	}
	memset(&c->err, 0, sizeof(c->err));
	c->each = NULL;
	return 0;
}
