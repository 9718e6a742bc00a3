/* SPDX-License-Identifier: Apache-2.0 */
/*
 * make.c - each source becomes a tree, the tree an EROFS file, that one an image. Before what
 * a stranger wrote is read, this process is confined (confine.h) to the store.
 *
 * What a path is, is said or seen from what is a folder and what is not; contents are
 * not looked at. A ready file system is copied as it is, and only with its kind named.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include "cli/image/confine.h"
#include "cli/image/erofs.h"
#include "cli/image/make.h"
#include "cli/image/pipe.h"
#include "cli/image/source.h"
#include "cli/base/clone.h"
#include "cli/base/rmtree.h"

#define STATUS_MAX	(32u << 20)

/* ---- what is in it: Debian's own list ---- */

static json_t *parse_status(char *text)
{
	json_t *list = json_array();
	char *save = NULL, name[128] = "", entry[400];

	for (char *l = strtok_r(text, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
		if (!strncmp(l, "Package: ", 9))
			snprintf(name, sizeof(name), "%s", l + 9);
		if (strncmp(l, "Version: ", 9) || !*name)
			continue;
		snprintf(entry, sizeof(entry), "%s %.200s", name, l + 9);
		json_array_append_new(list, json_string(entry));
		*name = '\0';
	}
	return list;
}

static json_t *packages(struct image_tree *t)
{
	const struct image_file *f = image_tree_find(t, "var/lib/dpkg/status");
	auto_mem char *text = NULL;

	if (!f || !S_ISREG(f->mode) || f->size > STATUS_MAX)
		return NULL;
	text = malloc((size_t)f->size + 1);
	if (!text || pread(t->fd, text, (size_t)f->size, (off_t)(f->block * IMAGE_BLOCK)) !=
		     (ssize_t)f->size)
		return NULL;
	text[f->size] = '\0';
	return parse_status(text);
}

/* ---- from a tree to the store ---- */

struct making {
	const struct image_make *m;
	struct image_draft draft;
	struct image_tree tree;
	json_t *config;
	const char *source;
};

static int begin(struct making *k, const struct image_make *m, const char *source, struct err *e)
{
	int rc;

	*k = (struct making){ .m = m, .draft = IMAGE_DRAFT_NONE, .source = source };
	if (m->name) {
		rc = image_name_check(m->name, e);
		if (rc)
			return rc;
	}
	rc = image_draft_begin(&k->draft, e);
	return rc ? rc : image_tree_init(&k->tree, k->draft.fd, e);
}

static int commit(struct making *k, const char *type, char id[static SUM_HEX], struct err *e)
{
	json_t *more = json_pack("{s:s}", "source", k->source), *list = packages(&k->tree);
	int rc;

	if (list)
		json_object_set_new(more, "packages", list);
	rc = image_draft_commit(&k->draft, type, k->config, more, k->m->name, id, e);
	json_decref(more);
	return rc;
}

static int finish_tree(struct making *k, char id[static SUM_HEX], struct err *e)
{
	uint64_t size;
	int rc = image_finish(&k->tree, e);

	if (!rc)
		rc = image_erofs_write(&k->tree, &size, e);
	return rc ? rc : commit(k, "erofs", id, e);
}

static void end(struct making *k)
{
	image_tree_exit(&k->tree);
	json_decref(k->config);
	image_draft_end(&k->draft);
}

/* ---- import ---- */

static int want_sum(const struct image_make *m, int fd, struct err *e)
{
	char have[SUM_HEX];

	if (!m->sha256)
		return 0;
	if (sum_file(fd, have))
		return err_say(e, -EIO, "the file cannot be read");
	if (!strcmp(have, m->sha256))
		return 0;
	return err_say(e, -EBADMSG, "the file's SHA-256 is %s, not the one of --sha256", have);
}

/* The very file: its digest is checked on the copy, so that nothing comes in between. */
static int import_raw(struct making *k, const char *path, char id[static SUM_HEX], struct err *e)
{
	auto_fd fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;
	int rc;

	if (fd < 0 || fstat(fd, &st))
		return err_set(e, -errno, "open %s", path);
	if (!S_ISREG(st.st_mode) || !st.st_size || st.st_size % 512)
		return err_say(e, -EINVAL, "%s is no file of whole sectors", path);
	if (!k->m->sha256)
		return err_say(e, -EINVAL, "a ready file system needs --sha256, so that it is the "
			       "one that you mean");
	rc = clone_file(fd, k->draft.fd);
	if (rc)
		err_set(e, rc, "copy the file");
	else
		rc = want_sum(k->m, k->draft.fd, e);
	return rc ? rc : commit(k, k->m->format, id, e);
}

static int import_tar(struct making *k, const char *path, char id[static SUM_HEX], struct err *e)
{
	bool in = !strcmp(path, "-");
	auto_fd fd = in ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
	int rc;

	if (fd < 0)
		return err_set(e, -errno, "open %s", path);
	if (in && k->m->sha256)
		return err_say(e, -EINVAL, "--sha256 needs a file, not stdin");
	rc = want_sum(k->m, fd, e);
	if (!rc)
		rc = image_confine(k->draft.store, -1, e);
	if (!rc)
		rc = image_from_tar(&k->tree, fd, e);
	return rc ? rc : finish_tree(k, id, e);
}

static const char *see_format(const char *path)
{
	char at[PLACES_MAX];
	struct stat st;

	if (!strcmp(path, "-") || stat(path, &st) || !S_ISDIR(st.st_mode))
		return "tar";
	snprintf(at, sizeof(at), "%s/oci-layout", path);
	return access(at, F_OK) ? "dir" : "oci";
}

static int import_as(struct making *k, const char *format, const char *path,
		     char id[static SUM_HEX], struct err *e)
{
	auto_fd from = -1;
	int rc;

	if (!strcmp(format, "erofs") || !strcmp(format, "ext4"))
		return import_raw(k, path, id, e);
	if (!strcmp(format, "tar"))
		return import_tar(k, path, id, e);
	if (k->m->sha256)
		return err_say(e, -EINVAL, "--sha256 is for a file");
	from = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	rc = from < 0 ? err_set(e, -errno, "open folder %s", path) :
			image_confine(k->draft.store, from, e);
	if (rc)
		return rc;
	if (!strcmp(format, "oci"))
		rc = image_from_oci(&k->tree, path, &k->config, e);
	else
		rc = image_from_folder(&k->tree, path, e);
	return rc ? rc : finish_tree(k, id, e);
}

int image_import(const struct image_make *m, const char *path, char id[static SUM_HEX],
		 struct err *e)
{
	struct making k;
	int rc = begin(&k, m, path, e);

	if (!rc) {
		rc = import_as(&k, m->format ? m->format : see_format(path), path, id, e);
		if (rc)
			err_wrap(e, "import %.100s", path);
	}
	end(&k);
	return rc;
}

/* ---- build ---- */

#define EPOCH		"1704067200"	/* no file of an image is younger */

/*
 * Python compiles its modules when they are installed, but with EPOCH set they carry a digest of
 * their source, which is read and hashed at each start: half as many system calls again. These
 * go by its time and size, and the time has to be the one that it gets in the image.
 */
#define COMPILE_PYTHON \
	"--customize-hook=chroot \"$1\" sh -ec 'set -- /usr/lib/python3* /usr/share/python3; " \
	"find \"$@\" -name \"*.py\" -newermt @" EPOCH " -exec touch -hd @" EPOCH " {} +; " \
	"PYTHONHASHSEED=0 python3 -m compileall -qf --invalidation-mode timestamp \"$@\"'"

/* What all but the smallest have: enough to run a project's Makefile. */
#define BASICS		"ca-certificates,procps,less,make"

static const struct profile { const char *name, *variant, *include, *hook; } profiles[] = {
	{ "minimal", "essential", NULL, NULL },
	{ "debian", "minbase", BASICS, NULL },
	{ "python", "minbase", BASICS ",python3,python3-venv,python3-pip", COMPILE_PYTHON },
	{ "node", "minbase", BASICS ",nodejs,npm", NULL },
	{ "dev", "minbase", BASICS ",python3,python3-venv,python3-pip,git,tmux,"
	  "ripgrep,curl,build-essential,openssh-client,openssh-server", COMPILE_PYTHON },
};

const char image_profiles[] = "minimal debian python node dev";

static const struct profile *find_profile(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(profiles); i++)
		if (!strcmp(profiles[i].name, name))
			return &profiles[i];
	return NULL;
}

/*
 * What is this host's, and would make the same packages another image on another host; and
 * the keys that Debian's sshd makes for itself, which no two machines may have in common.
 */
static int forget_host(struct image_tree *t, struct err *e)
{
	static const char *const names[] = {
		"etc/resolv.conf", "etc/hostname",
		"etc/ssh/ssh_host_rsa_key", "etc/ssh/ssh_host_rsa_key.pub",
		"etc/ssh/ssh_host_ecdsa_key", "etc/ssh/ssh_host_ecdsa_key.pub",
		"etc/ssh/ssh_host_ed25519_key", "etc/ssh/ssh_host_ed25519_key.pub",
	};
	int rc = 0;

	for (size_t i = 0; !rc && i < ARRAY_LEN(names); i++)
		rc = image_tree_remove(t, names[i], e);
	return rc;
}

/* The tar archive comes through a pipe and never lies anywhere. */
static int build_tree(struct making *k, const struct profile *p, struct err *e)
{
	static const char epoch[] = "SOURCE_DATE_EPOCH=" EPOCH;
	const struct image_make *m = k->m;
	char variant[64], include[300];
	const char *argv[20] = { "mmdebstrap", "--quiet", "--format=tar", variant,
		"--aptopt=Acquire::Languages \"none\"",
		"--aptopt=APT::Install-Recommends \"false\"",
		"--dpkgopt=path-exclude=/usr/share/doc/*",
		"--dpkgopt=path-exclude=/usr/share/man/*",
		"--dpkgopt=path-exclude=/usr/share/locale/*" };
	struct image_pipe child;
	unsigned n = 9;
	int rc, ended;

	snprintf(variant, sizeof(variant), "--variant=%s", p->variant);
	if (p->include) {
		snprintf(include, sizeof(include), "--include=%s", p->include);
		argv[n++] = include;
	}
	if (p->hook)
		argv[n++] = p->hook;
	argv[n++] = m->suite ? m->suite : "bookworm";
	argv[n++] = "-";
	if (m->mirror)
		argv[n++] = m->mirror;
	rc = image_pipe_start(&child, argv, epoch, e);
	if (rc)
		return rc;
	rc = image_confine(k->draft.store, -1, e);
	if (!rc)
		rc = image_from_tar(&k->tree, child.fd, e);
	if (!rc)
		rc = forget_host(&k->tree, e);
	ended = image_pipe_end(&child, argv[0], rc ? NULL : e);
	return rc && ended ? err_say(e, ended, "mmdebstrap failed; see what it said above") :
			     rc ? rc : ended;
}

int image_build(const struct image_make *m, char id[static SUM_HEX], struct err *e)
{
	const struct profile *p = m->profile ? find_profile(m->profile) : NULL;
	struct image_make named = *m;
	struct making k;
	char source[200];
	int rc;

	if (!p)
		return err_say(e, -EINVAL, "%s%s%s; there are %s", m->profile ? "no profile '" :
			       "--profile is missing", m->profile ? m->profile : "",
			       m->profile ? "'" : "", image_profiles);
	if (!m->name)
		named.name = p->name;
	snprintf(source, sizeof(source), "mmdebstrap %s, profile %s",
		 m->suite ? m->suite : "bookworm", p->name);
	rc = begin(&k, &named, source, e);
	if (!rc)
		rc = build_tree(&k, p, e);
	if (!rc)
		rc = finish_tree(&k, id, e);
	end(&k);
	return rc ? err_wrap(e, "build %s", p->name) : 0;
}

/* ---- pull ---- */

#define PULLED "pulled"		/* beside the image that is being made: it goes with that */

/* A registry on this host needs no certificate. */
static bool is_local(const char *ref)
{
	static const char *const hosts[] = { "localhost", "127.0.0.1", "[::1]" };

	for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
		const char *rest = ref + strlen(hosts[i]);

		if (!strncmp(ref, hosts[i], strlen(hosts[i])) && (*rest == ':' || *rest == '/'))
			return true;
	}
	return false;
}

/* skopeo copies the image for this machine as a layout, and checks the digests on the way. */
static int fetch(const char *dir, const char *ref, struct err *e)
{
	char from[600], to[PLACES_MAX + 16], tmp[PLACES_MAX + 16];
	const char *argv[] = { "skopeo", "copy", "--quiet", from, to,
			       is_local(ref) ? "--src-tls-verify=false" : NULL, NULL };
	struct image_pipe child;
	int rc;

	snprintf(from, sizeof(from), "docker://%s", ref);
	snprintf(to, sizeof(to), "oci:%s:image", dir);
	snprintf(tmp, sizeof(tmp), "TMPDIR=%s", dir);
	rc = image_pipe_start(&child, argv, tmp, e);
	return rc ? rc : image_pipe_end(&child, argv[0], e);
}

static int pull_into(struct making *k, const char *ref, char id[static SUM_HEX], struct err *e)
{
	char dir[PLACES_MAX];
	struct place p;
	int rc = places_images(&p, e);

	if (rc)
		return rc;
	if ((size_t)snprintf(dir, sizeof(dir), "%s/%s/" PULLED, p.path, k->draft.name) >=
	    sizeof(dir))
		return err_say(e, -ENAMETOOLONG, "the path of the image store is too long");
	if (mkdir(dir, 0700))
		return err_set(e, -errno, "make %s", dir);
	rc = fetch(dir, ref, e);
	if (!rc)
		rc = image_confine(k->draft.store, -1, e);
	if (!rc)
		rc = image_from_oci(&k->tree, dir, &k->config, e);
	if (rc)
		return rc;
	rc = rmtree(k->draft.dir, PULLED);
	return rc ? err_set(e, rc, "remove %s", dir) : finish_tree(k, id, e);
}

/* The last part of the reference, without a digest. */
static void default_name(const char *ref, char name[static IMAGE_REF_MAX])
{
	const char *slash = strrchr(ref, '/'), *last = slash ? slash + 1 : ref;

	snprintf(name, IMAGE_REF_MAX, "%.*s", (int)strcspn(last, "@"), last);
}

int image_pull(const struct image_make *m, const char *ref, char id[static SUM_HEX],
	       struct err *e)
{
	struct image_make named = *m;
	char name[IMAGE_REF_MAX];
	struct making k;
	int rc;

	if (!*ref || *ref == '-' || strlen(ref) > 500)
		return err_say(e, -EINVAL, "'%.100s' is no image of a registry", ref);
	default_name(ref, name);
	if (!m->name)
		named.name = name;
	rc = begin(&k, &named, ref, e);
	if (!rc) {
		rc = pull_into(&k, ref, id, e);
		if (rc)
			err_wrap(e, "pull %.100s", ref);
	}
	end(&k);
	return rc;
}
