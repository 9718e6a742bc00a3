/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire.h - between the monitor's virtio-fs device, the file server and who starts both.
 *
 *	sandbox-fsd --window-fd N --socket-fd N --control-fd N [--parent-fd N] [--jail MODE]
 *	sandbox-fsd --mount DIR --share ID:MODE:FOLDER[:UPPER] ...
 *
 * A virtual machine's memory may be a private mapping that no other process sees, so
 * requests travel through a window: one memfd of FS_WINDOW_BYTES whose size is sealed
 * (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL), mapped by both, cut into FS_SLOTS slots.
 * The socket is one end of a SOCK_SEQPACKET pair; every packet is one struct fs_packet.
 *
 *   monitor -> server	slot is free; the monitor has copied the readable part of a chain
 *			into it, `len` bytes, a FUSE request as linux/fuse.h has it, and says in
 *			`room` how many bytes the chain's writable part takes
 *   server -> monitor	the slot is free again; its first `len` bytes are the reply, at
 *			most `room`; 0: this request has no reply (FORGET). `room` is 0
 *
 * A slot belongs to the side that got the last packet about it. Slots are answered in any
 * order. Neither side trusts the other: each number is checked against the constants below
 * and against what is in flight (a slot that is not in flight is a fault, which ends the
 * connection), and each word of the window is read once into private memory before it is
 * checked. File data may change while it is copied; that harms only its reader.
 *
 * The end of the socket ends the server; a server that ends leaves the monitor with
 * requests that it answers with -EIO. In --mount mode the same server serves the host
 * kernel's own client, through /dev/fuse.
 *
 * To the guest all shares are one file system. Its root has a folder for each share, named
 * by its number ("0", "1", ...), and nothing else; it is read-only itself.
 *
 * ---- control ----
 * A SOCK_SEQPACKET socket too. One packet is one request in words, with descriptors where
 * it says so (SCM_RIGHTS); each is answered by one packet, "ok" or "error SENTENCE".
 *
 *	share ID MODE CACHE [UID GID]	  descriptors: the folder, opened with O_PATH; and for cow
 *			the upper folder (upper.h says what is kept there). ID is 0 ...
 *			FS_SHARES - 1 and free; MODE ro, rw, cow; CACHE none, auto, always. UID and
 *			GID are whom in the guest the files of the server's own user belong to (0 0)
 *	unshare ID	the folder vanishes; what is open in it answers ESTALE
 *	save		descriptor: a file, to which inodes and open files are written. No
 *			request may be in flight (the machine is paused and drained)
 *	restore		descriptor: such a file. Shares come first, under the numbers that
 *			they had; what is gone by now answers ESTALE. Before the first request
 *	lock		from now on the server can open nothing but its shares (Landlock), and
 *			takes no other ones. An error where the kernel cannot do that; then it
 *			goes on as before
 *	jail		"ok WALL...": the walls around the server as `sandbox-vmm --try-jail` has
 *			them, -WALL for one that the host refused. Once it is answered, every
 *			thread has its filter: may be asked first, to look before more is given
 *	stats		"ok requests N inodes N handles N descriptors N"
 */
#ifndef DEVICES_FS_WIRE_H
#define DEVICES_FS_WIRE_H
#include "vmm/base.h"

#define FS_SLOTS	64u
#define FS_DATA_MAX	(1u << 20)		/* bytes of file data in one request or reply */
#define FS_HEAD_MAX	4096u			/* what comes before the data, rounded up */
#define FS_SLOT_BYTES	(FS_DATA_MAX + FS_HEAD_MAX)
#define FS_WINDOW_BYTES	((size_t)FS_SLOTS * FS_SLOT_BYTES)
#define FS_SHARES	64u			/* at once */
#define FS_CONTROL_MAX	512u			/* bytes of a request or answer in words */

struct fs_packet {
	uint32_t slot;			/* 0 ... FS_SLOTS - 1 */
	uint32_t len;			/* 0 ... FS_SLOT_BYTES */
	uint32_t room;			/* 0 ... FS_SLOT_BYTES */
	uint32_t zero;
};
_Static_assert(sizeof(struct fs_packet) == 16, "struct fs_packet is shared between programs");
#endif
