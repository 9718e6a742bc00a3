/* SPDX-License-Identifier: Apache-2.0 */
#include <sys/random.h>
#include "vmm/machine.h"
#include "vmm/vmgenid.h"

#define TAG_VMGENID BLOB_TAG('V', 'G', 'E', 'N')

int vmgenid_draw(uint8_t id[VMGENID_LEN], struct err *e)
{
	if (getrandom(id, VMGENID_LEN, 0) != (ssize_t)VMGENID_LEN)
		return err_set(e, -EIO, "getrandom");
	return 0;
}

void vmgenid_save(const struct vmgenid *g, struct blob *b)
{
	blob_put(b, TAG_VMGENID, 0, &g->at.v, sizeof(g->at.v));
}

int vmgenid_load(struct vmgenid *g, const struct gmem *m, const struct blob *b, struct err *e)
{
	uint64_t at;
	int rc = blob_get(b, TAG_VMGENID, 0, &at, sizeof(at), e);

	if (rc)
		return rc;
	if (at && !gmem_ptr(m, GPA(at), VMGENID_LEN))
		return err_say(e, -EBADMSG, "its generation id is not in memory");
	g->at = GPA(at);
	return 0;
}

int vmgenid_renew(const struct vmgenid *g, const struct gmem *m, const struct kvm *k,
		  struct err *e)
{
	uint8_t id[VMGENID_LEN];
	int rc = g->at.v ? vmgenid_draw(id, e) : 0;

	if (rc || !g->at.v)
		return rc;
	rc = gmem_write(m, g->at, id, sizeof(id));
	BUG_ON(rc);			/* checked when it was loaded */
	return kvm_irq_pulse(k, MACHINE_VMGENID_GSI, e);
}
