/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/un.h>
#include <time.h>
#include "vmm/loop.h"

static struct loop loop;
static int last;
static unsigned calls;

static void open_loop(void)
{
	struct err e = { 0 };

	cr_assert_eq(loop_init(&loop, 8, &e), 0, "%s", e.msg);
	cr_assert_eq(loop_restrict(&loop, NULL, 0), 0);
}

static void close_loop(void)
{
	loop_exit(&loop);
}

TestSuite(loop, .init = open_loop, .fini = close_loop, .timeout = 20);

static void keep(struct op *op, int res)
{
	(void)op;
	last = res;
	calls++;
}

static void keep_and_stop(struct op *op, int res)
{
	keep(op, res);
	op->loop->stop = true;
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

Test(loop, a_read_fills_its_parts_and_completes_once)
{
	unsigned char a[16], b[48];
	struct iovec v[2] = { { a, sizeof(a) }, { b, sizeof(b) } };
	struct op op = { 0 };
	auto_fd fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);

	memset(a, 1, sizeof(a));
	memset(b, 1, sizeof(b));
	cr_assert_eq(loop_readv(&loop, &op, fd, v, 2, 0, keep_and_stop), 0);
	cr_assert(op.busy && loop.busy == 1);
	cr_assert_eq(loop_run(&loop), 0);
	cr_assert(!op.busy && loop.busy == 0 && calls == 1);
	cr_assert_eq(last, 64);
	cr_assert(!a[0] && !a[15] && !b[0] && !b[47]);
}

Test(loop, an_error_arrives_as_the_result)
{
	struct op op = { 0 };
	char c;

	cr_assert_eq(loop_read(&loop, &op, 1 << 20, &c, 1, 0, keep_and_stop), 0);
	cr_assert_eq(loop_run(&loop), 0);
	cr_assert_eq(last, -EBADF);
}

struct again { struct op op; int fd; uint64_t v; unsigned seen; };

static void on_again(struct op *op, int res)
{
	struct again *a = container_of(op, struct again, op);

	last = res;
	if (++a->seen == 3)
		op->loop->stop = true;
	else if (eventfd_write(a->fd, 1) ||
		 loop_read(op->loop, op, a->fd, &a->v, sizeof(a->v), 0, on_again))
		abort();
}

Test(loop, a_callback_may_start_its_operation_again)
{
	struct again a = { .fd = eventfd(1, EFD_CLOEXEC) };

	cr_assert_eq(loop_read(&loop, &a.op, a.fd, &a.v, sizeof(a.v), 0, on_again), 0);
	cr_assert_eq(loop_run(&loop), 0);
	cr_assert_eq(a.seen, 3);
	cr_assert_eq(last, 8);
	close(a.fd);
}

/* threat-model.md 7: cancelling is a request; the one completion still comes first. */
Test(loop, a_cancelled_operation_completes_exactly_once)
{
	auto_fd fd = eventfd(0, EFD_CLOEXEC);
	struct op op = { 0 };
	uint64_t v;

	cr_assert_eq(loop_read(&loop, &op, fd, &v, sizeof(v), 0, keep), 0);
	loop_cancel(&op);
	loop_cancel(&op);		/* asking twice is harmless */
	cr_assert(op.busy);
	loop.stop = true;
	cr_assert_eq(loop_run(&loop), 0);	/* ends only when nothing is busy */
	cr_assert(!op.busy);
	cr_assert_eq(calls, 1);
	cr_assert_eq(last, -ECANCELED);
	loop_cancel(&op);		/* idle: nothing to ask */
}

Test(loop, a_timer_fires_after_its_time_and_can_be_cancelled)
{
	struct op t = { 0 }, u = { 0 };
	uint64_t start = now_ns();

	cr_assert_eq(loop_timer(&loop, &t, 30000000, keep_and_stop), 0);
	cr_assert_eq(loop_run(&loop), 0);
	cr_assert_eq(last, -ETIME);
	cr_assert_geq(now_ns() - start, 30000000);
	loop.stop = false;
	cr_assert_eq(loop_timer(&loop, &u, 3600ull * 1000000000, keep_and_stop), 0);
	loop_cancel(&u);
	cr_assert_eq(loop_run(&loop), 0);
	cr_assert_eq(last, -ECANCELED);
}

Test(loop, more_operations_than_slots_all_complete)
{
	auto_fd fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	static struct op op[100];
	static char c[100];

	for (unsigned i = 0; i < ARRAY_LEN(op); i++)
		cr_assert_eq(loop_read(&loop, &op[i], fd, &c[i], 1, 0, keep), 0);
	loop.stop = true;
	cr_assert_eq(loop_run(&loop), 0);
	cr_assert_eq(calls, ARRAY_LEN(op));
}

static struct op accepting, receiving, sending;
static int served = -1;
static char inbox[8];

static void on_received(struct op *op, int res)
{
	last = res;
	op->loop->stop = true;
}

static void on_accepted(struct op *op, int res)
{
	served = res;
	if (res < 0 || loop_recv(op->loop, &receiving, res, inbox, sizeof(inbox), 0, on_received))
		abort();
}

Test(loop, sockets_accept_send_and_receive)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX, .sun_path = "" };
	socklen_t n;
	auto_fd l = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	auto_fd c = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	/* An abstract name: nothing to clean up. */
	n = (socklen_t)snprintf(sa.sun_path + 1, 100, "sandbox-test-%d", getpid());
	n += (socklen_t)offsetof(struct sockaddr_un, sun_path) + 1;
	cr_assert_eq(bind(l, (struct sockaddr *)&sa, n), 0);
	cr_assert_eq(listen(l, 1), 0);
	cr_assert_eq(loop_accept(&loop, &accepting, l, on_accepted), 0);
	cr_assert_eq(connect(c, (struct sockaddr *)&sa, n), 0);
	cr_assert_eq(loop_send(&loop, &sending, c, "hello", 5, 0, keep), 0);
	cr_assert_eq(loop_run(&loop), 0);
	cr_assert_eq(last, 5);
	cr_assert_arr_eq(inbox, "hello", 5);
	cr_assert(fcntl(served, F_GETFD) & FD_CLOEXEC);
	close(served);
	/* A peer that is gone is a result and not a SIGPIPE. */
	cr_assert_eq(loop_send(&loop, &sending, c, "x", 1, 0, keep_and_stop), 0);
	cr_assert_eq(loop_run(&loop), 0);
	cr_assert_eq(last, -EPIPE);
}

Test(loop, poll_tells_what_is_ready)
{
	struct op op = { 0 };
	int p[2];

	cr_assert_eq(pipe2(p, O_CLOEXEC), 0);
	cr_assert_eq(write(p[1], "x", 1), 1);
	cr_assert_eq(loop_poll(&loop, &op, p[0], POLLIN, keep_and_stop), 0);
	cr_assert_eq(loop_run(&loop), 0);
	cr_assert_eq(last & POLLIN, POLLIN);
	close(p[0]);
	close(p[1]);
}

/* ---- requests from other threads ---------------------------------------------------------- */

#define THREADS 4
#define EACH	500

struct sum { struct loop_call call; unsigned *total, add; };
static unsigned done_threads;
static struct op held_timer;
static struct loop_call *held;

static void add_now(struct loop_call *c)
{
	struct sum *s = container_of(c, struct sum, call);

	if (!pthread_equal(pthread_self(), loop.thread))
		abort();
	*s->total += s->add;		/* no lock: this is the loop's thread */
	loop_call_done(c);
}

static void one_thread_less(struct loop_call *c)
{
	loop.stop = ++done_threads == THREADS;
	loop_call_done(c);
}

static void *caller(void *total)
{
	struct sum s = { .call.fn = add_now, .total = total, .add = 1 };
	struct loop_call bye = { .fn = one_thread_less };

	for (unsigned i = 0; i < EACH; i++)
		loop_call(&loop, &s.call);
	loop_call(&loop, &bye);
	return NULL;
}

Test(loop, calls_of_several_threads_run_on_the_loop_and_return_when_done)
{
	pthread_t t[THREADS];
	unsigned total = 0;

	for (unsigned i = 0; i < THREADS; i++)
		cr_assert_eq(pthread_create(&t[i], NULL, caller, &total), 0);
	cr_assert_eq(loop_run(&loop), 0);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	cr_assert_eq(total, THREADS * EACH);
}

static unsigned order[3], ordered;

static void note_order(struct loop_call *c)
{
	order[ordered++] = (unsigned)(uintptr_t)container_of(c, struct sum, call)->add;
	loop_call_done(c);
}

Test(loop, posts_of_one_thread_run_oldest_first)
{
	struct sum s[3];

	for (unsigned i = 0; i < 3; i++) {
		s[i] = (struct sum){ .call.fn = note_order, .add = i };
		loop_post(&loop, &s[i].call);
	}
	while (ordered < 3)
		cr_assert_eq(loop_once(&loop), 0);
	cr_assert(order[0] == 0 && order[1] == 1 && order[2] == 2);
	cr_assert(s[0].call.state == 1 && s[2].call.state == 1);
}

static void finish_later(struct op *op, int res)
{
	(void)res;
	op->loop->stop = true;
	last = 42;			/* before the call is finished, so the caller sees it */
	loop_call_done(held);
}

static void hold(struct loop_call *c)
{
	held = c;
	if (loop_timer(&loop, &held_timer, 20000000, finish_later))
		abort();
}

static int seen_by_caller;
static uint64_t waited;

static void *deferred_caller(void *arg)
{
	struct loop_call c = { .fn = hold };
	uint64_t start = now_ns();

	(void)arg;
	loop_call(&loop, &c);
	seen_by_caller = last;
	waited = now_ns() - start;
	return NULL;
}

Test(loop, a_call_may_be_finished_later)
{
	pthread_t t;

	cr_assert_eq(pthread_create(&t, NULL, deferred_caller, NULL), 0);
	cr_assert_eq(loop_run(&loop), 0);
	pthread_join(t, NULL);
	cr_assert_eq(seen_by_caller, 42);
	cr_assert_geq(waited, 20000000);
}

/* ---- restrictions ---- */

/* A ring of its own, before it is enabled. */
static void open_disabled(struct loop *l)
{
	struct err e = { 0 };

	cr_assert_eq(loop_init(l, 8, &e), 0, "%s", e.msg);
}

Test(loop_restrict, what_was_queued_before_is_done_afterwards)
{
	const uint8_t ops[] = { IORING_OP_READ };
	struct op op = { 0 };
	unsigned char byte = 1;
	auto_fd fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);

	open_disabled(&loop);
	cr_assert_eq(loop_read(&loop, &op, fd, &byte, 1, 0, keep_and_stop), 0);
	cr_assert_eq(loop_restrict(&loop, ops, ARRAY_LEN(ops)), 0);
	cr_assert_eq(loop_run(&loop), 0);
	cr_assert(last == 1 && byte == 0);
	close_loop();
}

Test(loop_restrict, an_operation_outside_the_list_is_refused)
{
	const uint8_t ops[] = { IORING_OP_READ };
	const struct iovec v = { .iov_base = (char[]){ "x" }, .iov_len = 1 };
	struct op op = { 0 };
	auto_fd fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

	open_disabled(&loop);
	cr_assert_eq(loop_restrict(&loop, ops, ARRAY_LEN(ops)), 0);
	cr_assert_eq(loop_writev(&loop, &op, fd, &v, 1, 0, 0, keep_and_stop), 0);
	cr_assert_eq(loop_run(&loop), 0);
	cr_assert_eq(last, -EACCES);
	close_loop();
}

Test(loop_restrict, flags_and_later_registrations_are_refused)
{
	const uint8_t ops[] = { IORING_OP_READ };
	struct op op = { 0 };
	unsigned char byte = 1;
	auto_fd fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	int files[1] = { fd };

	open_disabled(&loop);
	cr_assert_eq(loop_restrict(&loop, ops, ARRAY_LEN(ops)), 0);
	cr_assert_eq(io_uring_register_files(&loop.ring, files, 1), -EACCES);
	cr_assert_eq(loop_keep(&loop, fd), fd);
	cr_assert_eq(loop_read(&loop, &op, fd, &byte, 1, 0, keep_and_stop), 0);
	loop.ring.sq.sqes[(loop.ring.sq.sqe_tail - 1) & *loop.ring.sq.kring_mask].flags |=
		IOSQE_ASYNC;
	cr_assert_eq(loop_run(&loop), 0);
	cr_assert_eq(last, -EACCES);
	close_loop();
}

struct late_count { struct loop_late late; unsigned calls; };

static void count_late(struct loop_late *late)
{
	container_of(late, struct late_count, late)->calls++;
}

static struct late_count at_end = { .late = { .fn = count_late } };

static void ask_late(struct op *op, int res)
{
	(void)res;
	loop_late(op->loop, &at_end.late);
	cr_assert_eq(at_end.calls, 0);
}

/* The ring's own hold: the descriptor may go, and comes under its slot; with restrictions, too. */
Test(loop_restrict, kept_files_are_read_and_let_go)
{
	const uint8_t ops[] = { IORING_OP_READ };
	int file[LOOP_KEPT_MAX], end[2], other = memfd_create("other", MFD_CLOEXEC);
	struct op op = { 0 };
	char byte = 0;

	open_disabled(&loop);
	cr_assert_eq(loop_keep(&loop, -1), -1);
	cr_assert_eq(pipe2(end, O_CLOEXEC | O_NONBLOCK), 0);
	cr_assert_eq(pwrite(other, "abcdefgh", 8, 0), 8);
	for (unsigned i = 0; i < LOOP_KEPT_MAX; i++) {
		file[i] = loop_keep(&loop, i ? other : end[1]);
		cr_assert_eq(file[i], LOOP_KEPT + (int)i);
	}
	cr_assert_eq(loop_keep(&loop, other), other);		/* no more room */
	close(other);
	close(end[1]);
	cr_assert_eq(read(end[0], &byte, 1), -1);		/* the ring still has it */
	cr_assert_eq(errno, EAGAIN);
	loop_forget(&loop, file[0]);
	for (int i = 0; i < 1000 && read(end[0], &byte, 1); i++)
		poll(NULL, 0, 10);		/* the kernel lets go a little later */
	cr_assert_eq(read(end[0], &byte, 1), 0);
	cr_assert_eq(loop_keep(&loop, end[0]), file[0]);
	cr_assert_eq(loop_restrict(&loop, ops, ARRAY_LEN(ops)), 0);
	cr_assert_eq(loop_read(&loop, &op, file[7], &byte, 1, 7, keep_and_stop), 0);
	cr_assert_eq(loop_run(&loop), 0);
	cr_assert(last == 1 && byte == 'h');
	close_loop();
	close(end[0]);
}

Test(loop, what_is_put_off_is_done_once_when_the_round_ends)
{
	struct op op[3] = { 0 };
	char c[3];
	auto_fd fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);

	for (unsigned i = 0; i < 3; i++)
		cr_assert_eq(loop_read(&loop, &op[i], fd, &c[i], 1, 0, ask_late), 0);
	cr_assert_geq(loop_once(&loop), 0);
	cr_assert_eq(loop.busy, 0);
	cr_assert_eq(at_end.calls, 1);
	loop_late(&loop, &at_end.late);
	loop.stop = true;
	loop_post(&loop, &(struct loop_call){ .fn = loop_call_done });
	cr_assert_geq(loop_once(&loop), 0);
	cr_assert_eq(at_end.calls, 2);
}

Test(loop, files_are_written_flushed_and_punched)
{
	char text[8192], back[8192];
	struct iovec v[2] = { { text, 4096 }, { text + 4096, 4096 } };
	struct op op = { 0 };
	auto_fd fd = memfd_create("file", MFD_CLOEXEC);

	memset(text, 'a', sizeof(text));
	cr_assert_eq(loop_writev(&loop, &op, fd, v, 2, 0, RWF_DSYNC, keep_and_stop), 0);
	cr_assert_eq(loop_run(&loop), 0);
	cr_assert_eq(last, 8192);
	cr_assert_eq(loop_fdatasync(&loop, &op, fd, keep_and_stop), 0);
	cr_assert_geq(loop_once(&loop), 0);
	cr_assert_eq(last, 0);
	cr_assert_eq(loop_fallocate(&loop, &op, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				    4096, 4096, keep_and_stop), 0);
	while (op.busy)
		cr_assert_geq(loop_once(&loop), 0);
	cr_assert_eq(last, 0);
	cr_assert_eq(pread(fd, back, sizeof(back), 0), 8192);
	cr_assert(back[4095] == 'a' && !back[4096] && !back[8191]);
}
