/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include "cli/base/parse.h"

static struct err e;

Test(cli_parse, sizes)
{
	static const struct { const char *text; uint64_t want; } cases[] = {
		{ "0", 0 }, { "123", 123 }, { "7b", 7 }, { "4k", 4096 }, { "512M", 512ull << 20 },
		{ "512m", 512ull << 20 }, { "2MiB", 2ull << 20 }, { "2MB", 2ull << 20 },
		{ "1.5g", 3ull << 29 }, { "2G", 2ull << 30 }, { "1T", 1ull << 40 },
		{ "0.5k", 512 }, { "9223372036854775807", INT64_MAX },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		uint64_t got = 1;

		cr_assert_eq(parse_size(cases[i].text, &got, &e), 0, "%s", cases[i].text);
		cr_assert_eq(got, cases[i].want, "%s", cases[i].text);
	}
}

Test(cli_parse, sizes_that_are_none)
{
	static const char *const cases[] = {
		"", "m", "-1", "+1", " 1", "1 m", "1x", "1mm", "1.", ".5", "1..5k", "0x10", "1e3",
		"9223372036854775808", "18446744073709551616", "8388608t", "99999999999g", "1mib ",
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		uint64_t got = 42;

		cr_assert_eq(parse_size(cases[i], &got, &e), -EINVAL, "%s", cases[i]);
		cr_assert(strstr(e.msg, "is not a size such as"), "%s", e.msg);
		cr_assert_eq(got, 42, "%s changed the result", cases[i]);
	}
}

Test(cli_parse, durations)
{
	static const struct { const char *text; uint64_t want; } cases[] = {
		{ "30s", 30000000000 }, { "30", 30000000000 }, { "1.5s", 1500000000 },
		{ "0.25", 250000000 }, { "250ms", 250000000 }, { "3us", 3000 }, { "7ns", 7 },
		{ "2m", 120000000000 }, { "1h30m", 5400000000000 }, { "1m30s", 90000000000 },
		{ "1d", 86400000000000 }, { "1m5ms", 60005000000 },
		{ "1.000000001s", 1000000001 }, { "1.0000000019s", 1000000001 },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		uint64_t got = 1;

		cr_assert_eq(parse_duration(cases[i].text, &got, &e), 0, "%s", cases[i].text);
		cr_assert_eq(got, cases[i].want, "%s", cases[i].text);
	}
}

Test(cli_parse, durations_that_are_none)
{
	static const char *const cases[] = {
		"", "s", "-1s", "1 s", "1x", "1h30", "30s5", "1s ", "1.s", "soon", "1000000d",
		"200000d1d", "99999999999999999999",
	};
	uint64_t got = 42;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		cr_assert_eq(parse_duration(cases[i], &got, &e), -EINVAL, "%s", cases[i]);
		cr_assert(strstr(e.msg, "is not a time such as"), "%s", e.msg);
		cr_assert_eq(got, 42, "%s changed the result", cases[i]);
	}
	cr_assert_eq(parse_duration("0s", &got, &e), -EINVAL);
	cr_assert(strstr(e.msg, "no time at all"), "%s", e.msg);
}

Test(cli_parse, numbers_have_bounds)
{
	static const char *const cases[] = {
		"0", "33", "-1", "+5", "", " 5", "5 ", "5.0", "x", "99999999999999999999999",
	};
	uint64_t got = 42;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		cr_assert_eq(parse_number(cases[i], 1, 32, &got, &e), -EINVAL, "%s", cases[i]);
		cr_assert(strstr(e.msg, "is not a whole number from 1 to 32"), "%s", e.msg);
		cr_assert_eq(got, 42);
	}
	cr_assert_eq(parse_number("1", 1, 32, &got, &e), 0);
	cr_assert_eq(got, 1);
	cr_assert_eq(parse_number("32", 1, 32, &got, &e), 0);
	cr_assert_eq(got, 32);
	cr_assert_eq(parse_number("18446744073709551615", 0, UINT64_MAX, &got, &e), 0);
	cr_assert_eq(got, UINT64_MAX);
	cr_assert_eq(parse_number("18446744073709551616", 0, UINT64_MAX, &got, &e), -EINVAL);
}

Test(cli_parse, sizes_for_people)
{
	static const struct { uint64_t n; const char *want; } cases[] = {
		{ 0, "0 bytes" }, { 1023, "1023 bytes" }, { 1024, "1 KiB" }, { 1536, "1.5 KiB" },
		{ 512ull << 20, "512 MiB" }, { 3ull << 29, "1.5 GiB" }, { 5ull << 40, "5 TiB" },
	};
	char buf[32];

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		cr_assert_str_eq(parse_size_text(cases[i].n, buf), cases[i].want);
}

Test(cli_parse, thousandths)
{
	static const struct { const char *text; uint64_t want; } good[] = {
		{ "0", 0 }, { "1", 1000 }, { "0.5", 500 }, { "1.25", 1250 }, { "0.001", 1 },
		{ "2.000", 2000 }, { "2.000000", 2000 },
	};
	static const char *const bad[] = { "", ".5", "1.", "1.0001", "-1", "1x", "1 ", "1e3",
					   "99999999999999999999" };
	uint64_t got = 42;

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		cr_expect_eq(parse_milli(good[i].text, &got), 0, "%s", good[i].text);
		cr_expect_eq(got, good[i].want, "%s", good[i].text);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		cr_expect_eq(parse_milli(bad[i], &got), -EINVAL, "%s", bad[i]);
}
