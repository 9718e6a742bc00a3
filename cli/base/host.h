/* SPDX-License-Identifier: Apache-2.0 */
/*
 * host.h - what this machine has, for checks before anything starts.
 */
#ifndef CLI_BASE_HOST_H
#define CLI_BASE_HOST_H
#include "vmm/base.h"

/* Bytes of memory that this process may use at most: the machine's, or its cgroup's limit. */
uint64_t host_memory(void);
/* Bytes that are free or could be freed; 0 when not known. */
uint64_t host_memory_free(void);
/* CPUs that this process may run on. */
unsigned host_cpus(void);
/* The whole of a small text file, NUL at the end: bytes read, or -errno. */
ssize_t host_read(const char *path, char *buf, size_t len);
#endif
