/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image.c - what an image says about commands in it, as docker does it: its
 * environment lies below that of the flags; its user and working folder are those of a
 * command that asks for none; its entrypoint comes before the command, and stands with
 * its arguments where there is no command. Who names another entrypoint, or none, gets
 * neither of them.
 */
#include "cli/run/conf.h"

#define WORDS_MAX 4096u

static int add_env(struct run_conf *c, struct err *e)
{
	const char *list[512];
	size_t n = image_list(&c->root.image, "env", list, ARRAY_LEN(list));
	struct env all = { 0 };
	int rc = 0;

	/* A name alone would ask for the host's value. */
	for (size_t i = 0; !rc && i < n; i++)
		if (strchr(list[i], '=') && list[i][0] != '=')
			rc = env_add(&all, list[i], e);
	for (size_t i = 0; !rc && i < c->env_file.n; i++)
		rc = env_add(&all, c->env_file.v[i], e);
	env_free(rc ? &all : &c->env_file);
	if (!rc)
		c->env_file = all;
	return rc;
}

static int add_user(struct run_conf *c, struct err *e)
{
	const char *user = image_string(&c->root.image, "user");
	const char *colon = user ? strchrnul(user, ':') : NULL;

	if (c->user || !user || colon == user)
		return 0;
	c->user = strndup(user, (size_t)(colon - user));
	if (*colon && colon[1])
		c->group = strdup(colon + 1);
	return c->user && (c->group || !*colon || !colon[1]) ? 0 : err_set(e, -ENOMEM, "user");
}

static size_t entrypoint(const struct run_conf *c, const char **words)
{
	const char *own = c->own_entrypoint;

	if (!own)
		return image_list(&c->root.image, "entrypoint", words, WORDS_MAX);
	if (!*own)
		return 0;
	words[0] = own;
	return 1;
}

static int add_words(struct run_conf *c, struct err *e)
{
	const char **words = calloc(WORDS_MAX + 1, sizeof(*words));
	size_t n = words ? entrypoint(c, words) : 0;

	if (!words)
		return err_set(e, -ENOMEM, "command");
	if (!c->own_entrypoint && (!c->argv || !*c->argv)) {
		n += image_list(&c->root.image, "cmd", words + n, WORDS_MAX - n);
	} else {
		for (char *const *w = c->argv; w && *w; w++) {
			if (n == WORDS_MAX) {
				free(words);
				return err_say(e, -E2BIG, "more than %u words", WORDS_MAX);
			}
			words[n++] = *w;
		}
	}
	free(c->made_argv);
	memcpy(&c->made_argv, &words, sizeof(words));	/* nobody writes to the words */
	c->argv = c->made_argv;
	return 0;
}

/*
 * Only the word before a `--` is an image. Without one the first word is the command,
 * whatever images there are: a script must not change its meaning when somebody imports
 * one.
 */
int run_words(struct run_conf *c, int argc, char **argv, const struct opt_end *end,
	      struct err *e)
{
	int at = end->words;
	bool image = !end->dashes && at + 1 < argc && !strcmp(argv[at + 1], "--");

	if (image && c->root.ref)
		return err_say(e, -EINVAL, "both --image %.100s and '%.100s --' name an image",
			       c->root.ref, argv[at]);
	if (image)
		c->root.ref = argv[at];
	c->argv = argv + at + (image ? 2 : 0);
	c->entrypoint = true;
	return image;
}

int run_image(struct run_conf *c, struct err *e)
{
	int rc = rootfs_open(&c->root, e);

	if (!rc && c->root.ref) {
		rc = add_env(c, e);
		if (!rc)
			rc = add_user(c, e);
		if (!c->workdir)
			c->workdir = image_string(&c->root.image, "workdir");
	}
	if (!rc && c->entrypoint && (c->root.ref || c->own_entrypoint))
		rc = add_words(c, e);
	if (!rc && c->entrypoint && !*c->argv)
		rc = err_say(e, -EINVAL, "there is no command; give one, as in 'sandbox run -- "
			     "uname -a'");
	c->entrypoint = false;		/* once; a configuration may be checked again */
	return rc;
}
