/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image.c - programs of others: mmdebstrap makes images of packages, skopeo
 * fetches them, mkfs.ext4 formats disks. Nothing else needs them, so without one it is
 * a warning. An image store in which an image is damaged is one, too.
 */
#include "cli/doctor/doctor.h"
#include "cli/image/image.h"

bool doctor_has(const char *program)
{
	static const char more[] = "/usr/local/sbin:/usr/sbin:/sbin";
	const char *const lists[] = { getenv("PATH"), more };
	char full[4096];

	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		for (const char *path = lists[i]; path && *path;) {
			size_t len = strcspn(path, ":");

			snprintf(full, sizeof(full), "%.*s/%s", (int)len, path, program);
			if (!access(full, X_OK))
				return true;
			path += len + (path[len] == ':');
		}
	return false;
}

struct counts { unsigned all, bad; char name[IMAGE_REF_MAX]; };

/* Its manifest, and its file unless that is as it was when its digest was right. */
static int count_image(const char *name, const char *id, void *arg)
{
	struct counts *n = arg;
	struct image im;
	struct err e;

	n->all++;
	if (image_open(&im, id, false, &e)) {
		n->bad++;
		snprintf(n->name, sizeof(n->name), "%s", name ? name : id);
		return 0;
	}
	image_close(&im);
	return 0;
}

void doctor_image(struct doctor_finding *f)
{
	bool build = doctor_has("mmdebstrap"), pull = doctor_has("skopeo");
	struct counts n = { 0 };
	struct err e = { 0 };
	char text[100];

	if (image_each(count_image, &n, &e)) {
		doctor_set(f, DOCTOR_WARN, "set XDG_DATA_HOME to a folder that you may write to",
			   "%.200s", e.msg);
		return;
	}
	snprintf(text, sizeof(text), "%u in the store", n.all);
	if (n.bad)
		doctor_set(f, DOCTOR_WARN, "run 'sandbox image verify'; remove what is damaged, and "
			   "make it again", "%s, %u of them damaged, such as %.60s", text, n.bad,
			   n.name);
	else if (!build || !pull)
		doctor_set(f, DOCTOR_WARN, build ? "run 'sudo apt-get install skopeo'" : pull ?
			   "run 'sudo apt-get install mmdebstrap'" :
			   "run 'sudo apt-get install mmdebstrap skopeo'",
			   "%s; %s%s%s will not work", text, build ? "" : "'sandbox image build'",
			   build || pull ? "" : " and ", pull ? "" : "'sandbox image pull'");
	else
		doctor_set(f, DOCTOR_OK, NULL, "%s; they can be built and pulled", text);
}

void doctor_mkfs(struct doctor_finding *f)
{
	if (doctor_has("mkfs.ext4"))
		doctor_set(f, DOCTOR_OK, NULL, "can be formatted");
	else
		doctor_set(f, DOCTOR_WARN, "run 'sudo apt-get install e2fsprogs'",
			   "mkfs.ext4 is missing, and --disk will not work");
}
