/* SPDX-License-Identifier: Apache-2.0 */
/*
 * event.c - append a line; begin a new file when this one has grown large.
 */
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include "cli/store/event.h"

/*
 * The file becomes the older one, and the next line makes a new one. Of several who see that
 * it is large one does it: who has the lock and finds the file still in its place. A line of
 * who opened it before lands in the older file.
 */
static void rotate(const struct store_box *b, int fd)
{
	struct stat mine, there;

	if (fstat(fd, &mine) || mine.st_size <= EVENT_ROTATE_AT || flock(fd, LOCK_EX | LOCK_NB))
		return;
	if (!fstatat(b->dir, EVENT_FILE, &there, AT_SYMLINK_NOFOLLOW) &&
	    there.st_ino == mine.st_ino && there.st_dev == mine.st_dev &&
	    renameat(b->dir, EVENT_FILE, b->dir, EVENT_OLDER))
		return;	/* it goes on growing */
}

void event_write(const struct store_box *b, const char *what, json_t *details)
{
	const int flags = O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC;
	auto_fd fd = openat(b->dir, EVENT_FILE, flags, 0600);
	json_t *o = json_object();
	char when[40], *text;
	struct timespec now;
	struct tm tm;
	size_t n;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	n = strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(when + n, sizeof(when) - n, ".%03ldZ", now.tv_nsec / 1000000);
	json_object_set_new(o, "time", json_string(when));
	json_object_set_new(o, "event", json_string(what));
	if (details)
		json_object_update(o, details);
	json_decref(details);
	text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	n = text ? strlen(text) : 0;
	if (text)
		text[n] = '\n';		/* over the NUL */
	if (fd >= 0 && text && write(fd, text, n + 1) < 0)
		n = 0;	/* lost, as event.h says */
	if (fd >= 0)
		rotate(b, fd);
	free(text);
}
