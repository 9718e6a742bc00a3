/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image_use.c - an image is needed by each sandbox that has it as its root, also by one
 * that is stopped: what its disk keeps are changes to that very image.
 */
#include "cli/image/image.h"
#include "cli/run/settings.h"
#include "cli/store/store.h"
#include "cli/verb/image_use.h"

/* One whose config cannot be read needs nothing that could be known. */
static bool needs(const char *name, const char *id)
{
	struct store_box b = STORE_BOX_NONE;
	struct settings s = { 0 };
	struct err none;
	auto_mem char *text = store_open(&b, name, &none) ? NULL : store_read(&b, "config", &none);
	const char *ref = text && !settings_parse(&s, text, name, &none) ?
			  settings_get(&s, "", "image") : NULL;
	char have[SUM_HEX];
	bool yes = ref && !image_find(ref, have, &none) && !strcmp(have, id);

	settings_free(&s);
	store_close(&b);
	return yes;
}

int image_unused(const char *id, struct err *e)
{
	size_t n = 0;
	char **names = store_names(&n, e);
	int rc = names ? 0 : e->code;

	for (size_t i = 0; !rc && names && i < n; i++)
		if (needs(names[i], id))
			rc = err_say(e, -EBUSY, "image %.*s is the root of sandbox '%s'; remove that "
				     "first, or use -f", IMAGE_SHORT, id, names[i]);
	store_names_free(names);
	return rc;
}
