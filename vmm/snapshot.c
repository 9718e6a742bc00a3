/* SPDX-License-Identifier: Apache-2.0 */
/*
 * #syscalls:loop ftruncate pwrite64
 */
#include <fcntl.h>
#include <sys/stat.h>
#include "vmm/snapshot.h"
#include "vmm/state_x86.h"
#include "vmm/virtio_state.h"
#include "vmm/vm.h"

#define TAG_SHAPE	BLOB_TAG('S', 'H', 'A', 'P')
#define NAME_LEN	16u
#define RUN_MAX		(1u << 20)	/* bytes of one write */

struct shape {
	uint64_t mem;
	uint32_t cpus, nslots;
	char slot[CONF_SLOTS_MAX][NAME_LEN];
};

/* ---- saving ---- */

static int write_at(int fd, const uint8_t *p, size_t len, uint64_t off, struct err *e)
{
	while (len) {
		ssize_t n = pwrite(fd, p, len, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return err_set(e, n ? -errno : -ENOSPC, "write the snapshot");
		p += n;
		off += (size_t)n;
		len -= (size_t)n;
	}
	return 0;
}

static bool is_zero(const uint8_t *page)
{
	const uint64_t *w = (const uint64_t *)(const void *)page;

	for (unsigned i = 0; i < 4096 / sizeof(*w); i++)
		if (w[i])
			return false;
	return true;
}

/* Runs of pages that are not all zeroes; the rest stays a hole. */
static int save_region(const struct gmem_region *r, int fd, uint64_t off, struct err *e)
{
	for (uint64_t at = 0; at < r->len;) {
		uint64_t end;
		int rc;

		if (is_zero(r->hva + at)) {
			at += 4096;
			continue;
		}
		for (end = at + 4096; end < r->len && end - at < RUN_MAX; end += 4096)
			if (is_zero(r->hva + end))
				break;
		rc = write_at(fd, r->hva + at, end - at, off + at, e);
		if (rc)
			return rc;
		at = end;
	}
	return 0;
}

static int save_memory(const struct gmem *m, int fd, struct err *e)
{
	uint64_t off = 0;

	for (unsigned i = 0; i < m->n; i++)
		off += m->r[i].len;
	if (ftruncate(fd, 0) || ftruncate(fd, (off_t)off))
		return err_set(e, -errno, "size the snapshot's memory file");
	off = 0;
	for (unsigned i = 0; i < m->n; i++) {
		int rc = save_region(&m->r[i], fd, off, e);

		if (rc)
			return rc;
		off += m->r[i].len;
	}
	return 0;
}

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

static int save_state(struct vm *vm, struct blob *b, struct err *e)
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
	rc = blob_seal(b);
	return rc ? err_set(e, rc, "save the machine's state") : 0;
}

int snapshot_save(struct vm *vm, int state_fd, int memory_fd, struct err *e)
{
	struct blob b;
	int rc;

	blob_init(&b);
	rc = save_state(vm, &b, e);
	if (!rc)
		rc = save_memory(&vm->mem, memory_fd, e);
	if (!rc && (ftruncate(state_fd, (off_t)b.len)))
		rc = err_set(e, -errno, "size the snapshot's state file");
	if (!rc)
		rc = write_at(state_fd, b.p, b.len, 0, e);
	blob_free(&b);
	return rc;
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

int snapshot_open(struct snapshot *s, const char *dir, struct err *e)
{
	auto_fd folder = open(dir, O_DIRECTORY | O_PATH | O_CLOEXEC);
	auto_fd state = folder < 0 ? -1 : openat(folder, "state", O_RDONLY | O_CLOEXEC);
	auto_fd memory = state < 0 ? -1 : openat(folder, "memory", O_RDONLY | O_CLOEXEC);
	struct shape shape;
	struct stat st;
	int rc;

	*s = (struct snapshot){ .memory = -1 };
	if (memory < 0)
		return err_set(e, -errno, "open snapshot %s", dir);
	rc = read_state(state, &s->state, e);
	if (!rc)
		rc = get_shape(s, &shape, e);
	if (!rc && fstat(memory, &st))
		rc = err_set(e, -errno, "memory");
	if (!rc && (uint64_t)st.st_size != shape.mem)
		rc = err_say(e, -EBADMSG, "its memory file has %lld bytes, not %llu",
			     (long long)st.st_size, (unsigned long long)shape.mem);
	if (rc) {
		blob_free(&s->state);
		err_wrap(e, "snapshot %s", dir);
		return rc;
	}
	s->memory = take_fd(&memory);
	return 0;
}

void snapshot_close(struct snapshot *s)
{
	blob_free(&s->state);
	if (s->memory >= 0)
		close(s->memory);
	s->memory = -1;
}

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
