/* SPDX-License-Identifier: Apache-2.0 */
/*
 * limits.c - flags that say how much of this host a sandbox may have: memory, CPUs, which
 * CPUs, processes. What the host cannot give is refused here, with what was asked
 * for and what there is, before anything starts.
 *
 * A guest has whole CPUs; a fraction is a limit on the time of the next larger number
 * (vmm/quota.h). To be bound to CPUs is a matter of this process: all that it starts
 * inherits it.
 */
#include <limits.h>
#include <sched.h>
#include "cli/base/host.h"
#include "cli/base/parse.h"
#include "cli/run/conf.h"
#include "cli/run/limits.h"

#define GUEST_PIDS_MAX	4194304u	/* PID_MAX_LIMIT of a 64-bit kernel */
#define MEMORY_STEP	(2ull << 20)
#define MILLI_MIN	10u

/* Sentence with both numbers, as for every limit of the host. */
int run_opt_memory(void *into, const char *value, struct err *e)
{
	uint64_t n, have = host_memory();
	char size[32];
	int rc = parse_size(value, &n, e);

	if (rc)
		return rc;
	if (n < RUN_MEMORY_MIN)
		return err_say(e, -EINVAL, "%s asked for, but a guest needs at least %s", value,
			       parse_size_text(RUN_MEMORY_MIN, size));
	if (have && n > have)
		return err_say(e, -EINVAL, "%s asked for, but this host has %s", value,
			       parse_size_text(have, size));
	((struct run_conf *)into)->memory = (n + MEMORY_STEP - 1) & ~(MEMORY_STEP - 1);
	return 0;
}

int run_opt_cpus(void *into, const char *value, struct err *e)
{
	unsigned have = host_cpus();
	struct run_conf *c = into;
	uint64_t milli;

	if (parse_milli(value, &milli))
		return err_say(e, -EINVAL, "'%s' is not a number from 0.01 to %u, with at most three "
			       "digits after the point", value, RUN_CPUS_MAX);
	if (milli < MILLI_MIN)
		return err_say(e, -EINVAL, "%s asked for, but a guest needs at least 0.01", value);
	if (milli > RUN_CPUS_MAX * 1000ull)
		return err_say(e, -EINVAL, "%s asked for, but a guest can have at most %u", value,
			       RUN_CPUS_MAX);
	if (milli > have * 1000ull)
		return err_say(e, -EINVAL, "%s asked for, but this host has %u", value, have);
	c->cpus = (unsigned)((milli + 999) / 1000);
	c->cpu_milli = milli % 1000 ? (unsigned)milli : 0;
	return 0;
}

int run_opt_pids(void *into, const char *value, struct err *e)
{
	return parse_number(value, 1, GUEST_PIDS_MAX, &((struct run_conf *)into)->pids, e);
}

const char *run_cpus_text(const struct run_conf *c, char buf[static 16])
{
	snprintf(buf, 16, "%g", run_cpus(c));
	return buf;
}

double run_cpus(const struct run_conf *c)
{
	return c->cpu_milli ? c->cpu_milli / 1000.0 : c->cpus;
}

int limits_disk(const struct run_conf *c, bool kept, struct err *e)
{
	char want[32], have[32];
	struct place p;
	uint64_t free_now;
	int rc = !c->root.disk ? 0 : kept ? places_state(&p, e) : places_cache(&p, e);

	/* Who cannot be asked is not in the way: the disk itself will tell. */
	if (rc || !c->root.disk || places_space(&p, &free_now))
		return rc;
	if (c->root.disk <= free_now)
		return 0;
	return err_say(e, -EINVAL, "--disk: %s asked for, but %s are free at %s",
		       parse_size_text(c->root.disk, want),
		       parse_size_text(free_now & ~((1ull << 20) - 1), have), p.path);
}

/* ---- which CPUs ----------------------------------------------------------- */

/* N or N-M at *s, and what comes after it. */
static int parse_range(const char **s, unsigned *from, unsigned *to)
{
	char *end;

	if (**s < '0' || **s > '9')
		return -EINVAL;
	*from = *to = (unsigned)strtoul(*s, &end, 10);
	if (*end == '-') {
		*s = end + 1;
		if (**s < '0' || **s > '9')
			return -EINVAL;
		*to = (unsigned)strtoul(*s, &end, 10);
	}
	*s = end;
	return *from <= *to && *to < CPU_SETSIZE ? 0 : -EINVAL;
}

int limits_parse_cpus(const char *list, cpu_set_t *set)
{
	unsigned from, to;

	CPU_ZERO(set);
	do {
		if (parse_range(&list, &from, &to))
			return -EINVAL;
		for (unsigned i = from; i <= to; i++)
			CPU_SET(i, set);
	} while (*list++ == ',');
	return list[-1] ? -EINVAL : 0;
}

const char *limits_cpus_text(const cpu_set_t *set, char *buf, size_t len)
{
	size_t n = 0;

	buf[0] = '\0';
	for (unsigned i = 0; i < CPU_SETSIZE && n < len; i++) {
		unsigned from = i;

		if (!CPU_ISSET(i, set))
			continue;
		while (i + 1 < CPU_SETSIZE && CPU_ISSET(i + 1, set))
			i++;
		n += (size_t)snprintf(buf + n, len - n, i > from ? "%s%u-%u" : "%s%u",
				      n ? "," : "", from, i);
	}
	return buf;
}

/* Those of @list, all of which this process may use. */
static int wanted_cpus(const char *list, cpu_set_t *set, struct err *e)
{
	cpu_set_t have, both;
	char text[200];

	if (limits_parse_cpus(list, set))
		return err_say(e, -EINVAL, "'%.60s' is not a list of CPUs such as 2, 2-3 or 0,2-3",
			       list);
	if (sched_getaffinity(0, sizeof(have), &have))
		return err_set(e, -errno, "ask which CPUs may be used");
	CPU_AND(&both, set, &have);
	if (!CPU_EQUAL(&both, set))
		return err_say(e, -EINVAL, "%.60s asked for, but this process may use %s", list,
			       limits_cpus_text(&have, text, sizeof(text)));
	return 0;
}

int run_opt_pin(void *into, const char *value, struct err *e)
{
	cpu_set_t set;
	int rc = wanted_cpus(value, &set, e);

	if (!rc)
		((struct run_conf *)into)->pin = value;
	return rc;
}

int limits_pin(const struct run_conf *c, struct err *e)
{
	cpu_set_t set;
	int rc = c->pin ? wanted_cpus(c->pin, &set, e) : 0;

	if (!rc && c->pin && sched_setaffinity(0, sizeof(set), &set))
		rc = err_set(e, -errno, "bind to CPUs");
	return rc ? err_wrap(e, "--pin") : 0;
}
