/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image.c - `sandbox image ls|build|import|pull|tag|rm|verify|path`. The first
 * word is what is done, flags and then words follow.
 */
#include "cli/cli.h"
#include "cli/image/make.h"
#include "cli/base/parse.h"
#include "cli/base/text.h"
#include "cli/verb/image_use.h"

struct image_conf { struct image_make make; bool json, force, yes, dry_run; };

enum {
	F_NAME = 1, F_FORMAT = 2, F_SUM = 4, F_PROFILE = 8, F_SUITE = 16, F_MIRROR = 32,
	F_JSON = 64, F_FORCE = 128, F_YES = 256, F_DRY_RUN = 512,
};

static int opt_name(void *into, const char *value, struct err *e)
{
	((struct image_conf *)into)->make.name = value;
	return image_name_check(value, e);
}

static int opt_format(void *into, const char *value, struct err *e)
{
	static const char *const all[] = { "dir", "tar", "oci", "erofs", "ext4" };

	((struct image_conf *)into)->make.format = value;
	for (size_t i = 0; i < ARRAY_LEN(all); i++)
		if (!strcmp(value, all[i]))
			return 0;
	return err_say(e, -EINVAL, "'%.50s' is none of dir, tar, oci, erofs, ext4", value);
}

static int opt_sum(void *into, const char *value, struct err *e)
{
	((struct image_conf *)into)->make.sha256 = value;
	return sum_valid(value) ? 0 : err_say(e, -EINVAL, "'%.80s' is not 64 digits 0-9 a-f",
					       value);
}

static int opt_suite(void *into, const char *value, struct err *e)
{
	((struct image_conf *)into)->make.suite = value;
	return *value && *value != '-' ? 0 : err_say(e, -EINVAL, "'%.50s' is no suite", value);
}

static int opt_mirror(void *into, const char *value, struct err *e)
{
	((struct image_conf *)into)->make.mirror = value;
	return strstr(value, "://") ? 0 : err_say(e, -EINVAL, "'%.100s' is no URL", value);
}

static const struct opt image_opts[] = {
	OPT("name", 0, "NAME", "build, import, pull: call it that", opt_name),
	OPT_TEXT("profile", 0, "PROFILE", "build: minimal, debian, python, node or dev",
		 image_profiles, struct image_conf, make.profile),
	OPT("suite", 0, "SUITE", "build: of Debian (default bookworm)", opt_suite),
	OPT("mirror", 0, "URL", "build: where packages come from (default: Debian's)", opt_mirror),
	OPT_WORDS("format", 0, "FORMAT",
		  "import: dir, tar, oci, erofs or ext4 (default: dir, tar or oci)", opt_format,
		  "dir tar oci erofs ext4"),
	OPT("sha256", 0, "HEX", "import: the digest that the file must have", opt_sum),
	OPT_FLAG("json", 0, "ls: print an array of objects", struct image_conf, json),
	OPT_FLAG("force", 'f', "rm: also an image that a sandbox needs", struct image_conf, force),
	OPT_FLAG("yes", 'y', "rm: do not ask", struct image_conf, yes),
	OPT_FLAG("dry-run", 0, "rm: say what would be done, and do nothing", struct image_conf,
		 dry_run),
	{ 0 },
};

/* ---- what is done ---- */

static int failed(const struct err *e)
{
	cli_say("image: %s", e->msg);
	return cli_status_of(e->code);
}

static int made(int rc, const char *id, const struct err *e)
{
	if (rc)
		return failed(e);
	printf("sha256:%s\n", id);
	return fflush(stdout) ? CLI_FAILED : CLI_OK;
}

static int do_build(const struct image_conf *c, char **word, int n)
{
	struct err e = { 0 };
	char id[SUM_HEX];

	(void)word;
	(void)n;
	return made(image_build(&c->make, id, &e), id, &e);
}

static int do_import(const struct image_conf *c, char **word, int n)
{
	struct err e = { 0 };
	char id[SUM_HEX];

	(void)n;
	return made(image_import(&c->make, word[0], id, &e), id, &e);
}

static int do_pull(const struct image_conf *c, char **word, int n)
{
	struct err e = { 0 };
	char id[SUM_HEX];

	(void)n;
	return made(image_pull(&c->make, word[0], id, &e), id, &e);
}

static int do_tag(const struct image_conf *c, char **word, int n)
{
	struct err e = { 0 };

	(void)c;
	(void)n;
	return image_tag(word[0], word[1], &e) ? failed(&e) : CLI_OK;
}

static int do_rm(const struct image_conf *c, char **word, int n)
{
	int status = CLI_OK;

	if (!c->dry_run && !cli_confirm(&verb_image, c->yes || c->force, "remove image '%.80s'%s",
					word[0], n > 1 ? " and others" : ""))
		return CLI_USAGE;
	for (int i = 0; i < n; i++) {
		struct err e = { 0 };
		struct image im;

		if (c->dry_run && image_open(&im, word[i], false, &e)) {
			status = failed(&e);
		} else if (c->dry_run) {
			printf("would remove image '%s'\n", word[i]);
			image_close(&im);
		} else if (image_remove(word[i], c->force ? NULL : image_unused, &e)) {
			status = failed(&e);
		}
	}
	return fflush(stdout) ? CLI_FAILED : status;
}

static int collect(const char *name, const char *id, void *arg)
{
	char ***at = arg;

	(void)name;
	*(*at)++ = strdup(id);
	return 0;
}

static int count(const char *name, const char *id, void *arg)
{
	(void)name;
	(void)id;
	++*(int *)arg;
	return 0;
}

/* The IDs of all images. NULL with *n 0 when there is none, or on failure (e->code). */
static char **all_ids(int *n, struct err *e)
{
	char **list, **at;

	*n = 0;
	if (image_each(count, n, e) || !*n)
		return NULL;
	list = at = calloc((size_t)*n + 1, sizeof(char *));
	if (list && image_each(collect, &at, e))
		*n = 0;
	return list;
}

static int do_verify(const struct image_conf *c, char **word, int n)
{
	struct err e = { 0 };
	char **all = n ? NULL : all_ids(&n, &e);
	int status = e.code ? failed(&e) : CLI_OK;

	(void)c;
	for (int i = 0; i < n; i++) {
		struct image im;

		if (image_open(&im, all ? all[i] : word[i], true, &e)) {
			status = failed(&e);
			continue;
		}
		image_close(&im);
	}
	for (int i = 0; all && all[i]; i++)
		free(all[i]);
	free(all);
	return status;
}

static int do_path(const struct image_conf *c, char **word, int n)
{
	struct err e = { 0 };
	struct image im;

	(void)c;
	(void)n;
	if (image_open(&im, word[0], false, &e))
		return failed(&e);
	puts(im.path.path);
	image_close(&im);
	return fflush(stdout) ? CLI_FAILED : CLI_OK;
}

/* ---- ls ---- */

static int list_line(const char *name, const char *id, void *arg)
{
	struct err e = { 0 };
	struct image im;
	const char *date;
	char size[32];

	(void)arg;
	if (image_open(&im, id, false, &e)) {
		printf("%-24s %.*s  damaged\n", name ? name : "-", IMAGE_SHORT, id);
		return 0;
	}
	date = json_string_value(json_object_get(im.manifest, "date"));
	printf("%-24s %.*s  %-6s %8s  %s\n", name ? name : "-", IMAGE_SHORT, id, im.type,
	       parse_size_text(im.size >> 10 << 10, size), date ? date : "-");
	image_close(&im);
	return 0;
}

static int list_json(const char *name, const char *id, void *arg)
{
	struct err e = { 0 };
	struct image im;
	json_t *o;

	if (image_open(&im, id, false, &e)) {
		o = json_pack("{s:s, s:o}", "id", id, "error", text_json(e.msg));
	} else {
		o = json_copy(im.manifest);
		json_object_set_new(o, "id", json_string(id));
		image_close(&im);
	}
	if (name)
		json_object_set_new(o, "name", json_string(name));
	json_array_append_new(arg, o);
	return 0;
}

static int do_ls(const struct image_conf *c, char **word, int n)
{
	json_t *list = json_array();
	struct err e = { 0 };
	int rc;

	(void)word;
	(void)n;
	if (!c->json)
		printf("%-24s %-*s  %-6s %8s  %s\n", "NAME", IMAGE_SHORT, "ID", "TYPE", "SIZE",
		       "DATE");
	rc = image_each(c->json ? list_json : list_line, list, &e);
	if (!rc && c->json)
		rc = text_print_json(json_incref(list)) ?
			err_say(&e, -EIO, "the list could not be written") : 0;
	json_decref(list);
	if (rc)
		return failed(&e);
	return fflush(stdout) ? CLI_FAILED : CLI_OK;
}

/* ---- the verb ---- */

static const struct sub {
	const char *name;
	int min, max;			/* words */
	const char *words;
	unsigned flags;
	int (*run)(const struct image_conf *c, char **word, int n);
} subs[] = {
	{ "ls", 0, 0, "", F_JSON, do_ls },
	{ "build", 0, 0, "", F_NAME | F_PROFILE | F_SUITE | F_MIRROR, do_build },
	{ "import", 1, 1, "PATH", F_NAME | F_FORMAT | F_SUM, do_import },
	{ "pull", 1, 1, "REF", F_NAME, do_pull },
	{ "tag", 2, 2, "IMAGE NAME", 0, do_tag },
	{ "rm", 1, 1000, "IMAGE...", F_FORCE | F_YES | F_DRY_RUN, do_rm },
	{ "verify", 0, 1000, "[IMAGE...]", 0, do_verify },
	{ "path", 1, 1, "IMAGE", 0, do_path },
};

static unsigned flags_given(const struct image_conf *c)
{
	return (c->make.name ? F_NAME : 0) | (c->make.format ? F_FORMAT : 0) |
	       (c->make.sha256 ? F_SUM : 0) | (c->make.profile ? F_PROFILE : 0) |
	       (c->make.suite ? F_SUITE : 0) | (c->make.mirror ? F_MIRROR : 0) |
	       (c->json ? F_JSON : 0) | (c->force ? F_FORCE : 0) |
	       (c->yes ? F_YES : 0) | (c->dry_run ? F_DRY_RUN : 0);
}

static const struct sub *find_sub(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(subs); i++)
		if (!strcmp(subs[i].name, name))
			return &subs[i];
	return NULL;
}

static int usage(const struct sub *s, int words)
{
	cli_say("image %s: %d words given; it is 'sandbox image %s [flags]%s%s'", s->name, words,
		s->name, *s->words ? " " : "", s->words);
	return CLI_USAGE;
}

static int image_main(const struct verb *v, int argc, char **argv)
{
	auto_mem char **words = calloc((size_t)argc + 1, sizeof(*words));
	struct image_conf c = { 0 };
	const struct sub *s;
	int n, status = words ? cli_begin_words(v, argc, argv, &c, words, &n) : CLI_FAILED;

	if (status >= 0)
		return status;
	if (!n) {
		cli_say("image: say what to do: %s; see 'sandbox image --help'", v->words);
		return CLI_USAGE;
	}
	s = find_sub(words[0]);
	if (!s) {
		cli_say("image: '%.50s' is none of %s", words[0], v->words);
		return CLI_USAGE;
	}
	if (flags_given(&c) & ~s->flags) {
		cli_say("image %s: one of the flags is not for it; see 'sandbox image --help'",
			s->name);
		return CLI_USAGE;
	}
	if (--n < s->min || n > s->max)
		return usage(s, n);
	return s->run(&c, words + 1, n);
}

const struct verb verb_image = {
	.name = "image", .args = "WHAT [WORD...]",
	.summary = "Images: ls build import pull tag rm verify path",
	.example = "  sandbox image build --profile python\n"
		   "  docker export box | sandbox image import --name box -\n"
		   "  sandbox image import --name app ./oci-layout\n"
		   "  sandbox image ls\n"
		   "  sandbox run --image python -- python3 -c 'print(6 * 7)'\n",
	.table = image_opts, .words = "ls build import pull tag rm verify path", .main = image_main,
};
