// SPDX-License-Identifier: Apache-2.0
/* The client's state machine: the input is what a hostile agent sends. */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/client/priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void count(const struct client_stat *st, void *arg)
{
	*(size_t *)arg += strlen(st->name);
}

static void look(const struct proto_job *j, void *arg)
{
	*(size_t *)arg += strlen(j->command);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint16_t requests[] = { PROTO_EXEC, PROTO_LIST, PROTO_GET, PROTO_PING,
					     PROTO_EXEC_LIST, PROTO_EXEC_WATCH };
	struct client *c;
	size_t names = 0;
	uint16_t request;

	if (!size)
		return 0;
	c = client_new(open("/dev/null", O_RDWR | O_CLOEXEC));
	if (!c)
		abort();
	request = requests[*data & 16 ? 4 + (*data & 1) : *data & 3];
	if (client_begin(c, request, NULL) < 0)
		abort();
	c->exec = request == PROTO_EXEC;
	c->watching = request == PROTO_EXEC_WATCH;
	c->each_job = look;
	c->job_arg = &names;
	c->each = count;
	c->each_arg = &names;
	/* Half of the runs with a reader that takes nothing: what is granted must bound it. */
	client_out_attach(&c->out[0], *data & 4 ? -1 : c->fd);
	c->out[1].fd = *data & 8 ? -1 : c->fd;
	data++;
	size--;
	while (size && !c->broken) {
		size_t n = sizeof(c->rx) - c->rx_len;

		n = size < n ? size : n;
		memcpy(c->rx + c->rx_len, data, n);
		c->rx_len += n;
		data += n;
		size -= n;
		client_input(c);
		for (int i = 0; i < 2; i++)
			if (c->out[i].len > c->out[i].cap || c->out[i].len > PROTO_OUT_WINDOW ||
			    c->out[i].granted > PROTO_OUT_WINDOW)
				abort();
		if (c->tx_len > CLIENT_TX_MAX || c->in_credit > PROTO_CREDIT_MAX)
			abort();
	}
	client_close(c);
	return 0;
}
