/* SPDX-License-Identifier: Apache-2.0 */
/* tell.h - between tell.so, which is in the monitor, and its tracer, record.c. */
#ifndef TESTS_JAIL_TELL_H
#define TESTS_JAIL_TELL_H

#define TELL	0x7e110000u	/* no length that anybody writes */

#endif
