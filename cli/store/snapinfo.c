/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snapinfo.c - the format of a saved state is known in one place, the monitor; so it
 * is asked, as a program, and what it prints is read.
 */
#include <fcntl.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "cli/store/snapinfo.h"
#include "cli/store/store.h"

#define TEXT_MAX 4096u

extern char **environ;

/* Read to the end, keeping what fits; text is a string then. */
static void drain(int fd, char text[static TEXT_MAX])
{
	size_t n = 0;
	char rest[512];

	for (;;) {
		bool full = n == TEXT_MAX - 1;
		ssize_t got = read(fd, full ? rest : text + n,
				   full ? sizeof(rest) : TEXT_MAX - 1 - n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		if (!full)
			n += (size_t)got;
	}
	text[n] = '\0';
}

/* Run the monitor with both of its outputs in one pipe. Its exit status, or -errno. */
static int ask(const char *vmm, const char *dir, bool verify, char text[static TEXT_MAX])
{
	union { const char *c[5]; char *v[5]; } argv = { .c = {
		vmm, "--inspect", dir, verify ? "--verify" : NULL, NULL } };
	posix_spawn_file_actions_t acts;
	int fds[2], rc, status;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC))
		return -errno;
	rc = -posix_spawn_file_actions_init(&acts);
	if (!rc)
		rc = -posix_spawn_file_actions_adddup2(&acts, fds[1], STDOUT_FILENO);
	if (!rc)
		rc = -posix_spawn_file_actions_adddup2(&acts, fds[1], STDERR_FILENO);
	if (!rc)
		rc = -posix_spawn(&pid, vmm, &acts, NULL, argv.v, environ);
	posix_spawn_file_actions_destroy(&acts);
	close(fds[1]);
	if (!rc)
		drain(fds[0], text);
	close(fds[0]);
	if (rc)
		return rc;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static void take_line(struct snap_info *i, const char *key, const char *value)
{
	const struct { const char *key; uint64_t *to; } numbers[] = {
		{ "memory", &i->memory }, { "cpus", &i->cpus }, { "stored", &i->stored },
		{ "state", &i->state }, { "ranges", &i->ranges },
	};
	size_t n = strlen(i->devices);

	for (size_t k = 0; k < ARRAY_LEN(numbers); k++)
		if (!strcmp(key, numbers[k].key))
			*numbers[k].to = strtoull(value, NULL, 10);
	if (!strcmp(key, "saved"))
		i->saved = strtoll(value, NULL, 10);
	if (!strcmp(key, "kind"))
		i->diff = !strcmp(value, "diff");
	if (!strcmp(key, "verified"))
		i->verified = true;
	if (!strcmp(key, "device"))
		snprintf(i->devices + n, sizeof(i->devices) - n, "%s%s", n ? " " : "", value);
}

static uint64_t disk_of(const char *dir)
{
	char path[PLACES_MAX + 8];
	struct stat st;

	snprintf(path, sizeof(path), "%s/disk", dir);
	return stat(path, &st) ? 0 : (uint64_t)st.st_size;
}

int snap_info(const char *vmm, const char *dir, bool verify, struct snap_info *out, struct err *e)
{
	char text[TEXT_MAX] = "", key[16], value[64];
	int rc = ask(vmm, dir, verify, text), n;

	*out = (struct snap_info){ 0 };
	if (rc < 0)
		return err_set(e, rc, "run %s", vmm);
	if (rc) {
		const char *colon = strstr(text, "snapshot ");	/* behind the program's name */

		return err_say(e, -EBADMSG, "%.400s", strtok(colon ? text + (colon - text) : text,
							     "\n"));
	}
	out->disk = disk_of(dir);
	for (const char *p = text; sscanf(p, " %15s %63s%n", key, value, &n) == 2; p += n)
		take_line(out, key, value);
	return 0;
}

int snap_name_check(const char *name, struct err *e)
{
	struct err none;

	if (store_name_check(name, &none))
		return err_say(e, -EINVAL, "'%.80s' is no name for a snapshot: 1 to 63 letters, "
			       "digits and _ . -, the first a letter or a digit", name);
	return 0;
}

int snap_place(const char *box, const char *snap, struct place *dir, struct err *e)
{
	struct store_box b = STORE_BOX_NONE;
	int n, rc = store_open(&b, box, e);

	if (!rc && snap)
		rc = snap_name_check(snap, e);
	if (rc) {
		store_close(&b);
		return rc;
	}
	n = snprintf(dir->path, sizeof(dir->path), "%s/snapshots%s%s", b.path.path,
		     snap ? "/" : "", snap ? snap : "");
	store_close(&b);
	return n < (int)sizeof(dir->path) ? 0 : err_set(e, -ENAMETOOLONG, "snapshot");
}

static bool is_snapshot(const char *dir)
{
	char path[PLACES_MAX + 8];

	snprintf(path, sizeof(path), "%s/state", dir);
	return !access(path, R_OK);
}

int snap_find(const char *what, struct place *dir, struct err *e)
{
	const char *slash = strchr(what, '/');
	char box[STORE_NAME_MAX];
	struct err none;

	if (strlen(what) < sizeof(dir->path) && is_snapshot(what)) {
		memcpy(dir->path, what, strlen(what) + 1);
		return 0;
	}
	if (slash && slash != what && !strchr(slash + 1, '/') &&
	    (size_t)(slash - what) < sizeof(box)) {
		snprintf(box, sizeof(box), "%.*s", (int)(slash - what), what);
		if (!store_name_check(box, &none)) {
			int rc = snap_place(box, slash + 1, dir, e);

			if (rc || is_snapshot(dir->path))
				return rc;
			return err_say(e, -ENOENT, "sandbox '%s' has no snapshot '%s'; 'sandbox "
				       "snapshot ls %s' lists them", box, slash + 1, box);
		}
	}
	return err_say(e, -ENOENT, "'%.200s' is neither SANDBOX/SNAPSHOT nor a snapshot's folder",
		       what);
}

bool snap_image(const char *dir, char id[static 80])
{
	char path[PLACES_MAX + 8];
	auto_fd fd = -1;
	ssize_t n;

	snprintf(path, sizeof(path), "%s/image", dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, id, 79);
	id[n > 0 ? n : 0] = '\0';
	return n > 0;
}
