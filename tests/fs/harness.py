# SPDX-License-Identifier: Apache-2.0
"""What the tests of sandbox-fsd share: a server with a mount on this host, and counting.

A test is a function, and fails by raising (verdict.py). A Mount is a server with one share for each
mode (rw, cow, ro), and what lies behind them:

    m.rw, m.cow, m.ro        as clients see them
    m.host_rw, m.lower, m.upper, m.host_ro      the folders on the host
"""
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(1, os.path.dirname(HERE))
from verdict import NotHere, Report      # noqa: E402

ROOT = os.path.dirname(os.path.dirname(HERE))
# FSD: another server, as one with sanitizers (FSD_ARGS="--jail none").
FSD = os.environ.get("FSD") or os.path.join(ROOT, os.environ.get("O", "build"), "sandbox-fsd")
FSD_ARGS = os.environ.get("FSD_ARGS", "").split()
os.umask(0o022)     # whatever the caller's is: tests look at modes
LONG = os.environ.get("TEST_LONG", "0") not in ("", "0")


def wait_for(what, condition, seconds=100):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds} s for {what}")
        time.sleep(0.01)


def put(path, data=b"x"):
    with open(path, "wb") as f:
        f.write(data)


def get(path):
    with open(path, "rb") as f:
        return f.read()


def is_mounted(path):
    with open("/proc/self/mounts", encoding="utf-8") as f:
        return any(line.split()[1].replace("\\040", " ") == path for line in f)


class Mount:
    """A server and its mount. A context manager."""

    def __init__(self, nofile=None, cache="auto", fill=None):
        if not os.access("/dev/fuse", os.R_OK | os.W_OK):
            raise NotHere("/dev/fuse cannot be opened")
        self.top = tempfile.mkdtemp(prefix="sandbox-fs-", dir=os.environ.get("FS_TMP"))
        for name in ("mnt", "rw", "lower", "upper", "ro"):
            os.mkdir(os.path.join(self.top, name))
        self.mnt = os.path.join(self.top, "mnt")
        self.host_rw, self.lower, self.upper, self.host_ro = (
            os.path.join(self.top, n) for n in ("rw", "lower", "upper", "ro"))
        self.rw, self.cow, self.ro = (os.path.join(self.mnt, str(i)) for i in range(3))
        self.args = ["--cache", cache, *FSD_ARGS]
        self.nofile = nofile
        self.process = None
        try:
            if fill:
                fill(self)
            self.start()
        except BaseException:
            shutil.rmtree(self.top, ignore_errors=True)
            raise

    def start(self):
        def limits():
            if self.nofile:
                resource.setrlimit(resource.RLIMIT_NOFILE, (self.nofile, self.nofile))

        self.process = subprocess.Popen(
            [FSD, "--mount", self.mnt, "--share", f"0:rw:{self.host_rw}",
             "--share", f"1:cow:{self.lower}:{self.upper}", "--share", f"2:ro:{self.host_ro}",
             *self.args], preexec_fn=limits, stderr=subprocess.PIPE)
        wait_for("the mount", lambda: is_mounted(self.mnt) or self.process.poll() is not None)
        if self.process.poll() is not None:
            raise AssertionError(self.process.stderr.read().decode())

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(100)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError("the server did not end") from None
        text = self.process.stderr.read().decode()
        assert self.process.returncode == 0 and not text, f"{self.process.returncode}: {text}"

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        try:
            self.stop()
        finally:
            if is_mounted(self.mnt):
                subprocess.run(["umount", "-l", self.mnt], check=False)
            shutil.rmtree(self.top, ignore_errors=True)


def run(*argv, cwd=None, limit=300, env=None):
    done = subprocess.run(argv, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=limit, check=False, env={**os.environ, **(env or {})})
    text = done.stdout.decode(errors="replace")
    assert done.returncode == 0, f"{' '.join(argv)}: status {done.returncode}: {text[-800:]}"
    return text


def failure(kind, function, *args, **kw):
    """Assert that it fails so: the error's name."""
    try:
        function(*args, **kw)
    except OSError as e:
        assert e.errno == kind, f"{e} instead of {os.strerror(kind)}"
        return
    raise AssertionError(f"{function.__name__}{args} succeeded")


def main(tests):
    """Run those that are named in argv, or all. `ok NAME` and the like on stdout."""
    report = Report()
    for test in tests:
        name = "fs: " + (test.__doc__ or test.__name__).split("\n", maxsplit=1)[0].rstrip(".")
        if len(sys.argv) > 1 and not any(a in name or a in test.__name__ for a in sys.argv[1:]):
            continue
        report.run(name, test)
    return report.failed != 0
