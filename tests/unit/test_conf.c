/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include "vmm/conf.h"

static struct conf conf;
static struct err err;

static int parse(char **argv)
{
	int argc = 0;

	while (argv[argc])
		argc++;
	err = (struct err){ 0 };
	return conf_parse(&conf, argc, argv, &err);
}

#define ARGS(...) ((char *[]){ (char[]){ "sandbox-vmm" }, __VA_ARGS__, NULL })
#define W(s) ((char[]){ s })

Test(conf, defaults_and_fixed_slot_order)
{
	/* Not inside the macro: the words have to outlive its block. */
	int rc = parse(ARGS(W("--kernel"), W("k"), W("--vsock=/s"), W("--cid=7")));

	cr_assert_eq(rc, 0);
	cr_assert_str_eq(conf.kernel, "k");
	cr_assert_eq(conf.mem, 128u << 20);
	cr_assert_eq(conf.cpus, 1);
	cr_assert_eq(conf.status_fd, -1);
	cr_assert_str_eq(conf.slot[0].dev, "vsock");
	cr_assert_str_eq(conf.slot[0].path, "/s");
	cr_assert_eq(conf.slot[0].cid, 7);
	cr_assert_str_eq(conf.slot[1].dev, "rng");
	cr_assert_str_eq(conf.slot[2].dev, "console");
	cr_assert_str_eq(conf.slot[3].dev, "balloon");
	cr_assert_str_eq(conf.slot[4].dev, "blk");
	cr_assert_str_eq(conf.slot[4].id, "root");
	cr_assert(!conf.slot[4].path && !conf.slot[4].fd);
	cr_assert_str_eq(conf.slot[5].dev, "blk");
	cr_assert_str_eq(conf.slot[5].id, "disk");
	cr_assert_str_eq(conf.slot[6].dev, "fs");
	cr_assert_eq(conf.slot[6].fs_socket, 0);
	cr_assert_null(conf.slot[7].dev);
}

Test(conf, disks)
{
	static const struct { const char *word, *say; } bad[] = {
		{ "", "the file's name is missing" }, { ",ro", "the file's name is missing" },
		{ "fd:2", "descriptor 2 is no disk" }, { "fd:x", "'x' is not a whole number" },
		{ "f,wr", "'wr' is none of ro, direct" },
		{ "f,bps=0", "'0' is not a whole number" },
		{ "f,iops=-1", "'-1' is not a whole number" },
		{ "f,id=123456789012345678901", "none of ro, direct" }, { "f,id=", "none of ro" },
	};
	int rc = parse(ARGS(W("--kernel=k"), W("--root=/a/b,ro,id=12345678901234567890"),
			    W("--disk"), W("fd:7,direct,bps=1000000,iops=50")));

	cr_assert_eq(rc, 0, "%s", err.msg);
	cr_assert_str_eq(conf.slot[3].path, "/a/b");
	cr_assert_str_eq(conf.slot[3].id, "12345678901234567890");
	cr_assert(conf.slot[3].ro && !conf.slot[3].direct && !conf.slot[3].fd);
	cr_assert(!conf.slot[4].path && conf.slot[4].fd == 7);
	cr_assert(!conf.slot[4].ro && conf.slot[4].direct);
	cr_assert(conf.slot[4].bps == 1000000 && conf.slot[4].iops == 50);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		char word[64];

		snprintf(word, sizeof(word), "--root=%s", bad[i].word);
		rc = parse(ARGS(W("--kernel=k"), word));
		cr_expect_eq(rc, -EINVAL, "%s", word);
		cr_expect(strstr(err.msg, bad[i].say), "%s: %s", word, err.msg);
	}
}

Test(conf, fs_is_backed_by_two_descriptors)
{
	cr_assert_eq(parse(ARGS(W("--kernel=k"), W("--fs"), W("7,8"))), 0, "%s", err.msg);
	cr_assert_str_eq(conf.slot[5].dev, "fs");
	cr_assert_eq(conf.slot[5].fs_window, 7);
	cr_assert_eq(conf.slot[5].fs_socket, 8);
}

Test(conf, sizes)
{
	static const struct { const char *text; uint64_t mem; } good[] = {
		{ "512", 512ull << 20 }, { "512M", 512ull << 20 }, { "2g", 2ull << 30 },
		{ "65536k", 64ull << 20 }, { "134217728b", 128ull << 20 }, { "33M", 32ull << 20 },
	};

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		char word[32];

		snprintf(word, sizeof(word), "%s", good[i].text);
		cr_assert_eq(parse(ARGS(W("--kernel=k"), W("--memory"), word)), 0);
		cr_assert_eq(conf.mem, good[i].mem, "%s", good[i].text);
	}
}

Test(conf, each_refusal_says_why)
{
	static const struct { const char *word, *value, *why; } bad[] = {
		{ "--memory", "lots", "'lots' is not a size" },
		{ "--memory", "-1", "'-1' is not a size" },
		{ "--memory", "1Mb", "'1Mb' is not a size" },
		{ "--memory", "99999999999g", "more memory than there can be" },
		{ "--memory", "2M", "not between 16M" },
		{ "--cpus", "0", "not a whole number from 1 to 32" },
		{ "--cpus", "33", "not a whole number from 1 to 32" },
		{ "--cpus", "2x", "not a whole number from 1 to 32" },
		{ "--cpu-limit", "0", "not a whole number from 1 to 32000" },
		{ "--cid", "2", "not a whole number from 3" },
		{ "--status-fd", "-1", "not a whole number" },
		{ "--vsock", "", "path is empty" },
		{ "--memroy", "1", "no such option '--memroy'" },
		{ "kernel", "1", "'kernel' is not an option" },
		{ "--fs", "7", "'7' is not two descriptors above 2" },
		{ "--fs", "7,2", "'7,2' is not two descriptors" },
		{ "--fs", "7,8,9", "'7,8,9' is not two descriptors" },
		{ "--console=yes", "1", "--console takes no value" },
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		char word[32], value[32];

		snprintf(word, sizeof(word), "%s", bad[i].word);
		snprintf(value, sizeof(value), "%s", bad[i].value);
		cr_assert_eq(parse(ARGS(W("--kernel=k"), word, value)), -EINVAL, "%s", word);
		cr_assert(strstr(err.msg, bad[i].why), "%s %s: %s", word, value, err.msg);
	}
	cr_assert_eq(parse(ARGS(W("--memory"))), -EINVAL);
	cr_assert(strstr(err.msg, "needs a value"), "%s", err.msg);
	cr_assert_eq(parse(ARGS(W("--console"))), -EINVAL);
	cr_assert(strstr(err.msg, "--kernel FILE or --restore DIR is missing"), "%s", err.msg);
}
