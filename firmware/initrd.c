/* SPDX-License-Identifier: Apache-2.0 */
/* initrd.c - the initrd lies as high as it may: far from where the kernel unpacks and grows. */
#include "firmware/image.h"

#define PAGE 0x1000ull

int initrd_load(const struct gmem *m, const struct fw_file *f, const struct image *img,
		uint64_t end, struct initrd *out, struct err *e)
{
	uint64_t room, need;
	struct fw_src s;
	int rc;

	*out = (struct initrd){ 0 };
	if (f->fd < 0)
		return 0;
	rc = fw_src_init(&s, f, e);
	if (rc)
		return rc;
	if (end > img->initrd_end)
		end = img->initrd_end;
	end &= ~(PAGE - 1);
	room = end > img->hi ? end - img->hi : 0;
	need = s.size + (-s.size & (PAGE - 1));		/* the size was an off_t: cannot wrap */
	if (need > room)
		return err_say(e, -EFBIG,
			       "initrd %s does not fit: it needs %llu MiB, the guest has %llu "
			       "and the kernel leaves %llu of them",
			       f->name, (unsigned long long)fw_mib(s.size),
			       (unsigned long long)(m->r[0].len >> 20),
			       (unsigned long long)(room >> 20));
	out->at = end - need;
	out->len = s.size;
	return fw_src_load(&s, 0, m, GPA(out->at), s.size, e);
}
