/* SPDX-License-Identifier: Apache-2.0 */
/* fuse_trip.h - a FUSE request there and back, over the transport of either server. */
#ifndef BENCH_FUSE_TRIP_H
#define BENCH_FUSE_TRIP_H
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define TRIP_ROOM	(64u << 10)	/* bytes of a request, and of a reply */

#define MUST(x) do { \
	if (!(x)) { \
		perror(#x); \
		exit(1); \
	} \
} while (0)

struct trip {
	unsigned char *out, *in;	/* TRIP_ROOM each: for the request, for the reply */
	/* Send @len bytes of out, wait, and return how many came to in. */
	size_t (*call)(struct trip *t, size_t len);
};

/* sandbox-fsd as the monitor drives it: a window and a socket. @folder becomes share 0. */
struct trip *trip_window(const char *server, const char *folder);
/* A virtiofsd that listens at @socket: vhost-user, one request queue, rings in shared memory. */
struct trip *trip_vhost(const char *socket);
#endif
