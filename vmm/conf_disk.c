/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conf_disk.c - the value of --root and --disk:
 *
 *	FILE[,ro][,direct][,bps=N][,iops=N][,id=TEXT]
 *
 * FILE is a path without a comma, or `fd:N`, a descriptor that was inherited.
 */
#include <limits.h>
#include "vmm/bucket.h"
#include "vmm/conf.h"

#define FD_PREFIX "fd:"

static int number(const char *s, uint64_t max, uint64_t *out, struct err *e)
{
	char *end;

	errno = 0;
	*out = strtoull(s, &end, 10);
	if (errno || end == s || *end || *s == '-' || *s == '+' || !*out || *out > max)
		return err_say(e, -EINVAL, "'%s' is not a whole number from 1 to %llu", s,
			       (unsigned long long)max);
	return 0;
}

static int one_word(struct conf_disk *d, const char *w, struct err *e)
{
	if (!strcmp(w, "ro"))
		d->ro = true;
	else if (!strcmp(w, "direct"))
		d->direct = true;
	else if (!strncmp(w, "bps=", 4))
		return number(w + 4, BUCKET_RATE_MAX, &d->bps, e);
	else if (!strncmp(w, "iops=", 5))
		return number(w + 5, BUCKET_RATE_MAX, &d->iops, e);
	else if (!strncmp(w, "id=", 3) && w[3] && strlen(w + 3) < sizeof(d->id))
		memcpy(d->id, w + 3, strlen(w + 3) + 1);
	else
		return err_say(e, -EINVAL, "'%s' is none of ro, direct, bps=N, iops=N, id=TEXT "
			       "(20 bytes)", w);
	return 0;
}

static int parse_file(struct conf_disk *d, struct err *e)
{
	uint64_t fd;
	int rc;

	if (!*d->text)
		return err_say(e, -EINVAL, "the file's name is missing");
	if (strncmp(d->text, FD_PREFIX, strlen(FD_PREFIX))) {
		d->path = d->text;
		return 0;
	}
	rc = number(d->text + strlen(FD_PREFIX), INT_MAX, &fd, e);
	if (rc)
		return rc;
	if (fd <= STDERR_FILENO)
		return err_say(e, -EINVAL, "descriptor %llu is no disk", (unsigned long long)fd);
	d->fd = (int)fd;
	return 0;
}

int conf_disk_parse(struct conf_disk *d, const char *s, struct err *e)
{
	char *save = NULL, *word;
	int rc;

	*d = (struct conf_disk){ 0 };
	if (strlen(s) >= sizeof(d->text))
		return err_say(e, -ENAMETOOLONG, "more than %zu bytes", sizeof(d->text) - 1);
	memcpy(d->text, s, strlen(s) + 1);
	word = strchr(d->text, ',');
	if (word)
		*word++ = '\0';
	rc = parse_file(d, e);
	for (word = word ? strtok_r(word, ",", &save) : NULL; !rc && word;
	     word = strtok_r(NULL, ",", &save))
		rc = one_word(d, word, e);
	return rc;
}

struct conf_dev conf_disk_slot(const struct conf_disk *d, const char *name)
{
	return (struct conf_dev){
		.dev = "blk", .path = d->path, .fd = d->fd, .ro = d->ro, .direct = d->direct,
		.bps = d->bps, .iops = d->iops, .id = d->id[0] ? d->id : name,
	};
}
