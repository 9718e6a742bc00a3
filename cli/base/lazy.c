/* SPDX-License-Identifier: Apache-2.0 */
#include <dlfcn.h>
#include "cli/base/lazy.h"

int lazy_load(const char *library, const struct lazy_call *calls, size_t n, struct err *e)
{
	void *lib = dlopen(library, RTLD_NOW | RTLD_LOCAL), *f;

	for (size_t i = 0; lib && i < n; i++) {
		f = dlsym(lib, calls[i].name);
		if (!f)
			lib = NULL;
		memcpy(calls[i].to, &f, sizeof(f));
	}
	/* dlerror() names the library. */
	return lib ? 0 : err_say(e, -ENOENT, "load a library: %.200s", dlerror());
}
