/* SPDX-License-Identifier: Apache-2.0 */
#include <time.h>
#include "agent/proto.h"
#include "cli/base/text.h"

json_t *text_json(const char *s)
{
	auto_mem char *copy = s ? strdup(s) : NULL;

	if (!copy)
		return json_null();
	proto_tame(copy);
	return json_string(copy);
}

int text_print_json(json_t *o)
{
	int bad = !o || json_dumpf(o, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(12));

	json_decref(o);
	return putchar('\n') < 0 || fflush(stdout) || bad ? -EIO : 0;
}

const char *text_when(int64_t s, char buf[static 32])
{
	time_t t = (time_t)s;
	struct tm tm;

	strftime(buf, 32, "%Y-%m-%d %H:%M:%S", localtime_r(&t, &tm));
	return buf;
}
