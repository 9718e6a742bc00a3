/* SPDX-License-Identifier: Apache-2.0 */
/* work.c - a thread, an eventfd, an answer. */
#include <sys/eventfd.h>
#include "cli/keeper/work.h"
#include "cli/keeper/priv.h"

static void *run(void *arg)
{
	struct keeper_work *j = arg;
	const uint64_t one = 1;

	j->rc = j->work(j->arg, &j->e);
	(void)!write(j->done, &one, sizeof(one));
	return NULL;
}

int keeper_work_start(struct keeper *k, const struct keeper_req *r, struct err *e)
{
	struct keeper_work *j = k->work;
	int rc;

	BUG_ON(j->at_work);
	if (j->done < 0)
		j->done = eventfd(0, EFD_CLOEXEC);
	if (j->done < 0)
		return err_set(e, -errno, "begin");
	j->e = (struct err){ 0 };
	j->conn = r->conn;
	/* Signals are blocked in the first thread, and so in this one: they are the loop's. */
	rc = -pthread_create(&j->thread, NULL, run, j);
	if (rc)
		return err_set(e, rc, "begin");
	j->at_work = true;
	return 0;
}

void keeper_work_end(struct keeper *k)
{
	struct keeper_work *j = k->work;
	json_t *answer;
	uint64_t n;
	int rc;

	if (!j->at_work)
		return;
	pthread_join(j->thread, NULL);
	(void)!read(j->done, &n, sizeof(n));
	j->at_work = false;
	answer = json_object();
	rc = j->end(k, j->arg, j->rc, answer, &j->e);
	if (j->conn >= 0)
		keeper_answer(j->conn, answer, rc, &j->e);
	json_decref(answer);
	j->conn = -1;
}
