/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gc.c - `sandbox gc`: what nothing needs any more. Most of it is swept in passing by other
 * commands; this does all of it, and says how much.
 */
#include <fcntl.h>
#include "cli/machine/rundir.h"
#include "cli/keeper/swap.h"
#include "cli/machine/snapdir.h"
#include "cli/machine/template.h"
#include "cli/share/upper.h"
#include "cli/verb/named.h"

/* What dead processes left of their sockets goes whenever a folder for new ones is made. */
static int sweep_runtime(struct err *e)
{
	struct rundir r;
	int rc = rundir_make(&r, e);

	rundir_remove(&r);
	return rc;
}

/*
 * Snapshots and rollbacks that were not finished, of sandboxes that do not run: a running one's
 * are its own. How many snapshots.
 */
static unsigned sweep_snapshots(const char *name)
{
	struct store_box b = STORE_BOX_NONE;
	struct err none;
	auto_fd dir = -1;
	unsigned n = 0;

	if (!store_open(&b, name, &none) && !store_lock(&b, &none)) {
		dir = openat(b.dir, SNAPSHOT_FOLDER, O_RDONLY | O_DIRECTORY | O_NOFOLLOW |
			     O_CLOEXEC);
		n = dir < 0 ? 0 : snapdir_sweep(dir);
		(void)!swap_settle(b.dir);
	}
	store_close(&b);
	return n;
}

static int sweep_store(unsigned *snapshots, struct err *e)
{
	size_t n;
	char **names = store_names(&n, e);	/* which sweeps */

	for (size_t i = 0; names && i < n; i++)
		*snapshots += sweep_snapshots(names[i]);
	store_names_free(names);
	return names ? 0 : e->code;
}

/* How many templates, or -errno with a sentence. */
static int collect(bool dry_run, unsigned *snapshots, struct err *e)
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
		rc = upper_temp_sweep(e);
	if (!rc && !dry_run)
		rc = sweep_store(snapshots, e);
	run_conf_free(&c);
	return rc ? rc : n;
}

static int report(const struct named *n, int templates, unsigned snapshots)
{
	if (n->json)
		return named_print_json(json_pack("{s:b, s:i, s:i}", "dry_run", n->dry_run,
						  "templates", templates, "snapshots",
						  (int)snapshots));
	printf(n->dry_run ? "would remove %d of templates\n" : "%d removed of templates\n",
	       templates);
	if (snapshots)
		printf("%u removed of snapshots that were not finished\n", snapshots);
	return CLI_OK;
}

static int gc_main(const struct verb *v, int argc, char **argv)
{
	struct named n;
	struct err e = { 0 };
	unsigned snapshots = 0;
	int status = named_begin(v, argc, argv, &n, 0, 0), rc;

	if (status < 0 && n.n_words) {
		cli_say("gc: '%.100s' is one word too many", n.words[0]);
		status = CLI_USAGE;
	}
	if (status < 0) {
		rc = collect(n.dry_run, &snapshots, &e);
		status = rc < 0 ? named_failed(v, &e) : report(&n, rc, snapshots);
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
