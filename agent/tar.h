/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tar.h - tar headers: POSIX ustar with pax extended headers, and what GNU tar
 * writes for long names (POSIX.1-2017 pax, "ustar Interchange Format").
 *
 * Pure functions over blocks of 512 bytes; no I/O, no allocation.
 */
#ifndef AGENT_TAR_H
#define AGENT_TAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TAR_BLOCK	512u
#define TAR_PATH_MAX	4096u	/* with NUL */
/* Largest result of tar_header(): pax header, its records, the header proper. */
#define TAR_HEADER_MAX	(2 * TAR_BLOCK + 2 * (TAR_PATH_MAX + 64) + 512 + TAR_BLOCK)
#define TAR_EXT_MAX	65536u	/* largest extended header that is read */

struct tar_entry {
	char type;		/* '0' file, '1' hard link, '2' symlink, '3' '4' devices, '5' '6' */
	uint32_t mode;		/* permission bits */
	uint32_t uid, gid;
	uint32_t major, minor;
	uint64_t size;		/* of the data that follows; 0 unless it is a file */
	int64_t mtime;		/* seconds since 1970 */
	uint32_t mtime_ns;	/* and nanoseconds */
	bool sparse;		/* a list of parts comes before the data (agent/sparse.h) */
	uint64_t real;		/* sparse: size of the file */
	char name[TAR_PATH_MAX];
	char link[TAR_PATH_MAX];
};

/* What an extended header said about the next entry. */
struct tar_ext {
	bool has_name, has_link, has_size, has_uid, has_gid, has_mtime;
	bool has_real, real_name;	/* of a sparse file; its name is not that of the entry */
	uint64_t major, minor;		/* of the sparse format */
	struct tar_entry e;
};

enum tar_kind {
	TAR_ENTRY,	/* *e is complete */
	TAR_EXTENDED,	/* e->size bytes follow for tar_extend(), type in e->type */
	TAR_END,	/* a block of zeros */
};

/* Round up to whole blocks; the caller has bounded n. */
static inline uint64_t tar_padded(uint64_t n)
{
	return (n + TAR_BLOCK - 1) / TAR_BLOCK * TAR_BLOCK;
}

/* Write the header blocks of an entry. Bytes written, or -ENAMETOOLONG. */
int tar_header(uint8_t out[static TAR_HEADER_MAX], const struct tar_entry *e);
/*
 * Read one header block; `ext` applies to it and is cleared when an entry was made.
 * enum tar_kind, or -EBADMSG with a static reason.
 */
int tar_parse(const uint8_t block[static TAR_BLOCK], struct tar_ext *ext, struct tar_entry *e,
	      const char **why);
/* The data of an extended header of that type ('x', 'g', 'L', 'K'). 0 or -EBADMSG. */
int tar_extend(struct tar_ext *ext, char type, const uint8_t *p, size_t n, const char **why);
/*
 * The name as a relative path without empty or "." components, in place.
 * -EINVAL for "..", and for a name that is empty or only the folder itself
 * (then e->name is "").
 */
int tar_clean_name(char *name);
#endif
