/* SPDX-License-Identifier: Apache-2.0 */
/*
 * elf.c - ELF64 vmlinux for x86-64 (ELF specification 1.2, System V ABI gABI 4.1).
 *
 * A vmlinux is linked with p_paddr = where the segment has to be and e_entry =
 * the physical address of startup_64, which takes the 64-bit boot protocol.
 * All headers are read and checked first; only then is anything copied. What
 * p_memsz has beyond p_filesz stays as it is: fresh guest memory is zero.
 */
#include <elf.h>

#include "firmware/image.h"

#define ELF_MAX_PHDRS 64u

int elf_probe(const struct fw_src *s, struct err *e)
{
	uint8_t id[SELFMAG];
	int rc;

	if (s->size < sizeof(id))
		return 0;
	rc = fw_src_read(s, 0, id, sizeof(id), e);
	return rc ? rc : !memcmp(id, ELFMAG, SELFMAG);
}

static int check_ehdr(const struct fw_src *s, const Elf64_Ehdr *h, struct err *e)
{
	const char *name = s->f.name;

	if (h->e_ident[EI_CLASS] != ELFCLASS64)
		return err_say(e, -ENOEXEC, "%s is a 32-bit ELF file, not an x86-64 vmlinux", name);
	if (h->e_ident[EI_DATA] != ELFDATA2LSB)
		return err_say(e, -ENOEXEC, "%s is a big-endian ELF file, not an x86-64 vmlinux",
			       name);
	if (h->e_machine != EM_X86_64)
		return err_say(e, -ENOEXEC, "%s is an ELF file for machine %u%s, not x86-64", name,
			       h->e_machine, h->e_machine == EM_AARCH64 ? " (arm64)" : "");
	if (h->e_type != ET_EXEC)
		return err_say(e, -ENOEXEC,
			       "%s is an ELF file of type %u, not an executable kernel (type 2)",
			       name, h->e_type);
	if (h->e_phentsize != sizeof(Elf64_Phdr))
		return err_say(e, -ENOEXEC, "%s: ELF program headers of %u bytes instead of %zu",
			       name, h->e_phentsize, sizeof(Elf64_Phdr));
	if (!h->e_phnum || h->e_phnum > ELF_MAX_PHDRS)
		return err_say(e, -ENOEXEC, "%s: %u ELF program headers; 1 to %u can be used",
			       name, h->e_phnum, ELF_MAX_PHDRS);
	return 0;
}

/* A segment with something to do; one with file bytes but no memory is refused later. */
static bool is_load(const Elf64_Phdr *p)
{
	return p->p_type == PT_LOAD && (p->p_memsz || p->p_filesz);
}

static int check_load(const struct fw_src *s, const Elf64_Phdr *p, uint64_t lo, uint64_t hi,
		      struct err *e)
{
	const char *name = s->f.name;
	unsigned long long at = p->p_paddr, len = p->p_memsz;

	if (p->p_filesz > p->p_memsz)
		return err_say(e, -ENOEXEC, "%s: ELF segment at 0x%llx is larger in the file than "
			       "in memory", name, at);
	if (p->p_offset > s->size || p->p_filesz > s->size - p->p_offset)
		return err_say(e, -ENOEXEC, "%s is truncated: ELF segment at 0x%llx ends behind "
			       "the file", name, at);
	if (at < lo)
		return err_say(e, -ENOEXEC, "%s: ELF segment at 0x%llx overlaps the boot data "
			       "below 0x%llx", name, at, (unsigned long long)lo);
	if (at >= hi || len > hi - at)
		return err_say(e, -EFBIG,
			       "%s does not fit: ELF segment of %llu MiB at 0x%llx, usable RAM "
			       "ends at 0x%llx", name, (unsigned long long)fw_mib(len), at,
			       (unsigned long long)hi);
	return 0;
}

/* The entry has to be file content of an executable segment, not bss or a gap. */
static int check_entry(const struct fw_src *s, const Elf64_Phdr *ph, unsigned n, uint64_t entry,
		       struct err *e)
{
	for (unsigned i = 0; i < n; i++)
		if (is_load(&ph[i]) && (ph[i].p_flags & PF_X) && entry >= ph[i].p_paddr &&
		    entry - ph[i].p_paddr < ph[i].p_filesz)
			return 0;
	return err_say(e, -ENOEXEC, "%s: the ELF entry point 0x%llx is in no executable segment",
		       s->f.name, (unsigned long long)entry);
}

static int check_phdrs(const struct fw_src *s, const Elf64_Phdr *ph, unsigned n, uint64_t lo,
		       uint64_t hi, struct image *img, struct err *e)
{
	img->lo = UINT64_MAX;
	img->hi = 0;
	for (unsigned i = 0; i < n; i++) {
		int rc;

		if (!is_load(&ph[i]))
			continue;
		rc = check_load(s, &ph[i], lo, hi, e);
		if (rc)
			return rc;
		/* Both ends are now known to lie in [lo, hi]: plain sums cannot wrap. */
		for (unsigned k = 0; k < i; k++)
			if (is_load(&ph[k]) &&
			    ph[k].p_paddr < ph[i].p_paddr + ph[i].p_memsz &&
			    ph[i].p_paddr < ph[k].p_paddr + ph[k].p_memsz)
				return err_say(e, -ENOEXEC, "%s: ELF segments %u and %u overlap",
					       s->f.name, k, i);
		if (ph[i].p_paddr < img->lo)
			img->lo = ph[i].p_paddr;
		if (ph[i].p_paddr + ph[i].p_memsz > img->hi)
			img->hi = ph[i].p_paddr + ph[i].p_memsz;
	}
	if (!img->hi)
		return err_say(e, -ENOEXEC, "%s: an ELF file with nothing to load", s->f.name);
	return 0;
}

int elf_load(const struct gmem *m, const struct fw_src *s, uint64_t lo, uint64_t hi,
	     struct image *img, struct err *e)
{
	Elf64_Phdr ph[ELF_MAX_PHDRS];
	Elf64_Ehdr h;
	int rc = fw_src_read(s, 0, &h, sizeof(h), e);

	if (!rc)
		rc = check_ehdr(s, &h, e);
	if (!rc)
		rc = fw_src_read(s, h.e_phoff, ph, h.e_phnum * sizeof(ph[0]), e);
	if (!rc)
		rc = check_phdrs(s, ph, h.e_phnum, lo, hi, img, e);
	if (!rc)
		rc = check_entry(s, ph, h.e_phnum, h.e_entry, e);
	for (unsigned i = 0; !rc && i < h.e_phnum; i++)
		if (is_load(&ph[i]))
			rc = fw_src_load(s, ph[i].p_offset, m, GPA(ph[i].p_paddr), ph[i].p_filesz,
					 e);
	if (rc)
		return rc;
	img->entry = h.e_entry;
	img->initrd_end = UINT64_MAX;
	img->cmdline_max = 2047;
	img->hdr_len = 0;
	return 0;
}
