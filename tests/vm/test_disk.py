# SPDX-License-Identifier: Apache-2.0
"""The two disks of a Linux guest, as files of the host: what is read, written, refused."""
import hashlib
import os
from harness import check, equal

ROOT, DISK = 1 << 20, 8 << 20


def path(vm, name):
    return os.path.join(vm.dir, name)


def make(vm, name, size):
    with open(path(vm, name), "wb") as f:
        f.write(os.urandom(size))
    return path(vm, name)


DISKS = {"root": lambda vm: make(vm, "root", ROOT) + ",ro",
         "disk": lambda vm: make(vm, "disk", DISK) + ",id=a-disk"}


def read(vm, name, offset=0, size=-1):
    with open(path(vm, name), "rb") as f:
        f.seek(offset)
        return f.read(size)


def disks_are_what_was_asked_for(vm):
    equal(vm.good("cd /sys/block; cat vda/size vda/ro vdb/size vdb/ro; cat vdb/serial").split(),
          [str(ROOT // 512), "1", str(DISK // 512), "0", "a-disk"], "sizes, read-only, id")


def disk_is_read(vm):
    equal(vm.good("dd if=/dev/vda bs=16k skip=2 count=2 2>/dev/null | sha256sum").split()[0],
          hashlib.sha256(read(vm, "root", 32 << 10, 32 << 10)).hexdigest(), "digest")


def disk_is_written_and_flushed(vm):
    before = read(vm, "disk")
    data = os.urandom(5 * 512)
    vm.good("cat >/tmp/data; dd if=/tmp/data of=/dev/vdb bs=512 seek=100 conv=notrunc,fsync "
            "2>/dev/null", stdin=data)
    after = read(vm, "disk")
    equal(after[100 * 512:105 * 512], data, "what was written")
    check(after[:100 * 512] == before[:100 * 512] and after[105 * 512:] == before[105 * 512:],
          "something else changed")


def read_only_disk_is_not_written(vm):
    before = read(vm, "root")
    result = vm.run("dd if=/dev/zero of=/dev/vda bs=512 count=1 conv=notrunc,fsync")
    check(result.rc != 0, f"it was written: {result}")
    check(read(vm, "root") == before, "the file changed")


def discarded_blocks_go_back_to_the_host(vm):
    before = os.stat(path(vm, "disk")).st_blocks
    vm.good("blkdiscard -o 1048576 -l 2097152 /dev/vdb")
    equal(read(vm, "disk", 1 << 20, 2 << 20), bytes(2 << 20), "what was discarded")
    check(os.stat(path(vm, "disk")).st_blocks <= before - 4000, "the file holds as much as before")


def nothing_is_beyond_the_end(vm):
    result = vm.run(f"dd if=/dev/zero of=/dev/vdb bs=512 seek={DISK // 512} count=1 "
                    "conv=notrunc,fsync")
    check(b"No space left" in result.err, f"{result}")
    equal(os.path.getsize(path(vm, "disk")), DISK, "size of the file")


TESTS = [disks_are_what_was_asked_for, disk_is_read, disk_is_written_and_flushed,
         read_only_disk_is_not_written, discarded_blocks_go_back_to_the_host,
         nothing_is_beyond_the_end]
