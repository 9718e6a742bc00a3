// SPDX-License-Identifier: Apache-2.0
/* File requests and tar streams against a real agent. */
#include "tests/unit/agent_live.h"

TestSuite(agent_files, .init = live_start, .fini = live_stop, .timeout = 60);

#define T 10000

static char path_buf[8][256];

static const char *at(int i, const char *name)
{
	snprintf(path_buf[i], sizeof(path_buf[i]), "%s/%s", live_dir, name);
	return path_buf[i];
}

static void sh(const char *script)
{
	char cmd[1024];

	snprintf(cmd, sizeof(cmd), "cd %s && (%s)", live_dir, script);
	cr_assert_eq(system(cmd), 0, "%s", script);
}

Test(agent_files, put_and_get_are_exact)
{
	struct client *c = live_client();
	struct client_err e = { 0 };
	struct client_stat st;
	size_t n = 3000001, got;
	char *big = malloc(n), *back;
	int fd, out = memfd_create("get", 0);
	struct stat s;

	for (size_t i = 0; i < n; i++)
		big[i] = (char)(i * 7 + i / 251);
	fd = live_file(big, n);
	cr_assert_eq(client_put(c, fd, at(0, "new/deep/file"), 0751, PROTO_FILE_PARENTS, T, &e), 0,
		     "%s", e.msg);
	cr_expect(stat(at(0, "new/deep/file"), &s) == 0 && (s.st_mode & 07777) == 0751);
	cr_assert_eq(client_get(c, at(0, "new/deep/file"), out, &st, T, &e), 0, "%s", e.msg);
	back = live_slurp(out, &got);
	cr_assert_eq(got, n);
	cr_expect_eq(memcmp(back, big, n), 0);
	cr_expect_eq(st.size, n);
	cr_expect_eq(st.mode, S_IFREG | 0751u);
	cr_expect_str_eq(st.name, "file");
	/* The same connection goes on, and nothing was left beside the file. */
	lseek(fd, 0, SEEK_END);
	cr_assert_eq(client_put(c, fd, at(0, "new/deep/file"), 0600, 0, T, &e), 0, "%s", e.msg);
	cr_assert_eq(client_stat(c, at(0, "new/deep/file"), 0, &st, T, &e), 0);
	cr_expect_eq(st.size, 0);
	sh("test $(ls -A new/deep | wc -l) = 1");
	client_close(c);
	free(big);
	free(back);
}

static void fails(int rc, int code, const struct client_err *e, const char *why)
{
	cr_expect_eq(rc, -code, "%d, not %d: %s", rc, -code, e->msg);
	cr_expect_not_null(strstr(e->msg, why), "'%s'", e->msg);
}

Test(agent_files, errors_name_the_file_and_the_reason)
{
	struct client *c = live_client();
	struct client_err e = { 0 };
	struct client_stat st;
	int in = live_file("x", 1), out = memfd_create("o", 0);

	sh("mkdir d; mkfifo fifo; touch d/f");
	fails(client_get(c, at(0, "none"), out, NULL, T, &e), ENOENT, &e, "none: No such file");
	fails(client_get(c, at(0, "d"), out, NULL, T, &e), EISDIR, &e, "Is a directory");
	fails(client_get(c, at(0, "fifo"), out, NULL, T, &e), EINVAL, &e, "Invalid");
	fails(client_get(c, "relative", out, NULL, T, &e), EINVAL, &e, "not absolute");
	fails(client_put(c, in, at(0, "no/such/f"), 0644, 0, T, &e), ENOENT, &e, "No such file");
	fails(client_put(c, in, at(0, "d"), 0644, 0, T, &e), EISDIR, &e, "Is a directory");
	fails(client_put(c, in, at(0, "d/"), 0644, 0, T, &e), EISDIR, &e, "Is a directory");
	fails(client_stat(c, at(0, "none"), 0, &st, T, &e), ENOENT, &e, "No such file");
	fails(client_mkdir(c, at(0, "d"), 0755, 0, T, &e), EEXIST, &e, "File exists");
	fails(client_mkdir(c, at(0, "d/f"), 0755, PROTO_FILE_PARENTS, T, &e), EEXIST, &e, "exists");
	fails(client_remove(c, at(0, "d"), 0, T, &e), ENOTEMPTY, &e, "not empty");
	fails(client_remove(c, at(0, "none"), PROTO_FILE_RECURSIVE, T, &e), ENOENT, &e, "No such");
	fails(client_rename(c, at(0, "none"), at(1, "x"), T, &e), ENOENT, &e, "No such file");
	fails(client_list(c, at(0, "d/f"), NULL, NULL, T, &e), ENOTDIR, &e, "Not a directory");
	fails(client_tar_in(c, in, at(0, "d"), 0, T, &e), EPIPE, &e, "no end mark");
	fails(client_tar_out(c, at(0, "none"), out, 0, T, &e), ENOENT, &e, "No such file");
	fails(client_resume(c, &(struct client_resume){ .time_ns = 1 }, T, &e), EPERM, &e, "init");
	fails(client_poweroff(c, false, T, &e), EPERM, &e, "not the init");
	/* After all that the connection still works, and no temporary file is left. */
	cr_expect_eq(client_ping(c, T, &e), 0, "%s", e.msg);
	sh("test \"$(ls -A)\" = \"d\nfifo\ns\"");
	client_close(c);
}

struct seen { int n, links, dirs; bool name, target; };

static void each(const struct client_stat *st, void *arg)
{
	struct seen *s = arg;

	s->n++;
	s->dirs += S_ISDIR(st->mode);
	if (S_ISLNK(st->mode)) {
		s->links++;
		s->target = st->target && strcmp(st->target, "to/here") == 0;
	}
	if (strcmp(st->name, "file 7") == 0)
		s->name = st->size == 3 && st->mtime_ns == 1000000000ll * 1000000000;
}

Test(agent_files, list_stat_mkdir_remove_rename)
{
	struct client *c = live_client();
	struct client_err e = { 0 };
	struct client_stat st;
	struct seen s = { 0 };

	sh("mkdir l; cd l; for i in $(seq 1500); do echo $i >\"file $i\"; done; mkdir sub; "
	   "ln -s to/here link; echo 77 >'file 7'; touch -d @1000000000 'file 7'");
	cr_assert_eq(client_list(c, at(0, "l"), each, &s, T, &e), 0, "%s", e.msg);
	cr_expect(s.n == 1502 && s.links == 1 && s.dirs == 1 && s.name && s.target);
	cr_assert_eq(client_stat(c, at(0, "l/link"), PROTO_FILE_NOFOLLOW, &st, T, &e), 0);
	cr_expect(S_ISLNK(st.mode) && strcmp(st.target, "to/here") == 0);
	cr_expect_eq(client_mkdir(c, at(0, "a/b/c"), 01777, PROTO_FILE_PARENTS, T, &e), 0);
	cr_expect_eq(client_mkdir(c, at(0, "a/b/c"), 0700, PROTO_FILE_PARENTS, T, &e), 0);
	cr_assert_eq(client_stat(c, at(0, "a/b/c"), 0, &st, T, &e), 0);
	cr_expect_eq(st.mode, S_IFDIR | 01777u);
	cr_expect_eq(client_rename(c, at(0, "a"), at(1, "z"), T, &e), 0, "%s", e.msg);
	sh("test -d z/b/c; ln -s z l/sub/out; mkdir -p l/sub/x/y; test -e l/sub/x/y");
	cr_expect_eq(client_remove(c, at(0, "l"), PROTO_FILE_RECURSIVE, T, &e), 0, "%s", e.msg);
	cr_expect_eq(client_remove(c, at(0, "l"), PROTO_FILE_RECURSIVE | PROTO_FILE_FORCE, T,
				   &e), 0);
	cr_expect_eq(client_remove(c, at(0, "l"), PROTO_FILE_FORCE, T, &e), 0);
	sh("test ! -e l; test -d z/b/c");
	client_close(c);
}

/* The host's tar packs and we unpack, we pack and the host's tar unpacks. */
Test(agent_files, tar_streams_agree_with_tar)
{
	struct client *c = live_client();
	struct client_err e = { 0 };
	int in, out;

	sh("mkdir -p src/dir/empty one two; cd src; head -c 200000 /dev/urandom >dir/big; : >zero; "
	   "echo x >run; chmod 4751 run; ln -s ../x 'a link'; ln zero hard; mkfifo pipe; "
	   "n=$(printf '%0120d' 7); mkdir $n; echo long >$n/$n; ln -s $n/$n long; "
	   "touch -d @1234567890 dir/big; cd ..; "
	   "tar --format=pax -cf pax.tar -C src . ; tar --format=gnu -cf gnu.tar -C src .");
	for (int i = 0; i < 2; i++) {
		in = open(at(0, i ? "gnu.tar" : "pax.tar"), O_RDONLY);
		cr_assert_eq(client_tar_in(c, in, at(1, "one"), PROTO_FILE_OWNER, T, &e), 0, "%s",
			     e.msg);
		close(in);
		sh("diff -r -x pipe --no-dereference src one && test \"$(stat -c %a:%Y one/run one/dir/big)\" = "
		   "\"$(stat -c %a:%Y src/run src/dir/big)\" && test -p one/pipe");
	}
	sh("rm -r one; mkdir one");
	out = open(at(0, "ours.tar"), O_RDWR | O_CREAT, 0600);
	cr_assert_eq(client_tar_out(c, at(1, "src"), out, PROTO_FILE_CONTENTS, T, &e), 0, "%s",
		     e.msg);
	sh("tar -xpf ours.tar -C one && diff -r -x pipe --no-dereference src one && "
	   "test \"$(stat -c %a:%Y one/run one/dir/big)\" = \"$(stat -c %a:%Y src/run src/dir/big)\"");
	cr_assert_eq(ftruncate(out, 0), 0);
	lseek(out, 0, SEEK_SET);
	cr_assert_eq(client_tar_out(c, at(1, "src/dir"), out, 0, T, &e), 0, "%s", e.msg);
	sh("test \"$(tar -tf ours.tar | sort | tr '\\n' ' ')\" = 'dir/ dir/big dir/empty/ '");
	client_close(c);
}

Test(agent_files, holes_and_times_travel)
{
	struct client *c = live_client();
	struct client_err e = { 0 };
	int in, out;

	sh("mkdir -p src/d one two; cd src; truncate -s 30M end all d/holes; echo x >end; "
	   "printf x | dd of=d/holes bs=1 seek=9999999 conv=notrunc status=none; "
	   "printf y | dd of=d/holes bs=1 seek=20000001 conv=notrunc status=none; truncate -s 0 zero; "
	   "touch -d @1234567890.123456789 end d; cd ..; "
	   "tar --format=pax -S -cf s.tar -C src .; test $(stat -c %s s.tar) -lt 200000");
	in = open(at(0, "s.tar"), O_RDONLY);
	cr_assert_eq(client_tar_in(c, in, at(1, "one"), 0, T, &e), 0, "%s", e.msg);
	close(in);
	out = open(at(0, "ours.tar"), O_RDWR | O_CREAT, 0600);
	cr_assert_eq(client_tar_out(c, at(1, "src"), out, PROTO_FILE_CONTENTS | PROTO_FILE_SPARSE,
				    T, &e), 0, "%s", e.msg);
	close(out);
	sh("test $(stat -c %s ours.tar) -lt 200000 && tar -xf ours.tar -C two");
	sh("for d in one two; do cd $d; cmp end ../src/end && cmp all ../src/all && "
	   "cmp d/holes ../src/d/holes && test $(du -sk . | cut -f1) -lt 1000 && "
	   "test \"$(stat -c %y end d)\" = \"$(cd ../src; stat -c %y end d)\" || exit 1; cd ..; done");
	client_close(c);
}

static void bad_tar(const char *make, int code, const char *why)
{
	struct client *c = live_client();
	struct client_err e = { 0 };
	int in;

	sh(make);
	in = open(at(0, "bad.tar"), O_RDONLY);
	fails(client_tar_in(c, in, at(1, "dst"), 0, T, &e), code, &e, why);
	close(in);
	client_close(c);
}

Test(agent_files, tar_streams_cannot_leave_their_folder)
{
	struct client *c = live_client();
	struct client_err e = { 0 };
	int in;

	sh("mkdir dst out t; echo x >f");
	bad_tar("tar -P -cf bad.tar --transform=s,f,../out/evil, f", EINVAL, "leads out");
	bad_tar("tar -cf bad.tar f; head -c 600 bad.tar >b; mv b bad.tar", EPIPE,
		"middle of a file");
	bad_tar("tar -cf bad.tar f; printf X | dd of=bad.tar bs=1 seek=3 conv=notrunc 2>/dev/null",
		EBADMSG, "checksum");
	bad_tar("truncate -s 1M s1; tar --sparse -cf bad.tar s1; rm s1", EBADMSG, "");
	/* A link to the outside, and then a file through it: it stays inside. */
	sh("cd t; ln -s ../out l; tar -cf ../bad.tar l; rm l; mkdir l; echo evil >l/evil; "
	   "tar -rf ../bad.tar l/evil");
	in = open(at(0, "bad.tar"), O_RDONLY);
	(void)client_tar_in(c, in, at(1, "dst"), 0, T, &e);
	sh("test ! -e out/evil && test -z \"$(ls -A out)\"");
	client_close(c);
}

/* A client that vanishes in the middle leaves the old file, and no part of the new one. */
Test(agent_files, put_is_all_or_nothing)
{
	struct client *c = live_client();
	struct client_err e = { 0 };
	int p[2];

	sh("echo old >f");
	cr_assert_eq(pipe(p), 0);
	cr_assert_eq(write(p[1], "new", 3), 3);
	cr_expect_eq(client_put(c, p[0], at(0, "f"), 0644, 0, 300, &e), -ETIMEDOUT);
	sh("test \"$(cat f)\" = old");
	client_close(c);
	for (int i = 0; i < 100; i++) {
		char cmd[200];

		snprintf(cmd, sizeof(cmd), "test \"$(ls -A %s)\" = \"f\ns\"", live_dir);
		if (system(cmd) == 0)
			return;
		usleep(10000);
	}
	cr_assert_fail("the temporary file is still there");
}
