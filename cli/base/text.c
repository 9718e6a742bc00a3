/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/proto.h"
#include "cli/base/text.h"
#include "vmm/base.h"

json_t *text_json(const char *s)
{
	auto_mem char *copy = s ? strdup(s) : NULL;

	if (!copy)
		return json_null();
	proto_tame(copy);
	return json_string(copy);
}
