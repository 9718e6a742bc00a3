/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest changed, found, shown and applied. The upper trees are made here as
 * devices/fs/upper.h describes them.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/xattr.h>
#include "cli/share/cow.h"
#include "devices/fs/upper.h"

static char dir[64];
static int up, low;
static struct cow_list list;
static struct err e;

static void sh(const char *script)
{
	char cmd[1024];

	snprintf(cmd, sizeof(cmd), "cd %s && (%s)", dir, script);
	cr_assert_eq(system(cmd), 0, "%s", script);
}

static void open_trees(void)
{
	char path[96];

	snprintf(path, sizeof(path), "%s/up", dir);
	up = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	snprintf(path, sizeof(path), "%s/low", dir);
	low = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cr_assert(up >= 0 && low >= 0);
}

static void set_up(void)
{
	strcpy(dir, "/tmp/sandbox-test-XXXXXX");
	cr_assert(mkdtemp(dir));
	sh("mkdir up low; cd low; echo one >a; echo two >b; mkdir -p d/in; echo three >d/in/c;"
	   "ln -s a link");
	open_trees();
}

/* Others are there by those names. */
static void reopen(void)
{
	close(up);
	close(low);
	open_trees();
}

static void tear_down(void)
{
	char cmd[192];

	cow_free(&list);
	close(up);
	close(low);
	snprintf(cmd, sizeof(cmd), "chmod -R u+rwx %s; rm -r %s", dir, dir);
	cr_assert_eq(system(cmd), 0);
}

TestSuite(cli_cow, .init = set_up, .fini = tear_down, .timeout = 30);

static void whiteout(const char *path)
{
	const char *name;
	int d = cow_open_parent(up, path, &name);

	cr_assert_eq(mknodat(d, name, S_IFCHR, 0), 0, "%s", strerror(errno));
	close(d);
}

/* What the server does at the first write: the whole file, and what it was. */
static void copy_up(const char *path)
{
	char cmd[256], text[96];
	struct stat st;
	int fd;

	snprintf(cmd, sizeof(cmd), "mkdir -p $(dirname up/%s) && cp -p low/%s up/%s", path, path,
		 path);
	sh(cmd);
	cr_assert_eq(fstatat(low, path, &st, 0), 0);
	snprintf(text, sizeof(text), "%llu %lld %ld %llu", (unsigned long long)st.st_ino,
		 (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec, (unsigned long long)st.st_size);
	fd = openat(up, path, O_RDONLY);
	cr_assert_eq(fsetxattr(fd, UPPER_ORIGIN, text, strlen(text), 0), 0, "%s", strerror(errno));
	close(fd);
}

/* The whole list as text. */
static const char *scan(void)
{
	static char text[4096];
	FILE *f = fmemopen(text, sizeof(text), "w");

	cow_free(&list);
	cr_assert_eq(cow_scan(up, low, &list, &e), 0, "%s", e.msg);
	for (size_t i = 0; i < list.n; i++)
		cow_print(&list.v[i], "", f);
	fputc('\0', f);
	fclose(f);
	return text;
}

static const char *diff(bool safe)
{
	static char text[16384];
	FILE *f = fmemopen(text, sizeof(text), "w");

	scan();
	for (size_t i = 0; i < list.n; i++)
		cr_assert_eq(cow_diff(up, low, &list.v[i], "", safe, f, &e), 0, "%s", e.msg);
	fputc('\0', f);
	fclose(f);
	return text;
}

/* All of them; the number that were refused, with the last sentence in e. */
static unsigned apply(bool yes, bool live)
{
	unsigned bad = 0;

	scan();
	e = (struct err){ 0 };
	for (size_t i = 0; i < list.n; i++)
		bad += cow_apply(up, low, &list, &list.v[i], yes, live, &e) != 0;
	return bad;
}

Test(cli_cow, nothing_changed)
{
	copy_up("a");			/* written, and the same */
	sh("mkdir -p up/d/in");
	cr_assert_str_eq(scan(), "");
}

Test(cli_cow, each_kind_is_listed_and_applied)
{
	copy_up("a");
	copy_up("d/in/c");
	whiteout("b");
	sh("echo more >>up/a; chmod 755 up/d/in/c; mkdir -p up/new/er; echo n >up/new/er/f;"
	   "ln -s new/er up/l2; chmod 700 up/d");
	cr_assert_str_eq(scan(), "changed  a\ndeleted  b\nmode     d (700, was 755)\n"
			 "mode     d/in/c (755, was 644)\nadded    l2, a symbolic link\n"
			 "added    new, a folder\nadded    new/er, a folder\nadded    new/er/f\n");
	cr_assert_eq(apply(false, false), 0, "%s", e.msg);
	sh("test \"$(cat low/a)\" = \"one\nmore\" && test ! -e low/b && test -x low/d/in/c &&"
	   "test \"$(cat low/new/er/f)\" = n && test \"$(readlink low/l2)\" = new/er &&"
	   "test $(stat -c %a low/d) = 700 && test -z \"$(ls -A low | grep sandbox)\"");
	cr_assert_str_eq(scan(), "");
	sh("test ! -e up/a && test ! -e up/b");
}

Test(cli_cow, a_live_sandbox_keeps_its_copy_and_can_change_it_again)
{
	copy_up("a");
	sh("echo more >>up/a; echo n >up/n");
	cr_assert_eq(apply(false, true), 0, "%s", e.msg);
	cr_assert_str_eq(scan(), "");
	sh("test -e up/a; sleep 0.02; echo again >>up/a; echo again >>up/n");
	cr_assert_str_eq(scan(), "changed  a\nchanged  n\n");
	cr_assert_eq(apply(false, true), 0, "%s", e.msg);
	sh("grep -q again low/a && grep -q again low/n");
}

Test(cli_cow, what_the_host_changed_meanwhile_is_refused_by_name)
{
	copy_up("a");
	copy_up("d/in/c");
	whiteout("b");
	sh("echo g >>up/a; echo g >>up/d/in/c; echo mine >up/n; sleep 0.02;"
	   "echo host >low/a; rm low/d/in/c; echo host >>low/b; echo host >low/n");
	cr_assert_str_eq(scan(), "changed  a (conflict: it was changed on the host meanwhile)\n"
			 "deleted  b (conflict: it was changed on the host meanwhile)\n"
			 "added    d/in/c (conflict: it was deleted on the host meanwhile)\n"
			 "changed  n (conflict: it was changed on the host meanwhile)\n");
	cr_assert_eq(apply(true, false), 4);
	cr_assert(strstr(e.msg, "n was changed on the host meanwhile"), "%s", e.msg);
	sh("test \"$(cat low/a)\" = host && grep -q host low/b && test ! -e low/d/in/c &&"
	   "test \"$(cat low/n)\" = host && test -e up/a");
}

/* It comes between the scan and the rename. */
Test(cli_cow, a_late_change_on_the_host_is_seen)
{
	copy_up("a");
	sh("echo g >>up/a; echo m >up/n");
	scan();
	sh("sleep 0.02; echo host >>low/a; echo host >low/n");
	cr_assert_eq(cow_apply(up, low, &list, &list.v[0], false, false, &e), -EBUSY);
	cr_assert(strstr(e.msg, "a was changed on the host"), "%s", e.msg);
	cr_assert_eq(cow_apply(up, low, &list, &list.v[1], false, false, &e), -EBUSY);
	sh("grep -q host low/n && test -z \"$(ls -A low | grep sandbox)\"");
}

Test(cli_cow, a_moved_file_is_no_conflict)
{
	copy_up("a");
	sh("mv up/a up/z");
	whiteout("a");
	cr_assert_str_eq(scan(), "deleted  a\nadded    z\n");
	cr_assert_eq(apply(false, false), 0, "%s", e.msg);
	sh("test ! -e low/a && test \"$(cat low/z)\" = one");
}

/* What link(2) made in the guest. */
Test(cli_cow, names_of_one_file_are_names_of_one_file_on_the_host)
{
	copy_up("a");
	copy_up("b");
	sh("mkdir up/k; ln up/a up/k/z; echo n >up/n1; ln up/n1 up/n2; ln up/n1 up/k/n3;"
	   "ln up/b up/0; echo more >>up/b");
	cr_assert_str_eq(scan(), "added    0\nchanged  b\nadded    k, a folder\nadded    k/n3\n"
			 "added    k/z\nadded    n1\nadded    n2\n");
	cr_assert_eq(apply(false, true), 0, "%s", e.msg);
	sh("cd low; test a -ef k/z && test n1 -ef n2 && test n1 -ef k/n3 && test 0 -ef b &&"
	   "test $(stat -c %h n1) = 3 && test $(stat -c %h a) = 2 && grep -q more 0 &&"
	   "test -z \"$(find . -name '*sandbox*')\"");
	cr_assert_str_eq(scan(), "");
	cr_assert_eq(apply(false, false), 0, "%s", e.msg);
}

Test(cli_cow, a_link_is_a_copy_where_the_hosts_file_is_another)
{
	copy_up("a");
	sh("ln up/a up/z; ln up/a up/b; echo g >>up/a");
	cr_assert_str_eq(scan(), "changed  a\nchanged  b\nadded    z\n");
	cr_assert_eq(cow_apply(up, low, &list, &list.v[2], false, false, &e), 0, "%s", e.msg);
	sh("cd low; test ! a -ef z && grep -q g z && ! grep -q g a");
	scan();
	cr_assert_eq(cow_apply(up, low, &list, &list.v[0], false, false, &e), 0, "%s", e.msg);
	sh("cd low; test ! a -ef z; grep -q g a; echo host >>z; echo host >>a; chmod 640 a");
	cr_assert_str_eq(scan(), "changed  b\n");
	cr_assert_eq(apply(false, false), 0, "%s", e.msg);
	sh("cd low; test ! a -ef b && ! grep -q host b && grep -q g b");
}

/* Nor where only the host changed what the others are names of. */
Test(cli_cow, a_late_change_of_the_other_name_is_not_taken_over)
{
	copy_up("a");
	sh("ln up/a up/z");
	cr_assert_str_eq(scan(), "added    z\n");
	sh("sed -i s/one/uno/ low/a");
	cr_assert_eq(cow_apply(up, low, &list, &list.v[0], false, false, &e), 0, "%s", e.msg);
	sh("cd low; test ! a -ef z && grep -q one z && grep -q uno a");
}

Test(cli_cow, one_file_of_a_new_folder_comes_with_the_folder)
{
	sh("mkdir -p up/new/er; chmod 750 up/new; echo n >up/new/er/f; echo m >up/new/er/g;"
	   "echo o >up/new/o");
	scan();
	for (size_t i = 0; i < list.n; i++)
		if (!strcmp(list.v[i].path, "new/er/f"))
			cr_assert_eq(cow_apply(up, low, &list, &list.v[i], false, false, &e), 0,
				     "%s", e.msg);
	sh("test \"$(cd low; find new | sort | tr '\\n' ' ')\" = 'new new/er new/er/f ' &&"
	   "test $(stat -c %a low/new) = 750 && grep -q n low/new/er/f");
	cr_assert_str_eq(scan(), "added    new/er/g\nadded    new/o\n");
	cr_assert_eq(apply(false, false), 0, "%s", e.msg);
}

static void opaque(const char *path)
{
	int fd = openat(up, path, O_RDONLY);

	cr_assert_eq(fsetxattr(fd, UPPER_OPAQUE, "y", 1, 0), 0);
	close(fd);
}

/* What was taken over from a folder of the guest's is seen there again. */
Test(cli_cow, folders_that_hid_the_hosts_do_not_hide_what_was_applied)
{
	sh("mkdir -p up/new/er up/d; echo n >up/new/er/f; echo x >up/d/x; sleep 0.02;"
	   "echo late >low/d/late");
	opaque("new");
	opaque("new/er");
	opaque("d");
	scan();
	cr_assert_eq(cow_flatten(up, low, &e), 0, "%s", e.msg);
	cr_assert_str_eq(scan(), "deleted  d/in/c\ndeleted  d/in, a folder\n"
			 "deleted  d/late (conflict: it was changed on the host meanwhile)\n"
			 "added    d/x\nadded    new, a folder\nadded    new/er, a folder\n"
			 "added    new/er/f\n");
	cr_assert_eq(apply(false, false), 1);
	cr_assert(strstr(e.msg, "late was changed on the host"), "%s", e.msg);
	cr_assert_str_eq(scan(), "deleted  d/late (conflict: it was changed on the host "
			 "meanwhile)\n");
	sh("test -f low/new/er/f && test -f low/d/x && test -f low/d/late && test ! -e low/d/in &&"
	   "test ! -e up/new/er/f && test -c up/d/late && test ! -e up/d/in");
}

Test(cli_cow, holes_stay_holes)
{
	struct stat st;

	sh("truncate -s 1T up/hole;"
	   "printf x | dd of=up/hole bs=1 seek=1G conv=notrunc status=none");
	cr_assert_eq(apply(false, false), 0, "%s", e.msg);
	cr_assert_eq(fstatat(low, "hole", &st, 0), 0);
	cr_assert_eq(st.st_size, 1ll << 40);
	cr_assert_lt(st.st_blocks, 1000);
	sh("test \"$(dd if=low/hole bs=1 skip=1G count=1 status=none)\" = x");
}

Test(cli_cow, a_folder_that_was_removed_goes_file_by_file)
{
	whiteout("d");
	sh("sleep 0.02; echo late >low/d/late");
	cr_assert_str_eq(scan(), "deleted  d/in/c\ndeleted  d/in, a folder\n"
			 "deleted  d/late (conflict: it was changed on the host meanwhile)\n"
			 "deleted  d, a folder\n");
	cr_assert_eq(apply(false, false), 2);
	cr_assert(strstr(e.msg, "got new files on the host"), "%s", e.msg);
	sh("test ! -e low/d/in && test -e low/d/late");
}

Test(cli_cow, kinds_that_change_and_opaque_folders)
{
	sh("mkdir up/d; echo f >up/d/f; mkdir up/a; echo x >up/a/x; echo now >up/link");
	opaque("d");
	cr_assert_str_eq(scan(), "deleted  a\nadded    a, a folder\nadded    a/x\n"
			 "deleted  d/in/c\ndeleted  d/in, a folder\nadded    d/f\nchanged  link\n");
	cr_assert_eq(apply(false, false), 0, "%s", e.msg);
	sh("test -f low/a/x && test ! -e low/d/in && test -f low/d/f && test ! -h low/link");
}

/* threat-model.md 11: nothing that a guest has named is followed on the host. */
Test(cli_cow, links_lead_nowhere)
{
	sh("mkdir out; echo secret >out/s; ln -s ../out low/way; mkdir -p up/way; echo g >up/way/s;"
	   "ln -s /etc/passwd up/abs; mkdir up/k; ln -s ../../out up/k/rel; ln -s ../a up/k/fine");
	cr_assert_eq(apply(false, false), 2);
	cr_assert(strstr(e.msg, "k/rel is a symbolic link that leads out"), "%s", e.msg);
	sh("test \"$(cat out/s)\" = secret && test \"$(cat low/way/s)\" = g && test ! -h low/way &&"
	   "test ! -e low/abs && test \"$(readlink low/k/fine)\" = ../a");
	cr_assert_eq(apply(true, false), 0, "%s", e.msg);
	sh("test \"$(readlink low/k/rel)\" = ../../out");
}

/* A name in a link may be a link to a higher folder, so that what goes up from it is outside. */
Test(cli_cow, links_lead_nowhere_over_each_other)
{
	sh("ln -s . up/x; mkdir up/k; ln -s x/x/../../out up/way; ln -s .. up/k/x;"
	   "ln -s x/../out up/k/way; ln -s .././d/in up/k/fine");
	cr_assert_eq(apply(false, false), 2);
	sh("test -h low/x && test -h low/k/fine && test ! -h low/way && test ! -h low/k/way");
	scan();
	for (size_t i = 0; i < list.n; i++) {
		cr_assert_eq(cow_apply(up, low, &list, &list.v[i], false, false, &e), -EPERM);
		cr_assert(strstr(e.msg, "way is a symbolic link that leads out of the shared "
				 "folder, or may"), "%s", e.msg);
	}
}

/* What git would run on the host the next time that it is asked for anything. */
Test(cli_cow, what_git_runs_is_not_taken_over_unasked)
{
	static const char *const no[] = { ".git/hooks/x", ".git/config", ".git/config.worktree",
		".git/commondir", ".git/modules/a/b/hooks/update", ".git/modules/a/config",
		"sub/.git", ".git/worktrees/w/commondir", "s/d/.GIT/Hooks/x", ".git/refs/.git/config"
	}, *const yes[] = {
		".git/refs/heads/hooks/config", ".git/logs/refs/heads/config", ".git/index",
		".git/objects/12/config", ".git/modules/a/refs/heads/config", "hooks/config",
		".gitconfig/config", "config", ".git/worktrees/w/HEAD",
	};
	char cmd[256];

	for (size_t i = 0; i < ARRAY_LEN(no) + ARRAY_LEN(yes); i++) {
		const char *path = i < ARRAY_LEN(no) ? no[i] : yes[i - ARRAY_LEN(no)];
		bool refused = i < ARRAY_LEN(no);

		snprintf(cmd, sizeof(cmd), "rm -rf up low; mkdir -p up low \"$(dirname up/%s)\";"
			 "echo evil >up/%s", path, path);
		sh(cmd);
		reopen();
		cr_expect_eq(apply(false, false), refused, "%s: %s", path, e.msg);
		cr_expect_eq(faccessat(low, path, F_OK, 0), refused ? -1 : 0, "%s", path);
		cr_expect(!refused || strstr(e.msg, "can make git start programs"), "%s", e.msg);
		cr_expect(!apply(true, false) && !faccessat(low, path, F_OK, 0), "%s", path);
	}
	sh("rm -rf up low; mkdir -p up/.git/hooks low/.git/hooks; cd low; echo x >.git/hooks/sample;"
	   "chmod 644 .git/hooks/sample; install .git/hooks/sample ../up/.git/hooks");
	reopen();
	cr_expect_eq(apply(false, false), 1, "a hook that becomes one by its mode");
	sh("rm up/.git/hooks/*");
	whiteout(".git/hooks/sample");
	cr_expect_eq(apply(false, false), 0, "one that goes does nothing: %s", e.msg);
}

Test(cli_cow, closed_modes_and_special_files)
{
	sh("mkdir up/m; echo x >up/m/f; chmod 0 up/m/f up/m; mkfifo up/p; echo s >up/s;"
	   "chmod 4755 up/s");
	cr_assert_str_eq(scan(), "added    m, a folder\nadded    m/f\n"
			 "added    p, neither file, folder nor link\nadded    s\n");
	cr_assert_eq(cow_apply(up, low, &list, &list.v[2], false, false, &e), -ENOTSUP);
	cr_assert_eq(cow_apply(up, low, &list, &list.v[3], false, false, &e), 0, "%s", e.msg);
	cr_assert_eq(cow_apply(up, low, &list, &list.v[0], false, true, &e), 0, "%s", e.msg);
	cow_restore_modes();
	sh("test $(stat -c %a low/s) = 755 && test $(stat -c %a up/m) = 0 &&"
	   "test $(stat -c %a low/m) = 0");
}

Test(cli_cow, the_diff_is_one_that_patch_understands)
{
	copy_up("a");
	copy_up("b");
	whiteout("b.gone");
	sh("sed -i 's/one/uno/' up/a; sed -i p up/b; echo n >up/n; rm up/b.gone");
	sh("cp -r low was");
	{
		FILE *f;
		char path[96];

		snprintf(path, sizeof(path), "%s/patch", dir);
		f = fopen(path, "w");
		fputs(diff(false), f);
		fclose(f);
	}
	sh("cd was && patch -s -p1 <../patch && grep -q uno a && grep -q n n");
}

Test(cli_cow, a_diff_says_what_lines_cannot)
{
	const char *text;

	copy_up("a");
	sh("printf 'x\\0y' >up/bin; chmod 600 up/a; ln -s a up/ln");
	whiteout("d");
	sh("printf '\\033[31mred\\n' >\"up/$(printf 'n\\nl')\"");
	text = diff(true);
	cr_expect(strstr(text, "Binary files /dev/null and b/bin differ"), "%s", text);
	cr_expect(strstr(text, "old mode 100644\nnew mode 100600"), "%s", text);
	cr_expect(strstr(text, "new file mode 120777"), "%s", text);
	cr_expect(strstr(text, "+++ b/ln\n@@ -0,0 +1 @@\n+a"), "%s", text);
	cr_expect(strstr(text, "--- a/d/in/c\n+++ /dev/null\n"), "%s", text);
	cr_expect(strstr(text, "\"b/n\\012l\""), "%s", text);
	cr_expect(strstr(text, "+\\033[31mred"), "%s", text);
	cr_expect(!strchr(text, 033), "%s", text);
	cr_expect(strchr(diff(false), 033), "not escaped where it goes to a file");
}

/* CSI is one character, too; and who looks before he applies sees what he applies. */
Test(cli_cow, a_diff_moves_no_cursor)
{
	const char *text;

	sh("printf 'a\\302\\233mb\\n\\342\\200\\256evil\\n\\303\\244\\342\\202\\254\\n\\233\\n' >up/n;"
	   "printf '\\342\\202' >>up/n");
	text = diff(true);
	cr_expect(strstr(text, "+a\\302\\233mb\n"), "%s", text);
	cr_expect(strstr(text, "+\\342\\200\\256evil\n"), "%s", text);
	cr_expect(strstr(text, "+\xc3\xa4\xe2\x82\xac\n"), "%s", text);
	cr_expect(strstr(text, "+\\233\n+\\342\\202"), "%s", text);
	cr_expect(strstr(diff(false), "+a\xc2\x9bmb\n"), "not escaped where it goes to a file");
	/* What takes more memory than the guest had to spend is not compared. */
	sh("truncate -s 65M up/n; yes | dd of=up/n conv=notrunc bs=8k count=1 status=none");
	cr_expect(strstr(diff(true), "\nLarge files /dev/null and b/n differ\n"), "%s", diff(true));
	/* Characters across the pieces in which it is read. */
	sh("awk 'BEGIN { for (i = 0; i < 9; i++) { for (k = 0; k < 251; k++)"
	   " printf \"\\303\\244\\342\\202\\254\"; print \"\" } }' >up/n");
	text = diff(true);
	cr_expect(!strchr(text + 200, '\\'), "%s", text);
}

/* (A terabyte that is read does not end within the suite's time.) */
Test(cli_cow, holes_are_compared_without_reading_them)
{
	sh("for f in e f g h; do truncate -s 1T low/$f; done;"
	   "echo x | dd of=low/f bs=1 seek=600G conv=notrunc status=none");
	for (char f[] = "e"; *f <= 'h'; ++*f)
		copy_up(f);
	sh("echo y | dd of=up/f bs=1 seek=600G conv=notrunc status=none;"
	   "echo y | dd of=up/g bs=1 seek=600G conv=notrunc status=none;"
	   "truncate -s -1 up/h; truncate -s +1 up/h");
	cr_expect_str_eq(scan(), "changed  f\nchanged  g\n");
}

Test(cli_cow, depth_is_bounded)
{
	int fd = dup(up);

	for (unsigned i = 0; i < 300; i++) {
		int next;

		cr_assert_eq(mkdirat(fd, "d", 0755), 0);
		next = openat(fd, "d", O_RDONLY | O_CLOEXEC);
		close(fd);
		fd = next;
	}
	close(fd);
	cr_assert_eq(cow_scan(up, low, &list, &e), -ELOOP);
	cr_assert(strstr(e.msg, "nested deeper than"), "%s", e.msg);
}
