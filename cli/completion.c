/* SPDX-License-Identifier: Apache-2.0 */
/*
 * completion.c - `sandbox completion SHELL`: scripts made from the tables, so that
 * they cannot know other flags than the parser.
 *
 * After the flags of `run` comes a command of the guest, for which a host's
 * completion knows nothing: file names are offered there.
 */
#include "cli/cli.h"

/* Text in single quotes, for any of the three shells. */
static void quoted(const char *s)
{
	putchar('\'');
	for (; *s; s++) {
		if (*s == '\'')
			fputs("'\\''", stdout);
		else
			putchar(*s);
	}
	putchar('\'');
}

static bool takes_file(const struct opt *o)
{
	return o->arg && !strcmp(o->arg, "FILE");
}

/* What completes @words, in the syntax of each shell's list of words. */
static const char *bash_list(const char *words)
{
	return strcmp(words, OPT_NAMES) ? words : "$(\"${COMP_WORDS[0]}\" ls -q 2>/dev/null)";
}

static const char *zsh_list(const char *words)
{
	return strcmp(words, OPT_NAMES) ? words : "$(sandbox ls -q 2>/dev/null)";
}

static const char *fish_list(const char *words)
{
	return strcmp(words, OPT_NAMES) ? words : "(sandbox ls -q 2>/dev/null)";
}

static void bash_words(const struct opt *table)
{
	for (const struct opt *o = table; o && o->name; o++)
		if (o->help)
			printf("--%s ", o->name);
	fputs("--help", stdout);
}

/* `a|b|c)` for the flags that take a value and satisfy @want. */
static void bash_case(const struct opt *table, bool (*want)(const struct opt *), const char *then)
{
	const char *bar = "\t\t";

	for (const struct opt *o = table; o && o->name; o++) {
		if (!o->help || !o->arg || !want(o))
			continue;
		printf("%s--%s", bar, o->name);
		if (o->letter)
			printf("|-%c", o->letter);
		bar = "|";
	}
	if (*bar == '|')
		printf(") %s ;;\n", then);
}

/* What comes where no flag does: a word of the verb first, then names, then files. */
static void bash_arguments(const struct verb *v)
{
	const char *names = bash_list(OPT_NAMES);

	if (!strcmp(v->name, "cp")) {	/* NAME:PATH or a path */
		printf("\t\t*) COMPREPLY=( $(compgen -S : -W '%s' -- \"$cur\") $(compgen -f -- "
		       "\"$cur\") ) ;;\n", names);
		return;
	}
	if (!v->words && !v->names && !v->command)
		return;
	fputs("\t\t*) COMPREPLY=(", stdout);
	if (v->words && v->names)
		printf(" $( (( COMP_CWORD == 2 )) && compgen -W '%s' -- \"$cur\" )"
		       " $( (( COMP_CWORD > 2 )) && compgen -W '%s' -- \"$cur\" )",
		       v->words, names);
	else if (v->words || v->names)
		printf(" $(compgen -W '%s' -- \"$cur\")", v->words ? v->words : names);
	if (v->command)
		fputs(" $(compgen -f -- \"$cur\")", stdout);
	puts(" ) ;;");
}

static bool plain_value(const struct opt *o)
{
	return !takes_file(o) && !o->words;
}

static void bash(void)
{
	puts("# bash completion for sandbox, made by 'sandbox completion bash'\n"
	     "_sandbox() {\n\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
	     "\tCOMPREPLY=()\n\tif (( COMP_CWORD == 1 )); then");
	fputs("\t\tCOMPREPLY=( $(compgen -W '", stdout);
	for (size_t i = 0; i < cli_n_verbs; i++)
		printf("%s ", cli_verbs[i]->name);
	puts("' -- \"$cur\") )\n\t\treturn\n\tfi\n\tcase ${COMP_WORDS[1]} in");
	for (size_t i = 0; i < cli_n_verbs; i++) {
		const struct verb *v = cli_verbs[i];

		printf("\t%s)\n\t\tcase $prev in\n", v->name);
		bash_case(v->table, takes_file, "COMPREPLY=( $(compgen -f -- \"$cur\") ); return");
		bash_case(v->table, plain_value, "return");
		for (const struct opt *o = v->table; o && o->name; o++)
			if (o->help && o->words)
				printf("\t\t--%s) COMPREPLY=( $(compgen -W '%s' -- \"$cur\") ); "
				       "return ;;\n", o->name, bash_list(o->words));
		fputs("\t\tesac\n\t\tcase $cur in\n\t\t-*) COMPREPLY=( $(compgen -W '", stdout);
		bash_words(v->table);
		puts("' -- \"$cur\") ) ;;");
		bash_arguments(v);
		puts("\t\tesac ;;");
	}
	puts("\tesac\n}\ncomplete -o filenames -F _sandbox sandbox");
}

/* Characters that _arguments would take as its own. */
static size_t zsh_text(char *out, size_t at, const char *s)
{
	for (; *s; s++) {
		if (strchr("[]:\\", *s))
			out[at++] = '\\';
		out[at++] = *s;
	}
	return at;
}

/* One line per name: '*--name=[help]:value:action'. */
static void zsh_opt(const struct opt *o)
{
	for (int is_long = !o->letter; is_long < 2; is_long++) {
		char spec[1024];
		size_t at;

		BUG_ON(strlen(o->name) + 2 * strlen(o->help) > sizeof(spec) / 2);
		if (is_long)
			at = (size_t)sprintf(spec, "*--%s%s[", o->name, o->arg ? "=" : "");
		else
			at = (size_t)sprintf(spec, "*-%c%s[", o->letter, o->arg ? "+" : "");
		at = zsh_text(spec, at, o->help);
		spec[at++] = ']';
		if (o->arg) {
			spec[at++] = ':';
			at = zsh_text(spec, at, o->arg);
			at += (size_t)sprintf(spec + at, ":%s", takes_file(o) ? "_files" : "");
			if (o->words)
				at += (size_t)sprintf(spec + at, "(%s)", zsh_list(o->words));
		}
		spec[at] = '\0';
		fputs("\t\t", stdout);
		quoted(spec);
		puts(" \\");
	}
}

static void zsh(void)
{
	puts("#compdef sandbox\n# zsh completion for sandbox, made by 'sandbox completion zsh'\n"
	     "_sandbox() {\n\tlocal -a verbs\n\tverbs=(");
	for (size_t i = 0; i < cli_n_verbs; i++) {
		printf("\t\t%s:", cli_verbs[i]->name);
		quoted(cli_verbs[i]->summary);
		putchar('\n');
	}
	puts("\t)\n\tif (( CURRENT == 2 )); then\n\t\t_describe verb verbs\n\t\treturn\n\tfi\n"
	     "\tlocal verb=$words[2]\n\tshift words\n\t(( CURRENT-- ))\n\tcase $verb in");
	for (size_t i = 0; i < cli_n_verbs; i++) {
		const struct verb *v = cli_verbs[i];

		printf("\t%s)\n\t\t_arguments -s -S \\\n", v->name);
		for (const struct opt *o = v->table; o && o->name; o++)
			if (o->help)
				zsh_opt(o);
		if (v->words)
			printf("\t\t'1:word:(%s)' \\\n", v->words);
		if (v->names && v->command)
			printf("\t\t'1:sandbox:(%s)' \\\n", zsh_list(OPT_NAMES));
		else if (v->names)
			printf("\t\t'*:sandbox:(%s)' \\\n", zsh_list(OPT_NAMES));
		if (v->command)
			puts("\t\t'*::command:_normal' \\");
		puts("\t\t'(- *)--help[print the flags]' ;;");
	}
	puts("\tesac\n}\n_sandbox \"$@\"");
}

static void fish(void)
{
	puts("# fish completion for sandbox, made by 'sandbox completion fish'\n"
	     "complete -c sandbox -f -n __fish_use_subcommand -l help -d 'print the verbs'");
	for (size_t i = 0; i < cli_n_verbs; i++) {
		const struct verb *v = cli_verbs[i];

		printf("complete -c sandbox -f -n __fish_use_subcommand -a %s -d ", v->name);
		quoted(v->summary);
		putchar('\n');
		for (const struct opt *o = v->table; o && o->name; o++) {
			if (!o->help)
				continue;
			printf("complete -c sandbox -n '__fish_seen_subcommand_from %s' -l %s",
			       v->name, o->name);
			if (o->letter)
				printf(" -s %c", o->letter);
			if (o->arg)
				fputs(takes_file(o) ? " -r -F" : " -x", stdout);
			if (o->words)
				printf(" -a '%s'", fish_list(o->words));
			fputs(" -d ", stdout);
			quoted(o->help);
			putchar('\n');
		}
		if (v->words)
			printf("complete -c sandbox -f -n '__fish_seen_subcommand_from %s' -a '%s'\n",
			       v->name, v->words);
		if (v->names)
			printf("complete -c sandbox -f -n '__fish_seen_subcommand_from %s' -a '%s'\n",
			       v->name, fish_list(OPT_NAMES));
	}
}

static int completion_main(const struct verb *v, int argc, char **argv)
{
	static const struct { const char *name; void (*print)(void); } shells[] = {
		{ "bash", bash }, { "zsh", zsh }, { "fish", fish },
	};
	struct opt_end end;
	int status = cli_begin(v, argc, argv, NULL, &end);

	if (status >= 0)
		return status;
	if (end.words + 1 != argc) {
		cli_say("completion: name one shell: bash, zsh or fish");
		return CLI_USAGE;
	}
	for (size_t i = 0; i < ARRAY_LEN(shells); i++)
		if (!strcmp(argv[end.words], shells[i].name)) {
			shells[i].print();
			return fflush(stdout) ? CLI_FAILED : CLI_OK;
		}
	cli_say("completion: '%s' is none of bash, zsh and fish", argv[end.words]);
	return CLI_USAGE;
}

const struct verb verb_completion = {
	.name = "completion", .args = "bash|zsh|fish", .words = "bash zsh fish",
	.summary = "Print a completion script for a shell",
	.example = "  sandbox completion bash >/etc/bash_completion.d/sandbox\n",
	.main = completion_main,
};
