/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guard.c - one table of guarded places, each looked at under its name and where
 * that leads, so that a link is no way round it in either direction.
 *
 * A guarded place need not exist: it may by the time that the guest looks.
 */
#include <limits.h>
#include <pwd.h>
#include "cli/share/guard.h"
#include "cli/base/places.h"

#define OWN_PLACES 5

static const char *const in_home[] = {
	".ssh", ".gnupg", ".aws", ".azure", ".kube", ".docker", ".config/gh", ".config/gcloud",
	".config/op", ".config/sops", ".password-store", ".netrc", ".pypirc", ".npmrc",
};
/* In /proc are the memory and the environment of whatever this user runs. */
static const char *const in_root[] = { "/root", "/etc", "/proc", "/sys" };

bool guard_inside(const char *path, const char *folder)
{
	size_t n = strlen(folder);

	if (!strcmp(folder, "/"))
		return *path == '/';
	return !strncmp(path, folder, n) && (!path[n] || path[n] == '/');
}

/* @whole: a folder that is refused as a whole, while what is inside of it is not. */
static int refuse(const char *src, const char *place, const char *name, bool whole, struct err *e)
{
	static const char advice[] = "share a folder that has nothing of the kind, or add --yes if "
				     "the guest may have it";

	if (!strcmp(src, place))
		return err_say(e, -EPERM, "%.60s is guarded%s%.60s; %s", src,
			       strcmp(place, name) ? " as " : "", strcmp(place, name) ? name : "",
			       advice);
	if (guard_inside(place, src))
		return err_say(e, -EPERM, "%.60s contains %.60s; %s", src, name, advice);
	if (!whole && guard_inside(src, place))
		return err_say(e, -EPERM, "%.60s lies in %.60s; %s", src, name, advice);
	return 0;
}

/* Where @place leads, or would if it were there: the part of it that is there is followed. */
static char *leads_to(const char *place, const struct guard_host *host)
{
	char part[PATH_MAX], *end;

	snprintf(part, sizeof(part), "%s", place);
	for (end = part + strlen(part); end > part; end = strrchr(part, '/')) {
		auto_mem char *real = NULL;
		char *all;

		*end = '\0';
		real = *part ? host->resolve(part) : NULL;
		if (real)
			return asprintf(&all, "%s%s", strcmp(real, "/") ? real : "",
					place + (end - part)) < 0 ? NULL : all;
		if (!strchr(part, '/'))
			break;
	}
	return NULL;
}

static int look(const char *src, const char *place, bool whole, const struct guard_host *host,
		struct err *e)
{
	auto_mem char *real = strcmp(place, "/") ? leads_to(place, host) : NULL;
	int rc = refuse(src, place, place, whole, e);

	return rc || !real ? rc : refuse(src, real, place, whole, e);
}

static bool is_home(const char *path, const struct guard_host *host)
{
	for (const char *const *h = host->homes; *h; h++) {
		auto_mem char *real = host->resolve(*h);

		if (!strcmp(*h, path) || (real && !strcmp(real, path)))
			return true;
	}
	return false;
}

int guard_check(const char *src, const struct guard_host *host, struct err *e)
{
	char place[PATH_MAX];
	int rc = look(src, "/", true, host, e);

	for (const char *const *h = host->homes; !rc && *h; h++) {
		rc = look(src, *h, true, host, e);
		for (size_t i = 0; !rc && i < ARRAY_LEN(in_home); i++) {
			snprintf(place, sizeof(place), "%s/%s", *h, in_home[i]);
			rc = look(src, place, false, host, e);
		}
	}
	for (size_t i = 0; !rc && i < ARRAY_LEN(in_root); i++)
		rc = look(src, in_root[i], is_home(in_root[i], host), host, e);
	for (const char *const *o = host->own; !rc && *o; o++)
		rc = look(src, *o, false, host, e);
	return rc;
}

static char *resolve(const char *path)
{
	return realpath(path, NULL);
}

/* Who became root by sudo(8) or doas(1) has a home, too; NULL: nobody did. */
static char *sudo_home(void)
{
	const char *user = getenv("SUDO_USER");
	const struct passwd *pw;

	if (!user)
		user = getenv("DOAS_USER");
	pw = user && !geteuid() ? getpwnam(user) : NULL;
	return pw && pw->pw_dir && *pw->pw_dir == '/' && pw->pw_dir[1] ? strdup(pw->pw_dir) : NULL;
}

/*
 * What this program believes: images that others are started from, settings that say what is
 * shared with whom, state.
 */
static int own_places(struct place p[static OWN_PLACES], struct err *e)
{
	static int (*const find[OWN_PLACES])(struct place *p, struct err *e) = {
		places_state, places_cache, places_runtime, places_data, places_config,
	};
	int rc = 0;

	for (size_t i = 0; !rc && i < OWN_PLACES; i++)
		rc = find[i](&p[i], e);
	return rc;
}

int guard_check_here(const char *src, struct err *e)
{
	const struct passwd *pw = getpwuid(geteuid());
	const char *env = getenv("HOME"), *config = getenv("SANDBOX_CONFIG");
	const char *homes[4] = { NULL }, *own[OWN_PLACES + 2] = { NULL };
	auto_mem char *theirs = sudo_home();
	struct place place[OWN_PLACES];
	const struct guard_host host = { .homes = homes, .own = own, .resolve = resolve };
	int n = 0, rc = own_places(place, e);

	if (rc)
		return rc;
	if (env && *env == '/' && env[1])
		homes[n++] = env;
	if (pw && pw->pw_dir && *pw->pw_dir == '/' && pw->pw_dir[1])
		homes[n++] = pw->pw_dir;
	if (theirs)
		homes[n++] = theirs;
	for (n = 0; n < OWN_PLACES; n++)
		own[n] = place[n].path;
	if (config && *config == '/')
		own[n] = config;
	return guard_check(src, &host, e);
}
