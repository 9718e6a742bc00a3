// SPDX-License-Identifier: Apache-2.0
/*
 * Every decoder of agent/proto*.c and agent/tar.c on arbitrary bytes; what EXEC and
 * tar decode must also survive being used and encoded again.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/proto.h"
#include "agent/tar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void exec(const uint8_t *p, size_t n)
{
	struct proto_exec x;
	const char **v, *why;
	size_t total = 0;

	if (proto_exec_read(p, n, &x, &why) < 0) {
		if (!why)
			abort();
		return;
	}
	v = malloc((x.argc + x.envc + 2) * sizeof(*v));
	proto_exec_vectors(p, n, v, v + x.argc + 1);
	for (size_t i = 0; i < x.argc; i++)
		total += strlen(v[i]);
	for (size_t i = 0; i < x.envc; i++)
		total += strlen(v[x.argc + 1 + i]);
	if (v[x.argc] || v[x.argc + 1 + x.envc] || total > n)
		abort();
	free(v);
}

static void tar(const uint8_t *p, size_t n)
{
	static uint8_t head[TAR_HEADER_MAX];
	static struct tar_entry e, again;
	static struct tar_ext ext;
	const char *why = NULL;
	int kind;

	memset(&ext, 0, sizeof(ext));
	while (n >= TAR_BLOCK) {
		kind = tar_parse(p, &ext, &e, &why);
		p += TAR_BLOCK;
		n -= TAR_BLOCK;
		if (kind < 0 || kind == TAR_END)
			return;
		if (kind == TAR_EXTENDED) {
			if (e.size > n || tar_extend(&ext, e.type, p, (size_t)e.size, &why) < 0)
				return;
			if (tar_padded(e.size) > n)
				return;
			p += tar_padded(e.size);
			n -= tar_padded(e.size);
			continue;
		}
		if (tar_header(head, &e) > 0) {
			uint8_t *h = head;

			/* What we write, we read back. */
			memset(&ext, 0, sizeof(ext));
			while ((kind = tar_parse(h, &ext, &again, &why)) == TAR_EXTENDED) {
				if (tar_extend(&ext, again.type, h + TAR_BLOCK, (size_t)again.size,
					       &why) < 0)
					abort();
				h += TAR_BLOCK + tar_padded(again.size);
			}
			if (kind != TAR_ENTRY || strcmp(e.name, again.name) != 0 ||
			    e.size != again.size || e.uid != again.uid)
				abort();
		}
		if (tar_clean_name(e.name) == 0 && (e.name[0] == '/' || !e.name[0]))
			abort();
		memset(&ext, 0, sizeof(ext));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char msg[PROTO_MSG_MAX];
	struct proto_hello h;
	struct proto_exit x;
	struct proto_job j;
	uint16_t about;
	int code;

	if (!size)
		return 0;
	data++;
	size--;
	switch (data[-1] & 3) {
	case 0:
		exec(data, size);
		break;
	case 1:
		if (proto_exit_read(data, size, &x) == 0 && (x.code < 0) == !x.signal)
			abort();
		break;
	case 2:
		if (proto_error_read(data, size, &code, &about, msg) == 0 &&
		    (code <= 0 || strlen(msg) >= sizeof(msg)))
			abort();
		(void)proto_hello_read(data, size, true, &h);
		if (proto_job_read(data, size, &j) == 0 &&
		    (!j.id || (j.command && strlen(j.command) >= sizeof(j.text))))
			abort();
		break;
	default:
		tar(data, size);
	}
	return 0;
}
