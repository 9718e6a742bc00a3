/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dirty_pages.c N OUT - writes N pages over and over, each time with the next
 * number, and checks before that each holds the last one, everywhere. A snapshot that was
 * put together from pages of different times shows here once it is restored. On
 * SIGTERM, or when a page is wrong, it writes one line to OUT and ends: `ok SWEEPS` or
 * `bad PAGE WORD GOT WANTED`.
 *
 * Only user code and no system call in the loop, because a system call is what is
 * slow where guest kernels are emulated.
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define WORDS 512u	/* of a page */

static volatile sig_atomic_t done;

static void on_term(int sig)
{
	(void)sig;
	done = 1;
}

int main(int argc, char **argv)
{
	size_t n = argc == 3 ? strtoul(argv[1], NULL, 10) : 0;
	uint64_t *mem = n ? aligned_alloc(4096, n * 4096) : NULL, sweep = 0;
	FILE *out;

	if (!mem)
		return 2;
	for (size_t i = 0; i < n * WORDS; i++)
		mem[i] = 0;
	signal(SIGTERM, on_term);
	puts("writing");
	fflush(stdout);
	for (; !done; sweep++)
		for (size_t i = 0; i < n * WORDS; i++) {
			uint64_t was = __atomic_load_n(&mem[i], __ATOMIC_RELAXED);

			if (was != sweep) {
				out = fopen(argv[2], "w");
				if (out)
					fprintf(out, "bad %zu %zu %#lx %#lx\n", i / WORDS,
						i % WORDS, was, sweep);
				return out ? fclose(out) : 1;
			}
			__atomic_store_n(&mem[i], sweep + 1, __ATOMIC_RELAXED);
		}
	out = fopen(argv[2], "w");
	if (!out)
		return 1;
	fprintf(out, "ok %lu\n", sweep);
	return fclose(out);
}
