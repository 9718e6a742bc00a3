/* SPDX-License-Identifier: Apache-2.0 */
/*
 * parse.h - values of flags: sizes, durations, numbers. Each function returns 0,
 * or -EINVAL with a sentence that quotes what was given; *out is set only on 0.
 */
#ifndef CLI_BASE_PARSE_H
#define CLI_BASE_PARSE_H
#include "vmm/base.h"

/* Digits only, from min to max. */
int parse_number(const char *s, uint64_t min, uint64_t max, uint64_t *out, struct err *e)
	must_check;
/* A number with at most three digits after the point, in thousandths; no sentence. */
int parse_milli(const char *s, uint64_t *out) must_check;
/* Bytes: a number, perhaps with a fraction, and b, k, m or g (or kb, KiB, ...), powers of 1024. */
int parse_size(const char *s, uint64_t *out, struct err *e) must_check;
/* Nanoseconds, more than 0: `30`, `1.5s`, `250ms`, `2m`, `1h30m`; a bare number is seconds. */
int parse_duration(const char *s, uint64_t *out, struct err *e) must_check;
/* "512 MiB", "1.5 GiB": into buf, which is returned. */
const char *parse_size_text(uint64_t bytes, char buf[static 32]);
#endif
