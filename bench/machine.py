# SPDX-License-Identifier: Apache-2.0
"""A monitor under observation: its marks, its processor time, its memory."""
import ctypes
import glob
import os
import platform
import re
import select
import shutil
import struct
import subprocess
import tempfile
import time

from common import GUESTCTL, RUNS, SANDBOX, VMM, tool


def template():
    """A snapshot folder: the one that `sandbox run` makes and uses. The first run makes it."""
    done = subprocess.run([SANDBOX, "run", "--", "true"], stdin=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"`sandbox run -- true`: {done.stderr.strip()[-200:]}")
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    found = [os.path.dirname(x) for x in glob.glob(f"{cache}/sandbox/templates/*/state")]
    if not found:
        raise RuntimeError("`sandbox run` left no template")
    return max(found, key=lambda d: os.stat(d).st_mtime)    # marked at each use


class Process:
    """A program started through at_exec. Its lines on the pipe become self.marks: word -> ns."""

    def __init__(self, argv, log=subprocess.DEVNULL, pass_fds=()):
        self.read_fd, write_fd = os.pipe()
        argv = [str(write_fd) if a == "FD" else a for a in argv]
        self.child = subprocess.Popen([tool("at_exec"), str(write_fd), *argv],
                                      stdin=subprocess.PIPE, stdout=log, stderr=log,
                                      pass_fds=[write_fd, *pass_fds])
        os.close(write_fd)
        self.marks, self.text = {}, b""

    @property
    def pid(self):
        return self.child.pid

    def wait_mark(self, word, seconds=60):
        until = time.monotonic() + seconds
        while word not in self.marks:
            if not select.select([self.read_fd], [], [], max(0, until - time.monotonic()))[0]:
                raise RuntimeError(f"no '{word}' within {seconds} s")
            got = os.read(self.read_fd, 4096)
            if not got:
                raise RuntimeError(f"it ended before '{word}': {self.text.decode()!r}")
            self.text += got
            for line in self.text.decode().splitlines():
                name, _, rest = line.partition(" ")
                self.marks[name] = int(rest) if rest.isdigit() else rest
        return self.marks[word]

    def exec_to_run(self):
        """Nanoseconds from its exec to just before its first KVM_RUN."""
        return self.wait_mark("run") - self.wait_mark("start")

    def close(self):
        self.child.kill()
        self.child.wait()
        self.child.stdin.close()
        os.close(self.read_fd)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Monitor(Process):
    """sandbox-vmm with a socket device, in a folder of its own. With `listen`, self.ready is a
    process that prints `ready ...` when the guest's agent reports."""

    def __init__(self, *args, log=subprocess.DEVNULL, listen=False):
        self.dir = tempfile.mkdtemp(prefix="sandbox-bench-")
        self.socket = os.path.join(self.dir, "v")
        self.ready = subprocess.Popen([GUESTCTL, self.socket, "--wait", "600", "ready"],
                                      stdout=subprocess.PIPE, text=True) if listen else None
        if listen:
            self.ready.stdout.readline()        # it listens
        super().__init__([VMM, "--vsock", self.socket, "--boot-timeout", "0",
                          "--status-fd", "FD", *args], log)

    def exec_trips(self, runs, *argv):
        return trips(self.socket, "52", runs, *argv)

    def ping(self):
        subprocess.run([GUESTCTL, self.socket, "--wait", "120", "ping"], check=True)

    def close(self):
        super().close()
        if self.ready and self.ready.poll() is None:
            self.ready.kill()
            self.ready.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


def trips(socket, port, runs=RUNS, *argv):
    """JSON lines of exec_trip."""
    return subprocess.run([tool("exec_trip"), socket, port, str(runs), *argv], check=True,
                          stdout=subprocess.PIPE, text=True, timeout=600).stdout


# ---- /proc


def read(path):
    with open(path, encoding="ascii", errors="replace") as f:
        return f.read()


def threads_ns(pid):
    """Processor time of each thread so far: (name, id) -> nanoseconds."""
    times = {}
    for path in glob.glob(f"/proc/{pid}/task/*"):
        try:
            name, ran = read(path + "/comm").strip(), read(path + "/schedstat").split()[0]
        except (FileNotFoundError, ProcessLookupError):
            continue        # ended in between
        times[name, path.rsplit("/", 1)[1]] = int(ran)
    return times


PERF_EVENT_OPEN = {"x86_64": 298, "aarch64": 241}
INHERIT_FROM_EXEC = 1 | 1 << 1 | 1 << 12        # disabled, inherit, enable_on_exec


class Counter:
    """Processor time of a thread, readable when it is gone; with INHERIT_FROM_EXEC that of a
    process from its next exec on, and of all that come from it. Where the kernel does not let
    it be opened, exact is false and ns() is 0."""

    def __init__(self, tid, flags=0):
        attr = struct.pack("=IIQQQQQ", 1, 112, 1, 0, 0, 0, flags).ljust(112, b"\0")
        call = ctypes.CDLL(None).syscall        # type 1, config 1: the software's task clock
        self.fd = call(PERF_EVENT_OPEN[platform.machine()], attr, int(tid), -1, -1, 0)
        self.exact = self.fd >= 0

    def ns(self):
        return struct.unpack("=Q", os.read(self.fd, 8))[0] if self.exact else 0

    def close(self):
        ns = self.ns()
        if self.exact:
            os.close(self.fd)
        return ns


class ThreadClock:
    """All the processor time of a thread that runs already: by a counter (exact), or, where there
    is none, as it was when look() was called last. schedstat is behind by up to a tick while the
    thread runs, so what it had used before the counter is the largest difference ever seen."""

    def __init__(self, pid, tid):
        self.path = f"/proc/{pid}/task/{tid}/schedstat"
        self.counter = Counter(tid)
        self.exact = self.counter.exact
        self.before = 0
        self.look()

    def look(self):
        try:
            ns = int(read(self.path).split()[0])
        except (FileNotFoundError, ProcessLookupError):
            return
        self.before = max(self.before, ns - self.counter.ns())

    def close(self):
        """The time, in nanoseconds."""
        return self.before + self.counter.close()


def cpu_ns(pid):
    return sum(threads_ns(pid).values())


def smaps(pid):
    """Mappings as dictionaries: name, size in bytes, and smaps' fields in KiB."""
    maps = []
    for line in read(f"/proc/{pid}/smaps").splitlines():
        head = re.match(r"([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ \S+\s*(.*)", line)
        field = re.match(r"(\w+):\s+(\d+) kB", line)
        if head:
            begin, end, name = head.groups()
            maps.append({"name": name, "bytes": int(end, 16) - int(begin, 16)})
        elif field:
            maps[-1][field.group(1)] = int(field.group(2))
    return maps


def memory(pid, guest_bytes):
    """KiB (private of the process itself, private of its guest, shared of its guest). A mapping
    of at least 15/16 of the guest's memory is the guest's: the parts of a split one would
    not be, but no monitor here splits 128 MiB."""
    own = private = shared = 0
    for m in smaps(pid):
        dirty = m.get("Private_Dirty", 0)
        if m["bytes"] >= guest_bytes // 16 * 15:
            private += dirty
            shared += m.get("Rss", 0) - dirty
        else:
            own += dirty
    return own, private, shared
