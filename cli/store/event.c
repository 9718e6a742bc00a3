/* SPDX-License-Identifier: Apache-2.0 */
/*
 * event.c - append a line.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include "cli/store/event.h"

#define ROTATE_AT (4u << 20)

void event_write(const struct store_box *b, const char *what, json_t *details)
{
	const int flags = O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC;
	auto_fd fd = openat(b->dir, "events", flags, 0600);
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
	free(text);
}

void event_rotate(const struct store_box *b)
{
	struct stat st;

	if (!fstatat(b->dir, "events", &st, AT_SYMLINK_NOFOLLOW) && st.st_size > (off_t)ROTATE_AT &&
	    renameat(b->dir, "events", b->dir, "events.1"))
		return;	/* it goes on growing */
}
