/* SPDX-License-Identifier: Apache-2.0 */
/*
 * settings.h - flags kept as text: a sandbox's `config`, and the person's own file.
 *
 * A line is `key = value`; a key is the long name of a flag of `sandbox run` that
 * describes a machine or what its commands are given, so each flag that is added there
 * is a setting from then on. Flags without a value take `true` or `false`. A `#` begins
 * a comment line; a value that begins with a double quote is a string with \n, \t, \"
 * and \\. The person's file has sections:
 *
 *   [defaults]          for every new sandbox, and for `run`
 *   [project DIR]       the same, where the current folder is DIR or below it
 *   [sandbox NAME]      for that one, over its own config, from its next start on
 *
 * Main thread only.
 */
#ifndef CLI_RUN_SETTINGS_H
#define CLI_RUN_SETTINGS_H
#include <jansson.h>
#include "cli/base/opt.h"
#include "cli/base/places.h"
#include "cli/run/conf.h"

struct setting {
	char *section;		/* "defaults", "sandbox web"; "" before the first */
	char *key, *value;
	unsigned line;		/* 0: not of a file */
};

struct settings {
	struct setting *v;
	size_t n;
};

/* True for a flag of run that can be a setting. */
bool settings_has(const struct opt *row);
/* Its row in run_opts, or NULL with a sentence that names the nearest. */
const struct opt *settings_row(const char *key, struct err *e);
/* A key that may stand there several times, all of which count. */
bool settings_is_list(const char *key);

/* Is @new in the place of @old? In a list only of itself; of `env`, also with another value. */
bool settings_replaces(const char *key, const char *old, const char *new);

/* Add what @text says. -EINVAL, with @where and the line in the sentence. */
int settings_parse(struct settings *s, const char *text, const char *where,
		   struct err *e) must_check;
/* Replace the key's value in the section, or add to a list; "" removes the key. -ENOMEM. */
int settings_set(struct settings *s, const char *section, const char *key,
		 const char *value) must_check;
/* Add one more, whatever there is. -ENOMEM. */
int settings_add(struct settings *s, const char *section, const char *key,
		 const char *value) must_check;
/* The value in force, NULL when there is none. */
const char *settings_get(const struct settings *s, const char *section, const char *key);
/* Is that flag without a value set? */
bool settings_is_on(const struct settings *s, const char *section, const char *key);
/* Copy one section's settings to another's, over what is there. */
int settings_merge(struct settings *into, const char *to_section, const struct settings *from,
		   const char *section) must_check;
/*
 * Apply a section to @c, which must not outlive @s. Only the keys in @only (with spaces
 * between; NULL: all). @where is for the sentence.
 */
int settings_apply(const struct settings *s, const char *section, const char *only,
		   struct run_conf *c, const char *where, struct err *e) must_check;
/* Call @fault for each line of a person's file that is wrong. The number of them. */
unsigned settings_lint(const char *text,
		       void (*fault)(unsigned line, const struct err *e, void *arg), void *arg);
/* As text for a file (malloc; NULL: out of memory). */
char *settings_text(const struct settings *s);
/* As an object, lists as arrays; a new reference. */
json_t *settings_json(const struct settings *s);
void settings_free(struct settings *s);

/* The person's file, $SANDBOX_CONFIG or config in the configuration folder. */
int settings_path(struct place *p, struct err *e) must_check;
/* Its text (malloc), "" if there is none; NULL with a sentence. */
char *settings_read(struct place *p, struct err *e);
/* Read and parse it. */
int settings_load(struct settings *s, struct place *p, struct err *e) must_check;
/*
 * Set all of @more (section "", values "" take keys away) in @section of it, after a check of each;
 * its other lines stay as they are. @p: the file. @dry_run writes nothing.
 */
int settings_change(const char *section, const struct settings *more, bool dry_run,
		    struct place *p, struct err *e) must_check;
/* What holds for a new sandbox in the current folder, as settings of the section "". */
int settings_defaults(struct settings *s, struct err *e) must_check;
#endif
