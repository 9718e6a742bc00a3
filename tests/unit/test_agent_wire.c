// SPDX-License-Identifier: Apache-2.0
/*
 * What no client of ours sends, sent to a real agent: each is answered as
 * docs/protocol.md says, and the agent serves the next client.
 */
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "tests/unit/agent_live.h"

TestSuite(agent_wire, .init = live_start, .fini = live_stop, .timeout = 60);

static int dial(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(sa.sun_path, live_sock);
	cr_assert_eq(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	return fd;
}

static uint8_t out_buf[2 << 20];
static struct proto_wr w;

static void msg(uint16_t type, uint16_t tag)
{
	proto_wr_init(&w, out_buf, sizeof(out_buf));
	proto_wr_begin(&w, type, tag);
}

static void post(int fd)
{
	int n = proto_wr_end(&w);

	cr_assert_gt(n, 0);
	cr_expect_eq(write(fd, out_buf, (size_t)n), n);
}

static void hello(int fd)
{
	struct proto_hello h = { 1, 1, 0, 0, 0 };

	proto_wr_init(&w, out_buf, sizeof(out_buf));
	proto_wr_hello(&w, PROTO_HELLO, false, &h);
	post(fd);
}

static uint8_t in_buf[PROTO_PAYLOAD_MAX];

/* The next message, or type 0 at the end of the stream. */
static struct proto_hdr get(int fd)
{
	struct proto_hdr h = { 0 };
	uint8_t raw[PROTO_HDR_LEN];
	struct pollfd p = { .fd = fd, .events = POLLIN };

	cr_assert_eq(poll(&p, 1, 5000), 1, "no answer");
	if (recv(fd, raw, sizeof(raw), MSG_WAITALL) != (ssize_t)sizeof(raw))
		return h;
	proto_hdr_read(raw, &h);
	if (h.len)
		cr_assert_eq(recv(fd, in_buf, h.len, MSG_WAITALL), (ssize_t)h.len);
	return h;
}

static int dial_hello(void)
{
	int fd = dial();

	hello(fd);
	cr_assert_eq(get(fd).type, PROTO_HELLO);
	return fd;
}

static void expect_error(int fd, int code, const char *why)
{
	struct proto_hdr h;
	char text[PROTO_MSG_MAX];
	uint16_t about;
	int got;

	/* What was started before may still talk. */
	do
		h = get(fd);
	while (h.type && h.type != PROTO_ERROR);
	cr_assert_eq(h.type, PROTO_ERROR, "message %u", h.type);
	cr_assert_eq(proto_error_read(in_buf, h.len, &got, &about, text), 0);
	cr_expect_eq(got, code, "%d: %s", got, text);
	cr_expect_not_null(strstr(text, why), "'%s'", text);
}

/* The connection must end, after an ERROR with that reason. */
static void expect_end(int fd, const char *why)
{
	struct live_run r = { 0 };

	expect_error(fd, EPROTO, why);
	cr_expect_eq(get(fd).type, 0, "the connection goes on");
	close(fd);
	live_sh(&r, "echo alive");
	cr_expect_str_eq(r.out, "alive\n");
	live_free(&r);
}

static void start_cat(int fd)
{
	msg(PROTO_EXEC, 1);
	proto_wr_str(&w, PROTO_K_ARG, "cat");
	proto_wr_num(&w, PROTO_K_FLAGS, PROTO_EXEC_STDIN);
	post(fd);
	cr_assert_eq(get(fd).type, PROTO_STARTED);
}

Test(agent_wire, first_message_must_be_hello)
{
	static const struct proto_hello versions[] = { { 2, 9, 0, 0, 0 }, { 0, 0, 0, 0, 0 } };
	int fd = dial();

	msg(PROTO_PING, 0);
	post(fd);
	expect_end(fd, "first message");
	fd = dial();
	cr_expect_eq(write(fd, "GET / HTTP/1.1\r\n\r\n", 18), 18);
	expect_end(fd, "too long");
	fd = dial();
	msg(PROTO_HELLO, 0);
	proto_wr_u64(&w, 0x1234);
	proto_wr_u64(&w, 0);
	post(fd);
	expect_end(fd, "first message");
	for (int i = 0; i < 2; i++) {
		fd = dial();
		proto_wr_init(&w, out_buf, sizeof(out_buf));
		proto_wr_hello(&w, PROTO_HELLO, false, &versions[i]);
		post(fd);
		expect_end(fd, "no version");
	}
}

Test(agent_wire, unknown_requests_are_answered_and_survived)
{
	int fd = dial_hello();

	for (unsigned int type = 0x67; type < 0x70; type++) {
		msg((uint16_t)type, 5);
		post(fd);
		expect_error(fd, EOPNOTSUPP, "does not know");
	}
	msg(PROTO_EXIT, 1);
	post(fd);
	expect_error(fd, EOPNOTSUPP, "does not know");
	msg(PROTO_PING, 77);
	proto_wr_raw(&w, "abc", 3);
	post(fd);
	struct proto_hdr h = get(fd);

	cr_expect(h.type == PROTO_PONG && h.tag == 77 && h.len == 3 && !memcmp(in_buf, "abc", 3));
	close(fd);
}

static void small(uint16_t type, uint16_t tag, const void *p, size_t n, bool running,
		  const char *why)
{
	int fd = dial_hello();

	if (running)
		start_cat(fd);
	msg(type, tag);
	proto_wr_raw(&w, p, n);
	post(fd);
	expect_end(fd, why);
}

Test(agent_wire, violations_end_the_connection)
{
	static const uint8_t max[4] = { 0xff, 0xff, 0xff, 0xff }, sig0[8], sig65[8] = { 65 };
	static const uint8_t scope[8] = { 9, 0, 0, 0, 3 };
	static uint8_t big[PROTO_PAYLOAD_MAX];

	small(PROTO_PING, 0, big, 65, false, "64 bytes");
	small(PROTO_CREDIT, 1, max, 4, true, "more credit");
	small(PROTO_CREDIT, 1, max, 3, true, "bad CREDIT");
	small(PROTO_CREDIT, 0, max, 4, true, "bad CREDIT");
	small(PROTO_CREDIT, 3, max, 4, true, "bad CREDIT");
	small(PROTO_SIGNAL, 0, sig0, 8, true, "bad SIGNAL");
	small(PROTO_SIGNAL, 0, sig65, 8, true, "bad SIGNAL");
	small(PROTO_SIGNAL, 0, scope, 8, true, "bad SIGNAL");
	small(PROTO_SIGNAL, 0, scope, 7, true, "bad SIGNAL");
	small(PROTO_WINCH, 0, scope, 7, true, "bad WINCH");
	small(PROTO_EOF, 1, NULL, 0, true, "EOF of a stream");
	small(PROTO_STOP, 0, NULL, 0, true, "STOP of a stream");
	small(PROTO_STOP, 3, NULL, 0, true, "STOP of a stream");
	small(PROTO_DATA, 1, "x", 1, true, "DATA is empty or of a stream");
	small(PROTO_DATA, 0, "x", 0, true, "DATA is empty");
}

Test(agent_wire, input_beyond_the_credit_ends_the_connection)
{
	int fd = dial_hello();

	/* The command does not read: the window cannot have grown. */
	msg(PROTO_EXEC, 1);
	proto_wr_str(&w, PROTO_K_ARG, "sleep");
	proto_wr_str(&w, PROTO_K_ARG, "60");
	proto_wr_num(&w, PROTO_K_FLAGS, PROTO_EXEC_STDIN);
	post(fd);
	cr_assert_eq(get(fd).type, PROTO_STARTED);
	for (int i = 0; i < 4; i++) {
		msg(PROTO_DATA, 0);
		w.len += PROTO_PAYLOAD_MAX;
		post(fd);
	}
	expect_end(fd, "more DATA than was granted");
	fd = dial_hello();
	start_cat(fd);
	msg(PROTO_EOF, 0);
	post(fd);
	msg(PROTO_DATA, 0);
	proto_wr_raw(&w, "x", 1);
	post(fd);
	/* cat may have ended before: then the byte is for nobody. */
	close(fd);
}

Test(agent_wire, lengths_beyond_the_limit)
{
	static const uint8_t ping[] = { 1, 0, 1, 0, PROTO_PING, 0, 0, 0 };
	static const uint8_t exec[] = { 1, 0, 0x10, 0, PROTO_EXEC, 0, 0, 0 };
	static const uint8_t all[] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	int fd = dial_hello();

	cr_expect_eq(write(fd, ping, 8), 8);
	expect_end(fd, "too long");
	fd = dial_hello();
	cr_expect_eq(write(fd, exec, 8), 8);
	expect_end(fd, "too long");
	fd = dial_hello();
	cr_expect_eq(write(fd, all, 8), 8);
	expect_end(fd, "too long");
}

Test(agent_wire, messages_in_single_bytes)
{
	struct proto_hdr h;
	int fd = dial(), n;

	hello(fd);
	msg(PROTO_EXEC, 3);
	proto_wr_str(&w, PROTO_K_ARG, "echo");
	proto_wr_str(&w, PROTO_K_ARG, "bytewise");
	n = proto_wr_end(&w);
	for (int i = 0; i < n; i++) {
		cr_expect_eq(write(fd, out_buf + i, 1), 1);
		usleep(500);
	}
	cr_expect_eq(get(fd).type, PROTO_HELLO);
	h = get(fd);
	cr_expect(h.type == PROTO_STARTED && h.tag == 3);
	do
		h = get(fd);
	while (h.type == PROTO_EOF);
	cr_expect(h.type == PROTO_DATA && h.len == 9 && memcmp(in_buf, "bytewise\n", 9) == 0);
	do
		h = get(fd);
	while (h.type == PROTO_EOF);
	cr_expect_eq(h.type, PROTO_EXIT);
	close(fd);
}

Test(agent_wire, second_request_while_busy)
{
	struct proto_hdr h;
	int fd = dial_hello();

	start_cat(fd);
	msg(PROTO_STAT, 8);
	proto_wr_str(&w, PROTO_K_PATH, "/");
	post(fd);
	expect_error(fd, EBUSY, "busy");
	msg(PROTO_DATA, 0);
	proto_wr_raw(&w, "still", 5);
	post(fd);
	h = get(fd);
	cr_expect(h.type == PROTO_DATA && h.len == 5);
	msg(PROTO_EOF, 0);
	post(fd);
	do
		h = get(fd);
	while (h.type == PROTO_EOF);
	cr_expect_eq(h.type, PROTO_EXIT);
	/* And then the connection is free again. */
	msg(PROTO_STAT, 8);
	proto_wr_str(&w, PROTO_K_PATH, "/");
	post(fd);
	cr_expect_eq(get(fd).type, PROTO_ENTRY);
	h = get(fd);
	cr_expect(h.type == PROTO_DONE && h.tag == 8);
	close(fd);
}

/* KiB. AddressSanitizer keeps up to 256 MiB of what was freed. */
#if defined(__SANITIZE_ADDRESS__)
#define RSS_MAX	500000
#else
#define RSS_MAX	100000
#endif

/* A client that asks and never reads: its questions wait, the agent's memory does not grow. */
Test(agent_wire, flood_of_pings_without_reading)
{
	struct live_run r = { 0 };
	int fd = dial_hello();
	ssize_t sent = 0, k;

	fcntl(fd, F_SETFL, O_NONBLOCK);
	msg(PROTO_PING, 0);
	w.len += 64;
	proto_wr_end(&w);
	for (int idle = 0; idle < 2000 && sent < 8 << 20;) {
		k = write(fd, out_buf, 72);
		if (k > 0) {
			sent += k;
			idle = 0;
		} else {
			usleep(100);
			idle++;
		}
	}
	cr_expect_lt(sent, 4 << 20, "%zd bytes were taken", sent);
	live_sh(&r, "grep VmRSS /proc/$PPID/status | tr -dc 0-9");
	cr_expect_lt(atoi(r.out), RSS_MAX, "the agent has %s KiB", r.out);
	live_free(&r);
	close(fd);
}

Test(agent_wire, random_bytes_after_hello)
{
	struct live_run r = { 0 };
	uint32_t seed = 42;

	for (int i = 0; i < 300; i++) {
		int fd = dial();
		uint8_t junk[64];

		hello(fd);
		for (size_t k = 0; k < sizeof(junk); k++) {
			seed = seed * 1664525 + 1013904223;
			junk[k] = (uint8_t)(seed >> 24);
		}
		junk[1] = junk[2] = junk[3] = 0;
		junk[5] = 0;
		junk[4] &= 0x3f;
		/* Not what would act on this machine's files. */
		if (junk[4] >= PROTO_PUT)
			junk[4] -= PROTO_PUT;
		(void)!write(fd, junk, sizeof(junk));
		close(fd);
	}
	live_sh(&r, "echo alive");
	cr_expect_str_eq(r.out, "alive\n");
	live_free(&r);
}
