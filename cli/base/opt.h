/* SPDX-License-Identifier: Apache-2.0 */
/*
 * opt.h - options of the command line, each in one table row: its names, its
 * argument, its help line and the function that checks and stores it. The
 * parser, --help, the completions and the hints for misspelt words all read
 * the same rows.
 *
 * Nothing here prints or exits, and nothing is kept between calls.
 */
#ifndef CLI_BASE_OPT_H
#define CLI_BASE_OPT_H
#include "vmm/base.h"

struct opt {
	const char *name;	/* long name, without dashes; NULL ends the table */
	char letter;		/* short name, or 0 */
	const char *arg;	/* what the value is called; NULL: a flag without one */
	/* One line. NULL: a flag that this version does not have, and says so. */
	const char *help;
	/* 0, or -errno with a sentence in *e. @value is NULL for a flag. NULL: see @at. */
	int (*parse)(void *into, const char *value, struct err *e);
	const char *words;	/* for completion: the values there are, with spaces between */
	/* Without @parse: offset in *into of a bool that is set, or of the text that is kept. */
	size_t at;
};

/* Rows of a table. @member of @type, to which `into` points: a bool, or a const char *. */
#define OPT(name, letter, arg, help, parse) { name, letter, arg, help, parse, NULL, 0 }
#define OPT_WORDS(name, letter, arg, help, parse, words) \
	{ name, letter, arg, help, parse, words, 0 }
#define OPT_FLAG(name, letter, help, type, member) \
	{ name, letter, NULL, help, NULL, NULL, OPT_AT(bool, type, member) }
#define OPT_TEXT(name, letter, arg, help, words, type, member) \
	{ name, letter, arg, help, NULL, words, OPT_AT(const char *, type, member) }
#define OPT_LATER(name, letter, arg) { name, letter, arg, NULL, NULL, NULL, 0 }
/* Does not compile where the member is no @what. */
#define OPT_AT(what, type, member) \
	(offsetof(type, member) + _Generic(((type *)0)->member, what: 0))

/* As words: the names of the sandboxes that there are by then. */
#define OPT_NAMES	"@names"

/* What ended the options. */
struct opt_end {
	int words;		/* index in argv of the first word that is no flag */
	bool dashes;		/* it came after a `--` */
	bool help;		/* --help or -h was there: nothing after it was looked at */
};

/* A table may be NULL: then there is no flag but --help. */

/*
 * Parse argv[from...] by the table. Flags end at the first word that is not one;
 * `--name value`, `--name=value`, `-n value`, `-nvalue` and `-ab` are understood,
 * and --help and -h always are. 0 with *end filled, or -EINVAL with a sentence
 * that names the flag (@verb is for its hint) and whatever the row's function returned.
 */
int opt_parse(const struct opt *table, const char *verb, int argc, char **argv, int from,
	      void *into, struct opt_end *end, struct err *e) must_check;

/* Do what the row says with a value that is there, NULL for a flag. As the row's function. */
int opt_apply(const struct opt *row, void *into, const char *value, struct err *e) must_check;

/*
 * As opt_parse(), but each flag is given to @each with its row, which may call opt_apply(), as
 * is done if it is NULL.
 */
typedef int (*opt_each_fn)(const struct opt *row, const char *value, void *arg, struct err *e);
int opt_parse_each(const struct opt *table, const char *verb, int argc, char **argv, int from,
		   opt_each_fn each, void *arg, struct opt_end *end, struct err *e) must_check;

/* Help lines of the table to @out; rows without a help line are left out. */
void opt_help(const struct opt *table, FILE *out);

/* Number of single-character edits (a swap of neighbours is one) from @a to @b. */
unsigned opt_distance(const char *a, const char *b);
/* The best of two candidates so far: @best with *d, or @name if it is nearer to @word. */
const char *opt_nearer(const char *word, const char *name, const char *best, unsigned *d);
/* Largest distance at which a hint still helps, for a word of that length. */
unsigned opt_distance_max(const char *word);
#endif
