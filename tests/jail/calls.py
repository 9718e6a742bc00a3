#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""calls.py - was every system call that a mark allows made by some test?

What was made stands in O/tests/jail/calls, written by `record` while guests and commands were
tested with it in the place of sandbox-vmm. A rule that no test needed is a hole in the filter, or
a hole in the tests; so is an operation of the ring. Rules with `?` need not be made; those that
only refuse cannot be. KVM_RUN and io_uring_enter, without which nothing runs, are not seen here,
nor is what no request to the file server can do without (record.c: served).

ABSENT is how many tests did not run because of what this host lacks. Those may be the ones that
would have made a call, so with any of them a call that is missing is no failure.
"""
import os
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OUT = os.path.join(TOP, os.environ.get("O", "build"))
BY_VALUE = {"ioctl", "madvise", "socket"}
SERVED = {"recvfrom", "sendto", "futex", "openat2", "close", "statx"}
ABSENT = int(os.environ.get("ABSENT", "0"))
UNSEEN = {("vcpu", "ioctl", 0xae80), ("loop", "io_uring_enter", 0)}


def missed(what):
    if ABSENT:
        print(f"skip jail calls: {what}: not here: nor are {ABSENT} tests that might have")
    else:
        print(f"not ok jail calls: {what}")


def main():
    rules = subprocess.run([os.path.join(OUT, "gen", "compile"), "--list"], capture_output=True,
                           text=True, check=True).stdout.splitlines()
    with open(os.path.join(OUT, "tests", "jail", "calls"), encoding="ascii") as f:
        made = {tuple(line.split()) for line in f}
    with open(os.path.join(OUT, "gen", "calls.txt"), encoding="ascii") as f:
        ring = {line.split()[1] for line in f if line.split()[2] == "ring"}
    started = {line[1].removeprefix("IORING_OP_") for line in made if line[0] == "ring"}
    made = {line for line in made if line[0] != "ring"}
    calls = {(cls, int(nr)) for cls, nr, _ in made}
    exact = {(cls, int(nr), int(value)) for cls, nr, value in made}
    failed, good = len(ring - started), len(ring & started)
    for op in sorted(ring - started):
        missed(f"the ring's operation {op} is allowed, and no test started it")
    for rule in rules:
        cls, nr, value, name, how = rule.split()
        nr, value = int(nr), int(value)
        if how != "call" or (cls, name, value) in UNSEEN or (cls == "fs" and name in SERVED):
            continue
        exactly = name in BY_VALUE or (cls, name) == ("fs", "fcntl")
        if (cls, nr, value) in exact if exactly else (cls, nr) in calls:
            good += 1
        else:
            failed += 1
            what = f"{name} with {value:#x}" if exactly else name
            missed(f"{cls}: {what} is allowed, and no test made it")
    if not failed:
        print(f"ok jail calls: each of {good} rules was used by some test")
    return 1 if (failed and not ABSENT) or not good else 0


sys.exit(main())
