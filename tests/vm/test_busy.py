# SPDX-License-Identifier: Apache-2.0
"""Every device saved in the middle of its work (busy.c).

The guest keeps requests in flight on rng, disk, balloon, console and vsock, at the processor's own
speed, and looks at what comes of each. It is saved, goes on, and goes on from what was saved, which
is saved again: nothing may be lost, done twice, or be another's.
"""
import os
import re
import shutil
import socket
import struct
import threading
import time
from harness import OUT, Vm, check, equal

SIZE = 1 << 20              # of the disk
GENERATIONS = 3
DEVICES = ("rng", "blk", "balloon", "console", "vsock")


class Busy(Vm):
    """One with a control socket. @folder: where it goes on from; None: it begins."""

    def __init__(self, vmm, name, disk, folder=None):
        how = {"restore": folder} if folder else {"kernel": os.path.join(OUT, "tests/vm/busy"),
                                                  "memory": "64M"}
        self.control, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control.settimeout(60)
        super().__init__(name, vmm, disk=disk, control_fd=self.theirs.fileno(), **how)
        self.fds = [self.theirs.fileno()]
        self.start()
        self.theirs.close()

    def close(self):
        super().close()
        self.control.close()

    def work(self):
        """The last report: how much each device has done."""
        found = re.findall(r"^work (.*)\n", self.console(), re.M)
        words = found[-1].split() if found else []
        return dict(zip(words[::2], map(int, words[1::2])))

    def wait(self, until, what):
        end = time.monotonic() + 60
        while not until():
            check(self.child.poll() is None, f"{self.name} ended; {self.status} {self.tail()}")
            bad = re.search(r"^bad .*$", self.console(), re.M)
            check(not bad, f"{self.name}: {bad and bad.group()}")
            check(time.monotonic() < end, f"{self.name}: not within 60 s: {what}; {self.tail()}")
            time.sleep(0.02)

    def goes_on(self, beyond):
        """Every device does more than that, and more again."""
        for _ in range(2):
            self.wait(lambda: all(self.work().get(d, 0) > beyond[d] for d in DEVICES),
                      f"more work than {beyond}")
            beyond = self.work()

    def lines(self):
        return [int(n) for n in re.findall(r"^line (\d{11}) *\n", self.console(), re.M)]

    def save(self, folder, disk, copy):
        """As `sandbox` does it: the disk is copied while the machine stands still. The last line
        on its console by then."""
        os.mkdir(folder)
        fds = [os.open(os.path.join(folder, n), os.O_RDWR | os.O_CREAT, 0o600)
               for n in ("state", "memory", "sums")]
        socket.send_fds(self.control, [b"snapshot wait"], fds)
        for fd in fds:
            os.close(fd)
        equal(self.control.recv(500), b"still", "the first answer")
        last = self.lines()
        shutil.copyfile(disk, copy)
        self.control.send(b"go")
        answer = self.control.recv(500).decode()
        check(answer.startswith("ok "), f"the answer {answer!r}")
        return last[-1]


class Stream:
    """The numbers that the guest sends on a connection."""

    def __init__(self, vm):
        self.s = vm.connect()
        self.s.sendall(b"CONNECT 7\n")
        line = b""
        while not line.endswith(b"\n"):
            line += self.s.recv(1)
        check(line.startswith(b"OK "), f"the answer to CONNECT: {line}")
        self.next, self.wrong, self.end = 0, None, None
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        rest = b""
        try:
            while True:
                data = self.s.recv(1 << 16)
                if not data:
                    self.end = "end"
                    return
                rest += data
                whole = len(rest) // 8
                got = struct.unpack_from(f"<{whole}Q", rest)
                if got != tuple(range(self.next, self.next + whole)):
                    self.wrong = f"not {self.next}.. but {got[:4]}"
                self.next += whole
                rest = rest[whole * 8:]
        except OSError as e:
            self.end = str(e)

    def goes_on(self, vm):
        before = self.next
        vm.wait(lambda: self.next > before + 10000 or self.wrong or self.end, "more of the stream")
        check(not self.wrong and not self.end, f"the stream: {self.wrong} {self.end}")

    def close(self):
        self.s.close()
        self.thread.join(10)


def generation(vm, disk, limits, number):
    """Save @vm and go on from there. The next one, which has to be closed, and its disk."""
    folder, copy = os.path.join(vm.dir, "saved"), os.path.join(vm.dir, "copy")
    stream = Stream(vm)
    stream.goes_on(vm)
    gone = vm.console().count("gone\n")
    last = vm.save(folder, disk, copy)
    before = vm.work()
    vm.goes_on(before)
    stream.goes_on(vm)
    equal(vm.console().count("gone\n"), gone, "ends of connections because of the save")
    lines = vm.lines()
    check(lines == list(range(lines[0], lines[0] + len(lines))), "lines of its console")

    after = Busy(vm.vmm, f"generation {number}", copy + limits, folder)
    try:
        after.wait(lambda: "gone\n" in after.console(), "word of the connection's end")
        Stream(after).close()
        after.wait(lambda: after.console().count("gone\n") >= 2, "the end of the next one")
        new = Stream(after)
        after.goes_on(before)
        new.goes_on(after)
        new.close()
        equal(after.lines()[0], last + 1, "the first line on its console")
    except BaseException:
        after.close()
        raise
    finally:
        stream.close()
    return after, copy


def goes_on_from(vmm, limits):
    vm = Busy(vmm, "the first", lambda v: disk_of(v) + limits)
    old = []
    try:
        vm.wait(lambda: vm.work().get("blk", 0) > 0, "work")
        disk = os.path.join(vm.dir, "disk")
        for number in range(1, GENERATIONS + 1):
            old.append(vm)
            vm, disk = generation(vm, disk, limits, number)
    finally:
        for v in old + [vm]:
            v.close()


def disk_of(vm):
    path = os.path.join(vm.dir, "disk")
    with open(path, "wb") as f:
        f.truncate(SIZE)
    return path


def every_device_goes_on_where_it_was_saved(vmm):
    goes_on_from(vmm, "")


def requests_that_wait_for_a_limit_go_on_too(vmm):
    """Five are always under way, and twenty a second end."""
    goes_on_from(vmm, ",iops=20")


TESTS = [every_device_goes_on_where_it_was_saved, requests_that_wait_for_a_limit_go_on_too]
