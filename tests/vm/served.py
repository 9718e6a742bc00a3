# SPDX-License-Identifier: Apache-2.0
"""The hostile guest's machine with something behind it: two disks that are files, and shared
folders with a server of their own, in its jail."""
import array
import fcntl
import hashlib
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from harness import SANITIZER, check, equal
from test_hostile import hostile

ROOT, DISK = 1 << 20, 16 << 20
WINDOW = 64 * ((1 << 20) + 4096)
SHARES = ("rw", "ro", "cow")
FIRST = {"root": b"the-root", "disk": b"the-disk", "rw": b"file--rw", "ro": b"file--ro",
         "cow": b"file-cow"}
SERVER_GROWTH_KIB = 16 << 10
WALLS = ("mount", "net", "root", "seccomp")


def number(text):
    """What a guest says of the first bytes of something."""
    return int.from_bytes(text, "little")


def digest(path):
    """Of all that is in a folder: names, kinds, rights, contents."""
    state = hashlib.sha256()
    for folder, dirs, files in sorted(os.walk(path)):
        for name in sorted(dirs + files):
            full = os.path.join(folder, name)
            state.update(f"{full} {os.lstat(full).st_mode}".encode(errors="surrogateescape"))
            if os.path.isfile(full) and not os.path.islink(full):
                with open(full, "rb") as f:
                    state.update(f.read())
    return state.digest()


class Server:
    """A sandbox-fsd with three shares in a folder. Beside them lies `out`, which is not shared."""

    def __init__(self, vmm, top):
        self.top, self.log = top, os.path.join(top, "server.log")
        for name in (*SHARES, "upper", "out"):
            os.mkdir(os.path.join(top, name))
            with open(os.path.join(top, name, "f"), "wb") as f:
                f.write(FIRST.get(name, b"nobody's"))
        os.unlink(os.path.join(top, "upper", "f"))
        with open(os.path.join(top, "rw", "big"), "wb") as f:
            f.truncate(16 << 20)
        self.window = os.memfd_create("window", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
        os.ftruncate(self.window, WINDOW)
        fcntl.fcntl(self.window, fcntl.F_ADD_SEALS,
                    fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        self.theirs, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control, control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control.settimeout(60)
        fds = [self.window, ours.fileno(), control.fileno()]
        near = os.path.dirname(vmm)
        program = os.path.join(near, "record-fsd" if "record" in vmm else "sandbox-fsd")
        with open(self.log, "wb") as log:
            self.child = subprocess.Popen(
                [program, "--window-fd", str(fds[0]), "--socket-fd", str(fds[1]),
                 "--control-fd", str(fds[2])], pass_fds=fds, stderr=log)
        ours.close()
        control.close()
        self.share()

    def ask(self, words, *paths):
        fds = [os.open(p, os.O_PATH) for p in paths]
        self.control.sendmsg([words.encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS,
                                                 array.array("i", fds))] if fds else [])
        for fd in fds:
            os.close(fd)
        answer = self.control.recv(512).decode()
        check(answer.startswith("ok"), f"the server said {answer!r} to {words!r}")
        return answer[3:]

    def share(self):
        walls = self.ask("jail").split()
        check(set(WALLS) <= set(walls), f"the server's walls are {walls}")
        for i, mode in enumerate(SHARES):
            folders = [os.path.join(self.top, mode)]
            if mode == "cow":
                folders.append(os.path.join(self.top, "upper"))
            self.ask(f"share {i} {mode} none", *folders)
        self.before = self.own_kib()

    def stats(self):
        return {k: int(v) for k, v in re.findall(r"(\w+) (\d+)", self.ask("stats"))}

    def own_kib(self):
        with open(f"/proc/{self.child.pid}/status", encoding="ascii") as f:
            return int(re.search(r"RssAnon:\s*(\d+)", f.read()).group(1))

    def ticks(self):
        with open(f"/proc/{self.child.pid}/stat", encoding="ascii") as f:
            return sum(map(int, f.read().rsplit(")", 1)[1].split()[11:13]))

    def words(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()

    def is_well(self):
        """It has answered everything, is no larger than it may be, and stands still."""
        check(self.child.poll() is None, f"the server ended: {self.words()}")
        grown = self.own_kib() - self.before
        check(grown < max(SERVER_GROWTH_KIB, 2 * self.before), f"the server grew by {grown} KiB")
        begin = self.ticks()
        time.sleep(0.2)
        check(self.ticks() - begin < 10, "the server spins")

    def end(self):
        """By itself, when its machine has ended: status and words."""
        return self.child.wait(60), self.words()

    def close(self):
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()
        os.close(self.window)
        self.theirs.close()
        self.control.close()


class Served:
    """The machine `vm` and its `server`. A context manager."""

    def __init__(self, case, vmm, seed=1, limits=""):
        self.vm = vm = hostile(case, vmm, seed)
        self.top = tempfile.mkdtemp(prefix="sandbox-vm-")
        for name, size in (("root", ROOT), ("disk", DISK)):
            with open(self.path(name), "wb") as f:
                f.write(FIRST[name])
                f.truncate(size)
        self.server = Server(vmm, self.top)
        vm.fds = [self.server.window, self.server.theirs.fileno()]
        vm.args.update(root=self.path("root") + ",ro", disk=self.path("disk") + limits,
                       fs=f"{vm.fds[0]},{vm.fds[1]}")
        self.fixed = self.nothing_of_the_guest()

    def path(self, name):
        return os.path.join(self.top, name)

    def nothing_of_the_guest(self):
        """What no guest may have changed."""
        with open(self.path("root"), "rb") as f:
            root = hashlib.sha256(f.read()).digest()
        return [root, *(digest(self.path(d)) for d in ("ro", "cow", "out"))]

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        try:
            if kind is None:
                self.holds()
        finally:
            self.server.close()
            self.vm.close()
            shutil.rmtree(self.top, ignore_errors=True)

    def holds(self):
        """What has to be so after every attack. The monitor has ended."""
        equal(self.nothing_of_the_guest(), self.fixed, "root disk, ro, lower, beside the shares")
        equal(os.path.getsize(self.path("disk")), DISK, "size of the disk")
        words = self.server.words()
        found = SANITIZER.search(words)
        check(not found, f"{found and found.group()}; {words[-6000:]}")
