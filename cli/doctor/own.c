/* SPDX-License-Identifier: Apache-2.0 */
/*
 * own.c - what this program keeps for its user: configuration, templates, sandboxes.
 */
#include <sys/statvfs.h>
#include "cli/doctor/doctor.h"
#include "cli/base/parse.h"
#include "cli/machine/template.h"
#include "cli/run/conf.h"
#include "cli/run/settings.h"
#include "cli/store/store.h"

#define STATE_ENOUGH	(256ull << 20)

struct faults { unsigned first; char sentence[200]; };

static void fault(unsigned line, const struct err *e, void *arg)
{
	struct faults *f = arg;

	if (f->first)
		return;
	f->first = line;
	snprintf(f->sentence, sizeof(f->sentence), "%.199s", e->msg);
}

static void check_configuration(struct doctor_finding *f)
{
	struct faults bad = { 0 };
	struct err e = { 0 };
	struct place p = { 0 };
	auto_mem char *text = settings_read(&p, &e);
	unsigned n = text ? settings_lint(text, fault, &bad) : 0;

	if (!text)
		doctor_set(f, DOCTOR_FAIL, "see 'sandbox config paths'", "%.200s", e.msg);
	else if (n)
		doctor_set(f, DOCTOR_FAIL, "see 'sandbox config lint', and correct it with 'sandbox "
			   "config edit'", "%.100s line %u: %.100s", p.path, bad.first,
			   bad.sentence);
	else
		doctor_set(f, DOCTOR_OK, NULL, *text ? "no line of %.200s is wrong" :
			   "none of your own at %.200s", p.path);
}

static void check_templates(struct doctor_finding *f)
{
	struct template_info *t = NULL;
	struct err e = { 0 };
	uint64_t disk = 0;
	struct run_conf c;
	int n, stale = 0;
	char size[32];

	run_conf_init(&c);
	n = run_conf_check(&c, &e);
	if (!n) {
		struct monitor_conf mc = { .vmm = c.vmm_at.path, .kernel = c.kernel_at.path,
					   .initrd = c.initrd_at.path };

		n = template_list(&mc, &t, &e);
	}
	for (int i = 0; t && i < n; i++) {
		disk += t[i].disk;
		stale += t[i].stale;
	}
	parse_size_text(disk & ~((1ull << 20) - 1), size);
	if (n < 0)
		doctor_set(f, DOCTOR_WARN, "see the other lines", "not looked at: %.180s", e.msg);
	else if (stale)
		doctor_set(f, DOCTOR_WARN, "run 'sandbox gc'", "%d of %d are of no use any more; all "
			   "take %s", stale, n, size);
	else if (!n)
		doctor_set(f, DOCTOR_OK, NULL, "none yet: the first run of each shape makes one");
	else
		doctor_set(f, DOCTOR_OK, NULL, "%d, which take %s", n, size);
	free(t);
	run_conf_free(&c);
}

static void check_state(struct doctor_finding *f)
{
	struct err e = { 0 };
	struct statvfs v;
	struct place p;
	char size[32];

	if (places_state(&p, &e) || statvfs(p.path, &v)) {
		doctor_set(f, DOCTOR_FAIL, "set XDG_STATE_HOME to a folder that you own", "%.200s",
			   e.msg[0] ? e.msg : strerror(errno));
		return;
	}
	parse_size_text((uint64_t)v.f_bavail * v.f_frsize & ~((1ull << 20) - 1), size);
	if ((uint64_t)v.f_bavail * v.f_frsize < STATE_ENOUGH)
		doctor_set(f, DOCTOR_WARN, "free some, remove sandboxes with 'sandbox rm', or set "
			   "XDG_STATE_HOME to a larger disk", "%s are free at %.150s", size,
			   p.path);
	else
		doctor_set(f, DOCTOR_OK, NULL, "sandboxes, their disks and snapshots are in "
			   "%.120s, where %s are free", p.path, size);
}

const struct doctor_check doctor_own_checks[] = {
	{ "configuration", check_configuration },
	{ "templates", check_templates },
	{ "state", check_state },
	{ 0 },
};
