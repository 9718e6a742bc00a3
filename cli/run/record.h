/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record.h - what a command shows, written down as an asciicast (version 2) file.
 *
 * It is written on the host, from what the host received, so the guest cannot take back what
 * it has shown. What is typed is not recorded: only what the terminal echoes. A guest can
 * write without end, so a recording ends at RECORD_MAX bytes, and says so in its last line.
 * A recording that cannot be written on does not stop the command. Main thread only.
 */
#ifndef CLI_RUN_RECORD_H
#define CLI_RUN_RECORD_H
#include "vmm/base.h"

#define RECORD_MAX	(64ull << 20)
#define RECORD_SUFFIX	".cast"

struct record {
	int fd;			/* -1: none */
	int error;		/* it could not be written on */
	bool full;
	char name[64];		/* of the file, without suffix */
	uint64_t start_ns, bytes;
	uint8_t part[2][4];	/* a character that came in pieces, of stdout and stderr */
	unsigned n_part[2];
};

#define RECORD_NONE { .fd = -1 }

/* What its first line tells. */
struct record_about {
	const char *title;		/* the sandbox */
	char *const *argv;
	uint16_t rows, cols;		/* 0: as a terminal is when nothing is known of it */
};

/* A new file in the folder @dir. 0 or -errno with a sentence. */
int record_open(struct record *r, int dir, const struct record_about *about,
		struct err *e) must_check;
/* Bytes of stream 1 or 2. */
void record_output(struct record *r, unsigned stream, const uint8_t *p, size_t n);
void record_resize(struct record *r, uint16_t rows, uint16_t cols);
/* The last line, with the exit status. */
void record_close(struct record *r, int status);
#endif
