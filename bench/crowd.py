# SPDX-License-Identifier: Apache-2.0
"""Many sandboxes at once: BENCH_CROWD (50) of them.

measure_forks: children of one parent, in five batches. That the last batch costs what the first
one does is what "linear" means; processor time of what was made, of the parent and of the
command, because idle guests take some, too. What they share is read from smaps: a page of guest
memory that is not private is in the page cache, once.

measure_creates: named sandboxes made and started by as many processes at the same time, against
one alone as often. A single failure is a gap in the report.

measure_images: a start from an image when nobody else uses it, and when the others run from it.
The host's page cache holds the image once, whatever number of guests reads it."""
import contextlib
import json
import os
import resource
import shutil
import subprocess
import tempfile
import time

from common import RUNS, SANDBOX
from machine import cpu_ns, smaps, template

CROWD = int(os.environ.get("BENCH_CROWD", "50"))
BATCHES = 5
LIMIT_S = 1800


class Place:
    """A state of its own, and at the end nothing of it is left."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="sandbox-bench-")
        self.env = dict(os.environ, **{f"XDG_{x}": os.path.join(self.dir, x[:3]) for x in
                                       ("STATE_HOME", "RUNTIME_DIR", "DATA_HOME", "CONFIG_HOME")})
        os.mkdir(self.env["XDG_RUNTIME_DIR"], 0o700)

    def begin(self, *args):
        return subprocess.Popen([SANDBOX, *args], env=self.env, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                errors="replace")

    def end(self, child):
        out, err = child.communicate(timeout=LIMIT_S)
        if child.returncode:
            raise RuntimeError(f"{' '.join(child.args[1:])}: {err.strip()[-200:]}")
        return out

    def run(self, *args):
        return self.end(self.begin(*args))

    def running(self):
        """Name -> what `inspect` tells, of each that runs."""
        names = [x["name"] for x in json.loads(self.run("ls", "--json"))]
        told = json.loads(self.run("inspect", *names)) if names else []
        return {x["name"]: x for x in told if x["monitor_pid"]}

    def spent_ns(self, *names):
        """Processor time of these sandboxes so far, and of all commands that have ended."""
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        told = self.running()
        return (used.ru_utime + used.ru_stime) * 1e9 + sum(
            cpu_ns(told[n]["monitor_pid"]) + cpu_ns(told[n]["keeper_pid"]) for n in names)

    def close(self):
        with contextlib.suppress(RuntimeError):
            names = [x["name"] for x in json.loads(self.run("ls", "--json"))]
            if names:
                self.run("rm", "--force", *names)
        shutil.rmtree(self.dir, ignore_errors=True)


@contextlib.contextmanager
def place():
    p = Place()
    try:
        yield p
    finally:
        p.close()


def guest_memory(pid):
    """KiB of guest memory (private, shared): what is mapped from files of a snapshot."""
    private = shared = 0
    for m in smaps(pid):
        if m["name"].endswith(("/memory", "/base")):
            private += m.get("Private_Dirty", 0)
            shared += m.get("Rss", 0) - m.get("Private_Dirty", 0)
    return private, shared


def measure_forks(report):
    template()
    with place() as p:
        p.run("run", "--name", "parent", "--", "true")
        size = max(1, CROWD // BATCHES)
        batches = []
        for i in range(BATCHES):
            begin = p.spent_ns("parent")
            p.run("fork", "parent", "--count", str(size), "--prefix", f"b{i}")
            kids = [n for n in p.running() if n.startswith(f"b{i}-")]
            batches.append((p.spent_ns("parent", *kids) - begin) / size)
        seen = [guest_memory(x["monitor_pid"]) for name, x in p.running().items()
                if name != "parent"]
    if len(seen) != size * BATCHES:
        raise RuntimeError(f"{len(seen)} of {size * BATCHES} children run")
    report.pairs(f"fork of a running sandbox, the last {size} of {len(seen)}: processor time each",
                 f"the first {size}", [batches[-1]], [batches[0]], "ns", "linear is 1")
    report.pairs(f"{len(seen)} forks: guest pages shared with the parent's, from smaps",
                 "all that a child has touched", [s for _, s in seen],
                 [a + b for a, b in seen], "KiB",
                 f"private: {min(a for a, _ in seen)} to {max(a for a, _ in seen)} KiB")


def measure_creates(report):
    template()
    with place() as p:
        alone = []
        for i in range(RUNS):
            begin = time.monotonic()
            p.run("run", "--name", f"alone{i}", "--", "true")
            alone.append(time.monotonic() - begin)
            p.run("rm", "--force", f"alone{i}")
        begin = time.monotonic()
        all_of_them = [p.begin("run", "--name", f"c{i}", "--", "true") for i in range(CROWD)]
        for child in all_of_them:
            p.end(child)
        wall = time.monotonic() - begin
        running = len(p.running())
    if running != CROWD:
        raise RuntimeError(f"{running} of {CROWD} run")
    report.pairs(f"{CROWD} sandboxes created and started at once: time each", "one alone",
                 [wall / CROWD] * RUNS, alone, "s", f"all {CROWD} ran")


def make_image(p):
    """An image of busybox and a file of 16 MiB; its path."""
    root = os.path.join(p.dir, "root")
    os.makedirs(f"{root}/bin")
    shutil.copy("/bin/busybox", f"{root}/bin/busybox")
    for name in ("sh", "true", "cat", "head"):
        os.symlink("busybox", f"{root}/bin/{name}")
    with open(f"{root}/data", "wb") as f:
        f.write(os.urandom(16 << 20))
    p.run("image", "import", "--name", "crowd", root)
    return p.run("image", "path", "crowd").strip()


def resident(path):
    """Bytes of the file that are in the page cache."""
    out = subprocess.run(["fincore", "--bytes", "--noheadings", "--output", "RES", path],
                         check=True, stdout=subprocess.PIPE, text=True).stdout
    return int(out)


# Reads a part of the image, and sends nothing: that would be measuring the socket.
READ = ("--image", "crowd", "--", "sh", "-c", "head -c 65536 /data >/dev/null")


def started(p, name):
    """Processor time from nothing to the end of a small command in a sandbox that stays."""
    begin = p.spent_ns()
    p.run("run", "--name", name, *READ)
    return p.spent_ns(name) - begin


def measure_images(report):
    with place() as p:
        path = make_image(p)
        started(p, "first")         # makes the template of this image
        p.run("rm", "--force", "first")
        alone = started(p, "alone")
        held = resident(path)
        for child in [p.begin("run", "--name", f"i{i}", *READ) for i in range(CROWD - 1)]:
            p.end(child)
        among = started(p, "last")
        after = resident(path)
        running = len(p.running())
    if running != CROWD + 1:
        raise RuntimeError(f"{running} of {CROWD + 1} run")
    report.pairs(f"start from an image that {CROWD} others run from: processor time",
                 "the first one's", [among], [alone], "ns")
    report.pairs(f"the image in the host's page cache, {CROWD + 1} sandboxes", "one sandbox",
                 [after], [held], "bytes", f"{after >> 10} KiB; "
                 "1 is one copy for all")
