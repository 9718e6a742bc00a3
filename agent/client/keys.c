// SPDX-License-Identifier: Apache-2.0
/*
 * keys.c - the keys by which a person leaves a terminal, found among what is typed.
 *
 * Bytes that may be their beginning are held back until it is clear. After a mismatch the
 * search goes on with the longest end of those bytes that may again be a beginning.
 */
#include <string.h>

#include "agent/client/priv.h"

/* Of the first `have` bytes, how many at the end are a (shorter) beginning. */
static uint8_t fallback(const struct client_keys *k)
{
	uint8_t n = k->have;

	while (n--)
		if (memcmp(k->seq, k->seq + (k->have - n), n) == 0)
			break;
	return n;
}

bool client_keys_pass(struct client_keys *k, const uint8_t *in, size_t n, uint8_t *out,
		      size_t *n_out)
{
	*n_out = 0;
	for (size_t i = 0; i < n; i++) {
		uint8_t b = in[i];

		while (k->have && b != k->seq[k->have]) {
			uint8_t keep = fallback(k);

			memcpy(out + *n_out, k->seq, (size_t)(k->have - keep));
			*n_out += (size_t)(k->have - keep);
			k->have = keep;
		}
		if (b != k->seq[k->have])
			out[(*n_out)++] = b;
		else if (++k->have == k->n)
			return true;
	}
	return false;
}

size_t client_keys_held(struct client_keys *k, uint8_t *out)
{
	size_t n = k->have;

	memcpy(out, k->seq, n);
	k->have = 0;
	return n;
}
