/* SPDX-License-Identifier: Apache-2.0 */
/*
 * save.c - the order of three steps decides that no write is lost: the log is
 * taken, then its pages are copied, then the log is taken again. A page that is
 * written while it is copied is in the next log, and the last log is taken with
 * the vCPUs out of the guest and nothing in flight.
 *
 * A page of zeroes stays a hole in the file unless something else was written
 * there in an earlier round. In a snapshot of differences, short gaps between
 * pages are filled with what is there, so that a restore has few ranges to map.
 *
 * #syscalls:loop pwrite64 ftruncate close clock_gettime?
 * #syscalls:loop ioctl(KVM_SET_USER_MEMORY_REGION) ioctl(KVM_GET_DIRTY_LOG)
 */
#include <time.h>
#include "vmm/save.h"
#include "vmm/vm.h"

#define SLICE_WRITE	256u		/* pages written in one turn of the loop */
#define SLICE_LOOK	8192u		/* pages looked at */
#define FEW		512u		/* pages that may be left to the pause */
#define ROUNDS_MAX	16u
#define GAP_MIN		8u		/* pages between two ranges of a difference */
#define RANGES		16384u		/* of a difference, at most about this many */
#define DRAIN_NS	200000u		/* between two looks at the devices */
#define DRAIN_MAX_NS	30000000000ull	/* then a device is stuck, and the save fails */
#define WAIT_MAX_NS	600000000000ull	/* for a word */

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static bool has(const uint64_t *map, uint64_t page)
{
	return map[page / 64] >> page % 64 & 1;
}

static void put(uint64_t *map, uint64_t page)
{
	map[page / 64] |= 1ull << page % 64;
}

static size_t words(const struct save *s)
{
	return s->npages / 64 + 1;
}

/* ---- which pages ---- */

/* KVM's log of every region, or-ed into todo; with @on, it is switched on or off instead. */
static int kvm_log(struct vm *vm, const bool *on)
{
	struct save *s = &vm->save;
	uint64_t first = 0;
	int rc = 0;

	for (unsigned i = 0; i < vm->mem.n && !rc; i++) {
		const struct gmem_region *r = &vm->mem.r[i];
		uint64_t n = r->len / GMEM_PAGE;
		auto_mem uint64_t *log = on ? NULL : calloc(n / 64 + 1, sizeof(*log));

		if (on)
			rc = kvm_memory_log(&vm->kvm, i, r->base, r->len, r->hva, *on);
		else
			rc = log ? kvm_dirty_log(&vm->kvm, i, log) : -ENOMEM;
		for (uint64_t p = 0; log && !rc && p < n; p++)
			if (!(p % 64) && !log[p / 64])
				p += 63;
			else if (has(log, p))
				put(s->todo, first + p);
		first += n;
	}
	return rc;
}

/* Pages of a range that is not part of this snapshot, between two that are, if it is short. */
static void close_gaps(struct save *s)
{
	uint64_t gap = s->npages / RANGES > GAP_MIN ? s->npages / RANGES : GAP_MIN;
	uint64_t last = UINT64_MAX;

	for (uint64_t p = 0; p < s->npages; p++) {
		if (!(p % 64) && !s->todo[p / 64] && !s->have[p / 64]) {
			p += 63;
			continue;
		}
		if (!has(s->todo, p) && !has(s->have, p))
			continue;
		for (uint64_t g = last + 1; last != UINT64_MAX && p - last <= gap && g < p; g++)
			put(s->todo, g);
		last = p;
	}
}

/* Everything written since the last time, into todo. */
static int collect(struct vm *vm)
{
	struct save *s = &vm->save;
	int rc = s->logged ? kvm_log(vm, NULL) : 0;

	for (size_t i = 0; i < words(s); i++)
		s->own[i] |= s->todo[i] |=
			__atomic_exchange_n(&vm->mem.dirty[i], 0, __ATOMIC_ACQ_REL);
	if (s->diff)
		close_gaps(s);
	s->cursor = 0;
	s->left = 0;
	for (size_t i = 0; i < words(s); i++)
		s->left += (uint64_t)__builtin_popcountll(s->todo[i]);
	return rc;
}

/* ---- copying ---- */

static bool is_zero(const unsigned char *page)
{
	const uint64_t *w = (const uint64_t *)(const void *)page;

	for (unsigned i = 0; i < GMEM_PAGE / sizeof(*w); i++)
		if (w[i])
			return false;
	return true;
}

static int write_at(int fd, const void *from, size_t len, uint64_t off, struct err *e)
{
	const uint8_t *p = from;

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

/* What `sums` says of a page that is not of this snapshot is 0, so no page's own sum is. */
uint32_t snapshot_sum(const void *page)
{
	uint32_t crc = blob_crc(page, GMEM_PAGE);

	return crc ? crc : 1;
}

/* A page of zeroes, which is not there yet, neither in memory nor in the page cache. */
static bool is_hole(struct vm *vm, uint64_t page)
{
	const struct save *s = &vm->save;

	return s->own_known && !has(s->own, page) ? snapshot_hole(vm, page) :
	       gmem_next_data(&vm->mem, page) != page;
}

static int copy_page(struct vm *vm, uint64_t page, uint64_t *n, struct err *e)
{
	static const unsigned char zeroes[GMEM_PAGE];
	struct save *s = &vm->save;
	const unsigned char *p = gmem_page(&vm->mem, page);
	bool hole = is_hole(vm, page);

	s->todo[page / 64] &= ~(1ull << page % 64);
	put(s->have, page);
	if (hole)
		p = zeroes;		/* to read it would fill it */
	s->sums[page] = hole ? s->zero_sum : snapshot_sum(p);
	if (!has(s->written, page) && (hole || is_zero(p)))
		return 0;
	put(s->written, page);
	++*n;
	return write_at(s->fd[SAVE_MEMORY], p, GMEM_PAGE, page * GMEM_PAGE, e);
}

/* From the cursor on, at most so many pages. */
static int copy(struct vm *vm, uint64_t look, uint64_t max, struct err *e)
{
	struct save *s = &vm->save;
	uint64_t n = 0;
	int rc = 0;

	for (; !rc && s->cursor < s->npages && look && n < max; s->cursor++) {
		if (!(s->cursor % 64) && !s->todo[s->cursor / 64]) {
			s->cursor += 63;
			continue;
		}
		if (!has(s->todo, s->cursor))
			continue;
		rc = copy_page(vm, s->cursor, &n, e);
		look--;
	}
	s->copied += n;
	return rc;
}

/* ---- the end ---- */

static void release(struct save *s)
{
	for (unsigned i = 0; i < SAVE_FILES; i++)
		close(s->fd[i]);
	free(s->todo);
	free(s->have);
	free(s->written);
	free(s->own);
	free(s->sums);
	s->phase = SAVE_NONE;
}

static void finish(struct vm *vm, int rc, const char *text)
{
	static const bool off;

	int log = vm->save.logged ? kvm_log(vm, &off) : 0;

	if (log)
		log_say(LOG_LEVEL_WARN, "KVM goes on logging what is written: %s", strerror(-log));
	release(&vm->save);
	control_answer(&vm->control, rc, text);
}

static void let_go(struct vm *vm)
{
	for (unsigned i = 0; i < vm->nslots; i++)
		if (vm->slot[i].dev->held)
			virtio_release(vm->slot[i].dev);
	vm_go_on(vm);
}

/* Checksums, then the state that has their checksum, cut to length. */
static int write_rest(struct vm *vm, struct blob *b, struct err *e)
{
	struct save *s = &vm->save;
	size_t len = s->npages * sizeof(*s->sums);
	int rc = snapshot_describe(vm, s, b, e);

	if (!rc)
		rc = write_at(s->fd[SAVE_SUMS], s->sums, len, 0, e);
	if (!rc && (ftruncate(s->fd[SAVE_SUMS], (off_t)len) ||
		    ftruncate(s->fd[SAVE_STATE], (off_t)b->len)))
		rc = err_set(e, -errno, "size the snapshot's files");
	return rc ? rc : write_at(s->fd[SAVE_STATE], b->p, b->len, 0, e);
}

/* The vCPUs are out of the guest and nothing is in flight. */
static void take(struct vm *vm)
{
	struct save *s = &vm->save;
	struct err e = { 0 };
	char text[160];
	struct blob b;
	int rc = collect(vm);

	blob_init(&b);
	if (rc)
		err_set(&e, rc, "KVM_GET_DIRTY_LOG");
	if (!rc)
		rc = copy(vm, UINT64_MAX, UINT64_MAX, &e);
	if (!rc)
		rc = snapshot_state(vm, &b, &e);
	let_go(vm);
	s->pause_ns = now_ns() - s->paused_at;
	if (!rc)
		rc = write_rest(vm, &b, &e);
	blob_free(&b);
	snprintf(text, sizeof(text), "pause=%llu total=%llu rounds=%u pages=%llu kind=%s",
		 (unsigned long long)s->pause_ns, (unsigned long long)(now_ns() - s->began),
		 s->round, (unsigned long long)s->copied, s->diff ? "diff" : "full");
	finish(vm, rc, rc ? e.msg : text);
}

static void on_tick(struct op *op, int res);

/* Nothing was saved, and the machine goes on. */
static void give_up(struct vm *vm, int rc, const char *why)
{
	let_go(vm);
	finish(vm, rc, why);
}

static void tick_again(struct vm *vm, uint64_t ns)
{
	if (loop_timer(&vm->loop, &vm->save.tick, ns, on_tick))
		give_up(vm, -EBUSY, "io_uring is full");
}

static void wait_for_word(struct vm *vm)
{
	vm->save.phase = SAVE_WAITING;
	if (control_ask(&vm->control, "still"))
		give_up(vm, -EPIPE, "who asked has gone");
	else
		tick_again(vm, WAIT_MAX_NS);
}

/* The answer comes when the tick has ended, as the operation is this save's own. */
void save_word(struct vm *vm, bool go)
{
	if (vm->save.phase != SAVE_WAITING)
		return;
	vm->save.phase = SAVE_TOLD;
	vm->save.go = go;
	loop_cancel(&vm->save.tick);
}

/* The devices take nothing more; once what they had taken is done, the state can be read. */
static void drain(struct vm *vm)
{
	bool idle = true;

	for (unsigned i = 0; i < vm->nslots; i++) {
		struct virtio_dev *d = vm->slot[i].dev;

		if (!d->held)
			virtio_hold(d);
		idle &= virtio_idle(d);
	}
	if (idle && vm->save.wait)
		wait_for_word(vm);
	else if (idle || now_ns() - vm->save.paused_at >= DRAIN_MAX_NS)
		take(vm);		/* or it says which device is not */
	else
		tick_again(vm, DRAIN_NS);
}

static void go_on_copying(struct vm *vm)
{
	struct save *s = &vm->save;
	struct err e = { 0 };
	uint64_t before = s->left;
	int rc = copy(vm, SLICE_LOOK, SLICE_WRITE, &e);

	if (!rc && s->cursor >= s->npages) {
		s->round++;
		rc = collect(vm);
		if (rc)
			err_set(&e, rc, "KVM_GET_DIRTY_LOG");
		if (!rc && (s->left <= FEW || s->round >= ROUNDS_MAX ||
			    s->left > before - before / 4)) {
			s->phase = SAVE_PAUSING;
			s->paused_at = now_ns();
			vm_pause(vm);
			return;
		}
	}
	if (rc)
		finish(vm, rc, e.msg);
	else
		tick_again(vm, 1);
}

static void on_tick(struct op *op, int res)
{
	struct vm *vm = container_of(op, struct vm, save.tick);

	(void)res;
	if (vm->end != VM_RUNNING) {
		give_up(vm, -ECANCELED, "the machine has ended");
		return;
	}
	switch (vm->save.phase) {
	case SAVE_COPYING:
		go_on_copying(vm);
		break;
	case SAVE_WAITING:
		give_up(vm, -ETIMEDOUT, "no word came");
		break;
	case SAVE_TOLD:
		if (vm->save.go)
			take(vm);
		else
			give_up(vm, -ECANCELED, "who asked gave it up");
		break;
	case SAVE_NONE:
	case SAVE_PAUSING:
	case SAVE_DRAINING:
		drain(vm);
	}
}

void save_paused(struct vm *vm)
{
	if (vm->save.phase != SAVE_PAUSING)
		return;
	if (vm->end != VM_RUNNING) {
		finish(vm, -ECANCELED, "the machine has ended");
		return;
	}
	vm->save.phase = SAVE_DRAINING;
	drain(vm);
}

void save_cancel(struct vm *vm)
{
	if (vm->save.phase != SAVE_NONE)
		loop_cancel(&vm->save.tick);
}

/* ---- the beginning ---- */

static int prepare(struct vm *vm, bool diff, struct err *e)
{
	static const unsigned char zeroes[GMEM_PAGE];
	static const bool on = true;
	struct save *s = &vm->save;

	s->npages = gmem_pages(&vm->mem);
	s->todo = calloc(words(s), sizeof(uint64_t));
	s->have = calloc(words(s), sizeof(uint64_t));
	s->written = calloc(words(s), sizeof(uint64_t));
	s->own = calloc(words(s), sizeof(uint64_t));
	s->sums = calloc(s->npages, sizeof(*s->sums));
	s->zero_sum = snapshot_sum(zeroes);
	if (!s->todo || !s->have || !s->written || !s->own || !s->sums)
		return err_set(e, -ENOMEM, "save the machine");
	if (ftruncate(s->fd[SAVE_MEMORY], 0) ||
	    ftruncate(s->fd[SAVE_MEMORY], (off_t)(s->npages * GMEM_PAGE)))
		return err_set(e, -errno, "size the snapshot's memory file");
	for (size_t i = 0; i < words(s); i++)
		__atomic_store_n(&vm->mem.dirty[i], 0, __ATOMIC_RELEASE);
	s->logged = !kvm_log(vm, &on);
	s->own_known = snapshot_written(vm, s->own);
	memcpy(s->todo, s->own, words(s) * sizeof(*s->todo));
	s->diff = diff && s->own_known && snapshot_changed(vm, s->todo);
	if (!s->diff)
		for (uint64_t p = 0; p < s->npages; p++)
			put(s->todo, p);
	else
		close_gaps(s);
	s->left = s->npages;
	return 0;
}

void save_begin(struct vm *vm, const int fd[SAVE_FILES], bool diff, bool wait)
{
	struct save *s = &vm->save;
	struct err e = { 0 };
	int rc;

	BUG_ON(s->phase != SAVE_NONE);		/* the socket takes one request at a time */
	*s = (struct save){ .phase = SAVE_COPYING, .began = now_ns(),
			     .wait = wait };
	memcpy(s->fd, fd, sizeof(s->fd));
	rc = vm->end == VM_RUNNING ? prepare(vm, diff, &e) :
				     err_say(&e, -ECANCELED, "the machine has ended");
	if (rc) {
		finish(vm, rc, e.msg);
	} else if (s->logged) {
		tick_again(vm, 1);
	} else {
		s->phase = SAVE_PAUSING;
		s->paused_at = now_ns();
		vm_pause(vm);
	}
}
