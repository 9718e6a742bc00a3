# SPDX-License-Identifier: Apache-2.0
"""The command with the real agent but without a machine: fake_vmm.py stands in for the monitor, so
each case takes a second and not a boot. What the guest adds is tested on real machines elsewhere;
here it is the command's own promises.

    from fake import Failure, check, equal, ...
    def test_something(p): ...      # p: a Place of its own
    if __name__ == "__main__":
        sys.exit(fake.main("word", globals()))

A test is a function test_*, and fails by raising (verdict.py). Arguments are parts of the
names to run.
"""
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(1, os.path.dirname(HERE))
from verdict import Failure, Report, check, equal  # noqa: E402

TOP = os.path.dirname(os.path.dirname(HERE))
OUT = os.path.join(TOP, os.environ.get("O", "build"))
SANDBOX = os.path.abspath(os.environ.get("SANDBOX", os.path.join(OUT, "sandbox")))
SECONDS = 240
RUN = [SANDBOX, "run", "--cold"]
os.umask(0o022)     # whatever the caller's is


class Place:
    """Folders and environment of one test; at its end nothing may be left in them."""

    def __init__(self):
        self.top = tempfile.mkdtemp(prefix="cli-")
        self.home = tempfile.mkdtemp(prefix="cli-home-")    # in top it would have that guarded
        self.runtime = os.path.join(self.top, "rt")
        os.mkdir(self.runtime, 0o700)
        self.file = os.path.join(self.top, "kernel")
        with open(self.file, "w") as f:
            f.write("not looked at")
        self.pid_file = os.path.join(self.top, "pid")
        self.env = dict(os.environ, SANDBOX_VMM=os.path.join(HERE, "fake_vmm.py"),
                        HOME=self.home, XDG_RUNTIME_DIR=self.runtime, FAKE_PID=self.pid_file,
                        XDG_CACHE_HOME=os.path.join(self.top, "cache"),
                        XDG_CONFIG_HOME=os.path.join(self.top, "config"),
                        XDG_DATA_HOME=os.path.join(self.top, "data"),
                        XDG_STATE_HOME=os.path.join(self.top, "state"))
        self.env.pop("FAKE_MODE", None)
        self.children = []
        self.guest = ["--kernel", self.file, "--initrd", self.file]

    def argv(self, args):
        return RUN + self.guest + list(args)

    def run(self, *args, stdin=b"", **env):
        return subprocess.run(self.argv(args), input=stdin, capture_output=True, timeout=SECONDS,
                              env={**self.env, **env})

    def start(self, *args, env=None, **kw):
        kw = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE,
              **kw}
        child = subprocess.Popen(self.argv(args), env={**self.env, **(env or {})}, **kw)
        self.children.append(child)
        return child

    def left(self):
        """Sockets and folders of sandboxes that are still there."""
        top = os.path.join(self.runtime, "sandbox")
        return sorted(os.listdir(top)) if os.path.isdir(top) else []

    def monitor(self):
        wait(lambda: os.path.exists(self.pid_file) and os.path.getsize(self.pid_file),
             "the monitor did not start")
        with open(self.pid_file) as f:
            return int(f.read())

    def close(self):
        for child in self.children:
            if child.poll() is None:
                child.kill()
                child.wait()
        shutil.rmtree(self.top)
        shutil.rmtree(self.home)


def wait(condition, text, seconds=100):
    until = time.monotonic() + seconds
    while not condition():
        check(time.monotonic() < until, text)
        time.sleep(0.02)


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def running(word):
    """Processes with that word in their command line: commands of the guest carry a mark."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                if word.encode() in f.read().split(b"\0") and alive(pid):
                    found.append(int(pid))
        except OSError:
            pass
    return found


def until_line(stream, want):
    line = b""
    while not line.endswith(b"\n"):
        check(select.select([stream], [], [], 100)[0], f"{want!r} did not come: {line!r}")
        byte = os.read(stream.fileno(), 1)
        check(byte, f"{want!r} did not come: {line!r}")
        line += byte
    equal(line, want, "the command's line")


def refused(r, sentence, status=125):
    """One sentence on stderr, nothing on stdout, the status."""
    equal((r.returncode, r.stdout), (status, b""), f"status and stdout ({r.stderr!r})")
    lines = r.stderr.decode().splitlines()
    equal(len(lines), 1, f"lines of {lines}")
    check(lines[0].startswith("sandbox: ") and sentence in lines[0],
          f"{lines[0]!r} does not say {sentence!r}")


# ---- the loop --------------------------------------------------------------------------------

def main(word, module):
    # A job in the background may have been started with some of them ignored.
    for signo in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(signo, signal.SIG_DFL)
    tests = [(n[5:].replace("_", " "), f) for n, f in module.items() if n.startswith("test_")]
    report = Report()
    for name, test in tests:
        if not all(w in name for w in sys.argv[1:]):
            continue
        place = Place()
        try:
            report.run(f"{word}: {name}", test, place)
        finally:
            place.close()
    return report.failed != 0
