/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file system device against a server that is played here, packet by packet.
 */
#include <fcntl.h>
#include <linux/fuse.h>
#include <linux/virtio_fs.h>
#include <sys/mman.h>
#include "agent/proto.h"
#include "devices/fs/wire.h"
#include "devices/registry.h"
#include "tests/unit/rig.h"

enum { HIPRIO, REQUEST };

static struct rig r;
static int peer;		/* the server's end */
static unsigned char *window;
static int sock, memfd;		/* the device's end */

static void make_window(uint64_t size, int seals)
{
	memfd = memfd_create("window", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	cr_assert_geq(memfd, 0);
	cr_assert_eq(ftruncate(memfd, (off_t)size), 0);
	cr_assert_eq(fcntl(memfd, F_ADD_SEALS, seals), 0);
}

static struct conf_dev make_conf(void)
{
	int pair[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	peer = pair[1];
	sock = pair[0];
	make_window(FS_WINDOW_BYTES, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	return (struct conf_dev){ .dev = "fs", .fs_window = memfd, .fs_socket = sock };
}

static void set_up(void)
{
	struct conf_dev c;

	log_level(LOG_LEVEL_ERROR);
	c = make_conf();
	window = mmap(NULL, FS_WINDOW_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
	cr_assert_neq(window, MAP_FAILED);
	rig_open(&r, virtio_ops_find("fs"), &c);
}

static void tear_down(void)
{
	rig_close(&r);
	close(sock);
	close(memfd);
	if (peer >= 0)
		close(peer);
	munmap(window, FS_WINDOW_BYTES);
}

TestSuite(fs, .init = set_up, .fini = tear_down, .timeout = 30);

/* ---- both sides ---- */

/* What a round queues is submitted by the next one. */
static void run(void)
{
	for (unsigned i = 0; i < 3; i++)
		rig_run(&r);
}

static uint16_t ask_with(unsigned queue, uint64_t unique, const void *extra, uint32_t len,
			 uint32_t room)
{
	const struct fuse_in_header h = { .len = (uint32_t)sizeof(h) + len, .opcode = FUSE_GETATTR,
					  .unique = unique };
	const struct rig_part parts[] = {
		{ &h, sizeof(h), false }, { extra, len, false }, { NULL, room, true },
	};
	struct rig_part used[3];
	unsigned n = 0;
	uint16_t head;

	for (unsigned i = 0; i < ARRAY_LEN(parts); i++)
		if (parts[i].len)
			used[n++] = parts[i];
	head = rig_add(&r, queue, used, n);
	rig_kick(&r, queue);
	run();
	return head;
}

static uint16_t ask(uint64_t unique)
{
	return ask_with(REQUEST, unique, "hello", 5, 64);
}

static bool packet_waits(struct fs_packet *p)
{
	return recv(peer, p, sizeof(*p), MSG_DONTWAIT) == sizeof(*p);
}

static struct fs_packet next_packet(void)
{
	struct fs_packet p = { 0 };

	cr_assert(packet_waits(&p), "the server got no packet");
	return p;
}

static void give_back(uint32_t slot, uint32_t len)
{
	const struct fs_packet p = { .slot = slot, .len = len };

	cr_assert_eq(send(peer, &p, sizeof(p), 0), sizeof(p));
	run();
}

/* Reply to @slot with a header and @text; the header's words are wrong on purpose. */
static void respond(uint32_t slot, const char *text)
{
	const struct fuse_out_header h = { .len = 0xdead, .error = 0, .unique = 0xbad };
	unsigned char *at = window + (size_t)slot * FS_SLOT_BYTES;
	uint32_t n = (uint32_t)strlen(text);

	memcpy(at, &h, sizeof(h));
	memcpy(at + sizeof(h), text, n);
	give_back(slot, (uint32_t)sizeof(h) + n);
}

/* The next used chain is @head, and its reply is only a header with @error. */
static void expect_error(uint16_t head, uint64_t unique, int error)
{
	struct fuse_out_header h;
	uint32_t len = 0;

	cr_assert_eq(rig_used(&r, REQUEST, &len), head);
	cr_assert_eq(len, sizeof(h));
	memcpy(&h, rig_part_at(&r, REQUEST, head, 2), sizeof(h));
	cr_assert_eq(h.len, sizeof(h));
	cr_assert_eq(h.error, -error);
	cr_assert_eq(h.unique, unique);
}

/* ---- what works ---- */

Test(fs, the_configuration_names_the_tag_and_one_queue)
{
	struct virtio_fs_config c;

	virtio_cfg_read(r.d, 0, &c, sizeof(c));
	cr_assert_eq(strncmp((char *)c.tag, PROTO_FS_TAG, sizeof(c.tag)), 0);
	cr_assert_eq(c.num_request_queues, 1);
}

Test(fs, a_request_reaches_the_server_and_its_reply_the_guest)
{
	struct fuse_in_header in;
	struct fuse_out_header out;
	struct fs_packet p;
	uint32_t len = 0;
	uint16_t head;

	rig_start(&r, 0);
	head = ask(77);
	p = next_packet();
	cr_assert_lt(p.slot, FS_SLOTS);
	cr_assert_eq(p.len, sizeof(in) + 5);
	cr_assert_eq(p.room, 64);
	cr_assert_eq(p.zero, 0);
	memcpy(&in, window + (size_t)p.slot * FS_SLOT_BYTES, sizeof(in));
	cr_assert_eq(in.unique, 77);
	cr_assert_eq(in.len, p.len);
	cr_assert_arr_eq(window + (size_t)p.slot * FS_SLOT_BYTES + sizeof(in), "hello", 5);
	cr_assert_eq(rig_used(&r, REQUEST, NULL), -1);
	rig_irq(&r, NULL);
	respond(p.slot, "world");
	cr_assert_eq(rig_used(&r, REQUEST, &len), head);
	cr_assert_eq(len, sizeof(out) + 5);
	memcpy(&out, rig_part_at(&r, REQUEST, head, 2), sizeof(out));
	cr_assert_eq(out.unique, 77, "the server cannot answer for another request");
	cr_assert_eq(out.len, sizeof(out) + 5);
	cr_assert_arr_eq(rig_part_at(&r, REQUEST, head, 2) + sizeof(out), "world", 5);
	cr_assert_eq(rig_irq(&r, NULL), VIRTIO_MMIO_INT_VRING);
}

Test(fs, replies_come_in_any_order)
{
	struct fs_packet p[3];
	uint16_t head[3];

	rig_start(&r, 0);
	for (unsigned i = 0; i < 3; i++) {
		head[i] = ask(i);
		p[i] = next_packet();
	}
	for (unsigned i = 3; i-- > 0;) {
		respond(p[i].slot, "x");
		cr_assert_eq(rig_used(&r, REQUEST, NULL), head[i]);
	}
}

Test(fs, a_forget_has_no_reply_and_gives_its_slot_back)
{
	uint32_t len = 9;
	uint16_t head;

	rig_start(&r, 0);
	for (unsigned i = 0; i < 2 * FS_SLOTS; i++) {
		r.next_buf = VIRTIO_QUEUES_MAX * RIG_QUEUE;
		head = ask_with(HIPRIO, i, "gone", 4, 0);
		give_back(next_packet().slot, 0);
		cr_assert_eq(rig_used(&r, HIPRIO, &len), head);
		cr_assert_eq(len, 0);
	}
}

Test(fs, a_whole_slot_fits)
{
	const uint32_t room = 600000;	/* what the rig's memory has */
	uint16_t head;
	uint32_t len = 0;
	struct fs_packet p;

	rig_start(&r, 0);
	head = ask_with(REQUEST, 5, NULL, 1000, room);
	p = next_packet();
	memset(window + (size_t)p.slot * FS_SLOT_BYTES, 'z', room);
	give_back(p.slot, room);
	cr_assert_eq(rig_used(&r, REQUEST, &len), head);
	cr_assert_eq(len, room);
	cr_assert_eq(rig_part_at(&r, REQUEST, head, 2)[room - 1], 'z');
}

/*
 * When every slot is out, chains wait, and come as slots come back. The rig's queue is
 * smaller than the window, so resets make orphans of what is out.
 */
Test(fs, requests_beyond_the_slots_wait)
{
	struct fs_packet p[FS_SLOTS], more;
	unsigned out = 0;
	uint16_t head;

	while (out < FS_SLOTS) {
		rig_set(&r, VIRTIO_MMIO_STATUS, 0);
		r.next_buf = VIRTIO_QUEUES_MAX * RIG_QUEUE;
		rig_start(&r, 0);
		for (unsigned i = 0; i < RIG_SIZE / 4; i++) {
			ask(i);
			p[out++] = next_packet();
		}
	}
	head = ask(99);
	cr_assert_not(packet_waits(&more));
	give_back(p[7].slot, 0);
	more = next_packet();
	cr_assert_eq(more.slot, p[7].slot);
	respond(more.slot, "!");
	cr_assert_eq(rig_used(&r, REQUEST, NULL), head);
}

/* ---- without a server ---- */

Test(fs_alone, without_a_server_requests_fail_at_once, .timeout = 30)
{
	rig_open(&r, virtio_ops_find("fs"), NULL);
	rig_start(&r, 0);
	expect_error(ask(3), 3, ENODEV);
	cr_assert(virtio_live(r.d));
	rig_close(&r);
}

Test(fs, the_death_of_the_server_ends_what_it_had_and_all_that_follows)
{
	uint16_t head;

	rig_start(&r, 0);
	head = ask(8);
	next_packet();
	close(peer);
	peer = -1;
	while (!r.q[REQUEST].used[1])
		cr_assert_geq(loop_once(r.loop), 0);
	expect_error(head, 8, EIO);
	expect_error(ask(9), 9, EIO);
	cr_assert(virtio_live(r.d), "the device stays usable");
	rig_set(&r, VIRTIO_MMIO_STATUS, 0);
	rig_start(&r, 0);
	expect_error(ask(10), 10, EIO);
}

static void server_breaks_a_rule(const struct fs_packet *p, size_t n)
{
	uint16_t head;
	char byte;

	rig_start(&r, 0);
	head = ask(8);
	next_packet();
	cr_assert_eq(send(peer, p, n, 0), (ssize_t)n);
	run();
	expect_error(head, 8, EIO);
	cr_assert_eq(recv(peer, &byte, 1, MSG_DONTWAIT), 0, "it was hung up on");
	expect_error(ask(9), 9, EIO);
}

Test(fs, a_server_that_names_no_slot_is_not_heard_again)
{
	server_breaks_a_rule(&(struct fs_packet){ .slot = FS_SLOTS, .len = 16 },
			     sizeof(struct fs_packet));
}

/* So far off that looking it up would be noticed. */
Test(fs, a_server_that_names_a_slot_far_off_is_not_heard_again)
{
	server_breaks_a_rule(&(struct fs_packet){ .slot = 1u << 30, .len = 16 },
			     sizeof(struct fs_packet));
}

Test(fs, a_server_that_gives_back_what_it_has_not_is_not_heard_again)
{
	server_breaks_a_rule(&(struct fs_packet){ .slot = 5, .len = 16 },
			     sizeof(struct fs_packet));
}

Test(fs, a_server_whose_reply_is_longer_than_a_slot_is_not_heard_again)
{
	server_breaks_a_rule(&(struct fs_packet){ .slot = 0, .len = FS_SLOT_BYTES + 1 },
			     sizeof(struct fs_packet));
}

Test(fs, a_server_that_sends_requests_is_not_heard_again)
{
	server_breaks_a_rule(&(struct fs_packet){ .slot = 0, .len = 16, .room = 1 },
			     sizeof(struct fs_packet));
}

Test(fs, a_server_whose_packet_has_a_wrong_size_is_not_heard_again)
{
	const struct fs_packet p[2] = { { .slot = 0, .len = 16 } };

	server_breaks_a_rule(p, sizeof(p));
}

Test(fs, a_slot_comes_back_once)
{
	struct fs_packet p;

	rig_start(&r, 0);
	ask(8);
	p = next_packet();
	respond(p.slot, "");
	cr_assert_geq(rig_used(&r, REQUEST, NULL), 0);
	respond(p.slot, "");
	expect_error(ask(9), 9, EIO);
}

/* ---- a hostile guest ---- */

Test(fs, a_reply_without_room_for_it_is_an_error_of_the_guest_alone)
{
	struct fs_packet p;
	uint16_t head;

	rig_start(&r, 0);
	head = ask_with(REQUEST, 4, "hello", 5, 20);
	p = next_packet();
	respond(p.slot, "world");
	expect_error(head, 4, EIO);
	cr_assert_str_eq(r.d->why, "no room for a reply");
	head = ask(5);
	respond(next_packet().slot, "well");
	cr_assert_eq(rig_used(&r, REQUEST, NULL), head);
}

Test(fs, a_request_without_a_header_reaches_no_server)
{
	struct fs_packet p;
	uint16_t head;
	uint32_t len = 1;

	rig_start(&r, 0);
	head = rig_add(&r, REQUEST, (struct rig_part[]){ { NULL, 39, false }, { NULL, 64, true } },
		       2);
	rig_kick(&r, REQUEST);
	run();
	cr_assert_eq(rig_used(&r, REQUEST, &len), head);
	cr_assert_eq(len, 0);
	cr_assert_str_eq(r.d->why, "a request shorter than its header");
	cr_assert_not(packet_waits(&p));
}

/* More than the rig's memory: descriptors that overlap. */
Test(fs, a_request_longer_than_a_slot_reaches_no_server)
{
	struct rig_part parts[5] = { { NULL, 262144, false } };
	struct fs_packet p;
	uint16_t head;

	rig_start(&r, 0);
	for (unsigned i = 1; i < 5; i++)
		parts[i] = (struct rig_part){ NULL, i < 4 ? 16 : 64, i == 4 };
	head = rig_add(&r, REQUEST, parts, 5);
	for (unsigned i = 1; i < 4; i++) {
		r.q[REQUEST].desc[i].addr = r.q[REQUEST].desc[0].addr;
		r.q[REQUEST].desc[i].len = 262144 + (i == 3 ? 4097 : 0);
	}
	rig_kick(&r, REQUEST);
	run();
	cr_assert_eq(rig_used(&r, REQUEST, NULL), head);
	cr_assert_str_eq(r.d->why, "a request longer than a slot");
	cr_assert_not(packet_waits(&p));
}

/* threat-model.md 7: the reply to a request from before a reset touches no guest memory. */
Test(fs, a_reply_after_a_reset_frees_its_slot_and_nothing_else)
{
	struct fs_packet p, q;
	uint16_t head;

	rig_start(&r, 0);
	ask(8);
	p = next_packet();
	rig_set(&r, VIRTIO_MMIO_STATUS, 0);
	cr_assert_eq(rig_get(&r, VIRTIO_MMIO_STATUS), 0, "a reset does not wait for the server");
	rig_start(&r, 0);
	head = ask(9);
	q = next_packet();
	cr_assert_neq(q.slot, p.slot, "the slot is the server's still");
	respond(p.slot, "late");
	cr_assert_eq(rig_used(&r, REQUEST, NULL), -1);
	respond(q.slot, "new");
	cr_assert_eq(rig_used(&r, REQUEST, NULL), head);
	ask(10);
	cr_assert_eq(next_packet().slot, p.slot, "and then it is free");
}

/* ---- what backs it ---- */

static void refused(struct conf_dev c, const char *why)
{
	struct err e = { 0 };

	cr_assert_null(virtio_new(virtio_ops_find("fs"), &r.mem, r.loop, &c, &e));
	cr_assert(strstr(e.msg, why), "%s", e.msg);
}

Test(fs, a_window_that_could_shrink_is_refused)
{
	close(memfd);
	make_window(FS_WINDOW_BYTES, F_SEAL_GROW);
	refused((struct conf_dev){ .fs_window = memfd, .fs_socket = sock }, "of sealed size");
}

Test(fs, a_window_of_another_size_is_refused)
{
	close(memfd);
	make_window(FS_WINDOW_BYTES - 4096, F_SEAL_SHRINK | F_SEAL_SEAL);
	refused((struct conf_dev){ .fs_window = memfd, .fs_socket = sock }, "instead of");
}

Test(fs, a_stream_is_no_socket_for_it)
{
	int pair[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	refused((struct conf_dev){ .fs_window = memfd, .fs_socket = pair[0] }, "SOCK_SEQPACKET");
	close(pair[0]);
	close(pair[1]);
}
