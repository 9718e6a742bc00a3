/* SPDX-License-Identifier: Apache-2.0 */
/*
 * doctor.h - checks of the host, one function each.
 *
 * A check fills in how it went, what was found, and, unless all is well, what to
 * do about it. It changes nothing on the host and needs no privilege.
 */
#ifndef CLI_DOCTOR_DOCTOR_H
#define CLI_DOCTOR_DOCTOR_H
#include "vmm/base.h"

enum doctor_grade {
	DOCTOR_OK,
	DOCTOR_WARN,	/* works, but something is slower or weaker than it could be */
	DOCTOR_FAIL,	/* `sandbox run`, or this sandbox, cannot work */
};

struct doctor_finding {
	enum doctor_grade grade;
	char what[256];		/* what was found */
	char remedy[320];	/* "" with DOCTOR_OK */
};

struct doctor_check {
	const char *name;	/* key in --json, and first word of the line */
	void (*run)(struct doctor_finding *f);
};

/* In the order in which they are printed. The last one has a NULL name. */
extern const struct doctor_check doctor_host_checks[];	/* host.c */
extern const struct doctor_check doctor_kvm_checks[];	/* kvm.c */
extern const struct doctor_check doctor_own_checks[];	/* own.c: what this program keeps */
/* The same of each sandbox, "sandbox NAME" (box.c). */
void doctor_boxes(void (*found)(const char *name, const struct doctor_finding *f, void *arg),
		  void *arg);

/* image.c: what makes images and disks. */
void doctor_image(struct doctor_finding *f);
void doctor_mkfs(struct doctor_finding *f);

/* Whether a program is found along PATH, or in the folders of the administrator. */
bool doctor_has(const char *program) must_check;

void doctor_set(struct doctor_finding *f, enum doctor_grade grade, const char *remedy,
		const char *what, ...) printf_like(4, 5);
#endif
