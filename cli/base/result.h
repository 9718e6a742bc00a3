/* SPDX-License-Identifier: Apache-2.0 */
/*
 * result.h - what became of a run, as one JSON object on one line. The keys are
 * described in sandbox(1); scripts rely on them.
 */
#ifndef CLI_BASE_RESULT_H
#define CLI_BASE_RESULT_H
#include "vmm/base.h"

struct result {
	int status;			/* exit status of this program */
	int signal;			/* that ended the command; 0: none */
	bool timed_out, oom, trunc_stdout, trunc_stderr;
	bool booted, restored, executed;	/* which of the times below mean something */
	uint64_t ready_ns;		/* to an agent that answers, by a boot or a restore */
	uint64_t exec_ns;
	uint64_t peak_memory;		/* bytes; 0: not known */
	const char *jail;		/* --jail's word; NULL: of another process's doing */
	const char *walls;		/* with it: as monitor.walls */
	const char *limits;		/* as monitor_limits() */
	const char *server;		/* of the server of shared folders; "": there is none */
	const char *error;		/* sentence; NULL when the command ran */
};

/*
 * Write the object and a newline to @fd. With @out and @err (descriptors of
 * memfds, not -1) also what the command wrote: as text where it is valid UTF-8, in
 * base64 where it is not. 0 or -errno.
 */
int result_write(const struct result *r, int fd, int out, int err) must_check;
#endif
