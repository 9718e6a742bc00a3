/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plain.c - a small runner for the same tests, used only under ThreadSanitizer:
 * Criterion's own wants memory at addresses that the sanitizer keeps for itself.
 * One process per test, one after the other; an argument is a part of the
 * "suite/test" names to run. And what the other sanitizers need to be told, and all tests have.
 */
#include <sys/stat.h>

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define PLAIN_RUNNER
#endif
#endif
#ifdef __SANITIZE_THREAD__
#define PLAIN_RUNNER
#endif

/* A test that ends by a signal, as some should, costs Criterion's own process 48 bytes. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libcriterion\n";
}

/* Whatever the caller's is: tests look at modes. */
__attribute__((constructor)) static void usual_umask(void)
{
	umask(022);
}

#ifdef PLAIN_RUNNER
#include <criterion/criterion.h>
#include <signal.h>
#include <sys/wait.h>
#include "vmm/base.h"

#define TIMEOUT_S 60u
#define SKIPPED 77

extern struct criterion_test *__start_cr_tst[], *__stop_cr_tst[];
extern struct criterion_suite *__start_cr_sts[], *__stop_cr_sts[];

static const struct criterion_test *current;
static const struct criterion_suite *suite;

/* ---- what the test macros call ------------------------------------------------------------ */

void criterion_internal_test_setup(void)
{
	if (suite && suite->data->init)
		suite->data->init();
	if (current->data->init)
		current->data->init();
}

void criterion_internal_test_main(void (*fn)(void))
{
	fn();
}

void criterion_internal_test_teardown(void)
{
	if (current->data->fini)
		current->data->fini();
	if (suite && suite->data->fini)
		suite->data->fini();
}

static bool failed;

void criterion_send_assert(struct criterion_assert_stats *s)
{
	if (s->passed)
		return;
	failed = true;
	fprintf(stderr, "%s:%u: %s\n", s->file, s->line, s->message);
}

void cri_asserts_passed_incr(void)
{
}

void criterion_continue_test(void)
{
}

void criterion_abort_test(void)
{
	exit(1);
}

/* Whoever skips has said so. */
void criterion_skip_test(const char *format, ...)
{
	(void)format;
	exit(SKIPPED);
}

/* ---- the runner --------------------------------------------------------------------------- */

static const struct criterion_suite *suite_of(const struct criterion_test *t)
{
	for (struct criterion_suite **s = __start_cr_sts; s < __stop_cr_sts; s++)
		if (*s && !strcmp((*s)->name, t->category))
			return *s;
	return NULL;
}

static bool run(const struct criterion_test *t, bool *skipped)
{
	double limit = t->data->timeout;
	int status = 0;
	pid_t pid;

	current = t;
	suite = suite_of(t);
	if (suite && suite->data->timeout > limit)
		limit = suite->data->timeout;
	fflush(NULL);
	pid = fork();
	if (!pid) {
		/* The sanitizer costs a factor of ten. */
		alarm(limit > 0 ? (unsigned)limit * 10 : TIMEOUT_S);
		t->test();
		exit(failed ? 1 : 0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return false;
	*skipped = WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED;
	if (*skipped)
		return true;
	if (t->data->signal)
		return WIFSIGNALED(status) && WTERMSIG(status) == t->data->signal;
	return WIFEXITED(status) && WEXITSTATUS(status) == t->data->exit_code;
}

int main(int argc, char **argv)
{
	unsigned tested = 0, bad = 0;

	for (struct criterion_test **t = __start_cr_tst; t < __stop_cr_tst; t++) {
		bool skipped = false;
		char name[256];

		if (!*t || (*t)->data->disabled)
			continue;
		snprintf(name, sizeof(name), "%s/%s", (*t)->category, (*t)->name);
		if (argc > 1 && !strstr(name, argv[1]))
			continue;
		tested++;
		if (!run(*t, &skipped)) {
			bad++;
			fprintf(stderr, "[FAIL] %s\n", name);
		}
		tested -= skipped;
	}
	fprintf(stderr, "tested %u, failing %u\n", tested, bad);
	return bad || !tested;
}
#endif
