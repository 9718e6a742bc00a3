/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <sys/mman.h>
#include "cli/base/result.h"

/* A memfd with that content. */
static int file(const char *text, size_t len)
{
	int fd = memfd_create("text", 0);

	cr_assert_eq(write(fd, text, len), (ssize_t)len);
	return fd;
}

static const char *written(const struct result *r, int out, int err)
{
	static char buf[4096];
	int fd = memfd_create("result", 0);
	ssize_t n;

	cr_assert_eq(result_write(r, fd, out, err), 0);
	n = pread(fd, buf, sizeof(buf) - 1, 0);
	cr_assert_gt(n, 0);
	buf[n] = '\0';
	close(fd);
	return buf;
}

Test(cli_result, one_line_with_every_key)
{
	struct result r = { .status = 137, .signal = 9, .oom = true, .executed = true,
			    .exec_ns = 1234567, .peak_memory = 4096 };

	cr_assert_str_eq(written(&r, -1, -1),
		"{\"exit_code\":137,\"signal\":9,\"timed_out\":false,\"oom\":true,"
		"\"truncated\":false,\"stdout_truncated\":false,\"stderr_truncated\":false,"
		"\"boot_ms\":null,\"restore_ms\":null,\"exec_ms\":1.234,\"peak_memory_bytes\":4096,"
		"\"jail\":null,\"error\":null}\n");
}

Test(cli_result, walls_that_stand_and_those_that_do_not)
{
	struct result r = { .jail = "auto", .walls = "user -pid seccomp",
			    .server = "mount -enclosed" };

	cr_assert(strstr(written(&r, -1, -1), "\"jail\":{\"mode\":\"auto\",\"walls\":[\"user\","
			 "\"seccomp\"],\"missing\":[\"pid\"],\"limits\":[],\"server\":{\"walls\":"
			 "[\"mount\"],\"missing\":[\"enclosed\"]}}"));
	r = (struct result){ .jail = "none", .walls = "" };
	cr_assert(strstr(written(&r, -1, -1),
			 "\"jail\":{\"mode\":\"none\",\"walls\":[],\"missing\":[],"
			 "\"limits\":[],\"server\":null}"));
}

Test(cli_result, a_sentence_that_is_no_text_is_told_all_the_same)
{
	struct result r = { .status = 125, .error = "open /\xff\33x: cut \xc3" };

	cr_assert(strstr(written(&r, -1, -1), "\"error\":\"open /??x: cut ?\"}"));
}

Test(cli_result, output_as_text_or_base64)
{
	struct result r = { .trunc_stderr = true, .error = "a \"word\"" };
	int out = file("h\xc3\xa4\0\n", 5), err = file("\xff", 1);
	const char *text = written(&r, out, err);

	cr_assert(strstr(text, "\"error\":\"a \\\"word\\\"\""), "%s", text);
	cr_assert(strstr(text, "\"truncated\":true,\"stdout_truncated\":false,"
			 "\"stderr_truncated\":true"), "%s", text);
	cr_assert(strstr(text, "\"stdout\":\"h\xc3\xa4\\u0000\\n\",\"stdout_encoding\":\"utf-8\""),
		  "%s", text);
	cr_assert(strstr(text, "\"stderr\":\"/w==\",\"stderr_encoding\":\"base64\""), "%s", text);
	close(out);
	close(err);
}

Test(cli_result, base64_of_every_remainder)
{
	/* RFC 4648, section 10, with bytes that are not UTF-8. */
	static const struct { const char *bytes, *want; } cases[] = {
		{ "\xfb", "+w==" }, { "\xfb\xef", "++8=" }, { "\xfb\xef\xbe", "++++" },
		{ "\xff\xff\xff\xfe", "/////g==" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct result r = { 0 };
		int out = file(cases[i].bytes, strlen(cases[i].bytes)), err = file("", 0);
		char want[64];
		const char *text = written(&r, out, err);

		snprintf(want, sizeof(want), "\"stdout\":\"%s\"", cases[i].want);
		cr_assert(strstr(text, want), "%s", text);
		cr_assert(strstr(text, "\"stderr\":\"\",\"stderr_encoding\":\"utf-8\""), "%s",
			  text);
		close(out);
		close(err);
	}
}

Test(cli_result, a_descriptor_that_takes_nothing)
{
	struct result r = { 0 };
	int fd = memfd_create("sealed", MFD_ALLOW_SEALING);

	cr_assert_eq(result_write(&r, -1, -1, -1), -EBADF);
	close(fd);
}
