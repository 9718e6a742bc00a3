/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state.c - the files of a sandbox's folder: replaced whole, and the state among
 * them, which is compared with what the lock says.
 */
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include "cli/base/text.h"
#include "cli/store/store.h"

#define FILE_MAX	(1u << 20)

static const char *const lives[] = {
	[STORE_CREATED] = "created", [STORE_STARTING] = "starting", [STORE_RUNNING] = "running",
	[STORE_STOPPED] = "stopped", [STORE_CRASHED] = "crashed",
};

const char *store_life_name(enum store_life life)
{
	return lives[life];
}

char *store_read(const struct store_box *b, const char *file, struct err *e)
{
	auto_fd fd = openat(b->dir, file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	char *text = NULL;
	struct stat st;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st)) {
		err_set(e, -errno, "read the file '%s' of sandbox '%s'", file, b->name);
		return NULL;
	}
	if (!S_ISREG(st.st_mode) || st.st_size > (off_t)FILE_MAX) {
		err_say(e, -EFBIG, "the file '%s' of sandbox '%s' is not what it should be", file,
			b->name);
		return NULL;
	}
	text = malloc((size_t)st.st_size + 1);
	n = text ? read(fd, text, (size_t)st.st_size) : -1;
	if (n < 0) {
		err_set(e, text ? -errno : -ENOMEM, "read the file '%s' of sandbox '%s'", file,
			b->name);
		free(text);
		return NULL;
	}
	text[n] = '\0';
	return text;
}

int store_config_lock(const struct store_box *b, struct err *e)
{
	auto_fd fd = openat(b->dir, "config.lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0 || flock(fd, LOCK_EX))
		return err_set(e, -errno, "lock the config of sandbox '%s'", b->name);
	return take_fd(&fd);
}

int store_replace(int dir, const char *file, const char *text, size_t len, struct err *e)
{
	char tmp[80];
	size_t done = 0;
	int rc = 0;
	auto_fd fd = -1;

	snprintf(tmp, sizeof(tmp), ".%.32s-%d", file, (int)getpid());
	(void)unlinkat(dir, tmp, 0);	/* of a process of that number that died */
	fd = openat(dir, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_set(e, -errno, "write the file '%s'", file);
	while (!rc && done < len) {
		ssize_t n = write(fd, text + done, len - done);

		if (n < 0 && errno != EINTR)
			rc = -errno;
		done += n > 0 ? (size_t)n : 0;
	}
	if (!rc && (fdatasync(fd) || renameat(dir, tmp, dir, file)))
		rc = -errno;
	if (rc)
		(void)unlinkat(dir, tmp, 0);
	return rc ? err_set(e, rc, "write the file '%s'", file) : 0;
}

int store_write(const struct store_box *b, const char *file, const char *text, size_t len,
		struct err *e)
{
	int rc = store_replace(b->dir, file, text, len, e);

	if (rc)
		err_wrap(e, "sandbox '%s'", b->name);
	return rc;
}

static int read_state(const struct store_box *b, struct store_state *s, struct err *e)
{
	auto_mem char *text = store_read(b, "state", e);
	const char *life = NULL, *runtime = "", *reason = "";
	json_int_t created = 0, started = 0, ended = 0, ready = 0;
	int keeper = 0, vmm = 0, restored = 0, rc = 0;
	json_error_t why = { .text = "" };
	json_t *o = text ? json_loads(text, 0, &why) : NULL;

	*s = (struct store_state){ .life = STORE_CRASHED };
	if (!text)
		return e->code;
	if (!o && !*why.text)		/* nothing is wrong with it */
		return err_set(e, -ENOMEM, "read the state of sandbox '%s'", b->name);
	if (!o || json_unpack(o, "{s:s, s?i, s?i, s?I, s?I, s?I, s?I, s?b, s?s, s?s}",
			      "state", &life, "keeper", &keeper, "monitor", &vmm,
			      "created_ns", &created, "started_ns", &started, "ended_ns", &ended,
			      "ready_ns", &ready, "restored", &restored, "runtime", &runtime,
			      "reason", &reason))
		rc = err_say(e, -EBADMSG, "the file 'state' of sandbox '%s' is damaged; remove the "
			     "sandbox with 'sandbox rm %s'", b->name, b->name);
	for (size_t i = 0; !rc && life && i < ARRAY_LEN(lives); i++)
		if (!strcmp(life, lives[i]))
			s->life = (enum store_life)i;
	if (!rc) {
		s->keeper = keeper;
		s->vmm = vmm;
		s->created_ns = (uint64_t)created;
		s->started_ns = (uint64_t)started;
		s->ended_ns = (uint64_t)ended;
		s->ready_ns = (uint64_t)ready;
		s->restored = restored;
		snprintf(s->runtime, sizeof(s->runtime), "%s", runtime);
		snprintf(s->reason, sizeof(s->reason), "%s", reason);
	}
	json_decref(o);
	return rc;
}

int store_state_write(const struct store_box *b, const struct store_state *s, struct err *e)
{
	json_t *o = json_pack("{s:s, s:i, s:i, s:I, s:I, s:I, s:I, s:b, s:s, s:o}",
		"state", lives[s->life], "keeper", (int)s->keeper, "monitor", (int)s->vmm,
		"created_ns", (json_int_t)s->created_ns, "started_ns", (json_int_t)s->started_ns,
		"ended_ns", (json_int_t)s->ended_ns, "ready_ns", (json_int_t)s->ready_ns,
		"restored", s->restored, "runtime", s->runtime, "reason", text_json(s->reason));
	auto_mem char *text = o ? json_dumps(o, JSON_INDENT(1)) : NULL;

	json_decref(o);
	if (!text)
		return err_say(e, -ENOMEM, "the state of sandbox '%s' cannot be written as text",
			       b->name);
	return store_write(b, "state", text, strlen(text), e);
}

/* The keeper is gone without having said how it ended. */
static void crashed(struct store_state *s)
{
	s->life = STORE_CRASHED;
	s->runtime[0] = '\0';
	snprintf(s->reason, sizeof(s->reason), "its keeper process %d ended without a word: it was "
		 "killed, or the host was restarted", (int)s->keeper);
}

int store_state(struct store_box *b, struct store_state *s, struct err *e)
{
	int rc = read_state(b, s, e);
	bool was_locked = b->locked;
	int locked;

	if (rc || (s->life != STORE_STARTING && s->life != STORE_RUNNING))
		return rc;
	locked = was_locked ? 0 : store_lock(b, e);
	if (locked == -EBUSY)
		return 0;
	if (locked)
		return locked;
	/* Locked by us: nobody else writes the file, and it may have been written meanwhile. */
	rc = read_state(b, s, e);
	if (!rc && (s->life == STORE_STARTING || s->life == STORE_RUNNING)) {
		crashed(s);
		rc = store_state_write(b, s, e);
	}
	if (!was_locked)
		store_unlock(b);
	return rc;
}
