/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conf.h - what `sandbox run` was asked to do, complete and checked before
 * anything starts.
 */
#ifndef CLI_RUN_CONF_H
#define CLI_RUN_CONF_H
#include "cli/base/env.h"
#include "cli/base/keys.h"
#include "cli/base/opt.h"
#include "cli/base/places.h"
#include "cli/machine/rootfs.h"
#include "cli/share/share.h"

#define RUN_MEMORY_DEFAULT	(128ull << 20)
#define RUN_MEMORY_MIN		(48ull << 20)
#define RUN_CPUS_MAX		32u
#define RUN_JSON_OUTPUT		(16ull << 20)	/* --json without --max-output: bytes per stream */

struct run_conf {
	struct env secrets;		/* NAME=env:V or NAME=file:F, as given; never a value */
	struct env env;			/* of -e; after run_conf_check() the whole of it */
	struct env env_file;
	const char *workdir;		/* NULL: the agent's default */
	char *user, *group;		/* owned; NULL: the agent's default */
	const char *kernel, *initrd;	/* as named on the command line */
	struct place kernel_at, initrd_at, vmm_at;
	struct rootfs root;		/* of --image, --disk, --tmpfs, --read-only */
	const char *from;		/* snapshot to go on from; NULL: none */
	struct place from_at;		/* its folder; "": none */
	char from_image[80];		/* id of its guest's root image; "": built in */
	struct shares shares;		/* of -v, checked */
	bool yes;			/* share guarded folders as well */
	bool always_shares;		/* with a server of folders even if there is none yet */
	int cow_dir;			/* changes of cow shares stay in there; 0: they vanish */
	char workdir_at[PROTO_PATH_MAX];	/* what workdir points to, if not to an argument */
	uint64_t timeout_ns;		/* 0: none */
	uint64_t memory;		/* bytes, a multiple of 2 MiB */
	uint64_t pids;			/* 0: the agent's default */
	uint64_t max_output;
	bool limit_output;
	unsigned cpus;
	unsigned cpu_milli;		/* their time, in thousandths of a CPU; 0: all of it */
	const char *pin;		/* list of the host's CPUs to use; NULL: any */
	const char *jail;		/* auto (or NULL), strict, none */
	bool interactive, tty, json, console, cold;
	struct client_keys keys;	/* that leave the terminal */
	bool own_keys;			/* they were given */
	bool record;
	/* Of named sandboxes: */
	const char *name;		/* NULL: none, and nothing remains */
	uint64_t idle_ns, ttl_ns;	/* 0: none */
	bool keep, rm, detach, autostart;
	int status_fd;			/* of --json-status-fd; -1: none */
	char *const *argv;		/* the command, NULL at the end */
	bool entrypoint;		/* that of the image comes before the command */
	const char *own_entrypoint;	/* instead of it and of its command; "": none; NULL: no */
	char **made_argv;		/* owned: argv with what the image adds */
};

/* The rows of run's flags; `into` is a struct run_conf. */
extern const struct opt run_opts[];

/* Rows of other verbs that start machines; @into as above. */
int run_opt_image(void *into, const char *value, struct err *e) must_check;
int run_opt_disk(void *into, const char *value, struct err *e) must_check;
int run_opt_disk_bps(void *into, const char *value, struct err *e) must_check;
int run_opt_disk_iops(void *into, const char *value, struct err *e) must_check;
int run_opt_tmpfs(void *into, const char *value, struct err *e) must_check;
int run_opt_memory(void *into, const char *value, struct err *e) must_check;
int run_opt_cpus(void *into, const char *value, struct err *e) must_check;
int run_opt_pids(void *into, const char *value, struct err *e) must_check;
int run_opt_pin(void *into, const char *value, struct err *e) must_check;

void run_conf_init(struct run_conf *c);
/*
 * What no single flag can tell: the files that are needed, this host's size, the
 * terminal, the descriptor, the environment as a whole. 0 or -errno with a sentence.
 */
int run_conf_check(struct run_conf *c, struct err *e) must_check;
/* The part of it that is about the command: terminal, output, environment. */
int run_conf_check_command(struct run_conf *c, struct err *e) must_check;
/*
 * Add the secrets' values to @env, which goes to the guest's process and nowhere else.
 * -ENOENT and others with a sentence that has no value in it.
 */
int run_conf_secrets(const struct run_conf *c, struct env *env, struct err *e) must_check;
/*
 * The words after run's flags: [IMAGE --] CMD ARG... 1 if there was an image. What there
 * is no command for is found by run_conf_check().
 */
int run_words(struct run_conf *c, int argc, char **argv, const struct opt_end *end,
	      struct err *e) must_check;
/* Open the image, and take from it what the flags do not say. Part of run_conf_check_command(). */
int run_image(struct run_conf *c, struct err *e) must_check;
void run_conf_free(struct run_conf *c);
#endif
