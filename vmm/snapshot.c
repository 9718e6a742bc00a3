/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snapshot.c - the state's own sections, and memory from one file or two.
 *
 * Which pages a restored machine has written is known without any log: memory is
 * mapped privately, so those are the pages that are no longer the file's, and
 * /proc/self/pagemap tells them. It is opened before the machine runs.
 *
 * #syscalls:loop pread64? lseek
 */
#include <fcntl.h>
#include <sys/stat.h>
#include "vmm/save.h"
#include "vmm/snapshot.h"
#include "vmm/state_x86.h"
#include "vmm/virtio_state.h"
#include "vmm/vm.h"

#define TAG_SHAPE	BLOB_TAG('S', 'H', 'A', 'P')
#define TAG_MEMORY	BLOB_TAG('M', 'E', 'M', 'O')
#define TAG_RANGES	BLOB_TAG('R', 'A', 'N', 'G')
#define NAME_LEN	16u
#define RANGES_MAX	60000u		/* mappings; the kernel's default limit is 65530 */
#define PM_PRESENT	(1ull << 63)
#define PM_SWAPPED	(1ull << 62)
#define PM_FILE		(1ull << 61)

struct shape {
	uint64_t mem;
	uint32_t cpus, nslots;
	char slot[CONF_SLOTS_MAX][NAME_LEN];
};

/* ---- saving ---- */

static void save_shape(const struct vm *vm, struct blob *b)
{
	struct shape s;

	memset(&s, 0, sizeof(s));
	s.mem = vm->conf->mem;
	s.cpus = vm->conf->cpus;
	s.nslots = vm->nslots;
	for (unsigned i = 0; i < vm->nslots; i++)
		snprintf(s.slot[i], NAME_LEN, "%s", vm->slot[i].dev->ops->name);
	blob_put(b, TAG_SHAPE, 0, &s, sizeof(s));
}

int snapshot_state(struct vm *vm, struct blob *b, struct err *e)
{
	int rc;

	save_shape(vm, b);
	rc = state_save_host(&vm->vcpu[0], &vm->cpuid, b, e);
	if (rc)
		return rc;
	for (unsigned i = 0; i < vm->nslots; i++) {
		rc = virtio_state_save(&vm->slot[i], i, b, e);
		if (rc)
			return rc;
	}
	for (unsigned i = 0; i < vm->ncpus; i++) {
		rc = state_save_vcpu(&vm->vcpu[i], b, e);
		if (rc)
			return rc;
	}
	rc = state_save_board(&vm->kvm, b, e);
	if (rc)
		return rc;
	vmgenid_save(&vm->genid, b);
	return 0;
}

static bool of_it(const struct save *s, uint64_t page)
{
	return s->have[page / 64] >> page % 64 & 1;
}

static int put_ranges(struct vm *vm, const struct save *s, struct blob *b, struct err *e)
{
	auto_mem struct snapshot_range *list = calloc(RANGES_MAX, sizeof(*list));
	uint64_t first = 0;
	uint32_t n = 0;

	if (!list)
		return err_set(e, -ENOMEM, "save the machine");
	for (unsigned i = 0; i < vm->mem.n; i++) {	/* no range goes over two regions */
		uint64_t end = first + vm->mem.r[i].len / GMEM_PAGE, from;

		for (uint64_t p = first; p < end; p++) {
			if (!of_it(s, p))
				continue;
			from = p;
			while (p < end && of_it(s, p))
				p++;
			if (n == RANGES_MAX)
				return err_say(e, -E2BIG, "what was changed is in more than %u "
					       "pieces; save it in full", RANGES_MAX);
			list[n++] = (struct snapshot_range){ (uint32_t)from, (uint32_t)(p - from) };
		}
		first = end;
	}
	blob_put(b, TAG_RANGES, 0, list, n * sizeof(*list));
	return 0;
}

int snapshot_describe(struct vm *vm, const struct save *s, struct blob *b, struct err *e)
{
	struct snapshot_memory m = {
		.sums = blob_crc(s->sums, s->npages * sizeof(*s->sums)),
		.base = s->diff ? vm->origin.base : 0, .diff = s->diff,
	};
	int rc = s->diff ? put_ranges(vm, s, b, e) : 0;

	if (rc)
		return rc;
	for (uint64_t p = 0; p < s->npages; p++)
		m.stored += s->written[p / 64] >> p % 64 & 1;
	blob_put(b, TAG_MEMORY, 0, &m, sizeof(m));
	rc = blob_seal(b);
	return rc ? err_set(e, rc, "save the machine's state") : 0;
}

/* Pages of region @r, the first of which is @first, that are no longer the file's. */
static bool changed_region(const struct vm *vm, const struct gmem_region *r, uint64_t first,
			   uint64_t *map)
{
	uint64_t entry[512], n = r->len / GMEM_PAGE;
	uint64_t at = (uintptr_t)r->hva / GMEM_PAGE * sizeof(entry[0]);

	for (uint64_t p = 0; p < n; p += ARRAY_LEN(entry)) {
		uint64_t some = n - p < ARRAY_LEN(entry) ? n - p : ARRAY_LEN(entry);
		ssize_t len = (ssize_t)(some * sizeof(entry[0]));

		if (pread(vm->origin.pagemap, entry, (size_t)len, (off_t)(at + p * 8)) != len)
			return false;
		for (uint64_t i = 0; i < some; i++)
			if (entry[i] & PM_SWAPPED ||
			    (entry[i] & PM_PRESENT && !(entry[i] & PM_FILE)))
				map[(first + p + i) / 64] |= 1ull << (first + p + i) % 64;
	}
	return true;
}

bool snapshot_written(const struct vm *vm, uint64_t *map)
{
	uint64_t first = 0;

	if (vm->origin.pagemap < 0)
		return false;
	for (unsigned i = 0; i < vm->mem.n; i++) {
		if (!changed_region(vm, &vm->mem.r[i], first, map))
			return false;
		first += vm->mem.r[i].len / GMEM_PAGE;
	}
	return true;
}

bool snapshot_changed(const struct vm *vm, uint64_t *map)
{
	uint64_t pages = gmem_pages(&vm->mem), count = 0;

	for (uint64_t i = 0; i < pages / 64 + 1; i++) {
		if (vm->origin.overlay)
			map[i] |= vm->origin.overlay[i];
		count += (uint64_t)__builtin_popcountll(map[i]);
	}
	return count < pages / 2;
}

/* What the file has at @page, up to where that changes. A file system that cannot tell has data. */
static void look_at(struct snapshot_file *f, uint64_t page, uint64_t pages)
{
	off_t at = (off_t)(page * GMEM_PAGE), data = lseek(f->fd, at, SEEK_DATA), hole;
	uint64_t end = data < 0 ? pages : (uint64_t)data / GMEM_PAGE;

	f->hole = data < 0 ? errno == ENXIO : end > page;
	if (!f->hole) {
		hole = lseek(f->fd, at, SEEK_HOLE);
		end = hole < at ? pages : ((uint64_t)hole + GMEM_PAGE - 1) / GMEM_PAGE;
	}
	f->from = page;
	f->to = end > page ? end : page + 1;
}

bool snapshot_file_hole(struct snapshot_file *f, uint64_t page, uint64_t pages)
{
	if (page - f->from >= f->to - f->from)
		look_at(f, page, pages);
	return f->hole;
}

bool snapshot_hole(struct vm *vm, uint64_t page)
{
	struct snapshot_origin *o = &vm->origin;
	bool over = o->overlay && o->overlay[page / 64] >> page % 64 & 1;
	struct snapshot_file *f = over ? &o->over : &o->file;

	return f->fd >= 0 && snapshot_file_hole(f, page, gmem_pages(&vm->mem));
}

/* ---- loading ---- */

static int read_state(int fd, struct blob *b, struct err *e)
{
	auto_mem uint8_t *p = NULL;
	struct stat st;
	size_t len;

	if (fstat(fd, &st))
		return err_set(e, -errno, "state");
	if (st.st_size <= 0 || st.st_size > (off_t)BLOB_MAX)
		return err_say(e, -EBADMSG, "a state of %lld bytes cannot be right",
			       (long long)st.st_size);
	len = (size_t)st.st_size;
	p = malloc(len);
	if (!p)
		return err_set(e, -ENOMEM, "state");
	if (pread(fd, p, len, 0) != (ssize_t)len)
		return err_say(e, -EBADMSG, "the state is truncated");
	return blob_open(b, take_ptr(&p), len, e);
}

static int get_shape(const struct snapshot *s, struct shape *shape, struct err *e)
{
	int rc = blob_get(&s->state, TAG_SHAPE, 0, shape, sizeof(*shape), e);

	if (rc)
		return rc;
	if (shape->mem < CONF_MEM_MIN || shape->mem % (2u << 20) || shape->mem > 1ull << 40 ||
	    !shape->cpus || shape->cpus > CONF_CPUS_MAX || shape->nslots > CONF_SLOTS_MAX)
		return err_say(e, -EBADMSG, "the state describes no machine that can be");
	return 0;
}

int snapshot_memory(const struct snapshot *s, struct snapshot_memory *m, struct err *e)
{
	int rc = blob_get(&s->state, TAG_MEMORY, 0, m, sizeof(*m), e);

	if (!rc && m->diff > 1)
		rc = err_say(e, -EBADMSG, "the state describes no memory that can be");
	return rc;
}

const struct snapshot_range *snapshot_ranges(const struct snapshot *s, size_t *n)
{
	size_t len = 0;
	const struct snapshot_range *r = blob_find(&s->state, TAG_RANGES, 0, &len);

	*n = len / sizeof(*r);
	return r;
}

/* The ranges of a difference are in order, apart, and in memory. */
static int check_ranges(const struct snapshot *s, uint64_t pages, struct err *e)
{
	const struct snapshot_range *r;
	uint64_t end = 0;
	size_t n;

	r = snapshot_ranges(s, &n);
	if (!r || n > RANGES_MAX)
		return err_say(e, -EBADMSG, "the state says not what was changed");
	for (size_t i = 0; i < n; i++) {
		if (r[i].page < end || r[i].page > pages || !r[i].n || r[i].n > pages - r[i].page)
			return err_say(e, -EBADMSG, "range %zu of what was changed cannot be", i);
		end = (uint64_t)r[i].page + r[i].n;
	}
	return 0;
}

static int open_file(int folder, const char *name, uint64_t want, struct err *e)
{
	auto_fd fd = openat(folder, name, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st))
		return err_set(e, -errno, "%s", name);
	if ((uint64_t)st.st_size != want)
		return err_say(e, -EBADMSG, "its %s file has %lld bytes, not %llu", name,
			       (long long)st.st_size, (unsigned long long)want);
	return take_fd(&fd);
}

static int open_all(struct snapshot *s, int folder, struct err *e)
{
	auto_fd state = openat(folder, "state", O_RDONLY | O_CLOEXEC);
	struct snapshot_memory m;
	struct shape shape;
	int rc = state < 0 ? err_set(e, -errno, "state") : read_state(state, &s->state, e);

	if (!rc)
		rc = get_shape(s, &shape, e);
	if (!rc)
		rc = snapshot_memory(s, &m, e);
	if (!rc && m.diff)
		rc = check_ranges(s, shape.mem / GMEM_PAGE, e);
	if (rc)
		return rc;
	s->memory = open_file(folder, "memory", shape.mem, e);
	if (s->memory >= 0 && m.diff)
		s->base = open_file(folder, "base", shape.mem, e);
	return s->memory < 0 || (m.diff && s->base < 0) ? e->code : 0;
}

int snapshot_open(struct snapshot *s, const char *dir, struct err *e)
{
	auto_fd folder = open(dir, O_DIRECTORY | O_PATH | O_CLOEXEC);
	int rc;

	*s = (struct snapshot){ .memory = -1, .base = -1 };
	s->pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	rc = folder < 0 ? err_set(e, -errno, "open") : open_all(s, folder, e);
	if (rc)
		snapshot_close(s);
	return rc;
}

void snapshot_unprivileged(struct snapshot *s)
{
	int fd = s->pagemap < 0 ? -1 : open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	close(s->pagemap);
	s->pagemap = fd;
}

void snapshot_close(struct snapshot *s)
{
	blob_free(&s->state);
	fd_cleanup(&s->memory);
	fd_cleanup(&s->base);
	fd_cleanup(&s->pagemap);
	s->memory = s->base = s->pagemap = -1;
}

/* ---- memory ---- */

/* Or -1: a save can do without. */
static int copy_of(int fd)
{
	return fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

int snapshot_map(struct vm *vm, const struct snapshot *s, struct err *e)
{
	struct snapshot_memory m;
	const struct snapshot_range *r;
	size_t n = 0;
	int rc = snapshot_memory(s, &m, e);

	if (!rc)
		rc = gmem_open_private(&vm->mem, m.diff ? s->base : s->memory, e);
	if (rc)
		return rc;
	vm->origin.base = m.diff ? m.base : m.sums;
	vm->origin.pagemap = copy_of(s->pagemap);
	vm->origin.file.fd = copy_of(m.diff ? s->base : s->memory);
	if (!m.diff)
		return 0;
	vm->origin.over.fd = copy_of(s->memory);
	vm->origin.overlay = calloc(gmem_pages(&vm->mem) / 64 + 1, sizeof(uint64_t));
	if (!vm->origin.overlay)
		rc = err_set(e, -ENOMEM, "guest memory");
	r = snapshot_ranges(s, &n);
	for (size_t i = 0; !rc && i < n; i++) {
		rc = gmem_overlay(&vm->mem, s->memory, r[i].page, r[i].n, e);
		for (uint64_t p = r[i].page; !rc && p < (uint64_t)r[i].page + r[i].n; p++)
			vm->origin.overlay[p / 64] |= 1ull << p % 64;
	}
	if (rc) {
		gmem_close(&vm->mem);
		snapshot_forget(vm);
	}
	return rc;
}

void snapshot_forget(struct vm *vm)
{
	free(vm->origin.overlay);
	fd_cleanup(&vm->origin.pagemap);
	fd_cleanup(&vm->origin.file.fd);
	fd_cleanup(&vm->origin.over.fd);
	vm->origin = (struct snapshot_origin)SNAPSHOT_NO_ORIGIN;
}

/* ---- shape and state ---- */

int snapshot_shape(const struct snapshot *s, struct conf *c, struct err *e)
{
	struct shape shape;
	unsigned n = 0;
	int rc = get_shape(s, &shape, e);

	if (rc)
		return rc;
	while (n < CONF_SLOTS_MAX && c->slot[n].dev)
		n++;
	if (n != shape.nslots)
		return err_say(e, -EINVAL, "the snapshot has %u devices and %u are asked for",
			       shape.nslots, n);
	for (unsigned i = 0; i < n; i++)
		if (strncmp(shape.slot[i], c->slot[i].dev, NAME_LEN))
			return err_say(e, -EINVAL, "the snapshot has no '%s' as device %u",
				       c->slot[i].dev, i);
	c->mem = shape.mem;
	c->cpus = shape.cpus;
	return 0;
}

int snapshot_slots(const struct snapshot *s, struct conf *c, struct err *e)
{
	static struct shape shape;
	int rc = get_shape(s, &shape, e);

	*c = (struct conf){ .mem = shape.mem, .cpus = shape.cpus };
	for (unsigned i = 0; !rc && i < shape.nslots; i++) {
		shape.slot[i][NAME_LEN - 1] = '\0';
		c->slot[i].dev = shape.slot[i];
	}
	return rc;
}

int snapshot_load(struct vm *vm, const struct snapshot *s, struct err *e)
{
	int rc = state_check_host(&vm->vcpu[0], &vm->cpuid, &s->state, e);

	if (!rc)
		rc = state_load_board(&vm->kvm, &s->state, e);
	for (unsigned i = 0; !rc && i < vm->ncpus; i++)
		rc = state_load_vcpu(&vm->vcpu[i], &s->state, e);
	for (unsigned i = 0; !rc && i < vm->nslots; i++)
		rc = virtio_state_load(&vm->slot[i], i, &s->state, e);
	if (!rc)
		rc = vmgenid_load(&vm->genid, &vm->mem, &s->state, e);
	return rc ? rc : vmgenid_renew(&vm->genid, &vm->mem, &vm->kvm, e);
}
