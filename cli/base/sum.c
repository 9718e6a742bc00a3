/* SPDX-License-Identifier: Apache-2.0 */
#include <openssl/evp.h>
#include "cli/base/lazy.h"
#include "cli/base/sum.h"

#define CHUNK (1u << 20)

#define LIBCRYPTO(X) X(MD_CTX_new) X(MD_CTX_free) X(DigestInit_ex) X(DigestUpdate) \
	X(DigestFinal_ex) X(sha256)

static struct {
#define POINTER(name) __typeof__(&EVP_##name) (name);
	LIBCRYPTO(POINTER)
} evp;

/* NULL where it cannot be had. */
static EVP_MD_CTX *begin(void)
{
#define CALL(name) { "EVP_" #name, &evp.name },
	static const struct lazy_call calls[] = { LIBCRYPTO(CALL) };
	struct err e;
	EVP_MD_CTX *c;

	if (lazy_load("libcrypto.so.3", calls, ARRAY_LEN(calls), &e))
		return NULL;
	c = evp.MD_CTX_new();
	if (!c || evp.DigestInit_ex(c, evp.sha256(), NULL) == 1)
		return c;
	evp.MD_CTX_free(c);
	return NULL;
}

static int finish(EVP_MD_CTX *c, bool good, char hex[static SUM_HEX])
{
	unsigned char raw[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	good = good && evp.DigestFinal_ex(c, raw, &n) == 1 && n == 32;
	if (c)
		evp.MD_CTX_free(c);
	for (unsigned i = 0; good && i < n; i++)
		snprintf(hex + 2 * i, 3, "%02x", raw[i]);
	return good ? 0 : -EIO;
}

int sum_bytes(const void *p, size_t len, char hex[static SUM_HEX])
{
	EVP_MD_CTX *c = begin();
	bool good = c && evp.DigestUpdate(c, p, len) == 1;

	return finish(c, good, hex);
}

int sum_file(int fd, char hex[static SUM_HEX])
{
	auto_mem char *buf = malloc(CHUNK);
	EVP_MD_CTX *c = begin();
	bool good = buf && c;
	off_t at = 0;
	int rc = 0;

	while (good) {
		ssize_t n = pread(fd, buf, CHUNK, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			rc = n ? -errno : 0;
			break;
		}
		good = evp.DigestUpdate(c, buf, (size_t)n) == 1;
		at += n;
	}
	good = finish(c, good, hex) == 0;
	return rc ? rc : good ? 0 : -EIO;
}

bool sum_valid(const char *hex)
{
	return strlen(hex) == SUM_HEX - 1 && strspn(hex, "0123456789abcdef") == SUM_HEX - 1;
}
