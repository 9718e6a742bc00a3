/* SPDX-License-Identifier: Apache-2.0 */
/*
 * doctor.c - `sandbox doctor`: runs every check and prints one line for each,
 * as text or as JSON.
 */
#include <jansson.h>
#include "cli/base/text.h"
#include "cli/doctor/doctor.h"
#include "cli/cli.h"

static const char *const grades[] = {
	[DOCTOR_OK] = "ok", [DOCTOR_WARN] = "warn", [DOCTOR_FAIL] = "FAIL",
};

struct doctor_conf { bool json; };

void doctor_set(struct doctor_finding *f, enum doctor_grade grade, const char *remedy,
		const char *what, ...)
{
	va_list ap;

	f->grade = grade;
	snprintf(f->remedy, sizeof(f->remedy), "%s", remedy ? remedy : "");
	va_start(ap, what);
	vsnprintf(f->what, sizeof(f->what), what, ap);
	va_end(ap);
}

static void print_line(const char *name, const struct doctor_finding *f)
{
	printf("%-4s  %-13s %s", grades[f->grade], name, f->what);
	if (f->remedy[0])
		printf(" \u2014 %s", f->remedy);
	putchar('\n');
}

static void add_object(json_t *list, const char *name, const struct doctor_finding *f)
{
	json_array_append_new(list, json_pack("{s:s, s:s, s:o, s:o*}", "check", name, "grade",
		f->grade == DOCTOR_FAIL ? "fail" : grades[f->grade], "found", text_json(f->what),
		"remedy", f->remedy[0] ? text_json(f->remedy) : NULL));
}

struct report { json_t *list; enum doctor_grade worst; };

static void found(const char *name, const struct doctor_finding *f, void *arg)
{
	struct report *r = arg;

	if (r->list)
		add_object(r->list, name, f);
	else
		print_line(name, f);
	r->worst = f->grade > r->worst ? f->grade : r->worst;
}

static void run_all(struct report *r)
{
	static const struct doctor_check *const parts[] = {
		doctor_kvm_checks, doctor_host_checks, doctor_own_checks,
	};

	for (unsigned i = 0; i < ARRAY_LEN(parts); i++)
		for (const struct doctor_check *c = parts[i]; c->name; c++) {
			struct doctor_finding f = { 0 };

			c->run(&f);
			found(c->name, &f, r);
		}
	doctor_boxes(found, r);
}

static const struct opt doctor_opts[] = {
	OPT_FLAG("json", 0, "print the findings as JSON", struct doctor_conf, json),
	{ 0 },
};

static int doctor_main(const struct verb *v, int argc, char **argv)
{
	struct doctor_conf conf = { 0 };
	struct report r = { 0 };
	struct opt_end end;
	int status = cli_begin(v, argc, argv, &conf, &end);

	if (status >= 0)
		return status;
	if (end.words < argc) {
		cli_say("doctor: '%s' is one word too many", argv[end.words]);
		return CLI_USAGE;
	}
	r.list = conf.json ? json_array() : NULL;
	run_all(&r);
	status = r.worst == DOCTOR_FAIL ? CLI_FAILED : CLI_OK;
	if (conf.json && text_print_json(json_pack("{s:b, s:O}", "ok", status == CLI_OK,
						   "checks", r.list)))
		status = CLI_FAILED;
	json_decref(r.list);
	return fflush(stdout) ? CLI_FAILED : status;
}

const struct verb verb_doctor = {
	.name = "doctor", .args = "",
	.summary = "Check this host, what this program keeps on it and each sandbox, and say what to do",
	.example = "  sandbox doctor\n", .table = doctor_opts, .main = doctor_main,
};
