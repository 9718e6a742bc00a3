/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keys.c - parse keys.
 */
#include "cli/base/keys.h"

#define CTRL "ctrl-"

/* The byte that the key sends, or 0. */
static uint8_t one(const char *s, size_t n)
{
	size_t c = strlen(CTRL);

	if (n == 1)
		return (uint8_t)*s < 0x80 ? (uint8_t)*s : 0;
	if (n != c + 1 || strncmp(s, CTRL, c))
		return 0;
	if (s[c] >= 'a' && s[c] <= 'z')
		return (uint8_t)(s[c] - 'a' + 1);
	return strchr("[\\]^_", s[c]) ? (uint8_t)(s[c] - '@') : 0;
}

int keys_parse(const char *s, struct client_keys *k, struct err *e)
{
	*k = (struct client_keys){ 0 };
	for (const char *p = s; *p;) {
		size_t n = strcspn(p, ",");
		uint8_t b = one(p, n);

		if (!b || (p[n] == ',' && !p[n + 1]))
			return err_say(e, -EINVAL, "'%.60s' is not keys such as " KEYS_DEFAULT
				       " or ctrl-a,d", s);
		if (k->n == CLIENT_KEYS_MAX)
			return err_say(e, -EINVAL, "'%.60s' are more than %u keys", s,
				       CLIENT_KEYS_MAX);
		k->seq[k->n++] = b;
		p += n + (p[n] == ',');
	}
	return 0;
}
