/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inspect.c - a snapshot is a folder that somebody may have copied, edited or
 * filled up a disk with: everything here is checked before it is believed, and
 * nothing is written.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include "vmm/inspect.h"
#include "vmm/save.h"

#define PIECE 256u	/* pages read at once */

struct sums { uint32_t *v; uint64_t n; };

static int read_all(int fd, void *to, size_t len, uint64_t off)
{
	uint8_t *p = to;

	while (len) {
		ssize_t n = pread(fd, p, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EBADMSG;
		p += n;
		off += (size_t)n;
		len -= (size_t)n;
	}
	return 0;
}

/* The file of sums @name, of @n pages, whose own checksum has to be @crc. */
static int read_sums(int folder, const char *name, uint64_t n, uint32_t crc, struct sums *s,
		     struct err *e)
{
	auto_fd fd = openat(folder, name, O_RDONLY | O_CLOEXEC);
	struct stat st;
	int rc;

	if (fd < 0 || fstat(fd, &st))
		return err_set(e, -errno, "%s", name);
	if ((uint64_t)st.st_size != n * sizeof(*s->v))
		return err_say(e, -EBADMSG, "its %s file has %lld bytes, not %llu", name,
			       (long long)st.st_size, (unsigned long long)(n * sizeof(*s->v)));
	s->n = n;
	s->v = malloc(n * sizeof(*s->v));
	if (!s->v)
		return err_set(e, -ENOMEM, "%s", name);
	rc = read_all(fd, s->v, n * sizeof(*s->v), 0);
	if (rc)
		return err_set(e, rc, "read %s", name);
	if (blob_crc(s->v, n * sizeof(*s->v)) != crc)
		return err_say(e, -EBADMSG, "its %s file is damaged, or of another snapshot", name);
	return 0;
}

/* Every page of @fd that @s has a checksum of. Holes are not read. */
static int check_pages(int fd, const char *name, const struct sums *s, struct err *e)
{
	auto_mem uint8_t *zero = calloc(1, GMEM_PAGE), *buf = malloc(PIECE * GMEM_PAGE);
	struct snapshot_file f = { .fd = fd };
	uint64_t n;

	if (!zero || !buf)
		return err_set(e, -ENOMEM, "%s", name);
	for (uint64_t p = 0; p < s->n; p += n) {
		bool hole = snapshot_file_hole(&f, p, s->n);
		int rc;

		n = f.to - p < PIECE ? f.to - p : PIECE;
		rc = hole ? 0 : read_all(fd, buf, n * GMEM_PAGE, p * GMEM_PAGE);
		if (rc)
			return err_set(e, rc, "read %s", name);
		for (uint64_t i = 0; i < n; i++)
			if (s->v[p + i] &&
			    s->v[p + i] != snapshot_sum(hole ? zero : buf + i * GMEM_PAGE))
				return err_say(e, -EBADMSG, "page %llu of its %s file is damaged",
					       (unsigned long long)(p + i), name);
	}
	return 0;
}

static int verify_file(int folder, int fd, const char *name, const char *sums_name, uint64_t pages,
		       uint32_t crc, struct err *e)
{
	struct sums s = { 0 };
	int rc = read_sums(folder, sums_name, pages, crc, &s, e);

	if (!rc)
		rc = check_pages(fd, name, &s, e);
	free(s.v);
	return rc;
}

static int verify_all(const char *dir, const struct snapshot *s, const struct snapshot_memory *m,
		      uint64_t pages, struct err *e)
{
	auto_fd folder = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc;

	if (folder < 0)
		return err_set(e, -errno, "open");
	rc = verify_file(folder, s->memory, "memory", "sums", pages, m->sums, e);
	if (!rc && m->diff)
		rc = verify_file(folder, s->base, "base", "base-sums", pages, m->base, e);
	return rc;
}

int snapshot_inspect(const char *dir, bool verify, FILE *out, struct err *e)
{
	struct snapshot_memory m;
	struct snapshot s;
	struct conf c;
	struct stat st;
	size_t ranges;
	int rc = snapshot_open(&s, dir, e);

	if (rc)
		return rc;
	rc = snapshot_memory(&s, &m, e);
	if (!rc)
		rc = snapshot_slots(&s, &c, e);
	if (!rc && fstat(s.memory, &st))
		rc = err_set(e, -errno, "memory");
	if (!rc && verify)
		rc = verify_all(dir, &s, &m, c.mem / GMEM_PAGE, e);
	(void)!snapshot_ranges(&s, &ranges);
	if (!rc) {
		fprintf(out, "format %u\nkind %s\nmemory %llu\ncpus %u\n", BLOB_VERSION,
			m.diff ? "diff" : "full", (unsigned long long)c.mem, c.cpus);
		fprintf(out, "state %zu\nstored %llu\nranges %zu\nsaved %lld\n", s.state.len,
			(unsigned long long)m.stored * GMEM_PAGE, ranges, (long long)st.st_mtime);
		for (unsigned i = 0; i < CONF_SLOTS_MAX && c.slot[i].dev; i++)
			fprintf(out, "device %s\n", c.slot[i].dev);
		if (verify)
			fprintf(out, "verified yes\n");
	}
	snapshot_close(&s);
	return rc;
}
