/* SPDX-License-Identifier: Apache-2.0 */
/*
 * unix_copy [MIB] - what one copy through a Unix socket carries on this machine:
 * the peer of vsock_rings, which has such a socket at one end.
 *
 * Two threads and a connected pair; the sender offers 256 KiB at a time, as the
 * client of vsock_rings does. Then the same bytes by memcpy() between two buffers as large.
 * Prints a line of JSON for each.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "vmm/base.h"

#define BLOCK	(256u << 10)

static char from[BLOCK], to[BLOCK];
static int pair[2];
static uint64_t bytes;

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void *sender(void *arg)
{
	for (uint64_t done = 0; done < bytes;) {
		ssize_t n = send(pair[1], from, BLOCK, MSG_NOSIGNAL);

		BUG_ON(n <= 0);
		done += (uint64_t)n;
	}
	return arg;
}

static void say(const char *name, double seconds)
{
	printf("{\"case\": \"%s\", \"mib\": %llu, \"gbit_per_s\": %.1f}\n", name,
	       (unsigned long long)bytes >> 20, (double)bytes * 8 / 1e9 / seconds);
}

int main(int argc, char **argv)
{
	uint64_t done = 0;
	pthread_t t;
	double begin;

	bytes = (argc > 1 ? strtoull(argv[1], NULL, 10) : 2048) << 20;
	memset(from, 1, sizeof(from));
	memset(to, 2, sizeof(to));
	BUG_ON(!bytes || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	begin = now();
	BUG_ON(pthread_create(&t, NULL, sender, NULL));
	while (done < bytes) {
		ssize_t n = recv(pair[0], to, BLOCK, 0);

		BUG_ON(n <= 0);
		done += (uint64_t)n;
	}
	say("unix socket", now() - begin);
	pthread_join(t, NULL);
	begin = now();
	for (done = 0; done < bytes; done += BLOCK) {
		memcpy(to, from, BLOCK);
		__asm__ volatile("" : : "r"(to), "r"(from) : "memory");
	}
	say("memcpy", now() - begin);
	return 0;
}
