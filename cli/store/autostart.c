/* SPDX-License-Identifier: Apache-2.0 */
/*
 * autostart.c - the unit's text, and its place.
 *
 * The unit is done when `sandbox start` is: the keeper stays in the unit's control group, which is
 * delegated, so that limits can be set there. The variables that say where this user's
 * sandboxes are go along, as the systemd of a user has an environment of its own.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include "cli/store/autostart.h"
#include "cli/store/store.h"

#define WANTS		"default.target.wants"
#define UNIT_MAX	(STORE_NAME_MAX + 24)

static const char *const vars[] = {
	"XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "SANDBOX_CONFIG",
	"SANDBOX_VMM",
};

/* A word in double quotes as systemd.syntax(7) and systemd.service(5) read it. */
static void quoted(FILE *f, const char *s, bool command)
{
	putc('"', f);
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c == '%' || (command && c == '$'))
			fprintf(f, "%c%c", c, c);
		else if (c == '"' || c == '\\')
			fprintf(f, "\\%c", c);
		else if (c < ' ' || c == 0x7f)
			fprintf(f, "\\x%02x", c);
		else
			putc(c, f);
	}
	putc('"', f);
}

char *autostart_unit(const char *name, const char *program, char *const *env)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		return NULL;
	fprintf(f, "# Written by 'sandbox', which removes it with the sandbox or its setting.\n"
		"[Unit]\nDescription=sandbox %s\n\n[Service]\nType=oneshot\n"
		"RemainAfterExit=yes\nDelegate=yes\n", name);
	for (; *env; env++) {
		fputs("Environment=", f);
		quoted(f, *env, false);
		putc('\n', f);
	}
	fputs("ExecStart=", f);
	quoted(f, program, true);
	fprintf(f, " start %s\nExecStop=", name);
	quoted(f, program, true);
	fprintf(f, " stop %s\n\n[Install]\nWantedBy=default.target\n", name);
	if (fclose(f)) {
		free(text);
		return NULL;
	}
	return text;
}

/* The folder of units, with the one of links in it; made if @make. -ENOENT without a sentence. */
static int open_units(bool make, struct err *e)
{
	static const char *const below[] = { "", "/systemd", "/user", ("/" WANTS) };
	struct place p;
	int dir, rc = places_config(&p, e);
	size_t n, user = 0;

	if (rc)
		return rc;
	*strrchr(p.path, '/') = '\0';
	for (unsigned i = 0; i < ARRAY_LEN(below); i++) {
		n = user = strlen(p.path);
		if (n + strlen(below[i]) >= sizeof(p.path))
			return err_say(e, -ENAMETOOLONG, "the configuration folder's path is too long");
		memcpy(p.path + n, below[i], strlen(below[i]) + 1);
		if (make && mkdir(p.path, i ? 0755 : 0700) && errno != EEXIST)
			return err_set(e, -errno, "make the folder %s", p.path);
	}
	p.path[user] = '\0';
	dir = open(p.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir >= 0 || (!make && errno == ENOENT))
		return dir >= 0 ? dir : -ENOENT;
	return err_set(e, -errno, "open %s", p.path);
}

static void unit_name(char buf[static UNIT_MAX], const char *name)
{
	snprintf(buf, UNIT_MAX, "sandbox-%.63s.service", name);
}

static char *make_text(const char *name)
{
	char program[PLACES_MAX] = "", *env[ARRAY_LEN(vars) + 1] = { NULL }, *text = NULL;
	ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 1);
	size_t set = 0;
	bool ok = n > 0;

	for (unsigned i = 0; ok && i < ARRAY_LEN(vars); i++) {
		const char *v = getenv(vars[i]);

		if (v && *v)
			ok = asprintf(&env[set], "%s=%s", vars[i], v) > 0 && ++set;
	}
	if (ok)
		text = autostart_unit(name, program, env);
	for (size_t i = 0; i < set; i++)
		free(env[i]);
	return text;
}

static int enable(int dir, const char *unit, const char *link, const char *name, struct err *e)
{
	auto_mem char *text = make_text(name);
	char to[100];
	int rc = text ? store_replace(dir, unit, text, strlen(text), e) :
			err_set(e, -ENOMEM, "make a unit for systemd");

	snprintf(to, sizeof(to), "../%s", unit);
	if (!rc && symlinkat(to, dir, link) && errno != EEXIST)
		rc = err_set(e, -errno, "enable the unit %s", unit);
	return rc;
}

static int disable(int dir, const char *unit, const char *link, struct err *e)
{
	const char *const files[] = { link, unit };

	for (unsigned i = 0; i < ARRAY_LEN(files); i++)
		if (unlinkat(dir, files[i], 0) && errno != ENOENT && errno != ENOTDIR)
			return err_set(e, -errno, "remove the unit %s", files[i]);
	return 0;
}

int autostart_set(const char *name, bool on, struct err *e)
{
	auto_fd dir = open_units(on, e);
	char unit[UNIT_MAX], link[UNIT_MAX + sizeof(WANTS)];

	if (dir < 0)
		return dir == -ENOENT && !on ? 0 : dir;
	unit_name(unit, name);
	snprintf(link, sizeof(link), WANTS "/%s", unit);
	return on ? enable(dir, unit, link, name, e) : disable(dir, unit, link, e);
}
