# SPDX-License-Identifier: Apache-2.0
"""The monitor's side of the window (devices/fs/wire.h), with FUSE requests made by hand."""
import array
import fcntl
import mmap
import os
import shutil
import socket
import struct
import subprocess
import tempfile
from harness import FSD, FSD_ARGS

SLOTS, DATA, HEAD = 64, 1 << 20, 4096
SLOT = DATA + HEAD
(LOOKUP, FORGET, GETATTR, SETATTR, READLINK, SYMLINK, MKNOD, MKDIR, UNLINK, RMDIR, RENAME, LINK,
 OPEN, READ, WRITE, STATFS, RELEASE, FSYNC, SETXATTR, GETXATTR, LISTXATTR, REMOVEXATTR, FLUSH,
 INIT, OPENDIR, READDIR, RELEASEDIR) = (1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18,
                                        20, 21, 22, 23, 24, 25, 26, 27, 28, 29)
SETLK, SETLKW, CREATE, BATCH_FORGET, READDIRPLUS, RENAME2, SYNCFS = 32, 33, 35, 42, 44, 45, 50
ROOT = 1


class Window:
    """A server at the end of a window. A context manager."""

    def __init__(self, window_bytes=SLOTS * SLOT, seal=True, nofile=None):
        self.top = tempfile.mkdtemp(prefix="sandbox-fs-", dir=os.environ.get("FS_TMP"))
        self.nofile = nofile
        self.start(window_bytes, seal)

    def start(self, window_bytes=SLOTS * SLOT, seal=True):
        fd = os.memfd_create("window", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
        os.ftruncate(fd, window_bytes)
        if seal:
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS,
                        fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        self.window = mmap.mmap(fd, window_bytes)
        self.sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control, their_control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock.settimeout(100)
        self.control.settimeout(100)
        fds = [fd, theirs.fileno(), their_control.fileno()]
        prefix = ["prlimit", f"--nofile={self.nofile}"] if self.nofile else []
        self.process = subprocess.Popen(
            [*prefix, FSD, "--window-fd", str(fds[0]), "--socket-fd", str(fds[1]),
             "--control-fd", str(fds[2]), *FSD_ARGS], pass_fds=fds, stderr=subprocess.PIPE)
        os.close(fd)
        theirs.close()
        their_control.close()
        self.unique = 0

    def end(self):
        """Close the socket; the server's status and words."""
        self.sock.close()
        self.control.close()
        self.window.close()
        try:
            text = self.process.communicate(timeout=100)[1].decode()
        finally:
            self.process.kill()
        return self.process.returncode, text

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        try:
            status, text = self.end()
            assert kind or (status == 0 and not text), f"status {status}: {text}"
        finally:
            shutil.rmtree(self.top, ignore_errors=True)

    # ---- control ----

    def ask(self, words, *paths, fds=()):
        """A request in words; its answer."""
        fds = [*fds, *(os.open(p, os.O_PATH) for p in paths)]
        self.control.sendmsg([words.encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS,
                                                 array.array("i", fds))] if fds else [])
        for fd in fds[len(fds) - len(paths):]:
            os.close(fd)
        return self.control.recv(512).decode()

    def folder(self, name):
        path = os.path.join(self.top, name)
        os.makedirs(path, exist_ok=True)
        return path

    def share(self, number, mode, name, cache="auto"):
        """Share a folder of ours; its path."""
        paths = [self.folder(name)] + ([self.folder(name + ".upper")] if mode == "cow" else [])
        answer = self.ask(f"share {number} {mode} {cache}", *paths)
        assert answer == "ok", answer
        return paths[0]

    # ---- requests ----

    def send(self, slot, data, room=SLOT, length=None):
        self.window[slot * SLOT:slot * SLOT + len(data)] = data
        self.sock.send(struct.pack("<IIII", slot, len(data) if length is None else length, room, 0))

    def receive(self):
        """(slot, bytes of the reply)"""
        slot, length, room, zero = struct.unpack("<IIII", self.sock.recv(64))
        assert slot < SLOTS and length <= SLOT and not room and not zero
        return slot, self.window[slot * SLOT:slot * SLOT + length]

    def raw(self, data, slot=0, room=SLOT):
        self.send(slot, data, room)
        got, reply = self.receive()
        assert got == slot
        return reply

    def header(self, opcode, node, body, length=None, uid=0, gid=0):
        self.unique += 1
        return struct.pack("<IIQQIIIHH", 40 + len(body) if length is None else length, opcode,
                           self.unique, node, uid, gid, 0, 0, 0) + body

    def call(self, opcode, node, body=b"", room=SLOT, slot=0):
        """(0, payload), or (errno, b'')"""
        reply = self.raw(self.header(opcode, node, body), slot, room)
        length, error, unique = struct.unpack_from("<IiQ", reply)
        assert unique == self.unique and length == len(reply), (length, len(reply))
        return -error, reply[16:]

    def ok(self, opcode, node, body=b"", **kw):
        error, reply = self.call(opcode, node, body, **kw)
        assert error == 0, f"opcode {opcode}: {os.strerror(error)}"
        return reply

    def init(self):
        return self.ok(INIT, 0, struct.pack("<IIII", 7, 38, 1 << 20, 0xffffffff) + bytes(48))

    def lookup(self, node, name):
        """The number of a name's node."""
        return struct.unpack_from("<Q", self.ok(LOOKUP, node, name.encode() + b"\0"))[0]

    def walk(self, *names):
        node = ROOT
        for name in names:
            node = self.lookup(node, name)
        return node

    def open(self, node, flags=os.O_RDONLY, opcode=OPEN):
        return struct.unpack_from("<Q", self.ok(opcode, node, struct.pack("<II", flags, 0)))[0]

    def read_request(self, fh, at, n):
        return struct.pack("<QQIIQII", fh, at, n, 0, 0, 0, 0)

    def read(self, node, fh, at=0, n=DATA):
        return self.ok(READ, node, self.read_request(fh, at, n))

    def write(self, node, fh, data, at=0):
        body = struct.pack("<QQIIQII", fh, at, len(data), 0, 0, 0, 0) + data
        return struct.unpack("<II", self.ok(WRITE, node, body))[0]

    def size(self, node):
        return struct.unpack_from("<16xQQ", self.ok(GETATTR, node, bytes(16)))[1]
