// SPDX-License-Identifier: Apache-2.0
/* The codec: what is written is read back, and nothing malformed passes. */
#include <stdio.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "agent/proto.h"

static uint8_t buf[4096];
static struct proto_wr w;

static const uint8_t *begin(uint16_t type)
{
	proto_wr_init(&w, buf, sizeof(buf));
	proto_wr_begin(&w, type, 9);
	return buf + PROTO_HDR_LEN;
}

static size_t end(void)
{
	struct proto_hdr h;
	int n = proto_wr_end(&w);

	cr_assert_geq(n, (int)PROTO_HDR_LEN);
	proto_hdr_read(buf, &h);
	cr_assert_eq(h.len + PROTO_HDR_LEN, (uint32_t)n);
	return h.len;
}

Test(proto, layout_is_little_endian)
{
	static const uint8_t want[] = { 4, 0, 0, 0, 0x22, 0, 9, 0, 0x78, 0x56, 0x34, 0x12 };

	begin(PROTO_CREDIT);
	proto_wr_u32(&w, 0x12345678);
	cr_expect_eq(end(), 4);
	cr_expect_eq(memcmp(buf, want, sizeof(want)), 0);
}

Test(proto, hello_round_trip_and_refusals)
{
	struct proto_hello in = { 1, 3, 0x1122334455667788, 42, 65536 }, out;
	size_t n;

	begin(PROTO_HELLO);
	w.len = 0;
	proto_wr_hello(&w, PROTO_HELLO, true, &in);
	n = end();
	cr_expect_eq(proto_hello_read(buf + 8, n, true, &out), 0);
	cr_expect(out.min == 1 && out.max == 3 && out.features == in.features &&
		  out.boot_ns == 42 &&
		  out.stdin_window == 65536);
	for (size_t k = 0; k < n; k++)
		cr_expect_eq(proto_hello_read(buf + 8, k, true, &out), -EBADMSG, "%zu bytes", k);
	cr_expect_eq(proto_hello_read(buf + 8, 16, false, &out), 0);
	buf[8] ^= 1;
	cr_expect_eq(proto_hello_read(buf + 8, n, true, &out), -EBADMSG, "magic");
	buf[8] ^= 1;
	buf[12] = 4;
	cr_expect_eq(proto_hello_read(buf + 8, n, true, &out), -EBADMSG, "min > max");
}

static const uint8_t *sample_exec(size_t *n)
{
	const uint8_t *p = begin(PROTO_EXEC);

	proto_wr_str(&w, PROTO_K_ARG, "sh");
	proto_wr_str(&w, PROTO_K_ENV, "A=b");
	proto_wr_str(&w, PROTO_K_ARG, "");
	proto_wr_str(&w, PROTO_K_CWD, "/x");
	proto_wr_num(&w, PROTO_K_TIMEOUT_NS, 5);
	proto_wr_num(&w, PROTO_K_FLAGS, PROTO_EXEC_TTY);
	proto_wr_num(&w, PROTO_K_ROWS, 40);
	*n = end();
	return p;
}

Test(proto, exec_round_trip)
{
	const char *argv[3], *envp[2], *why;
	struct proto_exec x;
	const uint8_t *p;
	size_t n;

	p = sample_exec(&n);
	cr_assert_eq(proto_exec_read(p, n, &x, &why), 0, "%s", why);
	cr_expect(x.argc == 2 && x.envc == 1 && x.timeout_ns == 5 && x.flags == PROTO_EXEC_TTY);
	cr_expect(x.rows == 40 && x.cols == 80 && x.max_output == UINT64_MAX && !x.user);
	cr_expect_str_eq(x.cwd, "/x");
	proto_exec_vectors(p, n, argv, envp);
	cr_expect_str_eq(argv[0], "sh");
	cr_expect_str_eq(argv[1], "");
	cr_expect_null(argv[2]);
	cr_expect_str_eq(envp[0], "A=b");
	cr_expect_null(envp[1]);
}

Test(proto, exec_cut_anywhere_never_reads_beyond)
{
	struct proto_exec x;
	const uint8_t *p;
	const char *why;
	size_t n, ok = 0;

	p = sample_exec(&n);
	for (size_t k = 0; k < n; k++) {
		uint8_t *copy = malloc(k ? k : 1);	/* so that a sanitizer sees the end */

		memcpy(copy, p, k);
		ok += proto_exec_read(copy, k, &x, &why) == 0;
		free(copy);
	}
	/* Only the cuts between attributes, after the first argument, are whole. */
	cr_expect_eq(ok, 6);
}

static void exec_refused(uint16_t key, const void *val, size_t len, const char *reason)
{
	struct proto_exec x;
	const char *why;
	const uint8_t *p = begin(PROTO_EXEC);

	proto_wr_str(&w, PROTO_K_ARG, "x");
	proto_wr_attr(&w, key, val, len);
	cr_expect_eq(proto_exec_read(p, end(), &x, &why), -EBADMSG, "%s", reason);
	cr_expect(why && strcmp(why, reason) == 0, "'%s', not '%s'", why ? why : "", reason);
}

Test(proto, exec_refusals)
{
	uint64_t zero = 0, big = UINT64_MAX;
	char path[PROTO_PATH_MAX + 1];
	struct proto_exec x;
	const char *why;

	exec_refused(PROTO_K_ARG, "ab", 2, "an argument is not a string");
	exec_refused(PROTO_K_ARG, "a\0b", 4, "an argument is not a string");
	exec_refused(PROTO_K_ARG, "", 0, "an argument is not a string");
	exec_refused(PROTO_K_ENV, "AB", 3, "an environment entry is not NAME=value");
	exec_refused(PROTO_K_ENV, "=B", 3, "an environment entry is not NAME=value");
	exec_refused(PROTO_K_CWD, "", 1, "bad working directory");
	exec_refused(PROTO_K_USER, "", 1, "bad user");
	exec_refused(PROTO_K_GROUP, "a", 1, "bad group");
	exec_refused(PROTO_K_TIMEOUT_NS, &big, 8, "bad timeout");
	exec_refused(PROTO_K_TIMEOUT_NS, &zero, 7, "bad timeout");
	exec_refused(PROTO_K_MAX_OUTPUT, &zero, 4, "bad output limit");
	exec_refused(PROTO_K_MEMORY_MAX, &big, 8, "bad memory limit");
	exec_refused(PROTO_K_PIDS_MAX, &big, 8, "bad process limit");
	exec_refused(PROTO_K_CPU_MILLI, &big, 8, "bad CPU limit");
	exec_refused(PROTO_K_FLAGS, &big, 8, "bad flags");
	exec_refused(PROTO_K_ROWS, &zero, 8, "bad number of rows");
	exec_refused(PROTO_K_COLS, &zero, 8, "bad number of columns");
	exec_refused(0x7777, &zero, 8, "unknown attribute");
	memset(path, 'a', sizeof(path));
	cr_expect_eq(proto_exec_read("", 0, &x, &why), -EBADMSG);
	cr_expect_str_eq(why, "no command");
}

Test(proto, unknown_attribute_without_must_is_skipped)
{
	const uint8_t *p = begin(PROTO_EXEC);
	struct proto_exec x;
	const char *why;

	proto_wr_str(&w, PROTO_K_ARG, "x");
	proto_wr_u16(&w, 0x7777);
	proto_wr_u16(&w, 0);
	proto_wr_u32(&w, 1);
	proto_wr_raw(&w, "z", 1);
	cr_expect_eq(proto_exec_read(p, end(), &x, &why), 0);
}

Test(proto, exit_round_trip_and_refusals)
{
	struct proto_exit in = { .code = 7, .result = PROTO_R_OOM, .wall_ns = 9, .mem_peak = 10 };
	struct proto_exit out;
	size_t n;

	strcpy(in.msg, "a\033[31mred\n\x7f");
	begin(0);
	w.len = 0;
	proto_wr_exit(&w, 1, &in);
	n = end();
	cr_assert_eq(proto_exit_read(buf + 8, n, &out), 0);
	cr_expect(out.code == 7 && out.signal == 0 && out.result == PROTO_R_OOM &&
		  out.wall_ns == 9);
	cr_expect_str_eq(out.msg, "a?[31mred??", "control characters reach a terminal");
	begin(PROTO_EXIT);
	proto_wr_num(&w, PROTO_K_RESULT, 0);
	cr_expect_eq(proto_exit_read(buf + 8, end(), &out), -EBADMSG, "neither code nor signal");
	begin(PROTO_EXIT);
	proto_wr_num(&w, PROTO_K_EXIT_CODE, 1);
	proto_wr_num(&w, PROTO_K_SIGNAL, 1);
	cr_expect_eq(proto_exit_read(buf + 8, end(), &out), -EBADMSG, "both");
	begin(PROTO_EXIT);
	proto_wr_num(&w, PROTO_K_EXIT_CODE, 256);
	cr_expect_eq(proto_exit_read(buf + 8, end(), &out), -EBADMSG, "code 256");
	begin(PROTO_EXIT);
	proto_wr_num(&w, PROTO_K_SIGNAL, 128);
	cr_expect_eq(proto_exit_read(buf + 8, end(), &out), -EBADMSG, "signal 128");
	begin(PROTO_EXIT);
	proto_wr_num(&w, PROTO_K_EXIT_CODE, 1);
	proto_wr_num(&w, PROTO_K_MEM_PEAK, UINT64_MAX);
	cr_expect_eq(proto_exit_read(buf + 8, end(), &out), -EBADMSG, "no number of JSON's");
}

Test(proto, job_round_trip_and_refusals)
{
	struct proto_job in = {
		.id = 7, .pid = 99, .flags = PROTO_JOB_KEPT, .dropped = { 5, 6 },
		.command = "sh -c \033[2J", .res = { .code = 3, .wall_ns = 8, .out_bytes = 9 },
	}, out;
	size_t n;

	begin(PROTO_EXEC_INFO);
	w.len = 0;
	proto_wr_job(&w, PROTO_EXEC_INFO, 9, &in);
	n = end();
	cr_assert_eq(proto_job_read(buf + 8, n, &out), 0);
	cr_expect(out.id == 7 && out.pid == 99 && out.flags == PROTO_JOB_KEPT &&
		  out.dropped[0] == 5 && out.dropped[1] == 6 && out.res.code == 3 &&
		  out.res.wall_ns == 8 && out.res.out_bytes == 9);
	cr_expect_str_eq(out.command, "sh -c ?[2J", "nothing for a terminal to obey");
	for (size_t k = 0; k < n; k++) {
		struct proto_job part;
		uint8_t copy[512];

		memcpy(copy, buf + 8, k);
		(void)proto_job_read(copy, k, &part);	/* never beyond k: sanitizers tell */
	}
	/* What has ended has an end, what runs has none, and each has a number. */
	in.res.code = -1;
	in.flags |= PROTO_JOB_RUNNING;
	proto_wr_job(&w, PROTO_EXEC_INFO, 9, &in);
	cr_expect_eq(proto_job_read(w.buf + w.start + 8, w.len - w.start - 8, &out), 0);
	begin(PROTO_EXEC_INFO);
	proto_wr_num(&w, PROTO_K_EXEC_ID, 7);
	proto_wr_num(&w, PROTO_K_JOB_FLAGS, PROTO_JOB_RUNNING);
	proto_wr_num(&w, PROTO_K_EXIT_CODE, 1);
	proto_wr_str(&w, PROTO_K_COMMAND, "x");
	n = end();
	cr_expect_eq(proto_job_read(buf + 8, n, &out), -EBADMSG, "it runs and has ended");
	begin(PROTO_EXEC_INFO);
	proto_wr_num(&w, PROTO_K_EXEC_ID, 7);
	proto_wr_str(&w, PROTO_K_COMMAND, "x");
	n = end();
	cr_expect_eq(proto_job_read(buf + 8, n, &out), -EBADMSG, "ended, but how?");
	begin(PROTO_EXEC_INFO);
	proto_wr_num(&w, PROTO_K_PID, 7);
	n = end();
	cr_expect_eq(proto_job_read(buf + 8, n, &out), -EBADMSG, "no number");
	begin(PROTO_EXEC_INFO);
	proto_wr_num(&w, PROTO_K_EXEC_ID, INT64_MAX + 1ull);
	n = end();
	cr_expect_eq(proto_job_read(buf + 8, n, &out), -EBADMSG, "a number that JSON has not");
}

Test(proto, error_round_trip_and_refusals)
{
	char msg[PROTO_MSG_MAX], big[1000];
	uint16_t about;
	int code;
	size_t n;

	memset(big, 'b', sizeof(big) - 1);
	big[999] = 0;
	begin(0);
	w.len = 0;
	proto_wr_error(&w, 3, PROTO_EXEC, ENOENT, big);
	n = end();
	cr_assert_eq(proto_error_read(buf + 8, n, &code, &about, msg), 0);
	cr_expect(code == ENOENT && about == PROTO_EXEC && strlen(msg) == PROTO_MSG_MAX - 1);
	begin(PROTO_ERROR);
	cr_expect_eq(proto_error_read(buf + 8, end(), &code, &about, msg), -EBADMSG, "no code");
	begin(PROTO_ERROR);
	proto_wr_num(&w, PROTO_K_CODE, 1ull << 32);
	cr_expect_eq(proto_error_read(buf + 8, end(), &code, &about, msg), -EBADMSG, "huge code");
}

static const char *tame(const char *text)
{
	static char copy[64];

	snprintf(copy, sizeof(copy), "%s", text);
	proto_tame(copy);
	return copy;
}

Test(proto, what_is_no_text_or_moves_a_cursor_is_tamed)
{
	cr_expect_str_eq(tame("plain, \xc3\xa4 \xe2\x82\xac \xf0\x9f\x99\x82"),
			 "plain, \xc3\xa4 \xe2\x82\xac \xf0\x9f\x99\x82");
	cr_expect_str_eq(tame("a\33[2Jb\nc\td\x7f"), "a?[2Jb?c?d?");
	cr_expect_str_eq(tame("\xc2\x9b" "31m"), "??31m", "the same in one character");
	cr_expect_str_eq(tame("\x9b\xff\xfe"), "???");
	cr_expect_str_eq(tame("a\xe2\x80\xae" "b\xe2\x81\xa6" "c\xe2\x80\xa7"),
			 "a???b???c\xe2\x80\xa7", "what turns the direction");
	cr_expect_str_eq(tame("cut \xe2\x82"), "cut ??");
	cr_expect_str_eq(tame("\xc0\xaf \xe0\x80\xaf \xed\xa0\x80 \xf4\x90\x80\x80"),
			 "?? ??? ??? ????", "too long, halves of pairs, beyond the end");
}

Test(proto, writer_never_overflows)
{
	uint8_t small[32];

	for (size_t cap = 0; cap < sizeof(small); cap++) {
		memset(small, 0xee, sizeof(small));
		proto_wr_init(&w, small, cap);
		proto_wr_begin(&w, PROTO_PING, 0);
		proto_wr_str(&w, PROTO_K_PATH, "12345");
		cr_expect_eq(proto_wr_end(&w), cap >= 22 ? 22 : -EMSGSIZE);
		cr_expect_eq(w.len, cap >= 22 ? 22 : 0);
		for (size_t i = cap; i < sizeof(small); i++)
			cr_expect_eq(small[i], 0xee);
	}
}

Test(proto, message_size_limits)
{
	uint8_t *big = calloc(1, PROTO_PAYLOAD_MAX + 64);

	proto_wr_init(&w, big, PROTO_PAYLOAD_MAX + 64);
	proto_wr_begin(&w, PROTO_DATA, 0);
	w.len += PROTO_PAYLOAD_MAX;
	cr_expect_eq(proto_wr_end(&w), (int)(PROTO_PAYLOAD_MAX + PROTO_HDR_LEN));
	proto_wr_init(&w, big, PROTO_PAYLOAD_MAX + 64);
	proto_wr_begin(&w, PROTO_DATA, 0);
	w.len += PROTO_PAYLOAD_MAX + 1;
	cr_expect_eq(proto_wr_end(&w), -EMSGSIZE);
	cr_expect_eq(proto_type_max(PROTO_EXEC), PROTO_EXEC_MAX);
	cr_expect_str_eq(proto_type_name(PROTO_TAR_OUT), "TAR_OUT");
	cr_expect_str_eq(proto_type_name(0xffff), "unknown");
	free(big);
}
