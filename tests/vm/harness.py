# SPDX-License-Identifier: Apache-2.0
"""Machines for tests: a Vm is one sandbox-vmm process and what can be done to it.

A test is a function in a test_*.py that takes a running Vm, and fails by raising. A Group is
one machine and its tests, in order; a boot takes most of a minute where KVM emulates the
guest's kernel, so tests share one. Nothing here needs more than Python's standard library.
"""
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(1, os.path.dirname(HERE))
from verdict import Failure, Report, Skip, check, equal  # noqa: E402

TOP = os.path.dirname(os.path.dirname(HERE))
OUT = os.path.join(TOP, os.environ.get("O", "build"))
BOOT_SECONDS = int(os.environ.get("BOOT_SECONDS", "600"))
EXEC_SECONDS = int(os.environ.get("EXEC_SECONDS", "180"))
SANITIZER = re.compile(r"WARNING: ThreadSanitizer|ERROR: \w+Sanitizer|runtime error:")


class Result:
    """The end of a command in the guest."""

    def __init__(self, rc, out, err, status):
        self.rc, self.out, self.err, self.status = rc, out, err, status

    def __str__(self):
        return (f"status {self.rc}, {self.status}, stdout {self.out[:300]!r}, "
                f"stderr {self.err[:300]!r}")


class Running:
    """A command in the guest that has not ended yet. Its streams are served from the start, or,
    with `lazy`, not before wait()."""

    def __init__(self, argv, stdin, lazy):
        self.status_r, status_w = os.pipe()
        self.child = subprocess.Popen(
            argv[:2] + ["--status-fd", str(status_w)] + argv[2:], pass_fds=[status_w],
            stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        os.close(status_w)
        self.stdin, self.out, self.err = stdin, b"", b""
        self.server = threading.Thread(target=self.serve, daemon=True)
        if not lazy:
            self.server.start()

    def serve(self):
        self.out, self.err = self.child.communicate(self.stdin)

    def finish(self, timeout):
        """True when it ended by itself in time."""
        if not self.server.ident:
            self.server.start()
        self.server.join(timeout)
        late = self.server.is_alive()
        if late:
            self.child.kill()
            self.server.join()
        with os.fdopen(self.status_r) as f:
            line = f.read()
        return not late, Result(self.child.returncode, self.out, self.err,
                                json.loads(line) if line else {})

    def wait(self, timeout=EXEC_SECONDS):
        good, result = self.finish(timeout)
        check(good, f"no end within {timeout} s; {result}")
        return result

    def kill(self):
        if self.child.poll() is None:
            self.child.kill()
            self.finish(None)


class Vm:
    """One monitor. Arguments are those of its command line, without the dashes; a function as a
    value is called with the Vm, and can make a file in its folder."""

    def __init__(self, name, vmm, **args):
        self.name, self.vmm, self.args = name, vmm, args
        self.dir = tempfile.mkdtemp(prefix="sandbox-vm-")
        self.socket = os.path.join(self.dir, "v")
        self.log = os.path.join(self.dir, "log")
        self.child = self.ready = None
        self.fds = []               # to be inherited
        self.status = []
        self.reader = None
        self.boot_ms = None
        self.features = 0

    # ---- life

    def start(self, socket_device=True):
        argv = [self.vmm, "--console"]
        if socket_device:
            argv += ["--vsock", self.socket]
        for key, value in self.args.items():
            value = value(self) if callable(value) else value
            argv += ["--" + key.replace("_", "-")] + ([] if value is True else [str(value)])
        status_r, status_w = os.pipe()
        parent = os.pidfd_open(os.getpid())     # it ends with this program, however that ends
        argv += ["--status-fd", str(status_w), "--parent-fd", str(parent)]
        with open(self.log, "wb") as log:
            self.child = subprocess.Popen(argv, pass_fds=[status_w, parent, *self.fds], stdout=log,
                                          stdin=subprocess.DEVNULL, stderr=log)
        os.close(status_w)
        os.close(parent)
        self.reader = threading.Thread(target=self.read_status, args=[status_r], daemon=True)
        self.reader.start()
        return self

    def read_status(self, fd):
        with os.fdopen(fd) as f:
            for line in f:
                self.status.append(line.rstrip("\n"))

    def boot(self):
        """Start it and wait for the agent's report."""
        self.ready = subprocess.Popen(
            [os.path.join(OUT, "guestctl"), self.socket, "--wait", str(BOOT_SECONDS), "ready"],
            stdout=subprocess.PIPE, text=True)
        line = self.ready.stdout.readline()
        check(line == "listening\n", f"guestctl ready said {line!r}")
        begin = time.monotonic()
        self.start()
        while self.ready.poll() is None and self.child.poll() is None:
            time.sleep(0.02)
        if self.ready.poll() is None:
            self.ready.kill()
        line = self.ready.communicate()[0]
        check(line.startswith("ready "), f"the agent did not report; {self.status} {self.tail()}")
        self.boot_ms = int((time.monotonic() - begin) * 1000)
        self.features = int(line.split()[2])
        return self

    def end(self, timeout=240):
        """Wait for the machine's end: exit status, and the words of its last status line."""
        try:
            rc = self.child.wait(timeout)
        except subprocess.TimeoutExpired:
            raise Failure(f"still running after {timeout} s; {self.tail()}") from None
        self.reader.join(10)
        last = self.status[-1].split(" ", 2) if self.status else [""]
        return rc, last[1] if last[0] == "end" else None, last[2] if len(last) > 2 else ""

    def close(self):
        for child in (self.ready, self.child):
            if child and child.poll() is None:
                child.kill()
                child.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    # ---- what it said

    def console(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()

    def tail(self, lines=25):
        return "console:\n" + "\n".join(self.console().splitlines()[-lines:])

    def rss_kib(self):
        with open(f"/proc/{self.child.pid}/status", encoding="ascii") as f:
            return {k: int(v.split()[0]) for k, v in
                    (line.split(":") for line in f if line.startswith("Rss"))}

    # ---- commands in the guest

    def spawn(self, command, *options, stdin=None, lazy=False):
        argv = command if isinstance(command, list) else ["sh", "-c", command]
        return Running([os.path.join(OUT, "guestctl"), self.socket, *options, "exec", "--", *argv],
                       stdin, lazy)

    def run(self, command, *options, stdin=None, timeout=EXEC_SECONDS):
        return self.spawn(command, *options, stdin=stdin).wait(timeout)

    def good(self, command, *options, **rest):
        """Run it; it must succeed. Its stdout as text."""
        result = self.run(command, *options, **rest)
        equal(result.rc, 0, f"{command!r}: {result}; status")
        return result.out.decode().strip()

    def control(self, verb):
        return subprocess.run([os.path.join(OUT, "guestctl"), self.socket, verb],
                              timeout=EXEC_SECONDS, check=False).returncode

    def copy_in(self, path, to):
        with open(path, "rb") as f:
            self.good(f"cat >{to} && chmod 755 {to}", stdin=f.read())

    def connect(self):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(100)
        s.connect(self.socket)
        return s


class Group:
    """One machine, its tests, and the test that is its end."""

    def __init__(self, name, tests, end, **args):
        self.name, self.tests, self.end, self.args = name, tests, end, args
