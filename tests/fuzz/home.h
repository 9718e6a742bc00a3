/* SPDX-License-Identifier: Apache-2.0 */
/* home.h - a folder for a fuzzer that keeps files; gone at its exit. */
#ifndef TESTS_FUZZ_HOME_H
#define TESTS_FUZZ_HOME_H
#include "vmm/base.h"

static char home[64];

static void home_clean(void)
{
	char line[96];

	snprintf(line, sizeof(line), "rm -rf %s", home);
	(void)!system(line);
}

/* In memory, as each input has files written to disk. */
static inline void home_folder(const char *what)
{
	snprintf(home, sizeof(home), "%s/fuzz-%s-XXXXXX", access("/dev/shm", W_OK) ? "/tmp" :
		 "/dev/shm", what);
	BUG_ON(!mkdtemp(home));
	atexit(home_clean);
}

/* And everything of the user's is there. */
static inline void home_make(const char *what)
{
	static const char *const vars[] = { "HOME", "XDG_STATE_HOME", "XDG_DATA_HOME",
		"XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR" };

	home_folder(what);
	for (size_t i = 0; i < ARRAY_LEN(vars); i++)
		BUG_ON(setenv(vars[i], home, 1));
}

/* The lowest descriptor that is free: as before, or one has been left open. */
static inline int home_next_fd(void)
{
	int fd = dup(2);

	close(fd);
	return fd;
}
#endif
