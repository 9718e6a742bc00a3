/* SPDX-License-Identifier: Apache-2.0 */
/*
 * box.c - a line for each sandbox: what `status` tells of it, judged.
 */
#include "cli/doctor/doctor.h"
#include "cli/verb/named.h"
#include "cli/verb/status.h"
#include "cli/verb/usage.h"

static const char *size_of(const json_t *o, const char *key, char buf[static 32])
{
	const json_t *v = json_object_get(o, key);

	return usage_size(json_is_integer(v) ? json_integer_value(v) : -1, buf);
}

/* The walls that it does without, as its monitor names them; "" for none. */
static void missing_walls(const char *walls, char *buf, size_t len)
{
	size_t n = 0;

	buf[0] = '\0';
	for (const char *p = walls; (p = strchr(p, '-')) && n < len; p++)
		if (p == walls || p[-1] == ' ')
			n += (size_t)snprintf(buf + n, len - n, "%s%.*s", n ? ", " : "",
					      (int)strcspn(p + 1, " "), p + 1);
	if (!*walls)
		snprintf(buf, len, "all of them");
}

static void judge_running(const json_t *o, struct doctor_finding *f)
{
	const json_t *usage = json_object_get(o, "usage"), *keeper = json_object_get(o, "keeper"),
		     *agent = json_object_get(o, "agent");
	const char *name = status_text(o, "name"), *silent = status_text(keeper, "error");
	char age[32], a[32], b[32], c[32], walls[120], text[200], remedy[200];

	named_age((uint64_t)(status_number(o, "since") * 1e9), age);
	snprintf(text, sizeof(text), "running for %s; %s resident, %s its own, %s shared; CPU %.1f s",
		 age, size_of(usage, "resident_bytes", a), size_of(usage, "private_bytes", b),
		 size_of(usage, "shared_bytes", c), status_number(usage, "cpu_seconds"));
	missing_walls(status_text(keeper, "walls"), walls, sizeof(walls));
	snprintf(remedy, sizeof(remedy), "run 'sandbox restart %.63s'", name);
	if (*silent)
		doctor_set(f, DOCTOR_FAIL, remedy, "its keeper does not answer: %.150s", silent);
	else if (*status_text(agent, "error"))
		doctor_set(f, DOCTOR_FAIL, remedy, "its agent does not answer: %.150s",
			   status_text(agent, "error"));
	else if (*walls)
		doctor_set(f, DOCTOR_WARN, "see the line 'jail'", "%.120s; without walls: %.100s",
			   text, walls);
	else if (json_is_true(json_object_get(o, "drift"))) {
		snprintf(remedy, sizeof(remedy), "run 'sandbox update %.63s'", name);
		doctor_set(f, DOCTOR_WARN, remedy, "%.150s; not as it is configured", text);
	} else {
		doctor_set(f, DOCTOR_OK, NULL, "%.140s; shares %zu, network %s, agent protocol %.0f, "
			   "every wall, as configured", text,
			   json_array_size(json_object_get(keeper, "shares")),
			   status_text(o, "network"), status_number(agent, "protocol"));
	}
}

static void judge(const json_t *o, struct doctor_finding *f)
{
	const char *name = status_text(o, "name"), *state = status_text(o, "state");
	char remedy[200];

	if (json_object_get(o, "since")) {
		judge_running(o, f);
	} else if (!strcmp(state, store_life_name(STORE_CRASHED))) {
		snprintf(remedy, sizeof(remedy), "see 'sandbox logs --console %.63s', and run 'sandbox "
			 "start %.63s'", name, name);
		doctor_set(f, DOCTOR_WARN, remedy, "crashed: %.200s", status_text(o, "reason"));
	} else {
		doctor_set(f, DOCTOR_OK, NULL, "%s%s%.200s", state,
			   *status_text(o, "reason") ? ": " : "", status_text(o, "reason"));
	}
}

void doctor_boxes(void (*found)(const char *name, const struct doctor_finding *f, void *arg),
		  void *arg)
{
	struct err e = { 0 };
	size_t n = 0;
	char **names = store_names(&n, &e);

	for (size_t i = 0; names && i < n; i++) {
		struct doctor_finding f = { 0 };
		char what[STORE_NAME_MAX + 16], remedy[200];
		json_t *o;

		e = (struct err){ 0 };
		o = status_look(names[i], &e);
		if (!o && e.code == -ENOENT)
			continue;	/* removed meanwhile */
		if (o)
			judge(o, &f);
		snprintf(remedy, sizeof(remedy), "correct its config, or run 'sandbox rm %.63s'",
			 names[i]);
		if (!o)
			doctor_set(&f, DOCTOR_WARN, remedy, "%.200s", e.msg);
		snprintf(what, sizeof(what), "sandbox %s", names[i]);
		found(what, &f, arg);
		json_decref(o);
	}
	store_names_free(names);
}
