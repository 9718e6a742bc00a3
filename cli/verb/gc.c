/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gc.c - `sandbox gc`: what nothing needs any more. Most of it is swept in passing by other
 * commands; this does all of it, and says how much.
 */
#include "cli/machine/rundir.h"
#include "cli/machine/template.h"
#include "cli/verb/named.h"

/* What dead processes left of their sockets goes whenever a folder for new ones is made. */
static int sweep_runtime(struct err *e)
{
	struct rundir r;
	int rc = rundir_make(&r, e);

	rundir_remove(&r);
	return rc;
}

static int sweep_store(struct err *e)
{
	size_t n;
	char **names = store_names(&n, e);	/* which sweeps */

	store_names_free(names);
	return names ? 0 : e->code;
}

/* How many templates, or -errno with a sentence. */
static int collect(bool dry_run, struct err *e)
{
	struct run_conf c;
	int n, rc;

	run_conf_init(&c);
	n = rc = run_conf_check(&c, e);
	if (!rc) {
		struct monitor_conf mc = {
			.vmm = c.vmm_at.path, .kernel = c.kernel_at.path,
			.initrd = c.initrd_at.path, .memory = c.memory, .cpus = c.cpus,
		};

		n = template_gc(&mc, dry_run, e);
		rc = n < 0 ? n : dry_run ? 0 : sweep_runtime(e);
	}
	if (!rc && !dry_run)
		rc = sweep_store(e);
	run_conf_free(&c);
	return rc ? rc : n;
}

static int gc_main(const struct verb *v, int argc, char **argv)
{
	struct named n;
	struct err e = { 0 };
	int status = named_begin(v, argc, argv, &n, 0, 0), rc;

	if (status < 0 && n.n_words) {
		cli_say("gc: '%.100s' is one word too many", n.words[0]);
		status = CLI_USAGE;
	}
	if (status < 0) {
		rc = collect(n.dry_run, &e);
		if (rc < 0)
			status = named_failed(v, &e);
		else if (n.json)
			status = named_print_json(json_pack("{s:b, s:i}", "dry_run", n.dry_run,
							    "templates", rc));
		else
			status = printf(n.dry_run ? "would remove %d of templates\n" :
				       "%d removed of templates\n", rc) < 0 ? CLI_FAILED : CLI_OK;
	}
	named_end(&n);
	return fflush(stdout) ? CLI_FAILED : status;
}

static const struct opt table[] = { NAMED_DRY_RUN, NAMED_JSON, { 0 } };

const struct verb verb_gc = {
	.name = "gc", .args = "",
	.summary = "Remove templates that nothing would use, and what killed processes left",
	.example = "  sandbox gc\n", .table = table, .main = gc_main,
};
