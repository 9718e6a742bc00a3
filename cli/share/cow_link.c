/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cow_link.c - names of one file: those that a guest made with link(2) in a copy-on-write
 * share are links on the host, too, once they are applied.
 *
 * The first of them that is applied is a copy as any other; the others become links to what the
 * host has by then, if that still holds what the guest's file does. So it makes no difference
 * which of them are asked for, nor whether the guest or the host changed one in between: at
 * worst there is a copy where there could be a link.
 */
#include <fcntl.h>
#include "cli/share/cow.h"

#define LINKED_MAX	1000000u

int cow_link_note(struct cow_list *l, uint64_t ino, const char *path, bool home, bool there)
{
	struct cow_linked k = { .ino = ino };

	if (l->n_linked == LINKED_MAX ||
	    cow_grow(&l->linked, l->n_linked, &l->room_linked, sizeof(*l->linked)))
		return -ENOMEM;
	k.home = home ? strdup(path) : NULL;
	k.there = there ? strdup(path) : NULL;
	l->linked[l->n_linked++] = k;
	return (home && !k.home) || (there && !k.there) ? -ENOMEM : 0;
}

static int compare(const void *a, const void *b)
{
	const struct cow_linked *x = a, *y = b;

	return x->ino < y->ino ? -1 : x->ino > y->ino;
}

static void keep(char **one, char *other)
{
	if (*one)
		free(other);
	else
		*one = other;
}

void cow_link_sort(struct cow_list *l)
{
	size_t n = 0;

	if (l->n_linked)
		qsort(l->linked, l->n_linked, sizeof(*l->linked), compare);
	for (size_t i = 0; i < l->n_linked; i++)
		if (n && l->linked[n - 1].ino == l->linked[i].ino) {
			keep(&l->linked[n - 1].home, l->linked[i].home);
			keep(&l->linked[n - 1].there, l->linked[i].there);
		} else {
			l->linked[n++] = l->linked[i];
		}
	l->n_linked = n;
}

struct cow_linked *cow_link_find(const struct cow_list *l, uint64_t ino)
{
	const struct cow_linked key = { .ino = ino };

	return l && l->n_linked ?
		bsearch(&key, l->linked, l->n_linked, sizeof(key), compare) : NULL;
}

/* The same bytes, and what else all names of a file share. */
static bool is_same(int up, int low, struct stat *there)
{
	struct stat st;

	return !fstat(up, &st) && !fstat(low, there) && S_ISREG(there->st_mode) &&
	       st.st_size == there->st_size && (st.st_mode & 01777) == (there->st_mode & 01777) &&
	       cow_same(up, low) == 1;
}

bool cow_link_make(const struct cow_linked *k, int lower, int up_dir, const char *name,
		   int low_dir, const char *temp)
{
	const char *other;
	auto_fd dir = k->there ? cow_open_parent(lower, k->there, &other) : -1;
	auto_fd low = dir < 0 ? -1 : cow_open_name(dir, other, O_RDONLY);
	auto_fd up = low < 0 ? -1 : cow_open_name(up_dir, name, O_RDONLY);
	struct stat want, got;

	if (up < 0 || !is_same(up, low, &want) || linkat(dir, other, low_dir, temp, 0))
		return false;
	/* What has that name may be another file by now. */
	if (!fstatat(low_dir, temp, &got, AT_SYMLINK_NOFOLLOW) && got.st_ino == want.st_ino &&
	    got.st_dev == want.st_dev)
		return true;
	(void)unlinkat(low_dir, temp, 0);
	return false;
}

void cow_link_free(struct cow_list *l)
{
	for (size_t i = 0; i < l->n_linked; i++) {
		free(l->linked[i].home);
		free(l->linked[i].there);
	}
	free(l->linked);
}
