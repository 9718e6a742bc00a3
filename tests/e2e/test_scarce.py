#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Nothing left on the host, while there are machines: no process, descriptor, memory or room on a
disk, once or from then on (tests/jail/fail.c), in whichever process of `run`, `start`, `snapshot`
or `fork` comes to it: the command, the keeper, the monitor or the file server.

Each time the command does without or says in a sentence why not; what it was to make is there
as a whole or not at all, what was there before goes on, and nothing is left behind. Some of all
calls fail, others with another SEED; with TEST_LONG, others each time, more, and of more verbs.
"""
import json
import mmap
import os
import random
import re
import struct
import subprocess
import sys
import harness
from harness import BOOT_S, ENV, LONG, OUT, OWN, SANDBOX, at, check, equal, folder, good, sandbox, \
    state, wait

# By name and folder: in LD_PRELOAD a path ends at a space.
FAIL = {"LD_PRELOAD": "fail.so", "LD_LIBRARY_PATH": os.path.join(OUT, "tests", "jail")}
SENTENCE = re.compile(r"^sandbox: \S.*", re.M)
SOME = 40 if LONG else 5     # of each verb
SEED = int(os.environ.get("SEED") or (random.randrange(1 << 30) if LONG else 1))


class Order:
    """What fails from here on (struct order of fail.c), in all processes with `env`."""

    def __init__(self):
        path = os.path.join(OWN, "order")
        with open(path, "wb") as f:
            f.truncate(64)
        with open(path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), 64)
        # Only programs that are named get this environment.
        self.env = {**FAIL, "FAIL_FILE": path} | {
            f"SANDBOX_{x.upper()}": os.environ.get(f"SANDBOX_{x.upper()}",
                                                   os.path.join(OUT, f"sandbox-{x}"))
            for x in ("vmm", "fsd")}

    def give(self, call, lasting=False):
        self.map[8:64] = struct.pack("<qqii32s", 0, lasting, 0, 0, b"")
        self.map[:8] = struct.pack("<q", call)

    def take(self):
        """How many calls were made, and what failed, or None."""
        _, calls, _, error, _, name = struct.unpack("<qqqii32s", self.map[:64])
        self.map[:8] = bytes(8)
        name = name.rstrip(b"\0").decode()
        return calls, name and f"{name}: {os.strerror(error)}"


def processes():
    """Those that know of this test's folders, but for this one."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                line = f.read()
            if OWN.encode() in line and int(pid) != os.getpid():
                found.append(line.replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            pass
    return found


def attempt(order, call, lasting, argv, env=None):
    """(what failed or None, status, stderr)"""
    order.give(call, lasting)
    try:
        r = subprocess.run([SANDBOX, *argv], env={**ENV, **(env or {})}, stdin=subprocess.DEVNULL,
                           capture_output=True, timeout=harness.RUN_S, check=False)
    finally:
        failed = order.take()[1]
    return failed, r.returncode, r.stderr.decode(errors="replace")


def well_said(status, text):
    check(0 <= status <= 128, f"ended by a signal: {status}; {text}")
    check("BUG " not in text, f"a broken invariant: {text}")
    check(not status or SENTENCE.search(text), f"status {status} without a sentence: {text!r}")


def each_call(order, argv, after, env=None):
    """Let calls of a command fail, one in each attempt. @after(status, text) looks at what has come of
    it."""
    order.give(1 << 60)
    r = subprocess.run([SANDBOX, *argv], env={**ENV, **(env or {})}, capture_output=True,
                       stdin=subprocess.DEVNULL, timeout=BOOT_S, check=False)
    calls = order.take()[0]
    equal(r.returncode, 0, f"{argv}, with all it needs: {r.stderr}")
    after(0, "")
    check(calls > 50, f"{argv}: only {calls} calls that could fail")
    choice = random.Random(f"{SEED} {argv[0]}")
    todo = sorted(choice.sample(range(1, calls + 1), SOME))
    fatal = 0
    for call in todo:
        lasting = bool(call % 2)
        failed, status, text = attempt(order, call, lasting, argv, env)
        what = f"SEED={SEED}, {argv[0]}, call {call} of {calls}, {failed}" + " and on" * lasting
        try:
            well_said(status, text)
            after(status, text)
        except harness.Failure as e:
            raise harness.Failure(f"{what}: {e}; it said {text[-400:]!r}") from e
        fatal += status != 0
    print(f"# {argv[0]}: {len(todo)} of {calls} calls failed, {fatal} times for good", flush=True)


def quiet():
    """Nothing runs, and nothing is in the runtime folder that the next command leaves there."""
    wait(lambda: not processes(), f"the end of {processes()}")
    good("ls")
    good("gc")
    equal(harness.runtime(), [], "left in the runtime folder")


def test_run():
    """From a template, with a share."""
    order = Order()
    share = folder("share", f="text")
    good("run", "--", "true", limit=BOOT_S)     # makes the template
    each_call(order, ["run", "-v", f"{share}:/w:cow", "--", "test", "-f", "/w/f"],
              lambda _status, _text: quiet(), order.env)


def test_long_start():
    """What is named stays what it was: started, or not."""
    order = Order()
    share = folder("shared", f="text")
    good("create", "box", "-v", f"{share}:/w:cow")

    def after(status, _text):
        equal(state("box") == "running", status == 0, f"status {status}, state {state('box')}")
        if status == 0:
            good("exec", "box", "--", "test", "-f", "/w/f")
            good("stop", "-t", "0", "box")
        wait(lambda: state("box") in ("stopped", "created", "crashed"), "the end of box")
        quiet()

    each_call(order, ["start", "box"], after, order.env)
    good("start", "box")
    good("rm", "-f", "box")


def running_box(name, order):
    share = folder("of-" + name, f="text")
    good("create", name, "-v", f"{share}:/w:cow")
    good("start", name, env=order.env)


def goes_on(name, order):
    """It runs, its share and its memory are there; one that was ended by it is started again."""
    if state(name) != "running":
        good("start", name, env=order.env)
        raise harness.Failure(f"{name} has ended")
    good("exec", name, "--", "test", "-f", "/w/f")


def test_long_snapshot():
    order = Order()
    running_box("old", order)

    def after(status, _text):
        there = [s["name"] for s in json.loads(good("snapshot", "ls", "--json", "old"))]
        # Who asked may be without the memory to hear that it is done.
        check(there == ["new"] or (status and not there), f"status {status}; snapshots {there}")
        if there:
            good("snapshot", "inspect", "--verify", "old/new")
            good("snapshot", "rm", "--yes", "old", "new")
        goes_on("old", order)

    each_call(order, ["snapshot", "create", "old", "new"], after, order.env)
    good("rm", "-f", "old")


def test_long_fork():
    """A child that could not be removed again is told of, and goes with `rm`."""
    order = Order()
    running_box("parent", order)

    def after(status, text):
        names = set(good("ls", "-a", "-q").split())
        check("parent" in names, names)
        if status == 0:
            equal(names, {"parent", "parent-1"}, "sandboxes")
            good("exec", "parent-1", "--", "test", "-f", "/w/f")
        elif "parent-1 stays: " not in text:
            equal(names, {"parent"}, "sandboxes after a fork that failed")
        if "parent-1" in names:
            good("rm", "-f", "parent-1")
        goes_on("parent", order)

    each_call(order, ["fork", "parent"], after, order.env)
    good("rm", "-f", "parent")


if __name__ == "__main__":
    sys.exit(harness.main("scarce", globals()))
