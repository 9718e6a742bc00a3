/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuse_trip window SANDBOX-FSD FOLDER COUNT | fuse_trip vhost SOCKET - COUNT
 *
 * FUSE requests, one after the other, to a file server: nanoseconds for each kind, as
 * lines `NAME NS`, after a tenth of them that are not counted. The requests are the same
 * whatever the transport is: `file` of 1 MiB is in the folder, and what is made there is
 * removed again.
 */
#include <linux/fuse.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>
#include "bench/fuse_trip.h"

static struct trip *t;
static uint64_t folder, file, handle;
static uint64_t unique;

/* A request with @arg and then @name or data; the reply's body, or NULL after an error. */
static const void *ask(uint32_t op, uint64_t node, const void *arg, size_t n, const void *more,
		       size_t len)
{
	struct fuse_in_header h = { .opcode = op, .unique = ++unique, .nodeid = node,
				    .len = (uint32_t)(sizeof(h) + n + len) };
	struct fuse_out_header o;
	size_t got;

	MUST(h.len <= TRIP_ROOM);
	memcpy(t->out, &h, sizeof(h));
	if (n)
		memcpy(t->out + sizeof(h), arg, n);
	if (len)
		memcpy(t->out + sizeof(h) + n, more, len);
	got = t->call(t, h.len);
	MUST(got >= sizeof(o));
	memcpy(&o, t->in, sizeof(o));
	MUST(o.unique == unique);
	if (!o.error)
		return t->in + sizeof(o);
	fprintf(stderr, "operation %u: %s\n", op, strerror(-o.error));
	exit(1);
}

static uint64_t lookup(uint64_t in, const char *name)
{
	struct fuse_entry_out e;

	memcpy(&e, ask(FUSE_LOOKUP, in, NULL, 0, name, strlen(name) + 1), sizeof(e));
	return e.nodeid;
}

static void do_lookup(unsigned i)
{
	(void)i;
	(void)lookup(folder, "file");
}

static void do_getattr(unsigned i)
{
	struct fuse_getattr_in in = { 0 };

	(void)i;
	(void)ask(FUSE_GETATTR, file, &in, sizeof(in), NULL, 0);
}

static void do_read(unsigned i)
{
	struct fuse_read_in in = { .fh = handle, .offset = i % 256 * 4096ull, .size = 4096 };

	(void)ask(FUSE_READ, file, &in, sizeof(in), NULL, 0);
}

static void do_write(unsigned i)
{
	static const unsigned char data[4096];
	struct fuse_write_in in = { .fh = handle, .offset = i % 256 * 4096ull, .size = 4096 };

	(void)ask(FUSE_WRITE, file, &in, sizeof(in), data, sizeof(data));
}

static void do_open(unsigned i)
{
	struct fuse_open_in in = { .flags = 0 };
	struct fuse_open_out o;
	struct fuse_release_in end = { 0 };

	(void)i;
	memcpy(&o, ask(FUSE_OPEN, file, &in, sizeof(in), NULL, 0), sizeof(o));
	end.fh = o.fh;
	(void)ask(FUSE_RELEASE, file, &end, sizeof(end), NULL, 0);
}

static void do_make(unsigned i)
{
	struct fuse_mkdir_in in = { .mode = 0755 };

	(void)i;
	(void)ask(FUSE_MKDIR, folder, &in, sizeof(in), "made", 5);
	(void)ask(FUSE_RMDIR, folder, NULL, 0, "made", 5);
}

static const struct { const char *name; void (*work)(unsigned i); } kinds[] = {
	{ "lookup", do_lookup }, { "getattr", do_getattr }, { "open+release", do_open },
	{ "read-4k", do_read }, { "write-4k", do_write }, { "mkdir+rmdir", do_make },
};

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void begin(bool window)
{
	struct fuse_init_in in = { .major = 7, .minor = 31, .max_readahead = 1 << 17 };
	struct fuse_open_in open = { .flags = 2 };	/* O_RDWR */
	struct fuse_open_out o;

	(void)ask(FUSE_INIT, 0, &in, sizeof(in), NULL, 0);
	folder = window ? lookup(FUSE_ROOT_ID, "0") : FUSE_ROOT_ID;
	file = lookup(folder, "file");
	memcpy(&o, ask(FUSE_OPEN, file, &open, sizeof(open), NULL, 0), sizeof(o));
	handle = o.fh;
}

int main(int argc, char **argv)
{
	unsigned count = argc == 5 ? (unsigned)strtoul(argv[4], NULL, 10) : 0;

	if (!count)
		return 2;
	t = strcmp(argv[1], "window") ? trip_vhost(argv[2]) : trip_window(argv[2], argv[3]);
	begin(!strcmp(argv[1], "window"));
	for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
		uint64_t since;

		for (unsigned i = 0; i < count / 10; i++)
			kinds[k].work(i);
		since = now();
		for (unsigned i = 0; i < count; i++)
			kinds[k].work(i);
		printf("%s %llu\n", kinds[k].name, (unsigned long long)((now() - since) / count));
	}
	return 0;
}
