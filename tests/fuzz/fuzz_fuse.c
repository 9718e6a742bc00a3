/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_fuse.c - FUSE requests of a hostile guest against a server with three shares (rw,
 * cow, ro) in a scratch folder, without a mount. Security rule 16.
 *
 * An input is a row of requests: opcode 1, flags 1, node 1, length 2, then so many bytes of
 * body. Nodes are small numbers, as the server gives them out. Flags: 1 puts an open file's
 * number at the body's start, 2 cuts the room for the reply, 4 lies about the length, 8 puts
 * a share's root in the place of the node. After each input what is outside the
 * shares has to be as it was, and so have ro and the lower folder.
 */
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <sys/resource.h>
#include "devices/fs/server.h"

#define REQUESTS 64u
#define FRESH 500u		/* inputs until the folders are made anew */

static char top[64];
static struct fs fs;
static uint8_t reply[64 << 10];

static int drop(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static void clean(void)
{
	if (*top)
		nftw(top, drop, 16, FTW_DEPTH | FTW_PHYS);
}

static void make(const char *name, const char *text)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", top, name);
	if (!text) {
		BUG_ON(mkdir(path, 0700));
		return;
	}
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	BUG_ON(fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text));
	close(fd);
}

static void folders(void)
{
	static const char *const dirs[] = { "out", "rw", "low", "up", "ro", "rw/d", "low/d",
					    "ro/d" };
	static const char *const files[] = { "out/secret", "rw/f", "low/f", "low/d/g", "ro/f" };

	clean();
	snprintf(top, sizeof(top), "/tmp/fuzz-fuse-XXXXXX");
	BUG_ON(!mkdtemp(top));
	for (size_t i = 0; i < ARRAY_LEN(dirs); i++)
		make(dirs[i], NULL);
	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		make(files[i], "text");
}

static int folder(const char *name)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", top, name);
	fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	BUG_ON(fd < 0);
	return fd;
}

/* Entries of a folder, and whether a file of it still says what it said. */
static void check(const char *name, unsigned entries, const char *file)
{
	char path[128], text[8] = "";
	unsigned n = 0;
	DIR *d;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", top, name);
	d = opendir(path);
	BUG_ON(!d);
	while (readdir(d))
		n++;
	closedir(d);
	BUG_ON(n != entries + 2);
	snprintf(path, sizeof(path), "%s/%s/%s", top, name, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	BUG_ON(fd < 0 || read(fd, text, sizeof(text) - 1) != 4 || strcmp(text, "text") != 0);
	close(fd);
}

static void start(void)
{
	struct err e;

	BUG_ON(fs_open(&fs, 512, false));
	BUG_ON(share_add(&fs, 0, FS_RW, FS_CACHE_AUTO, 0, 0, folder("rw"), -1, &e));
	BUG_ON(share_add(&fs, 1, FS_COW, FS_CACHE_AUTO, 0, 0, folder("low"), folder("up"), &e));
	BUG_ON(share_add(&fs, 2, FS_RO, FS_CACHE_NONE, 0, 0, folder("ro"), -1, &e));
}

/* The reply's header; what it says has to be what it is. */
static struct fuse_out_header serve(uint32_t opcode, uint64_t node, const void *body, size_t len,
				    size_t room, unsigned lie)
{
	static _Alignas(8) uint8_t buf[70000];
	struct fuse_in_header h = { .len = (uint32_t)(sizeof(h) + len + lie), .opcode = opcode,
				    .unique = 7, .nodeid = node, .uid = 1 };
	struct fs_call c = { .head = buf, .out = reply, .room = room };
	struct fuse_out_header out = { 0 };
	size_t got;

	memcpy(buf, &h, sizeof(h));
	if (len)
		memcpy(buf + sizeof(h), body, len);
	c.head_len = fs_head_len(&h);
	if (c.head_len > sizeof(h) + len)
		c.head_len = sizeof(h) + len;
	c.data = buf + c.head_len;
	c.data_len = sizeof(h) + len - c.head_len;
	got = fs_serve(&fs, &c);
	BUG_ON(got > room);
	if (got) {
		memcpy(&out, reply, sizeof(out));
		BUG_ON(out.len != got || out.unique != 7 || out.error > 0 || out.error < -4095);
		BUG_ON(out.error && got != sizeof(out));
	}
	return out;
}

/* Nodes 2, 3, 4 are the roots of the shares; their names give the guest references. */
static void look_around(void)
{
	static const char *const names[] = { "0", "1", "2", "f", "d" };

	for (size_t i = 0; i < 3; i++)
		(void)serve(FUSE_LOOKUP, FUSE_ROOT_ID, names[i], 2, sizeof(reply), 0);
	for (uint64_t node = 2; node < 5; node++)
		for (size_t i = 3; i < 5; i++)
			(void)serve(FUSE_LOOKUP, node, names[i], 2, sizeof(reply), 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static unsigned inputs;
	static int here;
	struct cursor c = { data, size };
	uint64_t fh = 0;

	if (!inputs) {
		struct rlimit l = { 1 << 20, 1 << 20 };

		signal(SIGXFSZ, SIG_IGN);
		here = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
		BUG_ON(setrlimit(RLIMIT_FSIZE, &l) || here < 0);
		atexit(clean);
	}
	if (inputs++ % FRESH == 0)
		folders();
	start();
	look_around();
	for (unsigned i = 0; i < REQUESTS; i++) {
		struct { uint8_t op, flags, node; } r;
		uint8_t body[4096];
		struct fuse_out_header out;
		uint16_t len;
		uint32_t op;

		if (cursor_get(&c, &r, sizeof(r)) || cursor_get(&c, &len, sizeof(len)))
			break;
		len = len < c.left ? len : (uint16_t)c.left;
		len = len < sizeof(body) ? len : (uint16_t)sizeof(body);
		BUG_ON(cursor_get(&c, body, len));
		if (r.flags & 1 && len >= sizeof(fh))
			memcpy(body, &fh, sizeof(fh));
		op = r.op % 64;
		out = serve(op, r.flags & 8 ? 2 + r.node % 3 : r.node, body, len,
			    r.flags & 2 ? r.node : sizeof(reply), r.flags & 4 ? r.node : 0);
		if (!out.error && (op == FUSE_OPEN || op == FUSE_OPENDIR))
			memcpy(&fh, reply + sizeof(out), sizeof(fh));
		if (!out.error && (op == FUSE_CREATE || op == FUSE_TMPFILE))
			memcpy(&fh, reply + sizeof(out) + sizeof(struct fuse_entry_out),
			       sizeof(fh));
	}
	fs_close(&fs);
	BUG_ON(fchdir(here));	/* the fuzzer's own files have relative names */
	check("out", 1, "secret");
	check("low", 2, "f");
	check("ro", 2, "f");
	return 0;
}
